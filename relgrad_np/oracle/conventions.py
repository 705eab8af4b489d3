"""What two right implementations may do differently: a candidate declares it, nobody guesses it.

Results are converted to the default conventions before they are compared: rows of W are outputs,
gradients ascend, they are means over samples, the last layer is affine, there are biases, the
relative gradient is that of the output side with the bias in the group, and the base density has
mass 1.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .mistakes.elementwise import constant
from .truths.records import Array, Case, Problem
from .truths.stages import STAGES, split

FILE = "conventions.json"  # where results in files declare theirs
CHOICES: dict[str, tuple[str, ...]] = {
    "weights": ("rows", "transposed"),
    "direction": ("ascent", "descent"),
    "reduction": ("mean", "sum"),
    "last_layer": ("affine", "activated"),
    "bias": ("yes", "none"),
    "variant": ("output augmented", "output separate", "input augmented", "input separate"),
    "base": ("normalised", "unnormalised"),
    "context": ("none", "yes"),
}
ASKED = ("context",)  # what changes no array, but which cases are asked for
MEANING = {
    ("weights", "transposed"): (
        "weights are stored (in, out), y = x @ W + b, W transposed on reading"
    ),
    ("direction", "descent"): "gradients are those of -log p",
    ("reduction", "sum"): "gradients are sums over samples, not means",
    ("last_layer", "activated"): "the last layer has an activation, counted in L_J1",
    ("bias", "none"): "there are no biases",
    ("variant", "output separate"): "R_W = G_W W'W and R_b = G_b: the bias is not in the group",
    ("variant", "input augmented"): "the relative gradient of the input side, W W' G",
    ("variant", "input separate"): "R_W = W W' G_W and R_b = G_b",
    ("base", "unnormalised"): "log p(z) lacks its constant: it is log p(z) - log p(0), 0 at z = 0",
}
# the arrays of a case that R_W, R_b and R_C are in a variant
OF_VARIANT = {
    "output augmented": ("R_W", "R_b", "R_C"),
    "output separate": ("R_W_separate", "G_b", "G_C"),
    "input augmented": ("R_W_input", "R_b_input", "R_C_input"),
    "input separate": ("R_W_input", "G_b", "G_C"),
}
STEP = ("W_plus", "b_plus", "logdet_plus", "W_exp", "b_exp", "C_plus", "C_exp")
OF_BIAS = ("G_b", "R_b", "R_b_input", "b_plus", "b_exp")


class Conventions(NamedTuple):
    """The conventions of a candidate; the defaults are those of this package.

    `context="yes"` asks for cases with context, y = W z + C u + b, and for no others.

    >>> Conventions(weights="transposed", direction="descent").changes()
    {'weights': 'transposed', 'direction': 'descent'}
    """

    weights: str = "rows"
    direction: str = "ascent"
    reduction: str = "mean"
    last_layer: str = "affine"
    bias: str = "yes"
    variant: str = "output augmented"
    base: str = "normalised"
    context: str = "none"

    def changes(self) -> dict[str, str]:
        """Return what differs from the defaults, as one would write it in conventions.json."""
        return {key: value for key, value in self._asdict().items() if value != CHOICES[key][0]}


def valid(how: Conventions) -> Conventions:
    """Return conventions whose values are among the choices; else ValueError lists them.

    >>> valid(Conventions(direction="Descent"))
    Traceback (most recent call last):
    ValueError: unknown direction 'Descent'; choose from ascent, descent
    """
    return conventions(how._asdict())


def conventions(declared: Mapping[str, Any] | None) -> Conventions:
    """Return checked conventions from a mapping; ValueError lists the choices.

    >>> conventions({"weights": "columns"})
    Traceback (most recent call last):
    ValueError: unknown weights 'columns'; choose from rows, transposed
    """
    declared = dict(declared or {})
    for key, value in declared.items():
        if key not in CHOICES:
            raise ValueError(
                f"unknown convention {str(key)[:60]!r}; choose from {', '.join(CHOICES)}"
            )
        if not isinstance(value, str) or value not in CHOICES[key]:
            shown = repr(value)[:60]
            raise ValueError(f"unknown {key} {shown}; choose from {', '.join(CHOICES[key])}")
    return Conventions(**declared)


def for_candidate(problem: Problem, how: Conventions) -> Problem:
    """Return the inputs as this candidate wants them: W, C as it stores them, eta / N if it sums.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> problem = small().cases[0].problem
    >>> for_candidate(problem, Conventions(reduction="sum")).eta == problem.eta / problem.N
    True
    """
    if how.weights == "transposed":
        W, C = (tuple(x.T.copy() for x in part) for part in (problem.W, problem.C))
        problem = problem._replace(W=W, C=C)
    return problem if how.reduction == "mean" else problem._replace(eta=problem.eta / problem.N)


def to_default(name: str, x: Array, how: Conventions, N: int) -> Array:
    """Return a candidate's array in the default conventions.

    Applied twice it gives the array back, but for the factor N of sums.

    >>> import numpy as np
    >>> how = Conventions(direction="descent", reduction="sum")
    >>> to_default("G_b_0", np.array([2.0]), how, 4)
    array([-0.5])
    """
    stage = STAGES[split(name)[0]]
    if stage.turned and how.weights == "transposed":
        x = x.T
    if stage.signed and how.direction == "descent":
        x = -x
    if stage.summed and how.reduction == "sum":
        x = x / N
    return x


def restored(name: str, x: Array, how: Conventions, problem: Problem) -> Array:
    """Return L_p or log_prob with the constant that the base density lacks, D log p(0)."""
    if how.base == "normalised" or name not in ("L_p", "log_prob"):
        return x
    return (x + problem.D * constant(problem.density)).astype(x.dtype)


def applies(problem: Problem, how: Conventions, supplied: bool = False) -> bool:
    """Whether a case is one for a candidate of these conventions.

    Whoever has `supplied` results for a case with an activated last layer has read its flag. Cases
    with context are for those who declare it; whoever does may supply results for others, too.
    """
    if not asked(problem, how) and not (supplied and problem.c == 0):
        return False
    if how.bias == "none" and problem.bias != "none":
        return False
    flagged = supplied and problem.last_layer == "activated"
    return flagged or problem.last_layer == how.last_layer


def asked(problem: Problem, how: Conventions) -> bool:
    """Whether a candidate is asked for a case that has, or has not, context.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> asked(small().where(c=3).cases[0].problem, Conventions())
    False
    """
    return (problem.c > 0) == (how.context == "yes")


def sources_of(variant: str) -> dict[str, str]:
    """Return which arrays of a case R_W, R_b and R_C are in a variant.

    >>> sources_of("output separate")
    {'R_W': 'R_W_separate', 'R_b': 'G_b', 'R_C': 'G_C'}
    """
    return dict(zip(("R_W", "R_b", "R_C"), OF_VARIANT[variant], strict=True))


def expected(case: Case, how: Conventions) -> Case:
    """Return the case with R_W and R_b of the declared variant, and no b where there is none.

    The suite does not hold the step of another variant: that is left out, and so not checked.
    """
    arrays, tolerances = dict(case.expected), dict(case.tolerances)
    if how.variant != "output augmented":
        for k in range(case.problem.L):
            for target, source in sources_of(how.variant).items():
                for part in (arrays, tolerances):
                    if f"{source}_{k}" in part:
                        part[f"{target}_{k}"] = part[f"{source}_{k}"]
    left_out: tuple[str, ...] = STEP if how.variant != "output augmented" else ()
    left_out += OF_BIAS if how.bias == "none" else ()
    kept = [name for name in arrays if split(name)[0] not in left_out]
    return case._replace(
        expected={name: arrays[name] for name in kept},
        tolerances={name: tolerances[name] for name in kept},
    )
