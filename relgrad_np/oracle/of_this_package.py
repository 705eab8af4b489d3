"""The core as a candidate, in NumPy or any array library: it is judged like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.activations import Activation, activation
from ..core.backprop import backprop
from ..core.densities import Density, density
from ..core.network import Layer, forward
from ..core.objective import log_likelihood
from ..core.ordinary import ordinary_gradient
from ..core.relative import relative_gradient
from ..core.sampling import inverse
from ..core.steps import apply_step, factors
from ..core.tracking import track, track_step
from .candidate import Candidate
from .truths.records import Array, Problem


def from_core(to: Callable[[Array], Array] = lambda x: x, name: str = "relgrad_np") -> Candidate:
    """Return the core as a candidate; `to` moves each input to another array library.

    It serves context, too: check it with `conventions=oracle.Conventions(context="yes")`.

    >>> from relgrad_np import oracle
    >>> oracle.check(oracle.from_core()).passed
    True
    """
    return Candidate(name, run=lambda problem: core(problem, to))


def core(problem: Problem, to: Callable[[Array], Array] = lambda x: x) -> dict[str, Array]:
    """Return every array of a case as the core computes it.

    Its nets have an affine last layer: NotImplementedError for cases of another kind.
    """
    if problem.last_layer != "affine":
        raise NotImplementedError("the last layer is affine")
    b, X, Z_back = problem.b, problem.X, problem.Z_back
    if problem.c:  # B = (C, b), and rows are (x, u)
        b = tuple(np.column_stack(pair) for pair in zip(problem.C, problem.b, strict=True))
        X, Z_back = (np.column_stack([rows, problem.U]) for rows in (X, Z_back))
    layers = tuple(Layer(to(W), to(B)) for W, B in zip(problem.W, b, strict=True))
    a, d = problem.activation, problem.density
    act: Activation = a.part or activation(a.name, **a.params)
    dens: Density = d.part or density(d.name, **d.params)
    tape = forward(layers, to(X), act)
    terms = log_likelihood(layers, to(X), act, dens)
    deltas = backprop(layers, tape, act, dens)
    found = {"L_p": terms.L_p, "L_J1": terms.L_J1, "L_J2": terms.L_J2}
    found["log_prob"] = terms.per_sample
    for k in range(problem.L):
        found[f"Y_{k}"], found[f"Z_{k + 1}"] = tape.Ys[k], tape.Zs[k + 1]
        found[f"Delta_{k}"] = deltas[k]
        found[f"xi_{k}"] = deltas[k].T @ tape.Ys[k] + to(np.eye(problem.D, dtype=problem.dtype))
        if k < problem.L - 1:
            found[f"log_dsigma_{k}"] = act.log_dsigma(tape.Ys[k])
            found[f"dlog_dsigma_{k}"] = act.dlog_dsigma(tape.Ys[k])
    fs = factors(layers, tape, deltas)
    tracked = track_step(track(layers), fs, problem.eta)
    named = {
        ("G_W", "G_b"): _unless_singular(lambda: ordinary_gradient(layers, tape, deltas)),
        ("R_W", "R_b"): relative_gradient(layers, tape, deltas),
        ("R_W_separate", ""): relative_gradient(layers, tape, deltas, bias="separate"),
        ("R_W_input", "R_b_input"): relative_gradient(layers, tape, deltas, side="input"),
        ("W_plus", "b_plus"): apply_step(layers, fs, problem.eta),
        ("W_exp", "b_exp"): apply_step(layers, fs, problem.eta, kind="exponential"),
    }
    for stages, made in named.items():
        for k, layer in enumerate(made or ()):
            found |= {f"{s}_{k}": x for s, x in zip(stages, layer, strict=True) if s}
            if problem.c and stages[1]:
                B, name = layer[1], f"{stages[1]}_{k}"
                found |= {name: B[:, -1], name.replace("b", "C", 1): B[:, :-1]}
    for k in range(problem.L):
        found[f"logdet_plus_{k}"] = tracked.logdet[k]
    X_back = _unless_singular(lambda: inverse(layers, to(Z_back), act))
    return found if X_back is None else found | {"X_back": X_back}


def _unless_singular(compute: Callable[[], Any]) -> Any:
    """Return None where W is singular in this precision: the core refuses, and is right to."""
    try:
        return compute()
    except np.linalg.LinAlgError:
        return None
