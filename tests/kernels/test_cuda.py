"""The CUDA kernels and their step, proven without a device; with one, the same on it.

The double of CuPy refuses every conversion and every wait in a step. Behind it stand the kernels
in NumPy, or the CUDA C itself, compiled as C++ and run by threads.
"""

import ctypes
import functools
import glob
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.trees import each_array
from relgrad_np.kernels import choose as implementations
from relgrad_np.kernels.constants import DENSITIES, density_numbers, leaky_numbers
from relgrad_np.kernels.cuda import sources
from relgrad_np.kernels.supported import supports
from relgrad_np.oracle.cases import generic

from ..doubles import cuda_as_cpp, cuda_stand_ins
from ..doubles import fake_cupy as fake
from ..laws.problems import KERNEL_RULES, settled, with_context
from .leaves import leaves

RULES = KERNEL_RULES | {"capped": rg.Plain(50.0)}
SHAPES = [(5, 11, 3), (23, 7, 2), (4, 9, 1), (3, 1, 2)]  # N, D, L
MODELS = [("smooth_leaky_relu", name) for name in DENSITIES] + [("identity", "sech")]


@functools.cache
def compiled(dtype):
    import tempfile

    return cuda_as_cpp.Compiled(dtype, Path(tempfile.mkdtemp()))


def kernels(kind, dtype):
    """What stands in for the device: the kernels in NumPy, or the CUDA C on threads."""
    if kind == "cuda-c" and not cuda_as_cpp.have_compiler():
        pytest.skip("there is no g++")
    return cuda_stand_ins if kind == "numpy" else compiled(dtype)


@pytest.fixture(params=["numpy", "cuda-c"])
def device(request, monkeypatch):
    """CuPy's double, with either kind of kernels."""
    with fake.installed() as (cupy, gpu):

        def choose(dtype):
            monkeypatch.setattr(fake.STATE, "kernels", kernels(request.param, dtype))
            return cupy, gpu

        yield choose


@pytest.fixture
def double():
    with fake.installed() as modules:
        yield modules


def number(x):
    return np.asarray(to_numpy(x) if hasattr(x, "get") else x)


def sizes_of(state, info, rule):
    """S of the step: max |W+| written with absolute values, the largest over the layers."""
    S = 1.0
    for (W, b), f, eta in zip(state.layers, info.directions or (), info.eta, strict=False):
        Delta, A, u = np.abs(f.Delta), np.abs(f.A), np.abs(f.u)
        e = float(eta)
        S = max(S, np.max((1 + e) * np.abs(W) + e * Delta.T @ A))
        S = max(S, np.max((1 + e) * np.abs(b) + e * Delta.T @ u))
    return S


def compare(got, want, tolerance):
    for (path, a), (_, c) in zip(leaves(got), leaves(want), strict=True):
        assert (a is None) == (c is None), path
        if c is None:
            continue
        a, c = number(a), np.asarray(c)
        assert (a.shape, a.dtype) == (c.shape, c.dtype), path
        a, c = a.astype(float), c.astype(float)
        scale = max(np.abs(c).max(initial=0.0), 1.0 if "logdet" in path else 0.0)
        error = np.abs(a - c).max(initial=0.0)
        assert error <= tolerance * scale, f"{path}: {error:.3g} above {tolerance * scale:.3g}"


