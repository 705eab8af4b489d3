"""Each contender takes the step that the package takes; one that does not is turned away."""

import contextlib
import importlib.util

import numpy as np
import pytest

import relgrad_np as rg
from benchmarks import contenders
from benchmarks.contenders import TABLE, gate, make
from relgrad_np.oracle.cases import generic

ALPHA, ETA = 0.3, 1e-3
N, D, L = 4, 6, 3
ADAM = [
    {"bias": "published", "clock": 3},  # the published code, three steps in an epoch
    {"bias": "augmented", "clock": 1},
]


def case(seed, dtype="float64", L=L):
    """Generic layers and five batches: an epoch of three steps ends within."""
    made = generic(seed, N=5 * N, D=D, L=L, density_name="normal", dtype=dtype)
    return made.layers, np.split(made.X, 5)


@contextlib.contextmanager
def float64(name):
    """JAX computes in float32 unless told."""
    needs = TABLE[name].needs
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    if needs != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


VARIANTS = [
    pytest.param(name, extra, id="-".join([name, *map(str, extra.values())]))
    for name in TABLE
    for extra in (ADAM if TABLE[name].move == "adam" else [{}])
]


IN_FLOAT32 = [
    pytest.param(name, marks=pytest.mark.recompiles) if name.startswith("kernels") else name
    for name in TABLE
]


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
@pytest.mark.parametrize("seed", [1])
def test_same_step_in_float64(name, extra, seed):
    with float64(name):
        layers, batches = case(seed)
        gate(name, layers, batches, rtol=1e-9, alpha=ALPHA, learning_rate=ETA, **extra)


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_same_step_in_float32(name):
    needs = TABLE[name].needs
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    layers, batches = case(2, "float32")
    extra = ADAM[0] if TABLE[name].move == "adam" else {}
    gate(name, layers, batches, rtol=2e-3, alpha=ALPHA, learning_rate=ETA, **extra)
    contender = make(name, layers, alpha=ALPHA, learning_rate=ETA)
    contender.step(batches[0])
    assert {x.dtype for layer in contender.layers() for x in layer} == {np.dtype("float32")}


@pytest.mark.parametrize("name", TABLE)
def test_start_is_copied(name):
    with float64(name):
        layers, batches = case(0)
        before = [np.copy(x) for layer in layers for x in layer]
        contender = make(name, layers, alpha=ALPHA, learning_rate=ETA)
        contender.step(batches[0])
        first = contender.layers()
        kept = [np.copy(x) for layer in first for x in layer]
        contender.step(batches[1])
    for x, y in zip([x for layer in layers for x in layer], before, strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip([x for layer in first for x in layer], kept, strict=True):
        np.testing.assert_array_equal(x, y)


def test_sweep_is_its_steps():
    with float64("jax-adam"):
        layers, batches = case(1)
        options = {"alpha": ALPHA, "learning_rate": ETA, "bias": "published", "clock": 3}
        X, rows = np.concatenate(batches), np.arange(5 * N).reshape(5, N)[::-1]
        swept = make("jax-adam", layers, **options)
        swept.warm(swept.to_device(X), rows)
        swept.sweep(swept.to_device(X), rows)
        stepped = make("jax-adam", layers, **options)
        for i in rows:
            stepped.step(X[i])
        for a, b in zip(swept.layers(), stepped.layers(), strict=True):
            np.testing.assert_allclose(a.W, b.W, rtol=1e-12)
            np.testing.assert_allclose(a.b, b.b, rtol=1e-12)


@pytest.mark.parametrize("planted", ["bias", "clock"])
def test_gate_rejects_another_adam(planted, monkeypatch):
    with float64("jax-adam"):
        layers, batches = case(0)
        options = {"alpha": ALPHA, "learning_rate": ETA, "bias": "published", "clock": 3}
        wrong = {"bias": "augmented"} if planted == "bias" else {"clock": 1}
        monkeypatch.setattr(
            contenders, "make", lambda name, layers, **kw: make(name, layers, **(kw | wrong))
        )
        with pytest.raises(AssertionError, match="of layer 0 is off by"):
            gate("jax-adam", layers, batches, rtol=1e-9, **options)


@pytest.mark.parametrize(
    "name", ["jax-published", "jax-plain", "jax-autodiff", "torch-autograd", "torch-backprop"]
)
def test_gate_rejects_another_gradient(name, monkeypatch):
    other = "ordinary" if TABLE[name].move != "ordinary" else "relative"
    with float64(name):
        layers, batches = case(0)
        monkeypatch.setitem(TABLE, name, TABLE[name]._replace(move=other))
        with pytest.raises(AssertionError, match="W of layer 0 is off by"):
            gate(name, layers, batches, rtol=1e-9, alpha=ALPHA, learning_rate=ETA)


def test_unknown_name_is_named():
    with pytest.raises(ValueError, match="unknown name 'nothing'"):
        make("nothing", (rg.Layer(np.eye(2), np.ones(2)),))


def test_singular_matrix_is_refused():
    layers = (rg.Layer(np.zeros((2, 2)), np.ones(2)),)
    contender = make("lapack-inverse", layers, alpha=ALPHA, learning_rate=ETA)
    with pytest.raises(np.linalg.LinAlgError, match="`W` must not be singular"):
        contender.step(np.ones((1, 2)))
