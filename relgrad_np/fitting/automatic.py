"""Settings chosen from the data: a table by the number of rows N and of columns D.

A net of L layers has P = L (D^2 + D) numbers. It is as deep as the training rows can bear and as
the natural gradient can afford, P <= min(N, 1500); where not even two layers are, four by the
recipe are. Estimator and command line ask here, so that the same rows get the same net. The table
was chosen on the validation rows of other sets than those it is reported for: `validation.tables`.
"""

import math
from typing import NamedTuple

from ..kernels.worth import reference_seconds
from ..rules.by_name import NAMES, NEWTON

DEPTHS = (32, 16, 8, 4, 2)  # numbers of layers that are tried, the deepest first
AFFORDED = 1500  # most numbers of a net that is fitted by the natural gradient
SHALLOW = 4  # layers of a net that the recipe fits
STEPS = 1500  # steps, about, of a fit of many rows
PASSES = 30, 150  # epochs, where so many steps are fewer or more
FEWEST = 150  # steps that a fit of fewer layers is preferred to, where time is short
PATIENCE = 30  # epochs
MANY = 4000  # training rows from which on slopes of .5 do better than those of .3
PRODUCTS = 3e10  # multiplications and additions a second of one core, in products of matrices
ELEMENT = 6e-8  # seconds for an element of a layer's output, forward and back
CALLS = 3e-4  # seconds for a step, whatever its size
OWN = ("smooth_leaky_relu", 0.3)  # the activation where nothing speaks for another


class ChosenSettings(NamedTuple):
    """What a fit is made with: the table's choice, or what was asked for instead of it.

    `patience` None: no validation rows are needed; `seconds`: how long the fit takes, about, if no
    validation stops it, on one core and not counting compilation; None where nobody knows.

    >>> choose_settings(2000, 2).words
    'D = 2, N = 2,000: 32 layers by the natural gradient; about 2 s'
    """

    n_layers: int
    rule: str
    init: str
    density: str
    activation: str
    alpha: float | None
    batch_size: int | None
    epochs: int | None
    patience: int | None
    seconds: float | None = None
    words: str = ""


USUAL = ChosenSettings(2, "recipe", "gaussianize", "normal", *OWN, 100, None, None)


def choose_settings(
    N: int,
    D: int,
    *,
    n_layers: int | None = None,
    rule: str | None = None,
    seconds: float | None = None,
) -> ChosenSettings:
    """Return settings for N training rows of D columns.

    `n_layers` and `rule` hold where they are given, and the others follow them. One layer, and
    rules other than "natural" and "recipe", have the settings that `fit` has: the table is about
    deep nets. `seconds`: how long the fit may take; there are fewer epochs then, and fewer layers
    where too few would be left.

    >>> choose_settings(341, 30)[:4], choose_settings(341, 30, n_layers=1).density
    ((4, 'recipe', 'gaussianize', 'student_t'), 'normal')
    >>> choose_settings(30_000, 6, seconds=2)[0], choose_settings(30_000, 6)[0]
    (8, 32)
    """
    if n_layers == 1 or (rule is not None and rule not in ("natural", "recipe")):
        named = USUAL.rule if rule is None else rule
        return USUAL._replace(
            n_layers=USUAL.n_layers if n_layers is None else n_layers,
            rule=named,
            batch_size=None if named == NEWTON else USUAL.batch_size,
            words=f"D = {D:,}, N = {N:,}: the settings of `fit` for the rule {_shown(named)}",
        )
    depths = DEPTHS if n_layers is None else (n_layers,)
    fit = [] if rule == "recipe" else [L for L in depths if affordable(N, D, L)]
    if rule == "natural" and not fit:
        fit = [depths[-1]]
    if fit:
        candidates = [natural_of(N, D, L) for L in fit]
    else:
        candidates = [recipe_of(N, D, SHALLOW if n_layers is None else n_layers)]
    made = next((c for c in candidates if _bears(c, N, seconds)), candidates[-1])
    made = within_seconds(made, N, seconds)
    return made._replace(words=_words(made, N, D))


