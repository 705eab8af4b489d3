"""Mistakes that were invented to try the diagnosis: none of them is in the catalogue.

Each is a line of the algorithm, wrong, that runs in NumPy and in torch. It says where it shows
first, and, where it has one, in which cases or layers, and what the wrong array is in terms of the
right one. `validation.diagnosis` plants each and compares every claim of the report with this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from relgrad_np.oracle.mistakes import elementwise as e
from relgrad_np.oracle.mistakes.formulas import LINES, Line


class Invention(NamedTuple):
    """A mistake: title, stage, layer (0, 1, last, below last, net) in which it shows first, lines.

    `condition`: key and value of where it is wrong, where that is not everywhere. `relation`: the
    kind and the beginning of the detail of what the wrong array is; `other` says the same in other
    words. `mistakes`: those of the catalogue that do the same where it is wrong.
    """

    title: str
    stage: str
    layer: str
    lines: dict[str, Line]
    condition: tuple[str, str] | None = None
    relation: tuple[str, str] | None = None
    mistakes: tuple[str, ...] = ()
    other: tuple[str, str] | None = None

    @property
    def relations(self) -> list[tuple[str, str]]:
        """What the wrong array is, in all ways that are true."""
        return [pair for pair in (self.relation, self.other) if pair is not None]


def right(name: str, m: Any, *k: Any) -> Any:
    """The right line."""
    return LINES[name](m, *k)


def when(test: Callable[[Any, int], bool], name: str, wrong: Line) -> dict[str, Line]:
    """A line that is wrong where a test of the execution and the layer holds."""
    return {name: lambda m, k, *r: wrong(m, k, *r) if test(m, k) else right(name, m, k, *r)}


def in_net(test: Callable[[Any], bool], name: str, wrong: Line) -> dict[str, Line]:
    """The same for a line of the whole net."""
    return {name: lambda m, *r: wrong(m, *r) if test(m) else right(name, m, *r)}


def last(m: Any, k: int) -> bool:
    """Whether it is the last layer."""
    return k == m.L - 1


def hidden(m: Any, k: int) -> bool:
    """Whether it has an activation."""
    return k < m.hidden


def flipped(x: Any) -> Any:
    """The rows in reverse."""
    return x[list(range(len(x) - 1, -1, -1))]


def clipped(m: Any, x: Any, c: float) -> Any:
    """Clipped at -c and c."""
    return m.xp.clip(x, -c, c)


def negative(m: Any, k: int) -> bool:
    """Whether det W < 0."""
    return bool(m.xp.linalg.slogdet(m.W[k])[0] < 0)


def data(m: Any, k: int) -> Any:
    """R_W without its last term."""
    return m.Delta[k].T @ (m.Y[k] @ m.W[k])


def outer(x: Any, y: Any) -> Any:
    """X y'."""
    return x.reshape(-1, 1) @ y.reshape(1, -1)


def column(x: Any) -> Any:
    """Ones, as many as x has rows."""
    return 0 * x[:, 0] + 1


def rows_mean(m: Any, x: Any) -> Any:
    """The mean of the rows, in each row."""
    return 0 * x + m.xp.sum(x, 0) / len(x)


def is_model(m: Any, name: str) -> bool:
    """Whether the activation or the density has this name."""
    return name in (m.act.name, m.dens.name)


def _relu(m: Any, k: int) -> Any:
    return e.positive(m.xp, m.Y[k])


def _alpha(m: Any, k: int) -> Any:
    act = m.act._replace(params={"alpha": 0.3})
    return e.sigma(m.xp, act, m.Y[k])


def _first_only(m: Any, k: int) -> Any:
    mask = 0 * m.Y[k]
    mask[0] = 1
    return mask


def _added_to_first(m: Any, k: int) -> Any:
    Y = m.Z[k] @ m.W[k].T
    mask = 0 * Y
    mask[0] = 1
    return Y + mask * m.b[k]


def _without_last_row(x: Any) -> Any:
    x = x + 0
    x[-1] = 0
    return x


def _nu(m: Any) -> Any:
    dens = m.dens._replace(params={"nu": m.dens.params["nu"] + 1})
    return e.score(m.xp, dens, m.Z[-1]) * m("share")


