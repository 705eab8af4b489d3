"""Rules by name."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..core.arguments import number, one_of
from .adam import Adam
from .base import Rule
from .group_adam import GroupAdam
from .natural import Natural
from .plain import Exponential, Plain
from .recipe import Recipe, Scalar

RULES: dict[str, Callable[..., Any]] = {
    "recipe": Recipe,
    "natural": Natural,
    "plain": Plain,
    "exponential": Exponential,
    "scalar": Scalar,
    "adam": Adam,
    "group_adam": GroupAdam,
}


def make_rule(rule: str | Rule, learning_rate: float | None = None) -> Rule:
    """Return the rule of this name, or the rule itself, at this learning rate if one is given.

    >>> make_rule("exponential", 0.02).learning_rate
    0.02
    """
    made = RULES[one_of("rule", rule, RULES)]() if isinstance(rule, str) else rule
    if learning_rate is None:
        return made
    number("learning_rate", learning_rate, 0, math.inf, "positive")
    return replace(made, learning_rate=float(learning_rate))  # type: ignore[type-var]