def compare_step(cupy, gpu, rule, N, D, L, act, dens, dtype, t=20):
    """One step from the same state: layers within 256 eps S, the rest alike; nothing waits."""
    p = generic(3, 2 * N, D, L, act, dens, dtype=dtype)
    model = {"activation": p.activation, "density": p.density, "rule": rule}
    weights = np.random.default_rng(1).uniform(0.5, 1.5, N).astype(dtype)
    first = rg.init_state(p.layers, rule)
    state, _ = rg.train_step(settled(first) if t else first, p.X[:N], **model)
    X = p.X[N:]
    want, told = rg.train_step(state, X, weights=weights, **model)
    given = each_array(cupy.asarray, state)
    X, weights = cupy.asarray(X), cupy.asarray(weights)
    assert supports(gpu.BACKEND, given, X, p.activation, p.density, rule, weights)
    with fake.no_waiting():
        got, info = gpu.train_step(given, X, weights=weights, **model)
    eps = float(np.finfo(dtype).eps)
    S = sizes_of(state, told, rule)
    for k, (a, c) in enumerate(zip(got.layers, want.layers, strict=True)):
        for part, x, y in zip("Wb", a, c, strict=True):
            assert number(x).dtype == y.dtype
            error = np.abs(number(x).astype(float) - y).max()
            assert error <= 256 * eps * S, f"{part} of layer {k}: {error:.3g}, S = {S:.3g}"
    compare(got, want, 2**12 * eps)
    compare(info, told, 2**12 * eps)
    assert not number(info.rejected)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", RULES)