INVENTIONS = [Invention(*row) for row in (
    # forward
    ("b is a thousandth too large in Y", "Y", "0",
     {"Y": lambda m, k: m.Z[k] @ m.W[k].T + 1.001 * m.b[k]}, ("b", "nonzero"), ("plus", "b")),
    ("samples are reversed from the second layer on", "Y", "1",
     when(lambda m, k: k > 0, "Y", lambda m, k: flipped(m.Z[k]) @ m.W[k].T + m.b[k]),
     ("layer and N", "not first and > 1"), ("reversed", "rows")),
    ("the symmetric part of W in Y", "Y", "0",
     {"Y": lambda m, k: m.Z[k] @ (m.W[k] + m.W[k].T) / 2 + m.b[k]}, None,
     ("input", "W replaced by its symmetric part")),
    ("the lower triangle of W in Y", "Y", "0",
     {"Y": lambda m, k: m.Z[k] @ m.xp.tril(m.W[k]).T + m.b[k]}, None,
     ("input", "W replaced by its lower triangle")),
    ("Y is clipped at 4", "Y", "0",
     {"Y": lambda m, k: clipped(m, right("Y", m, k), 4.0)}, None, ("clipped", "both")),
    ("b of the layer above in Y", "Y", "0",
     {"Y": lambda m, k: m.Z[k] @ m.W[k].T + m.b[min(k + 1, m.L - 1)]},
     ("layer", "not last"),
     ("input", "b replaced by that of the layer above")),
    ("b is added to the first sample only", "Y", "0", {"Y": _added_to_first},
     ("entries", "not first row"), None),
    ("hidden layers are scaled by 1.01", "Z", "0",
     when(hidden, "Z", lambda m, k: 1.01 * right("Z", m, k)), ("layer", "not last"),
     ("factor", "1.01")),
    ("leaky_tanh without its leak", "Z", "0",
     when(lambda m, k: hidden(m, k) and is_model(m, "leaky_tanh"), "Z",
          lambda m, k: m.xp.tanh(m.act.params["alpha"] * m.Y[k])),
     ("activation", "leaky_tanh"), ("plus", "Y")),
    ("the kink of relu for elu", "Z", "0",
     when(lambda m, k: hidden(m, k) and is_model(m, "elu"), "Z", _relu),
     ("activation", "elu"), ("function", "positive part")),
    ("alpha is 0.3, whatever was asked for", "Z", "0",
     when(lambda m, k: hidden(m, k) and is_model(m, "smooth_leaky_relu"), "Z", _alpha),
     ("activation", "smooth_leaky_relu"), ("plus", "Y,")),
    ("a shift of 0.1 in the latent", "Z", "last",
     when(last, "Z", lambda m, k: right("Z", m, k) + 0.1), ("layer", "last"), ("plus", "1")),
    ("leaky_tanh for every activation", "Z", "0",
     when(hidden, "Z", lambda m, k: e.sigma(
         m.xp, m.act._replace(name="leaky_tanh", params={"alpha": 1.25, "beta": 0.125}), m.Y[k])),
     ("activation", "not leaky_tanh"), ("model", "activation leaky_tanh")),
    # terms of the log-likelihood
    ("log sigma' is not let below -3", "log_dsigma", "0",
     {"log_dsigma": lambda m, k: m.xp.clip(right("log_dsigma", m, k), -3.0, 1e9)}, None,
     ("clipped", "below")),
    ("log(sigma' + 0.001)", "log_dsigma", "0",
     {"log_dsigma": lambda m, k: m.xp.log(e.dsigma(m.xp, m.act, m.Y[k]) + 1e-3)}, None, None),
    ("log to base 2 of sigma'", "log_dsigma", "0",
     {"log_dsigma": lambda m, k: right("log_dsigma", m, k) / math.log(2)}, None,
     ("factor", "1.44269504")),
    ("log sigma' is halved in the first layer", "log_dsigma", "0",
     when(lambda m, k: k == 0, "log_dsigma", lambda m, k: right("log_dsigma", m, k) / 2),
     ("layer", "first"), ("factor", "0.5")),
    ("the modulus of log sigma'", "log_dsigma", "0",
     {"log_dsigma": lambda m, k: abs(right("log_dsigma", m, k))}, None, ("function", "modulus")),
    ("(log sigma')' is doubled", "dlog_dsigma", "0",
     {"dlog_dsigma": lambda m, k: 2 * right("dlog_dsigma", m, k)}, None, ("factor", "2")),
    ("(log sigma')' of reversed samples", "dlog_dsigma", "0",
     {"dlog_dsigma": lambda m, k: flipped(right("dlog_dsigma", m, k))}, None,
     ("reversed", "rows")),
    ("(log sigma')' is 0 where y > 0", "dlog_dsigma", "0",
     {"dlog_dsigma": lambda m, k: right("dlog_dsigma", m, k) * (m.Y[k] <= 0)},
     ("entries", "y > "), None),
    ("z^2 for z^2 / 2 in the normal density", "L_p", "net",
     in_net(lambda m: is_model(m, "normal"), "L_p",
            lambda m: right("L_p", m) - m.xp.sum(m.Z[-1] ** 2, 1) / 2),
     ("density", "normal"), ("plus", "|latent|^2")),
    ("the Laplace density without its 1/2", "L_p", "net",
     in_net(lambda m: is_model(m, "laplace"), "L_p",
            lambda m: right("L_p", m) + m.D * math.log(2)),
     ("density", "laplace"), ("offset", ""), ("L_p_without_constant",)),
    ("L_p is the mean over samples, in each", "L_p", "net",
     {"L_p": lambda m: 0 * right("L_p", m) + m.xp.sum(right("L_p", m)) / m.N}, ("N", "> 1"),
     ("averaged", "1 rows")),
    ("L_p is not let above -4", "L_p", "net",
     {"L_p": lambda m: m.xp.clip(right("L_p", m), -1e9, -4.0)}, None, ("clipped", "above")),
    ("L_p leaves out the last component", "L_p", "net",
     {"L_p": lambda m: m.xp.sum(e.log_density(m.xp, m.dens, m.Z[-1])[:, :-1], 1)}, None, None),
    ("L_J1 leaves out the last hidden layer", "L_J1", "net",
     in_net(lambda m: m.hidden > 0, "L_J1", lambda m: right("L_J1", m) - m.xp.sum(
         m.log_dsigma[m.hidden - 1], 1)), ("L", "> 1"), ("plus", "log sigma' of the last")),
    ("L_J1 is counted twice", "L_J1", "net", {"L_J1": lambda m: 2 * right("L_J1", m)}, None,
     ("factor", "2")),
    ("L_J1 of reversed samples", "L_J1", "net", {"L_J1": lambda m: flipped(right("L_J1", m))},
     None, ("reversed", "rows")),
    ("layers with det W < 0 are left out of L_J2", "L_J2", "net",
     {"logdet": lambda m, k: right("logdet", m, k) * (0 if negative(m, k) else 1)},
     ("det W", "some < 0"), None),
    ("L_J2 is counted once a layer", "L_J2", "net", {"L_J2": lambda m: m.L * right("L_J2", m)},
     ("L", "> 1"), ("factor", "L")),
    ("log_prob counts L_J1 twice", "log_prob", "net",
     {"log_prob": lambda m, p, j1, j2: p + 2 * j1 + j2}, None, ("plus", "L_J1")),
    ("log_prob subtracts L_J2", "log_prob", "net",
     {"log_prob": lambda m, p, j1, j2: p + j1 - j2}, None, ("plus", "L_J2")),
    ("log_prob is centred over samples", "log_prob", "net",
     {"log_prob": lambda m, p, j1, j2: p + j1 + j2 - m.xp.sum(p + j1 + j2) / m.N}, None,
     ("centred", "rows")),
    # backpropagation
    ("1/(N + 1) for 1/N", "Delta", "last", {"share": lambda m: 1 / (m.N + 1)}, None,
     ("number", "N: N + 1")),
    ("Deltas are clipped at 0.02", "Delta", "last",
     {"Delta": lambda m, k, above: clipped(m, right("Delta", m, k, above), 0.02)}, None,
     ("clipped", "both")),
    ("(log sigma')' is counted twice in Delta", "Delta", "below last",
     {"bend": lambda m, k: 2 * right("bend", m, k)}, None, ("plus", "(log sigma')'")),
    ("the last sample is dropped from the score", "Delta", "last",
     {"dZ_last": lambda m: _without_last_row(right("dZ_last", m))},
     ("layer", "last"), ("input", "the latent without the last sample")),
    ("Delta is centred over samples in hidden layers", "Delta", "below last",
     when(hidden, "Delta", lambda m, k, above: right("Delta", m, k, above) - rows_mean(
         m, right("Delta", m, k, above))), ("layer", "not last"), ("centred", "rows")),
    ("nu + 1 for nu in the score of Student's t", "Delta", "last",
     in_net(lambda m: is_model(m, "student_t"), "dZ_last", _nu), ("density", "student_t"), None),
    ("tanh(10 z) for the sign of z in the Laplace score", "Delta", "last",
     in_net(lambda m: is_model(m, "laplace"), "dZ_last",
            lambda m: -m.xp.tanh(10 * m.Z[-1]) * m("share")), ("density", "laplace"), None),
    ("Delta goes back through the first layer's W", "Delta", "below last",
     {"dZ": lambda m, k: m.Delta[k] @ m.W[0]}, ("layer", "not last"),
     ("input", "W_{k+1} replaced by that of the first")),
    ("the score is doubled", "Delta", "last",
     {"dZ_last": lambda m: 2 * right("dZ_last", m)}, ("layer", "last"), ("factor", "2")),
    # ordinary gradient
    ("weight decay of 0.003 in G_W", "G_W", "0",
     {"G_W": lambda m, k: right("G_W", m, k) - 0.003 * m.W[k]}, None, ("plus", "W")),
    ("the last layer's data term is doubled in G_W", "G_W", "last",
     when(last, "G_W", lambda m, k: right("G_W", m, k) + m.Delta[k].T @ m.Z[k]),
     ("layer", "last"), ("plus", "Delta' Z")),
    ("G_W is scaled to norm 1", "G_W", "0",
     {"G_W": lambda m, k: right("G_W", m, k) / (
         1e-30 + m.xp.sum(right("G_W", m, k) ** 2) ** 0.5)}, None,
     ("norm", "1")),
    ("only the diagonal of G_W is kept", "G_W", "0",
     {"G_W": lambda m, k: right("G_W", m, k) * m.eye()}, None, ("part", "diagonal")),
    ("G_b is reversed", "G_b", "0", {"G_b": lambda m, k: flipped(right("G_b", m, k))}, None,
     ("reversed", "rows")),
    ("G_b is a mean over samples, times D", "G_b", "0",
     {"G_b": lambda m, k: right("G_b", m, k) * m.D / m.N}, None, ("factor", "D/N")),
    ("G_b of the layer below", "G_b", "1",
     {"G_b": lambda m, k: m.xp.sum(m.Delta[max(k - 1, 0)], 0)}, ("layer", "not first"),
     ("layer", "below")),
    ("G_b without its last sample", "G_b", "0",
     {"G_b": lambda m, k: m.xp.sum(m.Delta[k][:-1], 0)}, None,
     ("input", "Delta without the last sample")),
    # relative gradient
    ("Y is centred in R_W", "R_W", "0",
     {"R_W": lambda m, k: m.Delta[k].T @ ((m.Y[k] - rows_mean(m, m.Y[k])) @ m.W[k]) + m.W[k]},
     None, ("input", "Y less its mean"), (), ("input", "Delta less its mean")),
    ("I is added to R_W", "R_W", "0", {"R_W": lambda m, k: right("R_W", m, k) + m.eye()}, None,
     ("plus", "I")),
    ("R_W of the last layer is its ordinary gradient", "R_W", "last",
     when(last, "R_W", lambda m, k: m.G_W[k]), ("layer", "last"), None, ("R_W_ordinary",)),
    ("the upper triangle of R_W", "R_W", "0", {"R_W": lambda m, k: m.xp.triu(right("R_W", m, k))},
     None, ("part", "upper")),
    ("W is missing in R_W where N = 1", "R_W", "0",
     when(lambda m, k: m.N == 1, "R_W", data), ("N", "1"), ("plus", "W"), ("R_W_without_W",)),
    ("R_W is transposed where det W < 0", "R_W", "0",
     when(negative, "R_W", lambda m, k: right("R_W", m, k).T), ("det W", "< 0"),
     ("transpose", "")),
    ("R_W is multiplied by eta", "R_W", "0",
     {"R_W": lambda m, k: m.eta * right("R_W", m, k)}, None, ("factor", "eta")),
    ("W of the first layer in the product of R_W", "R_W", "1",
     {"R_W": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.W[0]) + m.W[k]}, ("layer", "not first"),
     ("input", "W in its product replaced by that of the first")),
    ("the sum over samples is counted twice in R_b", "R_b", "0",
     {"R_b": lambda m, k: right("R_b", m, k) + m.xp.sum(m.Delta[k], 0)}, None,
     ("plus", "sum(Delta)")),
    ("R_b is negated above the first layer", "R_b", "1",
     when(lambda m, k: k > 0, "R_b", lambda m, k: -right("R_b", m, k)), ("layer", "not first"),
     ("factor", "-1")),
    ("the modulus of b is added in R_b", "R_b", "0",
     {"R_b": lambda m, k: right("R_b", m, k) - m.b[k] + abs(m.b[k])}, ("b", "nonzero"),
     ("input", "b in its last term replaced by its modulus")),
    ("R_W_separate is returned transposed", "R_W_separate", "0",
     {"R_W_separate": lambda m, k: right("R_W_separate", m, k).T}, None, ("transpose", "")),
    ("R_b_input is halved", "R_b_input", "0",
     {"R_b_input": lambda m, k: right("R_b_input", m, k) / 2}, None, ("factor", "0.5")),
    # step and inverse
    ("half a step of W", "W_plus", "0",
     {"W_plus": lambda m, k: m.W[k] + m.eta / 2 * m.R_W[k]}, None, ("plus", "R_W")),
    ("W shrinks by a thousandth at each step", "W_plus", "0",
     {"W_plus": lambda m, k: right("W_plus", m, k) - 0.001 * m.W[k]}, None, ("plus", "W")),
    ("W_plus is clipped at 1.5", "W_plus", "0",
     {"W_plus": lambda m, k: clipped(m, right("W_plus", m, k), 1.5)}, None, ("clipped", "both")),
    ("b stays where it is", "b_plus", "0", {"b_plus": lambda m, k: m.b[k] + 0}, None,
     ("plus", "R_b")),
    ("the last layer's b takes twice the step", "b_plus", "last",
     when(last, "b_plus", lambda m, k: m.b[k] + 2 * m.eta * m.R_b[k]), ("layer", "last"),
     ("plus", "R_b")),
    ("the modulus of log|det W+|", "logdet_plus", "0",
     {"logdet_plus": lambda m, k: abs(right("logdet_plus", m, k))}, None,
     ("function", "modulus"), (), ("factor", "-1")),
    ("log10 |det W+|", "logdet_plus", "0",
     {"logdet_plus": lambda m, k: right("logdet_plus", m, k) / math.log(10)}, None,
     ("factor", "0.434294482")),
    ("the exponential step of twice the rate", "W_exp", "0", {"exp": lambda m, k: _doubled(m, k)},
     None, None),
    ("samples come back in reverse", "X_back", "net",
     {"X_back": lambda m: flipped(right("X_back", m))}, ("N", "> 1"), ("reversed", "rows")),
    ("the inverse ends before the first layer's W", "X_back", "net",
     {"unline": lambda m, k, Y: Y - m.b[k] if k == 0 else right("unline", m, k, Y)}, None, None),
)]  # fmt: skip


def _doubled(m: Any, k: int) -> Any:
    eta, m.eta = m.eta, 2 * m.eta
    made = right("exp", m, k)
    m.eta = eta
    return made
