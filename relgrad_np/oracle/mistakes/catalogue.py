"""The catalogue of mistakes: each a line of the algorithm, wrong, that can be executed.

A mistake replaces lines of `formulas.LINES`. `stage` and `first` say where it shows first in a
case: in layer 0, in layer 1, in the last, in the one below the last, or in the whole net.
`hidden_at` lists the easy inputs at which nothing shows at all; `tests/oracle/test_check.py` proves
each entry of it.

    orthogonal   W orthogonal (b != 0, both signs of the determinant)
    b = 0        no bias anywhere
    N = 1        one sample
    c = 1        one variable of context
    det > 0      every determinant positive
    L = 1        one layer
    L = 2        two layers, so one hidden layer
    moderate     no |y| above 20
    start        orthogonal W and b = 0: the usual first test

Synonyms are one entry. Reading weights as x @ W throughout, descending, summing over samples and
an activated last layer are conventions, not mistakes: see `conventions`. Those of nets with context
are in `of_context`.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..truths.records import Array
from . import elementwise as e
from .formulas import LINES, Execution, Line
from .of_context import TABLE, Entry


class Mistake(NamedTuple):
    """Wrong lines: what they are called and break, where it shows first, which inputs hide it.

    `of_context`: it can be made with context only.

    >>> from .formulas import run
    >>> from relgrad_np.oracle.truths.suite import small
    >>> mistake, case = mistakes["R_b_without_b"], small().cases[0]
    >>> mistake.title
    'the term of log|det W| (+ b) is missing'
    >>> "R_b_0" in run(case.problem, mistake.lines)
    True
    """

    title: str
    stage: str
    first: str
    effect: str
    hidden_at: tuple[str, ...]
    lines: Mapping[str, Line]
    of_context: bool = False

    def first_layer(self, L: int) -> int | None:
        """Return the layer in which it shows first in a net of L layers; None for the whole net."""
        layers = {"first": 0, "second": 1, "last": L - 1, "below last": L - 2, "net": None}
        return layers[self.first]


def _swapped(m: Execution) -> Any:
    return m.act._replace(params=m.act.params | {"alpha": 1 - m.act.params["alpha"]})


def _with_alpha(f: Any) -> Line:
    """Return f with alpha and 1 - alpha exchanged, where the activation has one."""

    def line(m: Execution, k: int) -> Array:
        if k >= m.hidden:
            return m.Y[k]
        return f(m.xp, _swapped(m) if m.act.name == "smooth_leaky_relu" else m.act, m.Y[k])

    return line


def _sign(m: Execution, k: int) -> Array:
    return m.xp.linalg.slogdet(m.W[k])[0]


def _data(m: Execution, k: int) -> Array:
    """R_W without the term of the determinant."""
    return m.Delta[k].T @ (m.Y[k] @ m.W[k])


def _upper(m: Execution, k: int) -> Array:
    return m.Delta[min(k + 1, m.L - 1)]


def _last(name: str, wrong: Line) -> Line:
    """Return a line that is wrong in the last layer, and right below it."""
    return lambda m, k: wrong(m, k) if k == m.L - 1 else LINES[name](m, k)


def _of_reversed(name: str) -> Line:
    """Return what belongs to the layer of the same number, counted from the other end."""
    return lambda m, k: LINES[name](m, m.L - 1 - k)


def _cut_off(m: Execution, k: int) -> Array:
    """Return sigma with log(1 + e^y) = y above 20, as torch's softplus has it."""
    if k >= m.hidden or m.act.name not in ("smooth_leaky_relu", "softplus"):
        return LINES["Z"](m, k)
    a, y = m.act.params.get("alpha", 0.0), m.Y[k]
    return a * y + (1 - a) * m.xp.where(y > 20, y, e.softplus(m.xp, y))


def _cut_off_slope(m: Execution, k: int) -> Array:
    if m.act.name not in ("smooth_leaky_relu", "softplus"):
        return LINES["dsigma"](m, k)
    return m.xp.where(m.Y[k] > 20, m.xp.ones_like(m.Y[k]), LINES["dsigma"](m, k))


