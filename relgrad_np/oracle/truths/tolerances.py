"""How wrong a right result may be, for each array of the suite: derived, in units of eps.

An array of a right implementation, in arithmetic of precision eps, is off by at most

    eps (64 S + inherited)

S is its formula with absolute values in place of values: cancellation is allowed for and nothing
else. `inherited` is the first-order effect of what its inputs may already be wrong by. What goes
through an inverse or a determinant also scales with the condition of W. An elementwise f has
S = 1 + |f| + |y f'|, where the 1 allows for intermediate values of size 1, as in the logarithm of a
number near 1. The arithmetic is mpmath's, as for the true arrays, so that the suite is the same to
the byte everywhere. `oracle.bounds` derives the same in float64, for layers of any size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import functions
from .exact import (
    Matrix,
    Number,
    augmented,
    ctx,
    identity,
    inverse,
    log_abs_det,
    matrix,
    split_affine,
)
from .net import Net
from .records import Array, Problem, Spec, Tolerance

C, LONG = 64, 40
REASONS = {
    "Y": "|Z| |W|' + |b|; inherits |W| from Z",
    "Z": "1 + |sigma| + |y sigma'|; inherits sigma' from Y",
    "log_dsigma": "1 + |f| + |y f'|; inherits f' from Y",
    "dlog_dsigma": "1 + |f| + |y f'|; inherits f' from Y",
    "L_p": "sum of 1 + |log p| + |z score|; inherits score from Z_L",
    "L_J1": "sum of the S of log_dsigma; inherits theirs",
    "L_J2": "sum_k of sum|inv(W)|'|W| + |log|det W|| + D",
    "log_prob": "sum of those of L_p, L_J1 and L_J2",
    "Delta": "|Delta_{k+1}| |W| (1 + 2 |sigma'| + |y sigma''|) + (1 + |f| + |y f'|)/N, "
    "f = (log sigma')'; inherits from Delta_{k+1} and Y",
    "G_W": "|Delta|'|Z| + cond(W) |inv(W)|', cond by Frobenius norms; inherits from Delta and Z",
    "G_b": "sum |Delta|; inherits from Delta",
    "G_C": "|Delta|'|U|; inherits from Delta",
    "xi": "|Delta|'|Y| + I; inherits from Delta and Y; no cond(W)",
    "R_W": "|Delta|'(|Y| |W|) + |W|; inherits from Delta and Y; no cond(W)",
    "R_b": "|Delta|'(|Y| |b| + 1) + |b|; inherits from Delta and Y; no cond(W)",
    "R_C": "|Delta|'(|Y| |C| + |U|) + |C|; inherits from Delta and Y; no cond(W)",
    "R_W_separate": "|Delta|'((|Y| + |b|) |W|) + |W|; inherits from Delta and Y; no cond(W)",
    "R_W_input": "|W| |W|'|Delta|'|Z| + |W|; inherits from Delta and Z; no cond(W)",
    "R_b_input": "|W| |W|' sum|Delta|; inherits from Delta",
    "R_C_input": "|W| |W|' |Delta|'|U|; inherits from Delta",
    "W_plus": "|W| + eta S of R_W; inherits eta that of R_W",
    "b_plus": "|b| + eta S of R_b; inherits eta that of R_b",
    "C_plus": "|C| + eta S of R_C; inherits eta that of R_C",
    "logdet_plus": "sum|inv(W+)|'|W+| + |log|det W+|| + D; inherits sum|inv(W+)|' e(W+)",
    "W_exp": "exp(eta |xi~|) |W~|, |xi~| with absolute values; inherits eta e(xi~) through it",
    "b_exp": "as W_exp",
    "C_exp": "as W_exp",
    "X_back": "cond(W) (|Y| + |b|)|inv(W)|', and (1 + |sigma| + |y sigma'|)/sigma', "
    "each carried through the layers below it",
}


def tolerances(problem: Problem, found: dict[str, Any], X_back: Matrix) -> dict[str, Tolerance]:
    """Return the tolerance of each array that was found for a problem, and that of X_back.

    >>> from relgrad_np.oracle.truths.definitions import true_arrays
    >>> from relgrad_np.oracle.truths.records import Spec
    >>> one = np.ones((1, 1)); line, normal = Spec("identity", {}), Spec("normal", {})
    >>> p = Problem("", "", "", one, (2 * one,), (one[0],), line, normal, 0.5)
    >>> tolerances(p, true_arrays(p), matrix(one))["Y_0"]  # |Z| |W| + |b| = 3
    Tolerance(S=3.0, inherited=0.0, size=3.0)
    """
    with ctx.workdps(20):
        made = Propagation(problem, found, X_back).found
    return {name: made[name] for name in [*found, "X_back"]}


def _array(x: Any) -> Array:
    """Return nested lists of mpmath numbers as an array of them, which has @, .T and abs."""
    return np.array(x, dtype=object)


class Elementwise:
    """The values f, S = 1 + |f| + |y f'| and the slope |f'| at every entry of Y."""

    def __init__(self, f: Callable[[Spec, Number], Number], model: Spec, Y: Array) -> None:
        at = np.frompyfunc(lambda y: f(model, y), 1, 1)
        self.f = at(Y)
        with ctx.workdps(30):
            h = ctx.mpf(10) ** -10
            self.slope = abs(at(Y + h) - at(Y - h)) / (2 * h)
        self.S = 1 + abs(self.f) + abs(Y) * self.slope


class Propagation:
    """Follows errors through the stages of a problem.

    W, b, V (inv(W).T), Z and Delta are absolute values; names with e_ are errors in units of eps.
    """

    def __init__(self, problem: Problem, v: dict[str, Any], X_back: Matrix) -> None:
        self.p, self.v, self.net, self.L = problem, v, Net(problem), problem.L
        self.found: dict[str, Tolerance] = {}
        self.W = [abs(_array(W)) for W in self.net.W]
        self.b = [abs(_array(b)) for b in self.net.b]
        self.C = [abs(_array(C)) for C in self.net.C]
        self.U = abs(_array(self.net.U))
        # what a bias adds: |U| |C|' + |b|
        self.shift = [
            self.U @ C.T + b if problem.c else b for C, b in zip(self.C, self.b, strict=True)
        ]
        self.V = [abs(_array(inverse(W)).T) for W in self.net.W]
        self.cond = [
            ctx.sqrt((W * W).sum() * (V * V).sum()) for W, V in zip(self.W, self.V, strict=True)
        ]
        self.Y = [_array(v[f"Y_{k}"]) for k in range(self.L)]
        self.Z_L = _array(v[f"Z_{self.L}"])
        self.Z = [abs(_array(matrix(problem.X)))]
        self.Z += [abs(_array(v[f"Z_{k + 1}"])) for k in range(self.L)]
        self.Delta = [abs(_array(v[f"Delta_{k}"])) for k in range(self.L)]
        self.e_Y: list[Array] = []
        self.e_Z = [0 * self.Z[0]]
        self.e_Delta: list[Array] = [None] * self.L
        self.forward()
        self.backward()
        for k in range(self.L):
            self.gradients(k)
        self.back(_array(X_back))

    def note(self, name: str, S: Any, inherited: Any = 0, size: Any = None) -> Any:
        """Record the largest entries; return the error 64 S + inherited, entry by entry."""
        parts = (S, inherited, S if size is None else size)
        peaks = (np.max(abs(_array(part))) for part in parts)
        self.found[name] = Tolerance(*(float(ctx.nstr(peak, 4)) for peak in peaks))
        return C * S + inherited

    def forward(self) -> None:
        """Y, Z, their slopes and the terms of the log-likelihood."""
        act, dens, net, D = self.p.activation, self.p.density, self.net, self.p.D
        S_J1 = e_J1 = 0 * self.Z[0].sum(axis=1)
        for k in range(self.L):
            S, inherited = self.Z[k] @ self.W[k].T + self.shift[k], self.e_Z[k] @ self.W[k].T
            self.e_Y.append(self.note(f"Y_{k}", S, inherited))
            if k >= net.hidden:
                self.e_Z.append(self.note(f"Z_{k + 1}", S, inherited))
                continue
            sigma, log_dsigma, dlog_dsigma = (
                Elementwise(f, act, self.Y[k])
                for f in (functions.sigma, functions.log_dsigma, functions.dlog_dsigma)
            )
            self.e_Z.append(self.note(f"Z_{k + 1}", sigma.S, sigma.slope * self.e_Y[k]))
            inherited = log_dsigma.slope * self.e_Y[k]
            self.note(f"log_dsigma_{k}", log_dsigma.S, inherited)
            self.note(f"dlog_dsigma_{k}", dlog_dsigma.S, dlog_dsigma.slope * self.e_Y[k])
            S_J1, e_J1 = S_J1 + log_dsigma.S.sum(axis=1), e_J1 + inherited.sum(axis=1)
        log_p = Elementwise(functions.log_density, dens, self.Z_L)
        S_p, e_p = log_p.S.sum(axis=1), (log_p.slope * self.e_Z[-1]).sum(axis=1)
        size = sum(abs(log_abs_det(W)) + D for W in net.W)
        S_J2 = size + sum((V * W).sum() for V, W in zip(self.V, self.W, strict=True))
        self.note("L_p", S_p, e_p)
        self.note("L_J1", S_J1, e_J1)
        self.note("L_J2", S_J2, 0, size)
        self.note("log_prob", S_p + S_J1 + S_J2, e_p + e_J1, S_p + S_J1)

    def backward(self) -> None:
        """Deltas, from the last."""
        act, dens, N = self.p.activation, self.p.density, self.p.N
        score = Elementwise(functions.score, dens, self.Z_L)
        S, inherited = score.S / N, score.slope * self.e_Z[-1] / N
        dZ, e_dZ = abs(score.f) / N, C * S + inherited  # of the output of layer k
        for k in reversed(range(self.L)):
            if k < self.net.hidden:
                slope = Elementwise(functions.dsigma, act, self.Y[k])
                bend = Elementwise(functions.dlog_dsigma, act, self.Y[k])
                S = dZ * (slope.S + abs(slope.f)) + bend.S / N
                inherited = e_dZ * abs(slope.f)
                inherited = inherited + (dZ * slope.slope + bend.slope / N) * self.e_Y[k]
            self.e_Delta[k] = self.note(f"Delta_{k}", S, inherited)
            dZ, e_dZ = self.Delta[k] @ self.W[k], self.e_Delta[k] @ self.W[k]

    def gradients(self, k: int) -> None:
        """Ordinary and relative gradients of layer k, and its steps."""
        W, b, V, Z, Y = self.W[k], self.b[k], self.V[k], self.Z[k], abs(self.Y[k])
        D_T, e_T, e_Y, e_Z = self.Delta[k].T, self.e_Delta[k].T, self.e_Y[k], self.e_Z[k]
        S, e = D_T @ Z, e_T @ Z + D_T @ e_Z
        self.note(f"G_W_{k}", S + self.cond[k] * V, e, S + V)
        self.note(f"R_W_input_{k}", W @ W.T @ S + W, W @ W.T @ e)
        S, e = D_T.sum(axis=1), e_T.sum(axis=1)
        self.note(f"G_b_{k}", S, e)
        self.note(f"R_b_input_{k}", W @ W.T @ S, W @ W.T @ e)
        S = D_T @ ((Y + self.shift[k]) @ W) + W
        self.note(f"R_W_separate_{k}", S, (e_T @ (Y + self.shift[k]) + D_T @ e_Y) @ W)
        self.note(f"xi_{k}", D_T @ Y + _array(identity(self.p.D)), e_T @ Y + D_T @ e_Y)
        S_W, e_W = D_T @ (Y @ W) + W, (e_T @ Y + D_T @ e_Y) @ W
        S_b, e_b = D_T @ (Y @ b + 1) + b, e_T @ (Y @ b + 1) + D_T @ (e_Y @ b)
        self.note(f"R_W_{k}", S_W, e_W)
        self.note(f"R_b_{k}", S_b, e_b)
        eta = self.p.eta
        e_plus = self.note(f"W_plus_{k}", W + eta * S_W, eta * e_W)
        self.note(f"b_plus_{k}", b + eta * S_b, eta * e_b)
        if self.p.c:
            self.of_context(k)
        W_plus = self.v[f"W_plus_{k}"]
        V, size = abs(_array(inverse(W_plus)).T), abs(self.v[f"logdet_plus_{k}"]) + self.p.D
        S = (V * abs(_array(W_plus))).sum() + size
        self.note(f"logdet_plus_{k}", S, (V * e_plus).sum(), size)
        if f"W_exp_{k}" in self.v:
            self.exponential(k, D_T @ Y + _array(identity(self.p.D)), e_T @ Y + D_T @ e_Y)

    def of_context(self, k: int) -> None:
        """Gradients and plain step of the matrix of context of layer k."""
        W, C, U, Y, eta = self.W[k], self.C[k], self.U, abs(self.Y[k]), self.p.eta
        D_T, e_T = self.Delta[k].T, self.e_Delta[k].T
        S, e = D_T @ U, e_T @ U
        self.note(f"G_C_{k}", S, e)
        self.note(f"R_C_input_{k}", W @ W.T @ S, W @ W.T @ e)
        S = D_T @ (Y @ C + U) + C
        e = e_T @ (Y @ C + U) + D_T @ (self.e_Y[k] @ C)
        self.note(f"R_C_{k}", S, e)
        self.note(f"C_plus_{k}", C + eta * S, eta * e)

    def exponential(self, k: int, xi: Array, e_xi: Array) -> None:
        """Follow the exponential step of layer k; xi = |Delta|' |Y| + I."""
        eta = self.p.eta
        S, e = self.Delta[k].T @ self.U, self.e_Delta[k].T @ self.U
        xi = augmented(xi, S.tolist(), self.Delta[k].sum(axis=0), 0)
        e_xi = _array(augmented(e_xi, e.tolist(), self.e_Delta[k].sum(axis=0), 0))
        size = max(sum(row) for row in (eta * _array(xi)).tolist())
        if size > LONG:  # an upper bound, too large to be fair
            grown = _array(identity(len(xi))) + ctx.exp(size)
        else:
            grown = ctx.expm(ctx.matrix((eta * _array(xi)).tolist()), method="taylor")
            grown = _array(grown.tolist())
        S = grown @ _array(augmented(self.W[k], self.C[k].tolist(), self.b[k]))
        parts = (split_affine(x.tolist(), self.p.D) for x in (S, eta * (grown @ e_xi) @ S))
        for name, S, e in zip("WCb", *parts, strict=True):
            if name != "C" or self.p.c:
                self.note(f"{name}_exp_{k}", _array(S), _array(e))

    def back(self, X_back: Array) -> None:
        """Carry each line's own error of the inverse through the lines below it."""
        act, net, e = self.p.activation, self.net, 0 * X_back
        Ys = net.outputs(X_back.tolist())
        for k in reversed(range(self.L)):
            Y = _array(Ys[k])
            if k < net.hidden:
                sigma = Elementwise(functions.sigma, act, Y)
                e = (e + C * sigma.S) / sigma.slope
            e = (e + C * self.cond[k] * (abs(Y) + self.shift[k])) @ self.V[k]
        self.note("X_back", e / C, 0, abs(X_back))
