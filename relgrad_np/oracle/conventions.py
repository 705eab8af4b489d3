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
}
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
# the arrays of a case that R_W and R_b are in a variant
OF_VARIANT = {
    "output augmented": ("R_W", "R_b"),
    "output separate": ("R_W_separate", "G_b"),
    "input augmented": ("R_W_input", "R_b_input"),
    "input separate": ("R_W_input", "G_b"),
}
STEP = ("W_plus", "b_plus", "logdet_plus", "W_exp", "b_exp")
OF_BIAS = ("G_b", "R_b", "R_b_input", "b_plus", "b_exp")


class Conventions(NamedTuple):
    """The conventions of a candidate; the defaults are those of this package.

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
    """Return the inputs as this candidate wants them: W as it stores it, eta / N if it sums.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> problem = small().cases[0].problem
    >>> for_candidate(problem, Conventions(reduction="sum")).eta == problem.eta / problem.N
    True
    """
    if how.weights == "transposed":
        problem = problem._replace(W=tuple(W.T.copy() for W in problem.W))
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
    if stage.square and how.weights == "transposed":
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

    Whoever has `supplied` results for a case with an activated last layer has read its flag.
    """
    if how.bias == "none" and problem.bias != "none":
        return False
    flagged = supplied and problem.last_layer == "activated"
    return flagged or problem.last_layer == how.last_layer


def expected(case: Case, how: Conventions) -> Case:
    """Return the case with R_W and R_b of the declared variant, and no b where there is none.

    The suite does not hold the step of another variant: that is left out, and so not checked.
    """
    arrays, tolerances = dict(case.expected), dict(case.tolerances)
    if how.variant != "output augmented":
        for k in range(case.problem.L):
            for target, source in zip(("R_W", "R_b"), OF_VARIANT[how.variant], strict=True):
                for part in (arrays, tolerances):
                    part[f"{target}_{k}"] = part[f"{source}_{k}"]
    left_out: tuple[str, ...] = STEP if how.variant != "output augmented" else ()
    left_out += OF_BIAS if how.bias == "none" else ()
    kept = [name for name in arrays if split(name)[0] not in left_out]
    return case._replace(
        expected={name: arrays[name] for name in kept},
        tolerances={name: tolerances[name] for name in kept},
    )
