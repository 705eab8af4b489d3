"""An array library that records its products and its linear algebra, and refuses conversion.

Wraps NumPy behind the array API. What the core does with it is what it would do on a device:
any attempt to turn an array into NumPy, a list or a Python number raises.
"""

import array_api_compat.numpy as xnp
import numpy as np

LOG: list[tuple[str, tuple[int, ...], tuple[int, ...] | None]] = []


def unwrap(x):
    if isinstance(x, Recorded):
        return x.hidden
    if isinstance(x, (tuple, list)):
        return (
            type(x)(unwrap(v) for v in x) if not hasattr(x, "_fields") else type(x)(*map(unwrap, x))
        )
    return x


def wrap(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return Recorded(np.asarray(x))
    if isinstance(x, tuple):
        return type(x)(*map(wrap, x)) if hasattr(x, "_fields") else tuple(map(wrap, x))
    return x


class Recorded:
    """A NumPy array behind glass."""

    __array_priority__ = 1000

    def __init__(self, hidden):
        self.hidden = hidden

    def _refuse(self, *args, **kwargs):
        raise AssertionError("an implicit conversion of a device array")

    __array__ = __float__ = __int__ = __bool__ = __index__ = __len__ = __iter__ = _refuse
    __dlpack__ = tolist = item = _refuse

    def __array_namespace__(self, api_version=None):
        return NAMESPACE

    shape = property(lambda self: self.hidden.shape)
    ndim = property(lambda self: self.hidden.ndim)
    dtype = property(lambda self: self.hidden.dtype)
    T = property(lambda self: Recorded(self.hidden.T))
    device = "glass"

    def to_device(self, device, /, *, stream=None):
        return self

    def __getitem__(self, index):
        return Recorded(np.asarray(self.hidden[index]))

    def __matmul__(self, other):
        LOG.append(("matmul", self.shape, other.shape))
        return Recorded(np.asarray(self.hidden @ other.hidden))


def _operator(name):
    def operate(self, other):
        return Recorded(np.asarray(getattr(self.hidden, name)(unwrap(other))))

    return operate


for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Recorded, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Recorded, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or"):
    setattr(Recorded, f"__{_name}__", _operator(f"__{_name}__"))
Recorded.__neg__ = lambda self: Recorded(-self.hidden)
Recorded.__invert__ = lambda self: Recorded(~self.hidden)


class _Functions:
    """Functions of a module, unwrapping what they get and wrapping what they give."""

    def __init__(self, module, name):
        self._module, self.__name__ = module, name

    def __getattr__(self, key):
        found = getattr(self._module, key)
        if key == "linalg":
            return _Functions(found, "linalg")
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args, **kwargs):
            kwargs.pop("device", None)
            if self.__name__ == "linalg":
                LOG.append((key, args[0].shape, None))
            return wrap(found(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items()}))

        return call


NAMESPACE = _Functions(xnp, "recording")


def record(layers, X):
    """Wrap layers and X; empty the log."""
    import relgrad_np as rg

    LOG.clear()
    return tuple(rg.Layer(Recorded(W), Recorded(b)) for W, b in layers), Recorded(X)
