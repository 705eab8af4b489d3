"""A CuPy without a device: NumPy behind glass, with CuPy's rules about what may cross.

Conversion by NumPy raises, as in CuPy; so do NumPy arrays as operands. Reading a number waits for
the device: it is counted, and raises within `no_waiting`. Transfers to the device are counted.
Kernels are those of `cuda_stand_ins`, or whatever `kernels` names; GEMMs are logged with alpha and
beta.
"""

import contextlib
import importlib.machinery
import sys
import types

import numpy as np

from . import cuda_stand_ins

LOG = types.SimpleNamespace(gemms=[], launches=[], waits=0, uploads=0, products=[])
STATE = types.SimpleNamespace(strict=False, kernels=cuda_stand_ins)


def clear():
    LOG.gemms, LOG.launches, LOG.products = [], [], []
    LOG.waits = LOG.uploads = 0


@contextlib.contextmanager
def no_waiting():
    """Whatever reads the device, or copies to it, raises."""
    STATE.strict = True
    try:
        yield
    finally:
        STATE.strict = False


def wait(what):
    if STATE.strict:
        raise AssertionError(f"a step waits for the device: {what}")
    LOG.waits += 1


def inside(x):
    """What is behind the glass, in trees of tuples and lists; NumPy arrays must not cross."""
    if isinstance(x, ndarray):
        return x.hidden
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (tuple, list)):
        return type(x)(inside(v) for v in x)
    return x


def outside(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x))
    if isinstance(x, tuple):
        made = [outside(v) for v in x]
        return type(x)(*made) if hasattr(x, "_fields") else tuple(made)
    return [outside(v) for v in x] if isinstance(x, list) else x


def picks(index):
    """Indexing by booleans asks how many are true."""
    for i in index if isinstance(index, tuple) else (index,):
        if getattr(i, "dtype", None) == np.dtype(bool):
            wait("an index of booleans")


WAITING = (
    "sort",
    "argsort",
    "nonzero",
    "flatnonzero",
    "argwhere",
    "unique",
    "array_equal",
    "median",
)


class Device:
    def __init__(self, device=None):
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None

    def __eq__(self, other):
        return isinstance(other, Device)

    def __hash__(self):
        return 0

    def __repr__(self):
        return "<CUDA Device 0>"

    def synchronize(self):
        wait("synchronize")

    mem_info = (100 * 2**30, 139 * 2**30)


class ndarray:
    """An array of the device."""

    __array_priority__ = 1000
    __array_ufunc__ = None

    def __init__(self, hidden):
        self.hidden = hidden

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __float__(self):
        wait("float()")
        return float(self.hidden)

    def __int__(self):
        wait("int()")
        return int(self.hidden)

    def __bool__(self):
        wait("bool()")
        return bool(self.hidden)

    def __index__(self):
        wait("an index")
        return self.hidden.__index__()

    def __len__(self):
        return len(self.hidden)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def get(self, *args, **kwargs):
        wait("get()")
        return self.hidden.copy()

    def item(self, *args):
        wait("item()")
        return self.hidden.item(*args)

    def tolist(self):
        wait("tolist()")
        return self.hidden.tolist()

    def set(self, source, stream=None):
        assert isinstance(source, np.ndarray)
        LOG.uploads += 1
        self.hidden[...] = source

    device = property(lambda self: Device())
    shape = property(lambda self: self.hidden.shape)
    ndim = property(lambda self: self.hidden.ndim)
    size = property(lambda self: self.hidden.size)
    nbytes = property(lambda self: self.hidden.nbytes)
    itemsize = property(lambda self: self.hidden.itemsize)
    dtype = property(lambda self: self.hidden.dtype)
    flags = property(lambda self: self.hidden.flags)
    T = property(lambda self: ndarray(self.hidden.T))
    data = property(lambda self: types.SimpleNamespace(ptr=self.hidden.ctypes.data))

    def __getitem__(self, index):
        picks(index)
        return ndarray(np.asarray(self.hidden[inside(index)]))

    def __setitem__(self, index, value):
        picks(index)
        self.hidden[inside(index)] = inside(value)

    def __matmul__(self, other):
        LOG.products.append((self.shape, other.shape))
        with np.errstate(all="ignore"):
            return ndarray(np.asarray(self.hidden @ inside(other)))


