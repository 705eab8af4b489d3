"""Arrays of a case that could have been added to another.

All are taken at the candidate's own arrays where it supplied them, else at the right ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..truths.stages import STAGES
from .bounded import Bounded, inverse
from .wrong import Wrong, hidden_layers


def array(w: Wrong, name: str) -> Bounded | None:
    """Return an array of the case: the candidate's own, else the right one, else None."""
    if name == "Z_0":
        return Bounded(w.problem.X)
    for arrays in (w.inputs, w.outcome.case.expected):
        if name in arrays:
            return Bounded(arrays[name])
    return None


def terms(w: Wrong) -> Iterator[tuple[str, Bounded]]:
    """Yield the arrays of the same shape that could have been added, by name."""
    p, k, shape = w.problem, w.layer or 0, STAGES[w.stage].shape
    W, b, ones = Bounded(p.W[k]), Bounded(p.b[k]), Bounded(np.ones(np.shape(w.value)))
    named: list[tuple[str, Bounded | None]] = []
    Delta, Y, Z = (array(w, f"{name}_{k}") for name in ("Delta", "Y", "Z"))
    if shape == "D D":
        V = inverse(W)
        named = [
            ("W", W),
            ("W'", W.T),
            ("inv(W)'", V.T),
            ("inv(W)", V),
            ("I", Bounded(np.eye(p.D))),
        ]
        named += [("b b'", b.reshape(-1, 1) @ b.reshape(1, -1)), ("1", ones)]
        named += [("(inv(W) inv(W))'", (V @ V).T), ("W W' W", W @ W.T @ W), ("sign(W)", sign(W))]
        if Delta is not None and Y is not None and Z is not None:
            named += [("Delta' Z", Delta.T @ Z), ("Delta' Y", Delta.T @ Y)]
            named += [("Delta' (Y W)", Delta.T @ (Y @ W)), ("Y' Delta", Y.T @ Delta)]
            total = total_of(Delta)
            named += [("sum(Delta) b'", total.reshape(-1, 1) @ b.reshape(1, -1))]
            named += [("Delta' (1 b') W", total.reshape(-1, 1) @ (b.reshape(1, -1) @ W))]
        named += [(key, array(w, f"{key}_{k}")) for key in ("G_W", "xi", "R_W", "R_W_separate")]
        if p.c:
            named += [("C C'", Bounded(p.C[k]) @ Bounded(p.C[k]).T)]
    elif shape == "D c":
        C, U = Bounded(p.C[k]), Bounded(p.U)
        named = [("C", C), ("1", ones), ("W C", W @ C), ("W' C", W.T @ C)]
        if Delta is not None and Y is not None:
            named += [("Delta' (Y C)", Delta.T @ (Y @ C)), ("Delta' U", Delta.T @ U)]
        named += [(key, array(w, f"{key}_{k}")) for key in ("G_C", "R_C")]
    elif shape == "D":
        absolute = Bounded(np.abs(p.b[k]))
        named = [("b", b), ("1", ones), ("|b|", absolute), ("W b", W @ b), ("W' b", W.T @ b)]
        named += [("sum of the rows of W", W @ Bounded(np.ones(p.D))), ("diag W", diagonal(W))]
        if Delta is not None and Y is not None:
            named += [("Delta' (Y b)", Delta.T @ (Y @ b)), ("mean of Y", total_of(Y) / p.N)]
            named += [("sum(Delta)", total_of(Delta))]
        named += [(key, array(w, f"{key}_{k}")) for key in ("G_b", "R_b")]
    elif shape == "N D":
        named = [("1", ones), ("b", Bounded(np.broadcast_to(p.b[k], np.shape(w.value))))]
        named += [("Y", Y), ("Z", Z), ("the output", array(w, f"Z_{k + 1}"))]
        bend = array(w, f"dlog_dsigma_{k}")
        named += [
            ("(log sigma')'", bend),
            ("(log sigma')' / N", None if bend is None else bend / p.N),
        ]
        named += [("Delta of the layer above", array(w, f"Delta_{k + 1}")), ("X", Bounded(p.X))]
        named += [("log sigma'", array(w, f"log_dsigma_{k}"))]
        if p.c:
            named += [("C u", Bounded(p.U) @ Bounded(p.C[k]).T)]
    elif shape == "N":
        named = [("1", ones)]
        named += [(key, array(w, key)) for key in ("L_p", "L_J1") if key != w.stage]
        J2 = array(w, "L_J2")
        named += [("L_J2", None if J2 is None else J2 * ones)]
        last, hidden = array(w, f"Z_{p.L}"), hidden_layers(p)
        if last is not None:
            named += [("sum of the latent", sum_of(last)), ("|latent|^2", sum_of(last * last))]
        for j, text in ((0, "the first layer"), (hidden - 1, "the last hidden layer")):
            slope = array(w, f"log_dsigma_{j}")
            named += [(f"log sigma' of {text}", None if slope is None else sum_of(slope))]
    else:
        named = [("1", ones), ("trace of W", Bounded(np.trace(p.W[k])))]
        named += [("trace of inv(W)", sum_of(diagonal(inverse(W)), 0))]
        for j, text in ((0, "the first layer"), (p.L - 1, "the last layer")):
            size = float(np.linalg.slogdet(p.W[j])[1])
            named += [(f"log|det W| of {text}", Bounded(size))]
        if w.stage == "logdet_plus":
            named += [("log|det W|", Bounded(float(np.linalg.slogdet(p.W[k])[1])))]
    for name, term in named:
        if term is not None and np.shape(term.value) == np.shape(w.value):
            yield name, term


def sign(x: Bounded) -> Bounded:
    """Return the signs of the entries."""
    return Bounded(np.sign(x.value))


def diagonal(x: Bounded) -> Bounded:
    """Return the diagonal of a matrix."""
    return Bounded(np.diag(x.value), np.diag(x.size))


def total_of(x: Bounded) -> Bounded:
    """Return the sum over samples."""
    return sum_of(x, 0)


def sum_of(x: Bounded, axis: int = 1) -> Bounded:
    """Return the sum over an axis."""
    return Bounded(x.value.sum(axis), x.size.sum(axis))