def _determinant_step(m: Execution, k: int) -> Array:
    """log|det W+| by the determinant of an N x N matrix, whose factor lacks its 1 / (1 + eta)."""
    K = m.eta * (m.Y[k] @ m.Delta[k].T)
    small = m.xp.linalg.slogdet(K + m.xp.eye(m.N, dtype=K.dtype))[1]
    return LINES["logdet"](m, k) + m.D * math.log1p(m.eta) + small


def _back_order(m: Execution, k: int, Y: Array) -> Array:
    other = m.shift(k) - m.b[k] + m.b[m.L - 1 - k]
    return m.xp.linalg.solve(m.W[k], (Y - other).T).T


_TABLE: dict[str, Entry] = {
    # forward
    "Y_transposed": (
        "Z @ W for Z @ W'", "Y", "first", "the net of the transposed weights, its gradients not",
        "", {"Y": lambda m, k: m.Z[k] @ m.W[k] + m.shift(k)}),
    "Y_without_b": (
        "the bias is dropped from Y", "Y", "first", "the bias does nothing and gets a gradient",
        "b = 0, start", {"Y": lambda m, k: m.Z[k] @ m.W[k].T + m.context(k)}),
    "Y_minus_b": (
        "the bias is subtracted", "Y", "first", "b is -b",
        "b = 0, start", {"Y": lambda m, k: m.Z[k] @ m.W[k].T + m.context(k) - m.b[k]}),
    "Y_from_X": (
        "each layer is fed X, not the layer below", "Y", "second", "layers do not compose",
        "L = 1", {"Y": lambda m, k: m.Z[0] @ m.W[k].T + m.shift(k)}),
    "Y_last_without_b": (
        "the bias is dropped from Y of the last layer", "Y", "last", "the last layer is linear",
        "b = 0, start", {"Y": _last("Y", lambda m, k: m.Z[k] @ m.W[k].T + m.context(k))}),
    "Z_cut_off": (
        "log(1 + e^y) is replaced by y above 20, as torch's F.softplus does", "Z", "first",
        "off by 2e-9 where y is just above 20; nothing in float32",
        "moderate", {"Z": _cut_off, "dsigma": _cut_off_slope}),
    "Z_last_active": (
        "the activation is applied to the last layer, its slope is not counted", "Z", "last",
        "density and Jacobian of two different models",
        "", {"Z": lambda m, k: e.sigma(m.xp, m.act, m.Y[k])}),
    "Z_below_last_linear": (
        "the activation of the last hidden layer is missing", "Z", "below last",
        "a loop over layers ends one too early",
        "L = 1", {"Z": lambda m, k: LINES["Z"](m, k) if k < m.L - 2 else m.Y[k]}),
    "Z_alpha_swapped": (
        "alpha and 1 - alpha are exchanged in sigma", "Z", "first", "slope 1 - alpha on the left",
        "L = 1", {"Z": _with_alpha(e.sigma), "dsigma": _with_alpha(e.dsigma)}),
    # terms of the log-likelihood
    "log_dsigma_is_dsigma": (
        "sigma' for its logarithm", "log_dsigma", "first", "L_J1 adds up slopes",
        "L = 1", {"log_dsigma": lambda m, k: e.dsigma(m.xp, m.act, m.Y[k])}),
    "log_dsigma_at_Z": (
        "log sigma' at Z, not at Y", "log_dsigma", "first", "the slope is that of another point",
        "L = 1", {"log_dsigma": lambda m, k: e.log_dsigma(m.xp, m.act, m.Z[k + 1])}),
    "log_dsigma_alpha_swapped": (
        "alpha and 1 - alpha are exchanged in log sigma'", "log_dsigma", "first",
        "log-likelihood and its gradient belong to two models",
        "L = 1", {"log_dsigma": _with_alpha(e.log_dsigma)}),
    "dlog_dsigma_is_d2sigma": (
        "sigma'' for (log sigma')'", "dlog_dsigma", "first", "the division by sigma' is missing",
        "L = 1", {"dlog_dsigma": lambda m, k: e.d2sigma(m.xp, m.act, m.Y[k])}),
    "dlog_dsigma_negative": (
        "(log sigma')' with the wrong sign", "dlog_dsigma", "first", "the slopes are driven down",
        "L = 1", {"dlog_dsigma": lambda m, k: -LINES["dlog_dsigma"](m, k)}),
    "L_p_without_constant": (
        "the base density's constant log p(0) is missing, it is not normalised", "L_p", "net",
        "values of log p, no gradient; the convention base = unnormalised allows it",
        "", {"L_p": lambda m: LINES["L_p"](m) - m.D * e.constant(m.dens)}),
    "L_p_negative": (
        "L_p with the wrong sign", "L_p", "net", "a negative log-likelihood, for one term",
        "", {"L_p": lambda m: -LINES["L_p"](m)}),
    "L_p_mean": (
        "mean for sum over components in L_p", "L_p", "net", "too small by the factor D",
        "", {"L_p": lambda m: LINES["L_p"](m) / m.D}),
    "L_J1_missing": (
        "L_J1 is missing", "L_J1", "net", "log p of no density",
        "L = 1", {"L_J1": lambda m: 0 * LINES["L_J1"](m)}),
    "L_J1_negative": (
        "L_J1 with the wrong sign", "L_J1", "net", "the Jacobian of the inverse map",
        "L = 1", {"L_J1": lambda m: -LINES["L_J1"](m)}),
    "L_J1_counts_last": (
        "L_J1 counts the last layer, which has no activation", "L_J1", "net",
        "a slope of 1 counted as sigma'",
        "", {"L_J1": lambda m: LINES["L_J1"](m) + m.xp.sum(e.log_dsigma(m.xp, m.act, m.Y[-1]), 1)}),
    "L_J1_without_first": (
        "L_J1 leaves out the first layer", "L_J1", "net", "a loop starts one too late",
        "L = 1", {"L_J1": lambda m: LINES["L_J1"](m) - (
            m.xp.sum(m.log_dsigma[0], 1) if m.hidden else 0)}),
    "L_J1_mean": (
        "mean for sum over components in L_J1", "L_J1", "net", "too small by the factor D",
        "L = 1", {"L_J1": lambda m: LINES["L_J1"](m) / m.D}),
    "L_J1_mean_over_layers": (
        "mean for sum over layers in L_J1", "L_J1", "net",
        "as in the authors' notebook: right for one hidden layer only",
        "L = 1, L = 2", {"L_J1": lambda m: LINES["L_J1"](m) / max(m.hidden, 1)}),
    "L_J2_without_last": (
        "L_J2 leaves out the last layer", "L_J2", "net", "a loop ends one too early",
        "orthogonal, start", {"L_J2": lambda m: (
            sum((m("logdet", k) for k in range(m.L - 1)), 0 * m("logdet", 0)))}),
    "L_J2_half": (
        "a factor 1/2 in L_J2", "L_J2", "net", "half of log|det W|",
        "orthogonal, start", {"logdet": lambda m, k: LINES["logdet"](m, k) / 2}),
    "L_J2_twice": (
        "log det(W W') for log|det W|", "L_J2", "net", "a factor 1/2 is missing",
        "orthogonal, start", {"logdet": lambda m, k: 2 * LINES["logdet"](m, k)}),
    "L_J2_is_sign": (
        "the sign that slogdet returns is used for the logarithm", "L_J2", "net",
        "slogdet returns (sign, log|det|)", "", {"logdet": _sign}),
    "L_J2_of_det": (
        "log of det W, not of its modulus", "L_J2", "net", "NaN where the determinant is negative",
        "det > 0", {"logdet": lambda m, k: m.xp.log(m.xp.linalg.det(m.W[k]))}),
    "L_J2_sign_times": (
        "log|det W| times the sign of det W", "L_J2", "net", "wrong where det W < 0",
        "orthogonal, det > 0, start", {"logdet": lambda m, k: _sign(m, k) * LINES["logdet"](m, k)}),
    "L_J2_negative": (
        "L_J2 with the wrong sign", "L_J2", "net", "the Jacobian of the inverse map",
        "orthogonal, start", {"logdet": lambda m, k: -LINES["logdet"](m, k)}),
    "L_J2_base_2": (
        "logarithm to base 2 in L_J2", "L_J2", "net", "bits added to nats",
        "orthogonal, start", {"logdet": lambda m, k: LINES["logdet"](m, k) / math.log(2)}),
    "L_J2_base_10": (
        "logarithm to base 10 in L_J2", "L_J2", "net", "decades added to nats",
        "orthogonal, start", {"logdet": lambda m, k: LINES["logdet"](m, k) / math.log(10)}),
    "L_J2_missing": (
        "L_J2 is missing", "L_J2", "net", "the density is not normalised",
        "orthogonal, start", {"logdet": lambda m, k: 0 * LINES["logdet"](m, k)}),
    "L_J2_times_N": (
        "L_J2 is counted once a sample", "L_J2", "net", "too large by the factor N",
        "orthogonal, N = 1, start", {"logdet": lambda m, k: m.N * LINES["logdet"](m, k)}),
    "L_J2_over_N": (
        "L_J2 is divided by N", "L_J2", "net", "too small by the factor N",
        "orthogonal, N = 1, start", {"logdet": lambda m, k: LINES["logdet"](m, k) / m.N}),
    "log_prob_without_J2": (
        "log_prob leaves out L_J2", "log_prob", "net", "two of three terms",
        "orthogonal, start", {"log_prob": lambda m, p, j1, j2: p + j1}),
    "log_prob_negative": (
        "log_prob is -log p", "log_prob", "net", "a loss returned as a log-likelihood",
        "", {"log_prob": lambda m, p, j1, j2: -(p + j1 + j2)}),
    "log_prob_mean": (
        "log_prob per dimension", "log_prob", "net", "divided by D",
        "", {"log_prob": lambda m, p, j1, j2: (p + j1 + j2) / m.D}),
    # backpropagation
    "score_negative": (
        "the score with the wrong sign", "Delta", "last", "-(log p)' for (log p)'",
        "", {"dZ_last": lambda m: -LINES["dZ_last"](m)}),
    "score_half": (
        "a factor 1/2 in the score", "Delta", "last", "half of (log p)'",
        "", {"dZ_last": lambda m: LINES["dZ_last"](m) / 2}),
    "bend_missing": (
        "(log sigma')' is missing in Delta", "Delta", "below last", "the gradient of L_p alone",
        "L = 1", {"bend": lambda m, k: 0 * LINES["bend"](m, k)}),
    "bend_without_share": (
        "(log sigma')' without its 1/N", "Delta", "below last", "too large by the factor N",
        "N = 1, L = 1", {"bend": lambda m, k: m.dlog_dsigma[k]}),
    "bend_next_layer": (
        "(log sigma')' of the layer above", "Delta", "below last", "off by one layer",
        "L = 1", {"bend": lambda m, k: e.dlog_dsigma(m.xp, m.act, m.Y[min(k + 1, m.L - 1)]) / m.N}),
    "bend_at_Z": (
        "(log sigma')' in Delta at Z, not at Y", "Delta", "below last", "the bend of another point",
        "L = 1", {"bend": lambda m, k: e.dlog_dsigma(m.xp, m.act, m.Z[k + 1]) / m.N}),
    "bend_times_slope": (
        "(log sigma')' is multiplied by sigma' in Delta", "Delta", "below last",
        "the chain rule applied once more",
        "L = 1", {"bend": lambda m, k: LINES["bend"](m, k) * m("dsigma", k)}),
    "slope_at_Z": (
        "sigma' in Delta at Z, not at Y", "Delta", "below last", "the slope of another point",
        "L = 1", {"dsigma": lambda m, k: e.dsigma(m.xp, m.act, m.Z[k + 1])}),
    "slope_missing": (
        "sigma' is missing in Delta", "Delta", "below last", "the chain rule without a link",
        "L = 1", {"dsigma": lambda m, k: 1 + 0 * m.Y[k]}),
    "backprop_transposed": (
        "Delta @ W' for Delta @ W", "Delta", "below last", "back through the transposed layer",
        "L = 1", {"dZ": lambda m, k: m.Delta[k] @ m.W[k].T}),
    "backprop_own_W": (
        "W of the layer itself for that of the layer above", "Delta", "below last",
        "off by one layer", "L = 1",
        {"dZ": lambda m, k: m.Delta[k] @ m.W[max(k - 1, 0)]}),
    "share_missing": (
        "1/N is missing in Delta, the determinant's term counted once", "Delta", "last",
        "sum for mean in the data term only", "N = 1", {"share": lambda m: 1}),
    "share_twice": (
        "1/N twice in Delta", "Delta", "last", "a mean of means",
        "N = 1", {"share": lambda m: 1 / m.N**2}),
    "share_of_entries": (
        "1/(N D) for 1/N in Delta", "Delta", "last", "mean over all entries, as losses do",
        "", {"share": lambda m: 1 / (m.N * m.D)}),
    "share_over_D": (
        "1/D for 1/N in Delta", "Delta", "last", "the mean over components for that over samples",
        "", {"share": lambda m: 1 / m.D}),
    "backprop_through_new_W": (
        "W is updated before Delta of the layer below is taken", "Delta", "below last",
        "back through the weights of the next step",
        "L = 1", {"dZ": lambda m, k: m.Delta[k] @ (m.W[k] + m.eta * LINES["R_W"](m, k))}),
    # ordinary gradient
    "V_not_transposed": (
        "inv(W) for inv(W)' in G_W", "G_W", "first", "the determinant's gradient, transposed",
        "", {"V": lambda m, k: m.xp.linalg.inv(m.W[k])}),
    "V_missing": (
        "the term of log|det W|, inv(W)', is missing in G_W", "G_W", "first",
        "the gradient of L_p + L_J1", "", {"V": lambda m, k: 0 * m.W[k]}),
    "V_negative": (
        "inv(W)' with the wrong sign in G_W", "G_W", "first", "log|det W| is driven down",
        "", {"V": lambda m, k: -LINES["V"](m, k)}),
    "V_is_W": (
        "W for inv(W)' in G_W", "G_W", "first", "right for orthogonal W only",
        "orthogonal, start", {"V": lambda m, k: m.W[k]}),
    "V_sign": (
        "inv(W)' times the sign of det W in G_W", "G_W", "first", "the derivative of log det",
        "det > 0", {"V": lambda m, k: _sign(m, k) * LINES["V"](m, k)}),
    "V_adjugate": (
        "inv(W)' times det W in G_W", "G_W", "first", "the derivative of det, not of its log",
        "", {"V": lambda m, k: m.xp.linalg.det(m.W[k]) * LINES["V"](m, k)}),
    "V_times_N": (
        "inv(W)' counted once a sample in G_W", "G_W", "first", "too large by the factor N",
        "N = 1", {"V": lambda m, k: m.N * LINES["V"](m, k)}),
    "V_over_N": (
        "inv(W)' divided by N in G_W", "G_W", "first", "too small by the factor N",
        "N = 1", {"V": lambda m, k: LINES["V"](m, k) / m.N}),
    "G_W_transposed_data": (
        "Z' Delta for Delta' Z in G_W", "G_W", "first", "the data term transposed",
        "", {"G_W": lambda m, k: m.Z[k].T @ m.Delta[k] + m("V", k)}),
    "G_W_at_output": (
        "the layer's output for its input in G_W", "G_W", "first", "off by one activation",
        "", {"G_W": lambda m, k: m.Delta[k].T @ m.Z[k + 1] + m("V", k)}),
    "G_b_mean": (
        "mean for sum over samples in G_b", "G_b", "first", "1/N twice, in the bias only",
        "N = 1", {"G_b": lambda m, k: m.xp.sum(m.Delta[k], 0) / m.N}),
    "G_W_transposed": (
        "G_W is transposed", "G_W", "first", "rows and columns exchanged",
        "", {"G_W": lambda m, k: LINES["G_W"](m, k).T}),
    "G_W_last_without_V": (
        "the term of log|det W|, inv(W)', is missing in G_W of the last layer", "G_W", "last",
        "the gradient of L_J2 without its last term",
        "", {"G_W": _last("G_W", lambda m, k: m.Delta[k].T @ m.Z[k])}),
    "G_reversed": (
        "the list of ordinary gradients is in reverse order", "G_W", "first",
        "each layer gets the gradient of another, as backpropagation collects them",
        "L = 1", {name: _of_reversed(name) for name in ("G_W", "G_b", "G_C")}),
    # relative gradient
    "xi_without_identity": (
        "the identity is missing in xi", "xi", "first", "the data term alone",
        "", {"xi": lambda m, k: m.Delta[k].T @ m.Y[k]}),
    "xi_negative_identity": (
        "xi with - I for + I", "xi", "first", "W shrinks to 0",
        "", {"xi": lambda m, k: m.Delta[k].T @ m.Y[k] - m.eye()}),
    "xi_transposed": (
        "Y' Delta for Delta' Y in xi", "xi", "first", "the score on the wrong side",
        "", {"xi": lambda m, k: m.Y[k].T @ m.Delta[k] + m.eye()}),
    "xi_symmetric": (
        "the symmetric part of xi", "xi", "first", "as if the sources were whitened",
        "", {"xi": lambda m, k: (LINES["xi"](m, k) + LINES["xi"](m, k).T) / 2}),
    "xi_without_bias": (
        "the bias is dropped from Y in xi", "xi", "first", "the bias left the group",
        "b = 0, start", {"xi": lambda m, k: m.Delta[k].T @ (m.Y[k] - m.shift(k)) + m.eye()}),
    "xi_of_Z": (
        "Z for Y in xi", "xi", "first", "the layer's input for its output",
        "", {"xi": lambda m, k: m.Delta[k].T @ m.Z[k] + m.eye()}),
    "R_W_transposed": (
        "R_W is transposed", "R_W", "first", "rows and columns exchanged",
        "", {"R_W": lambda m, k: LINES["R_W"](m, k).T}),
    "R_W_from_left": (
        "W xi for xi W", "R_W", "first", "xi acts on the layer's input",
        "", {"R_W": lambda m, k: m.W[k] @ m.xi[k]}),
    "R_W_last_without_W": (
        "the term of log|det W| (+ W) is missing in the last layer", "R_W", "last",
        "the last W shrinks to 0",
        "", {"R_W": _last("R_W", _data)}),
    "R_reversed": (
        "the list of relative gradients is in reverse order", "R_W", "first",
        "each layer gets the gradient of another, as backpropagation collects them",
        "L = 1", {name: _of_reversed(name) for name in ("R_W", "R_b", "R_C")}),
    "R_W_ordinary": (
        "the ordinary gradient is returned as R_W", "R_W", "first", "not multiplied by W'W",
        "start", {"R_W": lambda m, k: m.G_W[k]}),
    "R_W_WWt": (
        "G_W W W' for G_W W' W", "R_W", "first", "the metric of the wrong side",
        "start", {"R_W": lambda m, k: m.G_W[k] @ m.W[k] @ m.W[k].T}),
    "R_W_inverse_term": (
        "inv(W)' for W in the determinant term of R_W", "R_W", "first",
        "the ordinary gradient's term, right for orthogonal W only",
        "orthogonal, start", {"R_W": lambda m, k: _data(m, k) + LINES["V"](m, k)}),
    "R_W_transposed_term": (
        "W' for W in the determinant term of R_W", "R_W", "first", "the term is transposed",
        "", {"R_W": lambda m, k: _data(m, k) + m.W[k].T}),
    "R_W_identity_term": (
        "I for W in the determinant term of R_W", "R_W", "first", "the term of xi",
        "", {"R_W": lambda m, k: _data(m, k) + m.eye()}),
    "R_W_without_W": (
        "the term of log|det W| (+ W) is missing", "R_W", "first", "W shrinks to 0",
        "", {"R_W": _data}),
    "R_W_negative_term": (
        "the term of log|det W| (+ W) has the wrong sign", "R_W", "first", "W shrinks to 0",
        "", {"R_W": lambda m, k: _data(m, k) - m.W[k]}),
    "R_W_times_N": (
        "the term of log|det W| (+ W) is counted once a sample", "R_W", "first",
        "too large by the factor N", "N = 1",
        {"R_W": lambda m, k: _data(m, k) + m.N * m.W[k]}),
    "R_W_over_N": (
        "the term of log|det W| (+ W) is divided by N", "R_W", "first",
        "too small by the factor N", "N = 1",
        {"R_W": lambda m, k: _data(m, k) + m.W[k] / m.N}),
    "R_W_sign": (
        "the term of log|det W| (+ W) times the sign of det W", "R_W", "first",
        "wrong where det W < 0", "det > 0",
        {"R_W": lambda m, k: _data(m, k) + _sign(m, k) * m.W[k]}),
    "R_W_without_bias": (
        "the bias is dropped from Y in R_W", "R_W", "first", "the bias left the group",
        "b = 0, start", {"R_W": lambda m, k: LINES["R_W_separate"](m, k)}),
    "R_W_Y_Wt": (
        "Y @ W' for Y @ W in R_W", "R_W", "first", "the second product is transposed",
        "", {"R_W": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.W[k].T) + m.W[k]}),
    "R_W_of_Z": (
        "Z for Y in R_W", "R_W", "first", "the layer's input for its output",
        "", {"R_W": lambda m, k: m.Delta[k].T @ (m.Z[k] @ m.W[k]) + m.W[k]}),
    "R_W_after_sigma": (
        "sigma(Y) for Y in R_W", "R_W", "first", "the layer's output after its activation",
        "L = 1", {"R_W": lambda m, k: m.Delta[k].T @ (m.Z[k + 1] @ m.W[k]) + m.W[k]}),
    "R_W_upper_delta": (
        "Delta of the layer above in R_W", "R_W", "first", "off by one layer",
        "L = 1", {"R_W": lambda m, k: _upper(m, k).T @ (m.Y[k] @ m.W[k]) + m.W[k]}),
    "R_b_without_b": (
        "the term of log|det W| (+ b) is missing", "R_b", "first",
        "as in the published code: no maximum likelihood at its fixed point",
        "b = 0, start", {"R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1)}),
    "R_b_without_1": (
        "+ 1 is missing in R_b", "R_b", "first", "G_b is left out; b = 0 stays where it is",
        "", {"R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k]) + m.b[k]}),
    "R_b_is_G_b": (
        "R_b is G_b while R_W has the bias in the group", "R_b", "first", "two metrics at once",
        "b = 0, start", {"R_b": lambda m, k: m.G_b[k]}),
    "R_b_without_bias": (
        "the bias is dropped from Y in R_b", "R_b", "first", "W z for W z + b",
        "b = 0, start", {"R_b": lambda m, k: (
            m.Delta[k].T @ ((m.Y[k] - m.shift(k)) @ m.b[k] + 1) + m.b[k])}),
    "R_b_times_N": (
        "the term of log|det W| (+ b) is counted once a sample", "R_b", "first",
        "too large by the factor N", "b = 0, N = 1, start",
        {"R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1) + m.N * m.b[k]}),
    "R_b_last_without_b": (
        "the term of log|det W| (+ b) is missing in the last layer", "R_b", "last",
        "the last layer's bias does not reach maximum likelihood",
        "b = 0, start", {"R_b": _last("R_b", lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1))}),
    # other variants
    "R_W_separate_of_Y": (
        "Y for Y - b in the variant without the bias in the group", "R_W_separate", "first",
        "the variant with the bias in the group",
        "b = 0, start", {"R_W_separate": lambda m, k: LINES["R_W"](m, k)}),
    "R_W_input_WtW": (
        "W' W G_W for W W' G_W", "R_W_input", "first", "the metric of the wrong side",
        "orthogonal, start", {"R_W_input": lambda m, k: m.W[k].T @ m.W[k] @ m.G_W[k]}),
    "R_b_input_is_G_b": (
        "G_b for W W' G_b on the input side", "R_b_input", "first", "two metrics at once",
        "orthogonal, start", {"R_b_input": lambda m, k: m.xp.sum(m.Delta[k], 0)}),
    # step
    "step_descends": (
        "the step descends", "W_plus", "first", "W - eta R for W + eta R",
        "", {"W_plus": lambda m, k: m.W[k] - m.eta * m.R_W[k],
             "b_plus": lambda m, k: m.b[k] - m.eta * m.R_b[k],
             "C_plus": lambda m, k: m.C[k] - m.eta * m.R_C[k]}),
    "step_without_eta": (
        "eta is not applied to W", "W_plus", "first", "a step of size 1",
        "", {"W_plus": lambda m, k: m.W[k] + m.R_W[k]}),
    "step_eta_on_data_only": (
        "the factor 1 + eta of W is missing", "W_plus", "first",
        "W + eta Delta'(Y W), without eta W",
        "", {"W_plus": lambda m, k: m.W[k] + m.eta * (m.R_W[k] - m.W[k])}),
    "step_ordinary": (
        "the step is taken along the ordinary gradient", "W_plus", "first", "W + eta G_W",
        "start", {"W_plus": lambda m, k: m.W[k] + m.eta * m.G_W[k],
             "b_plus": lambda m, k: m.b[k] + m.eta * m.G_b[k],
             "C_plus": lambda m, k: m.C[k] + m.eta * m.G_C[k]}),
    "step_eta_squared": (
        "eta is applied twice", "W_plus", "first", "a step of size eta^2",
        "", {"W_plus": lambda m, k: m.W[k] + m.eta**2 * m.R_W[k],
             "b_plus": lambda m, k: m.b[k] + m.eta**2 * m.R_b[k],
             "C_plus": lambda m, k: m.C[k] + m.eta**2 * m.R_C[k]}),
    "b_plus_from_new_W": (
        "R_b is taken with the updated W", "b_plus", "first", "W is updated in place, too early",
        "b = 0, start", {"b_plus": lambda m, k: m.b[k] + m.eta * (m.Delta[k].T @ (
            (m.Z[k] @ m.W_plus[k].T + m.shift(k)) @ m.b[k] + 1) + m.b[k])}),
    "logdet_stale": (
        "log|det W+| is that of the old W", "logdet_plus", "first", "a stale cache",
        "", {"logdet_plus": lambda m, k: LINES["logdet"](m, k)}),
    "logdet_without_D": (
        "D log(1 + eta) is missing in log|det W+|", "logdet_plus", "first",
        "the determinant of the rank-N factor alone",
        "", {"logdet_plus": lambda m, k: (
            LINES["logdet_plus"](m, k) - m.D * math.log1p(m.eta))}),
    "logdet_without_share": (
        "eta for eta / (1 + eta) in the N x N determinant of log|det W+|", "logdet_plus", "first",
        "Woodbury's factor 1 / (1 + eta) is missing",
        "", {"logdet_plus": _determinant_step}),
    "logdet_log_eta": (
        "log(1 + eta) counted once for D times in log|det W+|", "logdet_plus", "first",
        "D forgotten",
        "", {"logdet_plus": lambda m, k: (
            LINES["logdet_plus"](m, k) - (m.D - 1) * math.log1p(m.eta))}),
    "exp_is_plain": (
        "the plain step is returned for the exponential one", "W_exp", "first",
        "the first-order part of it",
        "", {"exp": lambda m, k: (
            m.W[k] + m.eta * m.R_W[k], m.b[k] + m.eta * m.R_b[k],
            *([m.C[k] + m.eta * m.R_C[k]] if m.c else []))}),
    # inverse
    "back_bias_order": (
        "the inverse takes the biases in the wrong order", "X_back", "net",
        "as in the published code", "b = 0, L = 1, start", {"unline": _back_order}),
    "back_without_bias": (
        "the inverse forgets the biases", "X_back", "net", "inv(W) y for inv(W) (y - b)",
        "b = 0, start", {"unline": lambda m, k, Y: (
            m.xp.linalg.solve(m.W[k], (Y - m.context(k)).T).T)}),
    "back_bias_after": (
        "the inverse subtracts b after inv(W)", "X_back", "net", "inv(W) y - b",
        "b = 0, start", {"unline": lambda m, k, Y: (
            m.xp.linalg.solve(m.W[k], (Y - m.context(k)).T).T - m.b[k])}),
    "back_transposed": (
        "the inverse uses W' for inv(W)", "X_back", "net", "right for orthogonal W only",
        "orthogonal, start", {"unline": lambda m, k, Y: (Y - m.shift(k)) @ m.W[k]}),
}  # fmt: skip


def _build(entry: Entry, of_context: bool = False) -> Mistake:
    title, stage, first, effect, hidden, lines = entry
    hidden_at = tuple(part for part in hidden.split(", ") if part)
    return Mistake(title, stage, first, effect, hidden_at, MappingProxyType(lines), of_context)


mistakes: Mapping[str, Mistake] = MappingProxyType(
    {name: _build(entry) for name, entry in _TABLE.items()}
    | {name: _build(entry, True) for name, entry in TABLE.items()}
)
"""The catalogue by name."""