def _operator(name):
    def operate(self, other):
        if isinstance(other, np.ndarray) and other.ndim:
            raise TypeError(f"Unsupported type {type(other)}")
        with np.errstate(all="ignore"):  # CuPy never warns
            return ndarray(np.asarray(getattr(self.hidden, name)(inside(other))))

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    for _way in ("", "r"):
        setattr(ndarray, f"__{_way}{_name}__", _operator(f"__{_way}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__hash__ = None
ndarray.__neg__ = lambda self: ndarray(-self.hidden)
ndarray.__abs__ = lambda self: ndarray(abs(self.hidden))
ndarray.__invert__ = lambda self: ndarray(~self.hidden)


def _in_place(name):
    def operate(self, other):
        getattr(self.hidden, name)(inside(other))
        return self

    return operate


for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))


def _method(name):
    def method(self, *args, **kwargs):
        if name == "astype":
            kwargs.pop("device", None)
        found = getattr(self.hidden, name)(
            *inside(args), **{k: inside(v) for k, v in kwargs.items()}
        )
        return outside(found)

    return method


for _name in ("astype", "reshape", "ravel", "copy", "sum", "mean", "max", "min", "all", "any",
              "transpose", "take", "dot", "fill", "var"):  # fmt: skip
    setattr(ndarray, _name, _method(_name))


def _function(name, real):
    def call(*args, **kwargs):
        if name in WAITING:
            wait(name)
        with np.errstate(all="ignore"):
            return outside(real(*inside(args), **{k: inside(v) for k, v in kwargs.items()}))

    call.__name__ = name
    return call


def asarray(obj, dtype=None, order=None, blocking=False):
    if isinstance(obj, ndarray):
        return ndarray(np.asarray(obj.hidden, dtype=dtype, order=order))
    if isinstance(obj, np.ndarray):
        if STATE.strict and obj.size > 1:
            raise AssertionError("a step copies to the device")
        LOG.uploads += 1
    return ndarray(np.array(obj, dtype=dtype, order=order))


def array(obj, dtype=None, copy=True, order="K", **kwargs):
    made = asarray(obj, dtype=dtype)
    return ndarray(made.hidden.copy()) if copy and isinstance(obj, ndarray) else made


def gemm(transa, transb, a, b, out=None, alpha=1.0, beta=0.0):
    """cupy.cublas.gemm: alpha and beta are numbers, or both arrays of the device."""
    assert all(isinstance(x, ndarray) and x.ndim == 2 for x in (a, b, out))
    assert a.dtype == b.dtype == out.dtype
    assert isinstance(alpha, ndarray) == isinstance(beta, ndarray), "the other one would be sent"
    for x in (a, b, out):
        assert x.flags.c_contiguous or x.flags.f_contiguous, "CuPy would copy it"
    if isinstance(alpha, ndarray):
        assert alpha.dtype == beta.dtype == a.dtype, "CuPy would convert it"
    A = a.hidden.T if transa == "T" else a.hidden
    B = b.hidden.T if transb == "T" else b.hidden
    LOG.gemms.append((A.shape, B.shape, inside(alpha), inside(beta)))
    before = out.hidden * inside(beta) if isinstance(beta, ndarray) or beta else 0
    with np.errstate(all="ignore"):
        out.hidden[...] = inside(alpha) * (A @ B) + before
    return out


class RawModule:
    def __init__(self, code=None, options=(), backend="nvrtc"):
        self.real = "float32" if "float" in options[0] else "float64"

    def get_function(self, name):
        def kernel(grid, block, args):
            for a in args:
                assert isinstance(a, (ndarray, np.generic)), f"{name}: {type(a)}"
                if isinstance(a, ndarray):
                    assert a.flags.c_contiguous, f"{name}: a view with gaps"
                elif not isinstance(a, np.int64):
                    assert a.dtype == self.real, f"{name}: {a.dtype}"
            LOG.launches.append(name)
            with np.errstate(all="ignore"):
                run = getattr(STATE.kernels, name)
                run(
                    *(
                        a.hidden
                        if isinstance(a, ndarray)
                        else a.item()
                        if isinstance(a, np.int64)
                        else a
                        for a in args
                    )
                )

        return kernel


class Stream:
    ptr = 0

    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.ptr = id(self) if non_blocking else 0

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None

    def record(self, event=None):
        return event or Event()

    def wait_event(self, event):
        assert isinstance(event, Event)

    def synchronize(self):
        wait("stream.synchronize")


