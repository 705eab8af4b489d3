"""The algorithm as a table of lines, any of which can be replaced by a mistaken one and executed.

`run` computes every array of a case from the lines; a mistake (`catalogue`) is another line in the
table. The lines use only what NumPy, torch and jax.numpy have in common, so that the same mistake
can be planted in each. They share no code with the core, which is one more candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ..truths.records import Array, Problem
from ..truths.stages import STAGES
from . import elementwise

Line = Callable[..., Array]
# what is computed of a layer once all Deltas are there, in this order
OF_LAYER = (
    "G_W", "G_b", "G_C", "xi", "R_W", "R_b", "R_C", "R_W_separate", "R_W_input", "R_b_input",
    "R_C_input", "W_plus", "b_plus", "C_plus", "logdet_plus",
)  # fmt: skip
EXP = ("W_exp", "b_exp", "C_exp")  # what one line makes


class Execution:
    """The inputs, what has been computed so far, and the lines that replace right ones.

    A line is a function of the execution `m` and mostly of the layer k. It reads `m.Z[k]`,
    `m.W[k]`, `m.Delta[k]`, ...; `m(name, k)` computes the line of that name. `m.U[k]` is the
    context as layer k reads it, which is the same for all; `m.c` is 0 where there is none.
    """

    def __init__(
        self,
        xp: Any,
        problem: Problem,
        wrong: Mapping[str, Line] | None = None,
        only: int | None = None,
    ) -> None:
        self.xp, self.wrong, self.only = xp, wrong or {}, only
        self.N, self.D = problem.X.shape
        self.L, self.eta = len(problem.W), problem.eta
        self.act, self.dens = problem.activation, problem.density
        self.W, self.b, self.C = list(problem.W), list(problem.b), list(problem.C)
        self.c, self.U = problem.c, [problem.U] * self.L
        self.hidden = self.L - (problem.last_layer == "affine")
        self.Z, self.Z_back = [problem.X], problem.Z_back
        self.Y: list[Array] = []
        empty: list[Any] = [None] * self.L
        self.log_dsigma, self.dlog_dsigma, self.Delta = ([*empty] for _ in range(3))
        self.G_W, self.G_b, self.R_W, self.R_b, self.xi = ([*empty] for _ in range(5))
        self.R_W_separate, self.R_W_input, self.R_b_input = ([*empty] for _ in range(3))
        self.W_plus, self.b_plus, self.logdet_plus = ([*empty] for _ in range(3))
        self.G_C, self.R_C, self.R_C_input, self.C_plus = ([*empty] for _ in range(4))

    def __call__(self, name: str, k: int | None = None, *rest: Any) -> Array:
        """Compute a line; a wrong one only in the layer in which it is planted."""
        planted = self.only is None or k is None or k == self.only
        line = self.wrong[name] if name in self.wrong and planted else LINES[name]
        return line(self, *(() if k is None else (k,)), *rest)

    def right(self, name: str, *rest: Any) -> Any:
        """Compute a line as it is when it is right."""
        return LINES[name](self, *rest)

    def context(self, k: int) -> Array:
        """Return what the context adds to Y, C u of each sample; 0 where there is none."""
        return self.U[k] @ self.C[k].T if self.c else 0

    def shift(self, k: int) -> Array:
        """Return what is added to W z: b, or C u + b of each sample."""
        return self.context(k) + self.b[k] if self.c else self.b[k]

    def eye(self) -> Array:
        """Return the identity, in the arrays' library and dtype."""
        return 0 * self.W[0] + self.xp.eye(self.D, dtype=self.W[0].dtype)


