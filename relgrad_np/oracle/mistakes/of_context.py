"""The mistakes that can be made with context only, y = W z + C u + b; the rest is in `catalogue`.

In the group C and b are one matrix B = (C, b), which multiplies u~ = (u, 1). Here they stand apart,
as most implementations have them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..truths.records import Array
from . import elementwise as e

Line = Callable[..., Array]
Execution = Any  # `formulas.Execution`: nothing is imported from there, which would be a floor more
Entry = tuple[str, str, str, str, str, dict[str, Line]]
"""Title, stage, where it shows first, effect, at which inputs it is hidden, lines."""


def _of_matrix(make: Any) -> Any:
    """Return a function of an execution: a matrix of 0 and 1 in its library, made from a size."""

    def of(m: Execution, n: int) -> Array:
        return m.xp.asarray(make(n), dtype=m.W[0].dtype)

    return of


_moved = _of_matrix(lambda n: np.roll(np.eye(n), 1, axis=0))  # rows: each is the one before it
_turned = _of_matrix(lambda n: np.eye(n)[::-1].copy())  # in reverse order
_first = _of_matrix(lambda n: np.eye(n)[np.zeros(n, dtype=int)])  # the first for all


def _with(context: Any) -> dict[str, Line]:
    """Return the line of Y with something else in the place of C u."""
    return {"Y": lambda m, k: m.Z[k] @ m.W[k].T + context(m, k) + m.b[k]}


def _without(m: Execution, k: int) -> Array:
    """Return Y of layer k without context."""
    return m.Z[k] @ m.W[k].T + m.b[k]


def _only(where: Any) -> dict[str, Line]:
    """Return the line of Y with the context in some layers only."""
    return {"Y": lambda m, k: m.right("Y", k) if where(m, k) else _without(m, k)}


def _after(m: Execution, k: int) -> Array:
    return m.right("Z", k) + m.context(k)


def _one_first(m: Execution, k: int) -> Array:
    """Return (C, b) (1, u) for (C, b) (u, 1)."""
    C, U, b = m.C[k], m.U[k], m.b[k]
    return C[:, 0] + U[:, :-1] @ C[:, 1:].T + U[:, -1:] * b


def _scaled(m: Execution, k: int) -> Array:
    """Return the context divided by its standard deviation over the samples."""
    U = m.U[k]
    left = U - m.xp.sum(U, 0) / m.N
    return U / m.xp.sqrt(m.xp.sum(left * left, 0) / m.N)


def _shape(m: Execution) -> tuple[int, int]:
    return m.D, m.c


def _Y_bare(m: Execution, k: int) -> Array:
    return m.Y[k] - m.context(k)


def _from_new_W(m: Execution, k: int) -> Array:
    Y = m.Z[k] @ m.W_plus[k].T + m.shift(k)
    return m.C[k] + m.eta * (m.Delta[k].T @ (Y @ m.C[k] + m.U[k]) + m.C[k])


def _exp_C(wrong: Any) -> dict[str, Line]:
    """Return the line of the exponential step with another C."""
    return {"exp": lambda m, k: (*m.right("exp", k)[:2], *([wrong(m, k)] if m.c else []))}


def _first_order(m: Execution, k: int) -> Array:
    """Return exp(eta xi) C + eta G_C."""
    return m.right("growth", k)[0] @ m.C[k] + m.eta * (m.Delta[k].T @ m.U[k])


def _solved(m: Execution, k: int, Y: Array) -> Array:
    return m.xp.linalg.solve(m.W[k], Y.T).T


def _own(m: Execution, name: str, k: int) -> Array:
    """Return a term of R_C: `data`, Delta' (Y C); `U`, Delta' U."""
    if name == "data":
        return m.Delta[k].T @ (m.Y[k] @ m.C[k])
    return m.Delta[k].T @ m.U[k]


TABLE: dict[str, Entry] = {
    # forward
    "Y_without_context": (
        "the context is dropped from Y", "Y", "first", "a density of x alone; C gets a gradient",
        "", {"Y": _without}),
    "Y_context_first_only": (
        "the context enters the first layer only", "Y", "second", "C of the other layers is unused",
        "L = 1", _only(lambda m, k: k == 0)),
    "Y_first_without_context": (
        "the context is dropped from Y of the first layer", "Y", "first",
        "a loop over layers with context starts one too late",
        "", _only(lambda m, k: k > 0)),
    "Y_last_without_context": (
        "the context is dropped from Y of the last layer", "Y", "last",
        "a loop over layers with context ends one too early",
        "", _only(lambda m, k: k < m.L - 1)),
    "Y_context_reshaped": (
        "C is read as (c, D) without being transposed: u @ C.reshape(c, D) for u @ C.T", "Y",
        "first", "where c = D it is u @ C; the entries of C belong to other outputs",
        "c = 1", _with(lambda m, k: m.U[k] @ m.C[k].reshape(m.c, m.D))),
    "Y_context_negative": (
        "the context is subtracted from Y, not added", "Y", "first", "C is -C",
        "", _with(lambda m, k: -m.context(k))),
    "Y_context_after": (
        "the context is added after the activation, not before it", "Y", "first",
        "sigma(W z + b) + C u: neither sigma' nor Y knows of u",
        "", {"Y": _without, "Z": _after}),
    "Y_context_before_W": (
        "the context is added to the layer's input: W (z + C u) + b", "Y", "first",
        "C stands for W C", "", _with(lambda m, k: m.context(k) @ m.W[k].T)),
    "Y_context_reversed": (
        "the variables of context are in reverse order", "Y", "first",
        "each column of C meets another variable",
        "c = 1", _with(lambda m, k: m.U[k] @ _turned(m, m.c) @ m.C[k].T)),
    "Y_one_first": (
        "the constant 1 is put first, (1, u) for (u, 1), while b is the last column of (C, b)", "Y",
        "first", "each column of (C, b) meets another variable",
        "", {"Y": lambda m, k: m.Z[k] @ m.W[k].T + _one_first(m, k)}),
    "Y_context_moved": (
        "each sample has the context of the sample before it", "Y", "first",
        "x and u are rows of two shuffles",
        "N = 1", _with(lambda m, k: _moved(m, m.N) @ m.U[k] @ m.C[k].T)),
    "Y_context_rows_reversed": (
        "the rows of the context are in reverse order", "Y", "first", "x and u do not belong "
        "together", "N = 1", _with(lambda m, k: _turned(m, m.N) @ m.U[k] @ m.C[k].T)),
    "Y_context_of_first": (
        "all samples have the context of the first one", "Y", "first", "one row, broadcast",
        "N = 1", _with(lambda m, k: _first(m, m.N) @ m.U[k] @ m.C[k].T)),
    "Y_context_scaled": (
        "the context is divided by its standard deviation over the batch", "Y", "first",
        "C is that of the standardised context, and depends on the batch",
        "", _with(lambda m, k: _scaled(m, k) @ m.C[k].T)),
    # terms of the log-likelihood
    "L_p_with_context": (
        "the context is counted as part of the latent: log p(u) is added", "L_p", "net",
        "the density of (z, u), not that of x given u",
        "", {"L_p": lambda m: (
            m.right("L_p") + m.xp.sum(e.log_density(m.xp, m.dens, m.U[-1]), 1))}),
    "L_J2_with_context": (
        "a Jacobian of the context is added: log det(W W' + C C') / 2 for log|det W|", "L_J2",
        "net", "that of the map of (z, u); that of x at a given u is W",
        "", {"logdet": lambda m, k: (
            m.xp.linalg.slogdet(m.W[k] @ m.W[k].T + m.C[k] @ m.C[k].T)[1] / 2)}),
    # ordinary gradient
    "G_C_missing": (
        "the context is dropped from the gradient: G_C is 0", "G_C", "first", "C is never learned",
        "", {"G_C": lambda m, k: 0 * m.C[k]}),
    "G_C_is_G_b": (
        "1 for u in G_C: each column is G_b", "G_C", "first", "the gradient of a bias",
        "", {"G_C": lambda m, k: m.Delta[k].T @ (0 * m.U[k] + 1)}),
    "G_C_negative": (
        "G_C has the wrong sign", "G_C", "first", "C descends while W ascends",
        "", {"G_C": lambda m, k: -m.right("G_C", k)}),
    "G_C_mean": (
        "mean for sum over samples in G_C", "G_C", "first", "1/N twice, in C only",
        "N = 1", {"G_C": lambda m, k: m.right("G_C", k) / m.N}),
    "G_C_times_N": (
        "1/N is missing in G_C", "G_C", "first", "too large by the factor N, in C only",
        "N = 1", {"G_C": lambda m, k: m.N * m.right("G_C", k)}),
    "G_C_of_sums": (
        "the sum over samples of Delta times the mean of u in G_C", "G_C", "first",
        "a product of sums for a sum of products",
        "N = 1", {"G_C": lambda m, k: (
            m.xp.sum(m.Delta[k], 0).reshape(m.D, 1) @ m.xp.sum(m.U[k], 0).reshape(1, m.c) / m.N)}),
    "G_C_moved": (
        "the context of the sample before in G_C", "G_C", "first", "x and u are rows of two "
        "shuffles", "N = 1", {"G_C": lambda m, k: m.Delta[k].T @ (_moved(m, m.N) @ m.U[k])}),
    "G_C_reversed": (
        "the columns of G_C are in reverse order", "G_C", "first",
        "each column of C gets the gradient of another",
        "c = 1", {"G_C": lambda m, k: m.right("G_C", k) @ _turned(m, m.c)}),
    "G_C_reshaped": (
        "U' Delta, reshaped to (D, c), for Delta' U in G_C", "G_C", "first",
        "where c = D it is the transpose",
        "c = 1", {"G_C": lambda m, k: (m.U[k].T @ m.Delta[k]).reshape(*_shape(m))}),
    "G_C_scaled": (
        "G_C is divided by the standard deviation of the context over the batch", "G_C", "first",
        "the gradient by C of the standardised context",
        "", {"G_C": lambda m, k: m.Delta[k].T @ _scaled(m, k)}),
    # relative gradient
    "xi_without_context": (
        "the context is dropped from Y in xi", "xi", "first", "C left the group",
        "", {"xi": lambda m, k: m.Delta[k].T @ _Y_bare(m, k) + m.eye()}),
    "R_W_without_context": (
        "the context is dropped from Y in R_W", "R_W", "first", "C left the group",
        "", {"R_W": lambda m, k: m.Delta[k].T @ (_Y_bare(m, k) @ m.W[k]) + m.W[k]}),
    "R_b_without_context": (
        "the context is dropped from Y in R_b", "R_b", "first", "C left the group",
        "b = 0, start", {"R_b": lambda m, k: (
            m.Delta[k].T @ (_Y_bare(m, k) @ m.b[k] + 1) + m.b[k])}),
    "R_C_without_U": (
        "the part Delta' U, which is G_C, is missing in R_C", "R_C", "first",
        "C = 0 stays where it is",
        "", {"R_C": lambda m, k: _own(m, "data", k) + m.C[k]}),
    "R_C_is_G_C": (
        "the part xi C is missing in R_C: it is the ordinary gradient G_C, while R_W is relative",
        "R_C", "first", "two metrics at once: C is not in the group",
        "", {"R_C": lambda m, k: m.G_C[k]}),
    "R_C_without_YC": (
        "the part Delta' (Y C) is missing in R_C", "R_C", "first", "I for xi",
        "", {"R_C": lambda m, k: _own(m, "U", k) + m.C[k]}),
    "R_C_without_C": (
        "the term of log|det W| (+ C) is missing in R_C", "R_C", "first",
        "as + b in R_b: no maximum likelihood at its fixed point",
        "", {"R_C": lambda m, k: _own(m, "data", k) + _own(m, "U", k)}),
    "R_C_times_N": (
        "the term of log|det W| (+ C) is counted once a sample in R_C", "R_C", "first",
        "too large by the factor N",
        "N = 1", {"R_C": lambda m, k: _own(m, "data", k) + _own(m, "U", k) + m.N * m.C[k]}),
    "R_C_G_C_mean": (
        "the part Delta' U of R_C is divided by N", "R_C", "first", "1/N twice, in one part",
        "N = 1", {"R_C": lambda m, k: _own(m, "data", k) + _own(m, "U", k) / m.N + m.C[k]}),
    "R_C_negative": (
        "R_C has the wrong sign", "R_C", "first", "C descends while W ascends",
        "", {"R_C": lambda m, k: -m.right("R_C", k)}),
    "R_C_without_context": (
        "the context is dropped from Y in R_C", "R_C", "first", "C left the group, in part",
        "", {"R_C": lambda m, k: m.Delta[k].T @ (_Y_bare(m, k) @ m.C[k] + m.U[k]) + m.C[k]}),
    "R_C_input_is_G_C": (
        "G_C for W W' G_C on the input side", "R_C_input", "first", "two metrics at once",
        "orthogonal, start", {"R_C_input": lambda m, k: m.Delta[k].T @ m.U[k]}),
    # step
    "C_plus_missing": (
        "C is not updated", "C_plus", "first", "the context is dropped from the step",
        "", {"C_plus": lambda m, k: 1 * m.C[k]}),
    "C_plus_descends": (
        "the step of C descends", "C_plus", "first", "C - eta R_C, while W ascends",
        "", {"C_plus": lambda m, k: m.C[k] - m.eta * m.R_C[k]}),
    "C_plus_ordinary": (
        "the step of C is taken along its ordinary gradient", "C_plus", "first", "C + eta G_C",
        "", {"C_plus": lambda m, k: m.C[k] + m.eta * m.G_C[k]}),
    "C_plus_without_eta": (
        "eta is not applied to C", "C_plus", "first", "a step of size 1",
        "", {"C_plus": lambda m, k: m.C[k] + m.R_C[k]}),
    "C_plus_from_new_W": (
        "R_C is taken with the updated W", "C_plus", "first", "W is updated in place, too early",
        "", {"C_plus": _from_new_W}),
    "C_exp_is_plain": (
        "the plain step is returned for the exponential one, of C only", "C_exp", "first",
        "the first-order part of it",
        "", _exp_C(lambda m, k: m.C[k] + m.eta * m.R_C[k])),
    "C_exp_without_phi1": (
        "exp(eta xi) C + eta G_C in the exponential step: phi1(eta xi) is missing before G_C",
        "C_exp", "first", "right to first order in eta", "", _exp_C(_first_order)),
    # inverse
    "back_without_context": (
        "the inverse forgets the context", "X_back", "net", "samples of one context for all",
        "", {"unline": lambda m, k, Y: _solved(m, k, Y - m.b[k])}),
    "back_context_added": (
        "the inverse adds the context, where it is to be subtracted", "X_back", "net",
        "the context of -u", "", {"unline": lambda m, k, Y: (
            _solved(m, k, Y - m.b[k] + m.context(k)))}),
    "back_context_after": (
        "the inverse subtracts the context after inv(W)", "X_back", "net", "inv(W) (y - b) - C u",
        "", {"unline": lambda m, k, Y: _solved(m, k, Y - m.b[k]) - m.context(k)}),
    "back_context_order": (
        "the inverse takes the matrices of context in the wrong order", "X_back", "net",
        "the forward order, on the way back", "L = 1", {"unline": lambda m, k, Y: (
            _solved(m, k, Y - m.b[k] - m.U[k] @ m.C[m.L - 1 - k].T))}),
    "back_context_moved": (
        "the inverse gives each sample the context of the sample before it", "X_back", "net",
        "latents and contexts are rows of two shuffles", "N = 1", {"unline": lambda m, k, Y: (
            _solved(m, k, Y - m.b[k] - _moved(m, m.N) @ m.U[k] @ m.C[k].T))}),
}  # fmt: skip
