"""Other ways to take a training step on the same net, and the gate that each must pass.

A contender is made from layers and keeps its own copy; `step(X)` moves it by one batch. The gate
compares the move with the package's own gradients: what computes something else has no time.
The net: smooth leaky ReLU of slope alpha, normal base density.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import get_lapack_funcs

import relgrad_np as rg
from relgrad_np.core.arguments import one_of

Gradient = Callable[[Any, Any, float], Any]


class Contender(NamedTuple):
    """One way to train: `step(X)` takes a step on X (N, D), `layers()` copies them to NumPy.

    Where a whole epoch can be one program: `sweep(X, rows)` takes a step on each X[rows[i]], rows
    (steps, N), X from `to_device`; `warm(X, rows)` compiles it and takes none.
    """

    step: Callable[[Any], None]
    layers: Callable[[], Any]
    sweep: Callable[[Any, Any], None] | None = None
    to_device: Callable[[Any], Any] = np.asarray
    warm: Callable[[Any, Any], None] | None = None


class Entry(NamedTuple):
    """Where a factory is, and the name of the move it must make, see `MOVES`."""

    factory: str
    move: str
    needs: str = "numpy"


TABLE = {
    "jax-adam": Entry("in_jax:adam", "adam", "jax"),
    "jax-plain": Entry("in_jax:plain", "relative", "jax"),
    "jax-published": Entry("in_jax:published", "relative", "jax"),
    "jax-published-adam": Entry("in_jax:published_adam", "adam", "jax"),
    "jax-autodiff": Entry("in_jax:autodiff", "ordinary", "jax"),
    "torch-autograd": Entry("in_torch:autograd", "ordinary", "torch"),
    "torch-backprop": Entry("in_torch:backprop", "no determinant", "torch"),
    "lapack-inverse": Entry("contenders:lapack_inverse", "ordinary"),
    "kernels-plain": Entry("in_kernels:plain", "relative", "numba"),
    "kernels-adam": Entry("in_kernels:adam", "adam", "numba"),
    "kernels-exponential": Entry("in_kernels:exponential", "exponential", "numba"),
}


def make(name: str, layers: Any, **options: Any) -> Contender:
    """Return the contender of this name, made from NumPy layers; its library is imported here."""
    module, _, factory = TABLE[one_of("name", name, TABLE)].factory.partition(":")
    made = getattr(importlib.import_module(f"benchmarks.{module}"), factory)(layers, **options)
    return made  # type: ignore[no-any-return]


def lapack_inverse(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """W+ = W + learning_rate (Delta.T @ Z + inv(W).T), the inverse by getrf and getri: cubic.

    In the dtype of the layers: `numpy.linalg.inv` computes in float64 whatever it is given.
    """
    act, dens = rg.activation("smooth_leaky_relu", alpha=alpha), rg.density("normal")
    own = tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers)
    getrf, getri = get_lapack_funcs(("getrf", "getri"), (own[0].W,))

    def inverse_T(W: Any) -> Any:
        factors, pivots, status = getrf(W.T, overwrite_a=False)  # inv(W).T = inv(W.T)
        if status == 0:
            inverse, status = getri(factors, pivots, lwork=64 * len(W), overwrite_lu=True)
        if status != 0:
            raise np.linalg.LinAlgError("`W` must not be singular")
        return inverse

    def step(X: Any) -> None:
        nonlocal own
        tape = rg.forward(own, X, act)
        deltas = rg.backprop(own, tape, act, dens)
        moved = []
        for (W, b), Z, Delta in zip(own, tape.Zs[:-1], deltas, strict=True):
            G_W = Delta.T @ Z + inverse_T(W)  # (D, D)
            moved.append(rg.Layer(W + learning_rate * G_W, b + learning_rate * Delta.sum(axis=0)))
        own = tuple(moved)

    return Contender(step=step, layers=lambda: tuple(rg.Layer(W.copy(), b.copy()) for W, b in own))


def _no_determinant(layers: Any, tape: Any, deltas: Any) -> Any:
    """G_W = Delta.T @ Z, G_b = sum Delta: the ordinary gradient of L_p + L_J1."""
    triples = zip(tape.Zs[:-1], deltas, strict=True)
    return tuple(rg.Layer(Delta.T @ Z, Delta.sum(axis=0)) for Z, Delta in triples)


MOVES: dict[str, Callable[..., Any]] = {
    "relative": rg.relative_gradient,
    "ordinary": rg.ordinary_gradient,
    "no determinant": _no_determinant,
}


def expected(name: str, layers: Any, batches: Any, *, alpha: float, learning_rate: float) -> Any:
    """Return the layers after plain steps along the gradient that this contender must follow."""
    act, dens = rg.activation("smooth_leaky_relu", alpha=alpha), rg.density("normal")
    for X in batches:
        tape = rg.forward(layers, X, act)
        move = MOVES[TABLE[name].move](layers, tape, rg.backprop(layers, tape, act, dens))
        layers = tuple(
            rg.Layer(*(p + learning_rate * g for p, g in zip(layer, gradient, strict=True)))
            for layer, gradient in zip(layers, move, strict=True)
        )
    return layers


def expected_exponential(layers: Any, batches: Any, *, alpha: float, learning_rate: float) -> Any:
    """Return the layers after exponential steps as the reference's `apply_step` takes them."""
    act, dens = rg.activation("smooth_leaky_relu", alpha=alpha), rg.density("normal")
    for X in batches:
        tape = rg.forward(layers, X, act)
        fs = rg.factors(layers, tape, rg.backprop(layers, tape, act, dens))
        layers = rg.apply_step(layers, fs, learning_rate, kind="exponential")
    return layers


def expected_adam(
    layers: Any, batches: Any, *, alpha: float, learning_rate: float, bias: str, clock: int
) -> Any:
    """Return the layers after Adam's steps as `train_step` takes them."""
    rule = rg.Adam(learning_rate, bias=bias, clock=clock)
    model = {
        "activation": rg.activation("smooth_leaky_relu", alpha=alpha),
        "density": rg.density("normal"),
    }
    state = rg.init_state(layers, rule)
    for X in batches:
        state, _ = rg.train_step(state, X, rule=rule, **model)
    return state.layers


def gate(name: str, layers: Any, batches: Any, *, rtol: float, **options: Any) -> None:
    """Raise AssertionError unless the contender moves as the package does.

        |move - expected move|_max <= rtol |expected move|_max

    for each W and b, after one step and after a step on each of `batches`.
    """
    move = TABLE[one_of("name", name, TABLE)].move
    special = {"adam": expected_adam, "exponential": expected_exponential}
    for count in (1, len(batches)):
        contender = make(name, layers, **options)
        for X in batches[:count]:
            contender.step(X)
        reference = special.get(move, lambda *a, **kw: expected(name, *a, **kw))
        truth = reference(layers, batches[:count], **options)
        for k, (got, want, old) in enumerate(zip(contender.layers(), truth, layers, strict=True)):
            for part, a, c, o in zip("Wb", got, want, old, strict=True):
                error, size = np.abs(a - c).max(), np.abs(c - o).max()
                if not error <= rtol * size:
                    raise AssertionError(
                        f"{name}: {part} of layer {k} is off by {error:.3g} after {count} steps, "
                        f"where it moves by {size:.3g}"
                    )