def run(
    problem: Problem,
    wrong: Mapping[str, Line] | None = None,
    *,
    only: int | None = None,
    xp: Any = np,
    wanted: Collection[str] | None = None,
) -> dict[str, Array]:
    """Return the arrays of a case by name, with `wrong` lines in place of the right ones.

    `only`: the one layer in which they are wrong. `wanted`: the stages that are needed; what comes
    after the last of them is left out.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> case = small().cases[0]
    >>> float(np.max(np.abs(run(case.problem)["R_W_0"] - case.expected["R_W_0"]))) < 1e-14
    True
    >>> wrong = run(case.problem, {"R_b": lambda m, k: m.G_b[k]})["R_b_0"]
    >>> float(np.max(np.abs(wrong - case.expected["R_b_0"]))) > 0.1
    True
    """
    m, found = Execution(xp, problem, wrong, only), {}
    want = set(STAGES if wanted is None else wanted)
    last = max((STAGES[stage].phase for stage in want - {"X_back"}), default=-1)
    for k in range(m.L if want else 0):
        m.Y.append(m("Y", k))
        m.Z.append(m("Z", k))
        found[f"Y_{k}"], found[f"Z_{k + 1}"] = m.Y[k], m.Z[k + 1]
    for k in range(m.hidden if last >= STAGES["log_dsigma"].phase else 0):
        m.log_dsigma[k], m.dlog_dsigma[k] = m("log_dsigma", k), m("dlog_dsigma", k)
        found[f"log_dsigma_{k}"], found[f"dlog_dsigma_{k}"] = m.log_dsigma[k], m.dlog_dsigma[k]
    if want & {"L_p", "L_J1", "L_J2", "log_prob"}:
        terms = m("L_p"), m("L_J1"), m("L_J2")
        found |= dict(zip(("L_p", "L_J1", "L_J2"), terms, strict=True))
        found["log_prob"] = m("log_prob", None, *terms)
    if last >= STAGES["Delta"].phase:
        above = m("dZ_last")
        for k in reversed(range(m.L)):
            m.Delta[k] = found[f"Delta_{k}"] = m("Delta", k, above)
            above = m("dZ", k)
    for k in range(m.L):
        for stage in OF_LAYER:
            if last >= STAGES[stage].phase and (m.c or not STAGES[stage].of_context):
                getattr(m, stage)[k] = found[f"{stage}_{k}"] = m(stage, k)
        if want & set(EXP):
            found |= {f"{s}_{k}": x for s, x in zip(EXP, m("exp", k), strict=False)}
    if "X_back" in want and m.Z_back is not None:
        found["X_back"] = m("X_back")
    return found


def _delta(m: Execution, k: int, above: Array) -> Array:
    # forward: Z[k+1] = sigma(Y[k]); L_J1 += log sigma'(Y[k])
    return above if k >= m.hidden else above * m("dsigma", k) + m("bend", k)


def exponential(m: Execution, k: int) -> tuple[Array, Array]:
    """Return exp(M) and phi1(M) = (exp(M) - 1) / M, M = eta xi: a series, scaled and squared."""
    xi = m.Delta[k].T @ m.Y[k] + m.eye()
    size = float(m.xp.max(m.xp.sum(m.xp.abs(m.eta * xi), 0))) if m.N else 0.0
    halvings = min(60, max(0, int(np.ceil(np.log2(size + 1e-30))) + 1)) if np.isfinite(size) else 0
    M = m.eta * xi / 2**halvings
    E, P, term = m.eye(), m.eye(), m.eye()
    small = size / 2.0**halvings  # the norm of M
    for j in range(1, 18):
        term = term @ M / j
        E, P = E + term, P + term / (j + 1)
        if small**j < 2.0**-64 * math.factorial(j):  # what follows changes no digit
            break
    for _ in range(halvings):
        P, E = (P + E @ P) / 2, E @ E
    return E, P


def _exp(m: Execution, k: int) -> tuple[Array, ...]:
    """W, b and C of W~+ = exp(eta xi~) W~."""
    E, P = exponential(m, k)
    G_b = m.eta * m.xp.sum(m.Delta[k], 0)
    moved = E @ m.W[k], E @ m.b[k] + P @ G_b.reshape(m.D)
    return (*moved, E @ m.C[k] + P @ (m.eta * (m.Delta[k].T @ m.U[k]))) if m.c else moved