def test_the_step_on_a_device(rule, dtype):
    """CPU and GPU from the same state, also at the sizes where the kernels are at home."""
    import cupy

    from relgrad_np.kernels.cuda import step as gpu

    for N, D, L in (*SHAPES, (100, 784, 2), (300, 200, 2)):
        compare_step(cupy, gpu, RULES[rule], N, D, L, "smooth_leaky_relu", "sech", dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", RULES)
def test_the_step_is_the_reference_step(device, rule, dtype):
    """Every rule, N < D and N > D, L from 1 to 3; weights; the step after charts have begun."""
    cupy, gpu = device(dtype)
    for i, (N, D, L) in enumerate(SHAPES):
        compare_step(cupy, gpu, RULES[rule], N, D, L, *MODELS[i], dtype)


def test_every_density_and_the_identity(device):
    cupy, gpu = device("float64")
    for model in MODELS:
        compare_step(cupy, gpu, RULES["plain"], 6, 9, 2, *model, "float64")


@pytest.mark.parametrize("n", [(135, 130), (130, 135)])
def test_large_batches_take_the_determinant_by_cholesky(double, n):
    compare_step(*double, RULES["plain"], *n, 2, "smooth_leaky_relu", "sech", "float64")
    compare_step(*double, RULES["capped"], *n, 2, "smooth_leaky_relu", "sech", "float64")


def test_the_first_samples_only_make_the_charts(double):
    compare_step(*double, rg.Recipe(), 5, 11, 3, "smooth_leaky_relu", "normal", "float64", t=0)


WRONG = {  # kernel and a mistake in it
    "no 1 in u": ("dots", lambda k, *a: (k(*a), a[4].__isub__(1))),
    "no 1/N in Delta": ("density_sweep", lambda k, *a: (k(*a), a[8].__imul__(2))),
    "(log sigma')' dropped": ("leaky_sweep", lambda k, *a: (k(*a), a[8].fill(0))),
    "log sigma' of the slope's inverse": ("leaky_sweep", lambda k, *a: (k(*a), a[9].__imul__(-1))),
    "D log(1 + eta) dropped": ("track", lambda k, *a: k(*a[:2], np.ones_like(a[2]), *a[3:])),
    "eta for c in the bias": ("move_bias", lambda k, *a: k(*a[:7], 1.1 * a[7], *a[8:])),
    "no cap": ("extents", lambda k, *a: (k(*a), a[1].__itruediv__(1e6), a[2].__itruediv__(1e6))),
    "mean not taken from b": ("dots", lambda k, *a: k(*a[:3], 0 * a[3], *a[4:])),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_planted_mistake_is_rejected(double, mistake, monkeypatch):
    name, wrong = WRONG[mistake]
    right = getattr(cuda_stand_ins, name)
    monkeypatch.setattr(cuda_stand_ins, name, lambda *args: wrong(right, *args))
    rule = {"no cap": rg.Plain(50.0), "mean not taken from b": rg.Recipe()}.get(
        mistake, rg.Plain(0.05)
    )
    with pytest.raises(AssertionError):
        compare_step(*double, rule, 5, 11, 3, "smooth_leaky_relu", "sech", "float64")


def grid(dtype):
    """Into the tails, where exp underflows; dense where sigma has its zero."""
    top = 104 if dtype == "float32" else 745
    rng = np.random.default_rng(0)
    parts = [np.linspace(-top, top, 201), 3 * rng.standard_normal(400), [0.0, -0.84]]
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("kind", ["numpy", "cuda-c"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sweeps_are_the_core_functions(kind, dtype):
    """16 ulps of the larger term; sums of one element are the element."""
    run, y = kernels(kind, dtype), grid(dtype)
    eps, n = float(np.finfo(dtype).eps), len(y)
    zero, one = np.zeros(1, dtype), np.ones(n, dtype)
    for alpha in (0.01, 0.3, 1.0):
        act = rg.activation("smooth_leaky_relu", alpha=alpha)
        Y, total = y[:, None].copy(), np.empty(n)
        Z, S, T = np.full((3, n, 1), np.nan, dtype)
        run.leaky_sweep(Y, zero, *leaky_numbers(alpha, dtype), Z, S, T, total, n, 1)
        for f, x in zip(
            ("sigma", "dsigma", "log_dsigma", "dlog_dsigma"), (Z, S, total, T), strict=True
        ):
            want = getattr(act, f)(y).astype(float)
            scale = np.abs(want) + (np.abs(y) + 1 if f == "sigma" else np.finfo(dtype).tiny)
            assert (np.abs(x.reshape(-1) - want) <= 16 * eps * scale).all(), (f, alpha)
    for name in DENSITIES:
        dens = rg.density(name)
        Y, Delta, total = y[:, None].copy(), np.full((n, 1), np.nan, dtype), np.empty(n)
        code, c = density_numbers(name, dens.params, dtype)
        run.density_sweep(Y, zero, code, *c, one, Delta, total, n, 1)
        want = dens.log_prob(y).astype(float)
        assert (np.abs(total - want) <= 16 * eps * (np.abs(want) + 1)).all(), name
        score = dens.score(y).astype(float)
        assert (np.abs(Delta[:, 0] - score) <= 16 * eps * (np.abs(score) + 1e-30)).all(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cuda_c_is_its_stand_in(dtype, monkeypatch):
    """Each kernel by itself on the same numbers; what is not finite, too."""
    run, real = kernels("cuda-c", dtype), np.dtype(dtype).type
    monkeypatch.setattr(run, "threads", 4)  # with barriers between them
    rng, eps = np.random.default_rng(0), float(np.finfo(dtype).eps)
    N, D, L, n = 6, 9, 2, 6

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    K = draw(L, n, n)
    bad = K[0].copy()
    bad[2, 3] = np.nan
    fine, logdet = np.ones(1, np.int32), rng.standard_normal(L)
    calls = [
        ("delta_sweep", draw(N, D), draw(N, D), draw(N, D), draw(N), draw(N, D), N, D, 2),
        ("dots", draw(N, D), draw(N, D), draw(D), draw(D), draw(N), np.empty(N), N, D),
        ("extents", K[0], np.empty(2 * n), np.empty(n), np.empty(n), n),
        ("extents", real(1e30) * K[0], np.empty(2 * n), np.empty(n), np.empty(n), n),
        ("extents", bad, np.empty(2 * n), np.empty(n), np.empty(n), n),
        ("clear_unless", np.zeros(1, np.int32), draw(D), D),
        ("clear_unless", fine, draw(D), D),
        ("scales", draw(1), draw(D), 0, draw(D), D),
        ("scales", draw(1), draw(D), 1, draw(D), D),
        ("weigh", draw(N, D), draw(D), draw(1), draw(N, D), N, D, 3),
        ("scale_rows", draw(D, D), draw(D), D, 2),
        ("move_bias", fine, draw(N, D), draw(N), draw(D), draw(D), draw(D), 1, draw(1), draw(D), draw(D), N, D),
        ("move_bias", 0 * fine, draw(N, D), draw(N), draw(D), draw(D), draw(1), 0, draw(1), draw(D), draw(D), N, D),
        ("square_rows", draw(D, D), draw(D, D), np.empty(D), D),
        ("adam", fine, draw(D), real(1), draw(D), draw(D), draw(D) ** 2, *draw(4) ** 2, real(0.1), real(2), real(1e-8), D),
        ("adam", 0 * fine, draw(D), real(1), draw(D), draw(D), draw(D) ** 2, *draw(7) ** 2, D),
    ]  # fmt: skip
    for kind in (0, 1, 2):
        c = np.full(L, 0.1, dtype)
        M, out = np.empty((L, n, n)), [np.empty(L), np.empty(L)]
        for each, scale in ((0, 1 + draw(L) ** 2), (1, 1 + draw(L, D) ** 2)):
            calls.append(("track", K, c, scale, each, logdet, -np.ones(L), kind, M, *out, L, n, D))
    for name, *args in calls:
        one = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
        two = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
        with np.errstate(all="ignore"):
            getattr(cuda_stand_ins, name)(*one)
        getattr(run, name)(*two)
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            if isinstance(a, np.ndarray) and not (name == "track" and i == 7):  # its scratch
                np.testing.assert_allclose(
                    b, a, rtol=64 * eps, atol=64 * eps, err_msg=f"{name} {i}"
                )


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("rule", RULES)
def test_a_rejected_step_changes_nothing(device, rule, bad):
    cupy, gpu = device("float64")
    N, D = (5, 11) if bad > 0 else (11, 5)  # NaN: N >= D
    p = generic(1, N, D, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state = each_array(cupy.asarray, settled(rg.init_state(p.layers, RULES[rule])))
    state, _ = gpu.train_step(state, cupy.asarray(p.X), **model)
    kept = [(path, np.array(number(x))) for path, x in leaves(state) if x is not None]
    X = p.X.copy()
    X[2, 3] = bad
    X = cupy.asarray(X)
    with fake.no_waiting():
        after, info = gpu.train_step(state, X, **model)
    assert bool(info.rejected)
    assert after.t == state.t + 1
    for (path, x), (_, y) in zip(kept, (z for z in leaves(after) if z[1] is not None), strict=True):
        if path != ".t":
            np.testing.assert_array_equal(number(y), x, err_msg=path)
    assert all(float(e) == 0 for e in info.eta)
    assert all(np.isfinite(number(x)).all() for f in info.directions for x in f[:5])


@pytest.mark.parametrize("rule", ["plain", "exponential", "recipe", "scalar"])
def test_a_step_whose_product_alone_overflows_is_rejected(double, rule):
    """Y of 1e100, W of 1e120: K, of 1e200, is finite, and Delta.T @ (Y @ W) is not."""
    cupy, gpu = double
    p = generic(1, 6, 9, 1, "identity", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    layers = tuple(rg.Layer(W * 1e120, 0 * b) for W, b in p.layers)
    state = each_array(cupy.asarray, settled(rg.init_state(layers, RULES[rule])))
    after, info = gpu.train_step(state, cupy.asarray(p.X * 1e-20), **model)
    assert np.isfinite(float(info.L_p))
    assert bool(info.rejected)
    assert np.isfinite(number(after.layers[0].W)).all()


@pytest.mark.parametrize("rule", ["plain", "exponential", "recipe", "adam"])
def test_products(double, rule):
    """4 L - 1 products of the size N D^2, W updated by a GEMM with beta; no (D, D) by (D, D)."""
    cupy, gpu = double
    N, D, L = 5, 23, 3
    p = generic(1, N, D, L, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state = each_array(cupy.asarray, settled(rg.init_state(p.layers, RULES[rule])))
    X = cupy.asarray(p.X)
    state, _ = gpu.train_step(state, X, **model)
    Ws = [W for W, _ in state.layers]
    fake.clear()
    with fake.no_waiting():
        state, _ = gpu.train_step(state, X, **model)
    assert (fake.LOG.waits, fake.LOG.uploads) == (0, 0)
    assert all(W is old for (W, _), old in zip(state.layers, Ws, strict=True))  # in place
    log = [(a[0], a[1], b[1]) for a, b, _, _ in fake.LOG.gemms]
    large = [shape for shape in log if math.prod(shape) >= N * D * D]
    assert sum(round(math.prod(s) / (N * D * D)) for s in large) == 4 * L - 1
    assert len(large) == 3 * L  # forward, [Y; Delta] @ W, update
    assert max(map(math.prod, log)) == 2 * N * D * D
    assert not [pair for pair in fake.LOG.products if pair == ((D, D), (D, D))]
    betas = [np.all(beta != 0) for a, b, _, beta in fake.LOG.gemms if (a[0], b[1]) == (D, D)]
    assert betas == [rule != "adam"] * L
    if rule == "plain":  # everything between the products, counted
        assert len(fake.LOG.launches) == 5 * L + 2, fake.LOG.launches


def test_a_step_that_waits_is_seen(double):
    cupy, _ = double
    x = cupy.asarray(np.ones(3))
    for wait in (lambda: float(x.sum()), lambda: bool(x[0]), lambda: x.get(), lambda: x.tolist()):
        with pytest.raises(AssertionError, match="a step waits"), fake.no_waiting():
            wait()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(TypeError, match="Unsupported type"):
        x + np.ones(3)


@pytest.mark.parametrize(
    "rule",
    [rg.Plain(0.05), rg.Exponential(0.05), rg.Recipe(), rg.Adam(0.01), rg.GroupAdam()],
)
@pytest.mark.parametrize("c", [0, 2])
def test_the_reference_does_not_wait_either(double, rule, c):
    """What the kernels do not know goes to the reference, on the device, and waits for nothing.

    That is another activation, and a context.
    """
    cupy, gpu = double
    p = generic(2, 5, 11, 2, "smooth_leaky_relu" if c else "leaky_tanh", "normal")
    p = with_context(p, c) if c else p
    model = {"activation": p.activation, "density": p.density, "rule": rule}
    want, _ = rg.train_step(settled(rg.init_state(p.layers, rule)), p.X, **model)
    state = each_array(cupy.asarray, settled(rg.init_state(p.layers, rule)))
    X = cupy.asarray(p.X)
    assert not supports(gpu.BACKEND, state, X, p.activation, p.density, rule, None)
    with fake.no_waiting():
        got, _ = gpu.train_step(state, X, **model)
    compare(got, want, 2**-44)


def test_layers_that_share_one_array_part(double):
    cupy, gpu = double
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)}
    want, _ = rg.train_step(rg.init_state((p.layers[0],) * 2, rg.Plain(0.05)), p.X, **model)
    one = each_array(cupy.asarray, p.layers[0])
    got, _ = gpu.train_step(rg.init_state((one, one), rg.Plain(0.05)), cupy.asarray(p.X), **model)
    compare(got, want, 2**-44)


def test_errors_are_the_references(double):
    cupy, gpu = double
    p = generic(2, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)}
    state = each_array(cupy.asarray, rg.init_state(p.layers, rg.Plain(0.05)))
    with pytest.raises(ValueError, match="`X` must have shape"):
        gpu.train_step(state, cupy.asarray(p.X[:, :-1]), **model)
    with pytest.raises(TypeError, match="`X` is a numpy array, `W of layer 0` a cupy array"):
        gpu.train_step(state, p.X, **model)


def test_a_singular_matrix_is_named(double):
    """CuPy raises nothing: what comes out of it is looked at."""
    cupy, _ = double
    layers = each_array(cupy.asarray, (rg.Layer(np.zeros((2, 2)), np.ones(2)),))
    X = cupy.asarray(np.ones((3, 2)))
    act, dens = rg.activation("identity"), rg.density("normal")
    tape = rg.forward(layers, X, act)
    deltas = rg.backprop(layers, tape, act, dens)
    for call in (
        lambda: rg.ordinary_gradient(layers, tape, deltas),
        lambda: rg.inverse(layers, X, act),
        lambda: rg.sample(layers, np.random.default_rng(0), 3, act, dens),
        lambda: rg.track(layers, inverse=True),
    ):
        with pytest.raises(np.linalg.LinAlgError, match="`W of layer 0` is singular"):
            call()
    one = each_array(cupy.asarray, (rg.Layer(np.ones((1, 1)), np.zeros(1)),))
    y = cupy.asarray(np.ones((2, 1)))
    fs = rg.factors(one, rg.Tape((y, y), (y,)), (-y,))  # xi = 1 - 2, I + c K = 0 at c = 1/2
    with pytest.raises(np.linalg.LinAlgError, match="can't be undone"):
        rg.undo_step(one, fs, 1.0)


def test_which_implementation(double, monkeypatch):
    cupy, gpu = double
    monkeypatch.setattr(implementations.importlib.util, "find_spec", lambda name: name == "cupy")
    assert implementations.resolve(None, cupy.asarray(np.ones(2))) is gpu.train_step
    assert implementations.resolve("cupy") is gpu.train_step
    assert implementations.consumes(gpu.train_step)


def test_without_cupy_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(implementations.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="needs CuPy: pip install cupy"):
        implementations.resolve("cupy")


def nvrtc():
    """The compiler's library, from the loader's path or from NVIDIA's wheels; None if neither."""
    wheels = [Path(p) / "nvidia" for p in sys.path]
    found = [
        f for w in wheels for f in sorted(glob.glob(str(w / "**/libnvrtc.so*"), recursive=True))
    ]
    for name in [*found, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def compile_by_nvrtc(library, options):
    program, log = ctypes.c_void_p(), ctypes.create_string_buffer(1 << 16)
    code = sources.CODE.encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), code, b"k.cu", 0, None, None) == 0
    flags = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    status = library.nvrtcCompileProgram(program, len(options), flags)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    assert b"warning" not in log.value, log.value.decode()
    size = ctypes.c_size_t()
    assert library.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    binary = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetCUBIN(program, binary) == 0
    return binary.raw


@pytest.mark.parametrize(("arch", "dtype"), [("sm_80", "float32"), ("sm_90", "float64")])
def test_the_sources_compile(arch, dtype, tmp_path):
    """By NVRTC, as CuPy does, or by nvcc; every kernel is in what comes out."""
    options = [*sources.options(dtype), f"--gpu-architecture={arch}"]
    if (library := nvrtc()) is not None:
        binary = compile_by_nvrtc(library, options)
    elif shutil.which("nvcc") is not None:
        text, out = tmp_path / "k.cu", tmp_path / "k.cubin"
        text.write_text(sources.CODE)
        subprocess.run(
            ["nvcc", "--cubin", *options, "-Werror", "all-warnings", "-o", out, text], check=True
        )
        binary = out.read_bytes()
    else:
        pytest.skip("there is neither NVRTC nor nvcc")
    for name in sources.NAMES:
        assert f".text.{name}".encode() in binary, name


def test_names_of_kernels_and_stand_ins():
    assert tuple(cuda_as_cpp.signatures()) == sources.NAMES
    for name, kinds in cuda_as_cpp.signatures().items():
        stand_in = getattr(cuda_stand_ins, name)
        assert stand_in.__code__.co_argcount == len(kinds), name
        assert stand_in.__doc__


def test_real_cupy_has_what_the_kernels_use():
    """Names and signatures only: importing CuPy needs no device."""
    cupy = pytest.importorskip("cupy")
    text = (Path(cupy.__file__).parent / "cublas.py").read_text()  # to import it takes cuBLAS
    assert "def gemm(transa, transb, a, b, out=None, alpha=1.0, beta=0.0):" in text
    assert "CUBLAS_POINTER_MODE_DEVICE" in text
    for name in ("RawModule", "empty", "ones", "full", "ascontiguousarray", "concatenate", "stack"):
        assert hasattr(cupy, name), name
    for name in ("Stream", "Event", "Device", "get_current_stream", "get_elapsed_time"):
        assert hasattr(cupy.cuda, name), name
    import cupyx

    assert hasattr(cupyx, "empty_pinned")
    assert hasattr(cupyx, "errstate")
    assert hasattr(cupy.ndarray, "set")
    assert hasattr(cupy.cuda.Stream, "wait_event")
