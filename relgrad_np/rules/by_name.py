"""Rules by name."""

import math
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from ..core.arguments import number, one_of
from .adam import Adam
from .base import Rule
from .group_adam import GroupAdam
from .natural import Natural
from .plain import Exponential, Plain
from .recipe import Recipe
from .scalar import Scalar

RULES: dict[str, Callable[..., Any]] = {
    "recipe": Recipe,
    "natural": Natural,
    "plain": Plain,
    "exponential": Exponential,
    "scalar": Scalar,
    "adam": Adam,
    "group_adam": GroupAdam,
}
NEWTON = "newton"  # takes no steps of batches, but fits all rows at once: `fitting.newton`
NAMES = (*RULES, NEWTON)


def require_rule(candidate: Any) -> None:
    """Refuse what is no dataclass with `learning_rate`, `kind`, `tracks` and `propose`: TypeError.

    >>> require_rule(3)
    Traceback (most recent call last):
    TypeError: `rule` must be a frozen dataclass, got int
    """
    name = type(candidate).__name__
    if isinstance(candidate, type) or not is_dataclass(candidate):
        raise TypeError(f"`rule` must be a frozen dataclass, got {name}")
    for part in ("learning_rate", "kind", "tracks", "propose"):
        if not hasattr(candidate, part):
            raise TypeError(f"`rule` {name} must have `{part}`, see relgrad_np.Rule")


def make_rule(rule: str | Rule, learning_rate: float | None = None) -> Rule:
    """Return the rule of this name, or the rule itself, at this learning rate if one is given.

    TypeError for what is neither a name nor a rule, see `require_rule`; ValueError for "newton",
    which has no step for a batch.

    >>> make_rule("exponential", 0.02).learning_rate
    0.02
    """
    if isinstance(rule, str) and one_of("rule", rule, NAMES) == NEWTON:
        raise ValueError(
            f"`rule` {NEWTON!r} has no step for a batch: it fits all rows at once, by `fit`"
        )
    made = RULES[rule]() if isinstance(rule, str) else rule
    require_rule(made)
    if learning_rate is None:
        return made
    number("learning_rate", learning_rate, 0, math.inf, "positive")
    return replace(made, learning_rate=float(learning_rate))  # type: ignore[type-var]
