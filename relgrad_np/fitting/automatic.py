"""Settings chosen from the data: a table by the number of rows N and of columns D.

A net of L layers has P = L D (D + 1 + c) numbers, with c columns of context. It is as deep as the
training rows can bear and as the natural gradient can afford, P <= min(N, 1500); where not even
two layers are, four by the recipe are. Estimator and command line ask here, so that the same rows
get the same net. How the choice does on sets that it was not made with: `validation.tables`.
"""

import math
from typing import Any, NamedTuple

from ..core.arguments import number, whole
from ..kernels.choose import reference_seconds
from ..rules.by_name import NEWTON
from ..rules.natural import Natural
from .options import Options

DEPTHS = (32, 16, 8, 4, 2)  # numbers of layers that are tried, the deepest first
AFFORDED = 1500  # most numbers of a net that is fitted by the natural gradient
SHALLOW = 4  # layers of a net that the recipe fits
STEPS = 1200  # steps, about, of a fit
PASSES = 20, 400  # epochs, where so many steps are fewer or more
FEWEST = 150  # steps that a fit of fewer layers is preferred to, where time is short
PATIENCE = 30, 8  # epochs, and a part of all, whichever is more
MANY = 4000  # training rows from which on slopes of .5 do better than those of .3
PRODUCTS = 3e10  # multiplications and additions a second of one core, in products of matrices
ELEMENT = 6e-8  # seconds for an element of a layer's output, forward and back
CALLS = 3e-4  # seconds for a step, whatever its size
BEGUN = 3e-2  # seconds for the start of a layer, but for the last one
ENDED = 2e-4  # seconds for the end of an epoch, for each layer: what is factorised and kept
JUDGED = 1e-7  # seconds for an element of a layer's output of the validation rows, N / 8
OWN = ("smooth_leaky_relu", 0.3)  # the activation where nothing speaks for another
GIVEN_CONTEXT = Natural(damping=0.1)  # slopes by the context, of every layer, follow noise sooner


class ChosenSettings(NamedTuple):
    """What a fit is made with: the table's choice, or what was asked for instead of it.

    `alpha` None: the activation's own; `epochs` None: as many as `fit` takes; `patience` None: no
    validation stops the fit. `seconds`: how long it takes, about, if none does, on one core and not
    counting compilation; None where nobody knows. `cut`: the time that was asked for left fewer
    epochs or layers.

    >>> choose_settings(2000, 2).words
    'D = 2, N = 2,000: 32 layers by the natural gradient; about 6 s'
    """

    n_layers: int
    rule: Any
    init: str
    density: Any
    activation: Any
    alpha: float | None
    batch_size: int | None
    epochs: int | None
    patience: int | None
    seconds: float | None = None
    words: str = ""
    cut: bool = False


USUAL = ChosenSettings(2, "recipe", "gaussianize", "normal", *OWN, 100, None, None)
OF_FIT = ("rule", "batch_size", "epochs", "patience")
AUTO = "auto"  # what a setting is where the data are to choose it