class Event:
    def __init__(self, *args, **kwargs):
        self.recorded = 0

    def record(self, stream=None):
        import time

        self.recorded = time.perf_counter()

    def synchronize(self):
        wait("event.synchronize")


class _Pool:
    def used_bytes(self):
        return 0

    def total_bytes(self):
        return 0

    def free_all_blocks(self):
        return None


def build():
    """Return the modules of a fresh double, by name."""
    cupy = types.ModuleType("cupy")
    for name in dir(np):
        value = getattr(np, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        plain = callable(value) and not isinstance(value, type)
        setattr(cupy, name, _function(name, value) if plain else value)
    linalg = types.ModuleType("cupy.linalg")
    for name in np.linalg.__all__:
        value = getattr(np.linalg, name)
        setattr(linalg, name, value if isinstance(value, type) else _function(name, value))

    def inv(a):  # CuPy raises nothing: what is singular comes out as infinity
        try:
            return outside(np.linalg.inv(inside(a)))
        except np.linalg.LinAlgError:
            return ndarray(np.full(a.shape, np.inf, a.dtype))

    def solve(a, b):
        try:
            return outside(np.linalg.solve(inside(a), inside(b)))
        except np.linalg.LinAlgError:
            return ndarray(np.full(b.shape, np.inf, b.dtype))

    linalg.inv, linalg.solve = inv, solve
    fft = types.ModuleType("cupy.fft")
    for name in np.fft.__all__:
        setattr(fft, name, getattr(np.fft, name))
    cublas = types.ModuleType("cupy.cublas")
    cublas.gemm = gemm
    cuda = types.ModuleType("cupy.cuda")
    cuda.Device, cuda.Stream, cuda.Event = Device, Stream, Event
    cuda.get_current_stream = lambda: Stream()
    cuda.get_elapsed_time = lambda a, b: 1e3 * (b.recorded - a.recorded)
    cuda.runtime = types.SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda i: {"name": b"no device at all"},
        driverGetVersion=lambda: 0,
        runtimeGetVersion=lambda: 0,
    )
    cupy.ndarray, cupy.asarray, cupy.array = ndarray, asarray, array
    cupy.ascontiguousarray = lambda x: ndarray(np.ascontiguousarray(inside(x)))
    cupy.asnumpy = lambda x: x.get()
    cupy.RawModule, cupy.linalg, cupy.fft = RawModule, linalg, fft
    cupy.cuda, cupy.cublas, cupy.__version__ = cuda, cublas, "0"
    cupy.get_default_memory_pool = _Pool
    cupy.__all__ = [name for name in vars(cupy) if not name.startswith("_")]
    cupyx = types.ModuleType("cupyx")
    cupyx.errstate = lambda **kwargs: contextlib.nullcontext()
    cupyx.empty_pinned = lambda shape, dtype=float: np.empty(shape, dtype)
    device = types.ModuleType("cupy.cuda.device")
    device.Device = Device
    made = (cupy, cupyx, linalg, fft, cublas, cuda, device)
    for module in made:
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    return {module.__name__: module for module in made}


ON_TOP = tuple(f"relgrad_np.kernels.cuda.{name}" for name in ("device", "update", "step"))
MINE = ("cupy", "cupyx", "array_api_compat.cupy", *ON_TOP)
KEPT: dict[str, types.ModuleType] = {}  # the double, and what has been built on it


def mine(modules):
    return {name: m for name, m in modules.items() if name.startswith(MINE)}


def forget_attributes():
    """`from relgrad_np.kernels.cuda import step` looks at the package before sys.modules."""
    package = sys.modules.get("relgrad_np.kernels.cuda")
    for name in ON_TOP:
        vars(package or types).pop(name.rpartition(".")[2], None)


@contextlib.contextmanager
def installed():
    """Let `import cupy` find the double; yields its module and the step on top of it."""
    saved = mine(sys.modules)
    for name in saved:
        del sys.modules[name]
    forget_attributes()
    sys.modules.update(KEPT or build())
    clear()
    try:
        yield sys.modules["cupy"], importlib.import_module("relgrad_np.kernels.cuda.step")
    finally:
        KEPT.update(mine(sys.modules))
        for name in KEPT:
            sys.modules.pop(name, None)
        forget_attributes()
        sys.modules.update(saved)