def _back(m: Execution) -> Array:
    """Take Z_back to data space, from the last layer to the first."""
    Z = m.Z_back
    for k in reversed(range(m.L)):
        Y = elementwise.inverse(m.xp, m.act, Z) if k < m.hidden else Z
        Z = m("unline", k, Y)
    return Z


# Lines that are no stage of their own: `share`, the 1/N of the mean; `bend`, what L_J1 adds to
# Delta; `dZ`, the derivative in a layer's input; `V`, inv(W).T; `growth`, exp(eta xi) and phi1 of
# it; `unline`, the inverse of W z + b.
LINES: dict[str, Line] = {
    "Y": lambda m, k: m.Z[k] @ m.W[k].T + m.shift(k),
    "Z": lambda m, k: elementwise.sigma(m.xp, m.act, m.Y[k]) if k < m.hidden else m.Y[k],
    "log_dsigma": lambda m, k: elementwise.log_dsigma(m.xp, m.act, m.Y[k]),
    "dlog_dsigma": lambda m, k: elementwise.dlog_dsigma(m.xp, m.act, m.Y[k]),
    "dsigma": lambda m, k: elementwise.dsigma(m.xp, m.act, m.Y[k]),
    "L_p": lambda m: m.xp.sum(elementwise.log_density(m.xp, m.dens, m.Z[-1]), 1),
    "L_J1": lambda m: sum(
        (m.xp.sum(m.log_dsigma[k], 1) for k in range(m.hidden)), 0 * m.xp.sum(m.Z[0], 1)
    ),
    "L_J2": lambda m: sum(m("logdet", k) for k in range(m.L)),
    "logdet": lambda m, k: m.xp.linalg.slogdet(m.W[k])[1],
    "log_prob": lambda m, L_p, L_J1, L_J2: L_p + L_J1 + L_J2,
    "share": lambda m: 1 / m.N,
    "dZ_last": lambda m: elementwise.score(m.xp, m.dens, m.Z[-1]) * m("share"),
    "Delta": _delta,
    "bend": lambda m, k: m.dlog_dsigma[k] * m("share"),
    "dZ": lambda m, k: m.Delta[k] @ m.W[k],
    "V": lambda m, k: m.xp.linalg.inv(m.W[k]).T,
    "G_W": lambda m, k: m.Delta[k].T @ m.Z[k] + m("V", k),
    "G_b": lambda m, k: m.xp.sum(m.Delta[k], 0),
    "G_C": lambda m, k: m.Delta[k].T @ m.U[k],
    "xi": lambda m, k: m.Delta[k].T @ m.Y[k] + m.eye(),
    "R_W": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.W[k]) + m.W[k],
    "R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1) + m.b[k],
    "R_C": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.C[k] + m.U[k]) + m.C[k],
    "R_W_separate": lambda m, k: m.Delta[k].T @ ((m.Y[k] - m.shift(k)) @ m.W[k]) + m.W[k],
    "R_W_input": lambda m, k: ((m.Delta[k] @ m.W[k]) @ m.W[k].T).T @ m.Z[k] + m.W[k],
    "R_b_input": lambda m, k: m.W[k] @ (m.W[k].T @ m.xp.sum(m.Delta[k], 0)),
    "R_C_input": lambda m, k: m.W[k] @ (m.W[k].T @ (m.Delta[k].T @ m.U[k])),
    "W_plus": lambda m, k: m.W[k] + m.eta * m.R_W[k],
    "b_plus": lambda m, k: m.b[k] + m.eta * m.R_b[k],
    "C_plus": lambda m, k: m.C[k] + m.eta * m.R_C[k],
    "logdet_plus": lambda m, k: m.xp.linalg.slogdet(m.W_plus[k])[1],
    "growth": exponential,
    "exp": _exp,
    "unline": lambda m, k, Y: m.xp.linalg.solve(m.W[k], (Y - m.shift(k)).T).T,
    "X_back": _back,
}
"""Every line by name, right."""