def choose_settings(
    N: int, D: int, *, c: int = 0, seconds: float | None = None, held: bool = True, **given: Any
) -> ChosenSettings:
    """Return settings for N training rows of D columns, given c columns of context.

    `given`: fields of the result that hold as they are, unless they are "auto"; the others follow
    them. One layer, rules other than "natural" and "recipe", and rows of which none are `held` to
    judge epochs, have the settings of `fit`: the table is about deep nets. Where none are held as
    there are `few`, it is one layer, the Gaussian. `seconds`: how long the fit may take; there are
    fewer epochs then, and fewer layers where too few would be left.

    >>> choose_settings(341, 30)[:4], choose_settings(341, 30, n_layers=1).density
    ((4, 'recipe', 'gaussianize', 'student_t'), 'normal')
    >>> choose_settings(30_000, 6, seconds=2)[0], choose_settings(30_000, 6)[0]
    (8, 32)
    """
    if seconds is not None:
        number("seconds", seconds, 0, math.inf, "positive")
    given = {name: value for name, value in given.items() if not _is_auto(value)}
    if "activation" in given:
        given = {"alpha": None, **given}
    if "n_layers" in given:
        given["n_layers"] = whole("n_layers", given["n_layers"])
    given |= checked({name: given[name] for name in OF_FIT if name in given})
    n_layers, rule = given.get("n_layers"), given.get("rule")
    if (
        (not held and rule != "natural")
        or n_layers == 1
        or (rule is not None and rule not in ("natural", "recipe"))
    ):
        shallow = not held and few(N, D + c) and not given.keys() & {"n_layers", "density"}
        candidates = [usual_for(rule)._replace(n_layers=1 if shallow else USUAL.n_layers)]
    else:
        depths = DEPTHS if n_layers is None else (n_layers,)
        deep = [] if rule == "recipe" else [L for L in depths if affordable(N, D, L, c)]
        if rule == "natural" and not deep:
            deep = [depths[-1]]
        candidates = [natural_of(N, D, L, c) for L in deep] or [recipe_of(N, n_layers or SHALLOW)]
    made = [candidate._replace(**given) for candidate in candidates]
    made = [one._replace(seconds=expected_seconds(one, N, D, c)) for one in made]
    shorter = [one if "epochs" in given else within_seconds(one, seconds) for one in made]
    bearable = (one for one, full in zip(shorter, made, strict=True) if _enough(one, full, N))
    found = next(bearable, shorter[-1])
    return found._replace(words=_words(found, N, D, c), cut=found is not made[0])


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return options of `fit` as they are to be kept; ValueError, by name, for what can't be used.

    >>> checked({"batch_size": 0})
    Traceback (most recent call last):
    ValueError: `batch_size` must be a positive integer, got 0
    """
    options = Options(**given)
    return {name: getattr(options, name) for name in given}


def few(N: int, D: int) -> bool:
    """Say whether rows are so few that none can be spared to judge a deep net; D has the context.

    >>> few(40, 2), few(150, 4), few(120, 40)
    (True, False, True)
    """
    return max(40, 3 * D) >= N


def usual_for(rule: Any) -> ChosenSettings:
    """Return the settings that `fit` has, for this rule if one is given.

    >>> usual_for("newton").batch_size, usual_for(None).batch_size
    (None, 100)
    """
    if rule is None:
        return USUAL
    at_once = isinstance(rule, str) and rule == NEWTON
    return USUAL._replace(rule=rule, batch_size=None if at_once else USUAL.batch_size)


def several_settings(N: int, D: int, seconds: float | None = None) -> list[ChosenSettings]:
    """Return settings around the chosen one, for fits whose densities are averaged.

    Other slopes, another base, half as many layers: what such fits get wrong differs. `seconds`:
    for all of them.

    >>> [(made.n_layers, made.density, made.alpha) for made in several_settings(2000, 2)]
    [(32, 'student_t', 0.3), (32, 'normal', 0.3), (32, 'student_t', 0.5), (16, 'normal', 0.5)]
    """
    each = None if seconds is None else seconds / 4
    first = choose_settings(N, D, seconds=each)
    L, half = first.n_layers, max(2, first.n_layers // 2)
    others = [
        (L, "student_t", 0.3),
        (L, "normal", 0.3),
        (L, "student_t", 0.5),
        (half, "normal", 0.5),
    ]
    names = "n_layers", "density", "alpha"
    rest = {"rule": first.rule, "init": first.init, "batch_size": first.batch_size}
    found = []
    for one in others:
        given: dict[str, Any] = rest | dict(zip(names, one, strict=True))
        found.append(choose_settings(N, D, seconds=each, **given))
    return found


def affordable(N: int, D: int, L: int, c: int = 0) -> bool:
    """Say whether N rows bear L layers, and the natural gradient affords them.

    >>> affordable(90, 4, 4), affordable(90, 4, 8), affordable(90, 4, 4, 1)
    (True, False, False)
    """
    return L > 1 and min(N, AFFORDED) >= L * D * (D + 1 + c)


def natural_of(N: int, D: int, L: int, c: int = 0) -> ChosenSettings:
    """Return the settings of L layers by the natural gradient, damped more where context is given.

    >>> natural_of(1000, 3, 8).batch_size, natural_of(1000, 3, 8, c=1).rule.damping
    (200, 0.1)
    """
    batch = min(2000, max(200, 2 * L * D * (D + 1 + c)))
    alpha = 0.5 if N >= MANY else OWN[1]
    how = GIVEN_CONTEXT if c else "natural", "principal", "student_t", OWN[0], alpha
    epochs = passes(N, batch)
    return ChosenSettings(L, *how, batch, epochs, patience_for(epochs))


def recipe_of(N: int, L: int) -> ChosenSettings:
    """Return the settings of L layers by the recipe, which bears fewer rows than numbers.

    >>> recipe_of(1000, 4).batch_size
    100
    """
    batch = 100 if N < 10_000 else 200
    how = "recipe", "gaussianize", "student_t", *OWN
    epochs = passes(N, batch)
    return ChosenSettings(L, *how, batch, epochs, patience_for(epochs))


def patience_for(epochs: int) -> int:
    """Return how many epochs without a better validation end a fit of so many.

    >>> patience_for(100), patience_for(600)
    (30, 75)
    """
    least, part = PATIENCE
    return max(least, epochs // part)


def passes(N: int, batch: int) -> int:
    """Return the epochs of a fit: as many as make about `STEPS` steps, within `PASSES`.

    Where a batch has all rows, an epoch is a step.

    >>> passes(100, 200), passes(2000, 400), passes(50_000, 2000), passes(10**7, 2000)
    (400, 240, 48, 2)
    """
    (least, most), batch = PASSES, min(batch, N)
    wanted = min(most, max(least, STEPS * batch // N))
    return max(2, min(wanted, 10 * STEPS * batch // N))


def expected_seconds(made: ChosenSettings, N: int, D: int, c: int = 0) -> float | None:
    """Estimate how long these settings take for N rows of D columns, in seconds; see `seconds`.

    The start, the steps, and the ends of epochs, which take more time than the steps where an epoch
    is one step. The last were fitted to 8 shapes of the natural gradient, L from 2 to 32.

    >>> expected_seconds(usual_for("newton"), 1000, 2)
    """
    natural = isinstance(made.rule, Natural) or made.rule == "natural"
    timed = natural or (isinstance(made.rule, str) and made.rule != NEWTON)
    if made.epochs is None or not timed:
        return None
    L, each = made.n_layers, math.ceil(N / (made.batch_size or N))
    shape = math.ceil(N / each), D, L
    steps = made.epochs * each
    taken = steps * natural_step_seconds(*shape, c) if natural else reference_seconds(steps, *shape)
    ends = made.epochs * L * (ENDED + JUDGED * D * N / 8)
    return starting_seconds(L) + taken + ends


def starting_seconds(L: int) -> float:
    """Estimate how long the start of L layers takes, in seconds.

    >>> starting_seconds(1)
    0.0
    """
    return BEGUN * (L - 1)


def natural_step_seconds(N: int, D: int, L: int, c: int = 0) -> float:
    """Estimate how long a compiled step of the natural gradient takes, in seconds, on one core.

        3e-4 + 6e-8 N L D + (N P^2 + P^3 / 3) / (every 3e10),  every = max(1, P / 400)

    Fitted to 8 shapes, D from 2 to 20, P from 48 to 1344.

    >>> round(natural_step_seconds(2000, 6, 32), 3)
    0.072
    """
    P = L * D * (D + 1 + c)
    products = (N * P * P + P**3 / 3) / max(1, round(P / 400))
    return CALLS + ELEMENT * N * L * D + products / PRODUCTS


def within_seconds(made: ChosenSettings, seconds: float | None) -> ChosenSettings:
    """Return the settings with as many epochs as the time allows, one at least.

    >>> within_seconds(choose_settings(30_000, 6), 10.0).epochs
    7
    """
    if seconds is None or made.seconds is None or made.epochs is None or made.seconds <= seconds:
        return made
    start = starting_seconds(made.n_layers)
    each = (made.seconds - start) / made.epochs
    epochs = max(1, int((seconds - start) / each))
    return made._replace(epochs=epochs, seconds=start + epochs * each)


def validation_share(N: int, D: int) -> float | None:
    """Return the part of N rows that judges epochs; None where all are needed to fit.

    >>> validation_share(1000, 2), validation_share(40, 2)
    (0.2, None)
    """
    share = 0.2 if N < 20_000 else 0.1
    return None if few(N - math.ceil(share * N), D) else share


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _enough(made: ChosenSettings, full: ChosenSettings, N: int) -> bool:
    """Say whether no epochs were left out, or `FEWEST` steps are left."""
    if made.epochs == full.epochs or made.epochs is None:
        return True
    return made.epochs * math.ceil(N / (made.batch_size or N)) >= FEWEST


def _words(made: ChosenSettings, N: int, D: int, c: int) -> str:
    layers = f"{made.n_layers} layer{'s' * (made.n_layers > 1)}"
    names = {"natural": "the natural gradient", "recipe": "the recipe"}
    rule = "natural" if made.rule is GIVEN_CONTEXT else made.rule
    how = names.get(rule, rule) if isinstance(rule, str) else "a rule of one's own"
    took = "" if made.seconds is None else f"; about {duration(made.seconds)}"
    given = f"c = {c:,}, " if c else ""
    return f"D = {D:,}, {given}N = {N:,}: {layers} by {how}{took}"


def duration(seconds: float) -> str:
    """Return seconds in words.

    >>> duration(0.2), duration(5.4), duration(300), duration(9000)
    ('1 s', '5 s', '5 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