def affordable(N: int, D: int, L: int) -> bool:
    """Say whether N rows bear L layers, and the natural gradient affords them.

    >>> affordable(90, 4, 4), affordable(90, 4, 8)
    (True, False)
    """
    return L > 1 and L * D * (D + 1) <= min(N, AFFORDED)


def natural_of(N: int, D: int, L: int) -> ChosenSettings:
    """Return the settings of L layers by the natural gradient."""
    P = L * D * (D + 1)
    batch = min(2000, max(200, 2 * P))
    alpha = 0.5 if N >= MANY else OWN[1]
    epochs = passes(N, batch)
    steps = epochs * math.ceil(N / batch)
    seconds = steps * natural_step_seconds(min(N, batch), D, L)
    return ChosenSettings(
        *(L, "natural", "principal", "student_t", OWN[0], alpha, batch, epochs, PATIENCE, seconds)
    )


def recipe_of(N: int, D: int, L: int) -> ChosenSettings:
    """Return the settings of L layers by the recipe, which bears fewer rows than numbers."""
    batch = 100 if N < 10_000 else 200
    epochs = passes(N, batch)
    seconds = reference_seconds(epochs * math.ceil(N / batch), min(N, batch), D, L)
    return ChosenSettings(
        *(L, "recipe", "gaussianize", "student_t", *OWN, batch, epochs, PATIENCE, seconds)
    )


def passes(N: int, batch: int) -> int:
    """Return the epochs of a fit: as many as make about `STEPS` steps, within `PASSES`.

    >>> passes(100, 200), passes(50_000, 2000), passes(10**7, 2000)
    (150, 60, 3)
    """
    least, most = PASSES
    wanted = min(most, max(least, STEPS * batch // N))
    return max(2, min(wanted, 10 * STEPS * batch // N))


def natural_step_seconds(N: int, D: int, L: int) -> float:
    """Estimate how long a compiled step of the natural gradient takes, in seconds, on one core.

        3e-4 + 6e-8 N L D + (N P^2 + P^3 / 3) / (every 3e10),  every = max(1, P / 400)

    Fitted to 8 shapes, D from 2 to 20, P from 48 to 1344.

    >>> round(natural_step_seconds(2000, 6, 32), 3)
    0.072
    """
    P = L * D * (D + 1)
    products = (N * P * P + P**3 / 3) / max(1, round(P / 400))
    return CALLS + ELEMENT * N * L * D + products / PRODUCTS


def within_seconds(made: ChosenSettings, N: int, seconds: float | None) -> ChosenSettings:
    """Return the settings with as many epochs as the time allows, one at least."""
    if seconds is None or made.seconds is None or made.epochs is None or made.seconds <= seconds:
        return made
    epochs = max(1, int(made.epochs * seconds / made.seconds))
    return made._replace(epochs=epochs, seconds=made.seconds * epochs / made.epochs)


def validation_share(N: int, D: int) -> float | None:
    """Return the part of N rows that judges epochs; None where all are needed to fit.

    >>> validation_share(1000, 2), validation_share(40, 2)
    (0.2, None)
    """
    if N < max(50, 4 * D):
        return None
    return 0.2 if N < 20_000 else 0.1


def _bears(made: ChosenSettings, N: int, seconds: float | None) -> bool:
    """Say whether the time allows `FEWEST` steps."""
    epochs = within_seconds(made, N, seconds).epochs or 1
    return epochs == made.epochs or epochs * math.ceil(N / (made.batch_size or N)) >= FEWEST


def _shown(rule: str) -> str:
    return rule if rule in NAMES else "given"


def _words(made: ChosenSettings, N: int, D: int) -> str:
    how = "natural gradient" if made.rule == "natural" else made.rule
    took = "" if made.seconds is None else f"; about {duration(made.seconds)}"
    layers = f"{made.n_layers} layer{'s' * (made.n_layers > 1)}"
    return f"D = {D:,}, N = {N:,}: {layers} by the {how}{took}"


def duration(seconds: float) -> str:
    """Return seconds in words.

    >>> duration(0.2), duration(5.4), duration(300), duration(9000)
    ('1 s', '5 s', '5 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
