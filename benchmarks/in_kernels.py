"""Our own steps as contenders, and the GEMM floor that they are measured against."""

from typing import Any

import numpy as np
from scipy.linalg.blas import get_blas_funcs

import relgrad_np as rg
from relgrad_np.kernels.cpu.step import train_step
from relgrad_np.kernels.supported import CPU, supports

from .contenders import Contender

BEGINS = 20  # step from which on the kernels take any rule's: charts start with 20 samples


def plain(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the plain step, log|det W| tracked, with its cap: what `fit(rule="plain")` takes."""
    return _contender(layers, alpha, rg.Plain(learning_rate))


def exponential(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the exponential step."""
    return _contender(layers, alpha, rg.Exponential(learning_rate))


def recipe(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the recipe's step, the default of `fit`."""
    return _contender(layers, alpha, rg.Recipe(learning_rate))


def adam(
    layers: Any, *, alpha: float, learning_rate: float, bias: str = "published", clock: int = 1
) -> Contender:
    """Adam on the relative gradient."""
    return _contender(layers, alpha, rg.Adam(learning_rate, bias=bias, clock=clock))


def floor(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Make the 4 L - 1 products of a step in their shapes, in place, and nothing else."""
    Ws = [W.copy() for W, _ in layers]
    (gemm,) = get_blas_funcs(("gemm",), (Ws[0],))
    shapes: dict[int, Any] = {}

    def step(X: Any) -> None:
        N = len(X)
        if N not in shapes:
            both = np.concatenate([X, X])
            shapes[N] = np.empty_like(X), both, np.empty_like(both)
        Y, both, P = shapes[N]
        for W in Ws:  # Z @ W.T
            gemm(1.0, W.T, X.T, 0.0, Y.T, 1, 0, 1)
        for W in Ws[1:]:  # [Y; Delta] @ W
            gemm(1.0, W.T, both.T, 0.0, P.T, 0, 0, 1)
        gemm(1.0, Ws[0].T, X.T, 0.0, Y.T, 0, 0, 1)
        for W in Ws:  # (1 + eta) W + eta Delta.T @ A
            gemm(1e-12, X.T, X.T, 1 + 1e-7, W.T, 0, 1, 1)

    return Contender(step=step, layers=lambda: tuple(layers))


def _contender(layers: Any, alpha: float, rule: Any) -> Contender:
    own = tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers)
    tracked = None
    if rule.tracks:  # at D > 1024 its start is not worth minutes: only changes are timed
        zeros = rg.Tracked(np.zeros(len(own)), np.ones(len(own)), None)
        tracked = rg.track(own) if len(own[0].b) <= 1024 else zeros
    state = rg.init_state(own, rule, tracked=tracked)
    model = {
        "activation": rg.activation("smooth_leaky_relu", alpha=alpha),
        "density": rg.density("normal"),
    }

    def step(X: Any) -> None:
        nonlocal state
        if state.t == BEGINS and not supports(CPU, state, X, *model.values(), rule, None):
            raise AssertionError("the kernels would not take this step")
        state, _ = train_step(state, X, rule=rule, **model)

    def current() -> Any:
        return tuple(rg.Layer(W.copy(), b.copy()) for W, b in state.layers)

    return Contender(step=step, layers=current)
