"""The records of arrays that the compiled functions pass to each other.

Python calls an entry with plain tuples, and the compiled code makes records of them: Numba takes
0.1 microseconds to unpack a plain tuple and 0.6 for a named one, and a small step takes 25.

L layers, N samples, D dimensions, n = min(N, D). Everything is contiguous, and of one dtype.
"""

from typing import Any, NamedTuple

Array = Any


class LayerArrays(NamedTuple):
    """The layers, which a step changes in place."""

    W: Array  # (L,), the addresses of the Ws, each (D, D)
    b: Array  # (L, D), or with context (L, D, c + 1)


class Formulas(NamedTuple):
    """Which activation and density: codes and constants, see `elementwise`."""

    activation: Any
    a: Array  # (5,), the activation's constants
    density: Any
    c: Array  # (4,), the density's constants


class PassArrays(NamedTuple):
    """What the forward and the backward pass fill."""

    blas: Any  # the address of ?gemm
    one: Any  # 1, or with context U~ (N, c + 1), see `bias`
    share: Array  # (N,), the samples' weights / N
    Z: Array  # (N, D), the input of the next layer; free after the forward pass
    S: Array  # (max(L - 1, 1), N, D), sigma'(Y)
    T: Array  # (max(L - 1, 1), N, D), (log sigma')'(Y)
    YD: Array  # (L, 2, N, D), Y above Delta: one product with W serves both, and reads W once
    P: Array  # (L, 2, N, D), that product: A = Y @ W above Delta @ W
    u: Array  # (L, N), Y @ b + 1, or with context (L, N, c + 1), Y @ B + U~
    K: Array  # (L, n, n), Y @ Delta.T, or Delta.T @ Y if that is smaller; Adam has none


class Sizes(NamedTuple):
    """How far each layer goes."""

    eta: Array  # (L,)
    norms: Array  # (L,), bounds of |K|, in the chart if there is one: they cap eta
    own: Array  # (L,), bounds of |K| itself: in a chart K of (D, D) is another matrix


class LogDets(NamedTuple):
    """The tracked log|det W| and its sign, float64."""

    logdet: Array  # (L,)
    sign: Array  # (L,)


class Charts(NamedTuple):
    """The recipe's constants, what it has seen in this window, and the gains.

    Without charts the mean is 0, and variance, information and gain are 1.
    """

    mean: Array  # (L, D), of Y: what a chart takes from b
    variance: Array  # (L, D)
    information: Array  # (L, D)
    each: Array  # (4, L): x, signal, |K| of a batch, and whether steps move
    before: Array  # (5, L, D), the rows of `rules.recipe.Seen` before this batch
    rows: Array  # (5, L, D), to be filled: with this batch
    before_each: Array  # (3, L): x, |K|, the largest |K| before this batch; a scalar rule's v
    numbers: Array  # (3, L), to be filled: with this batch
    gain: Array  # (L, D), to be filled


class RuleNumbers(NamedTuple):
    """The options of a rule as numbers; the last three are a recipe's."""

    charts: Any  # whether the rule is a recipe, or scalar
    kind: Any  # 0 plain, 1 exponential
    learning_rate: Any
    tau: Any  # most of eta |K| for the |K| of a recipe's window
    limit: Any  # most of eta |K| for the batch's own
    standardised: Any  # whether there are charts, else they are the layers' own outputs
    gains: Any  # whether there are gains
    size: Any  # 0, 1, 2: "noise", that of the scalar rule, "constant"


class Guarded(NamedTuple):
    """What judges a step by the log-likelihood of the next batch, see `rules.guard`."""

    guard: Array  # (4,), float64, moved on: batches seen, mean, mean deviation, caution
    undo: Any  # mean deviations below the mean that are bad
    learns: Any  # whether there is a guard
    judged: Any  # whether a step was taken before, which the first batch judges
    rate: Any  # by what falls of whole epochs have made the steps smaller


class Averaging(NamedTuple):
    """The running average of the layers."""

    every: Any  # layers join after steps t that are multiples of it; 0: there is no average
    many: Any  # how many it is about, at most
    t: Any  # steps tried before
    taken: Any  # layers in it
    waiting: Any  # whether the layers before the first step are to join
    old: Array  # (2, L), the addresses of its Ws and bs, which stay as they are
    new: Array  # (2, L), of memory for them


class LayerStep(NamedTuple):
    """One layer's step: its factors, and the numbers that go with them."""

    Y: Array  # (N, D)
    Delta: Array  # (N, D)
    A: Array  # (N, D)
    K: Array  # (n, n)
    u: Array  # (N,), or with context (N, c + 1)
    one: Any  # 1, or U~ (N, c + 1)
    m: Array  # (D,), what the chart takes from b; 0 without one
    gain: Array  # (D,), how much of the step each unit takes; 1 without gains
    eta: Any
    norm: Any  # >= |K|
