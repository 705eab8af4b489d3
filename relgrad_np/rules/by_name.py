"""Rules by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
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


def words_of(rule: str | Rule) -> str:
    """Return what a rule is called, with its settings that are not the usual ones.

    >>> words_of("natural"), words_of(Natural()), words_of(Natural(damping=0.1))
    ('natural', 'natural', 'natural (damping 0.1)')
    """
    record = record_of(rule)
    if not isinstance(record, Mapping):
        return str(record)
    changed = (f"{name} {value}" for name, value in record.items() if name != "name")
    return f"{record['name']} ({', '.join(changed)})"


def record_of(rule: str | Rule) -> Any:
    """Return a rule as a file of plain values holds it; one that has no name here as it is.

    >>> record_of("natural"), record_of(Natural(damping=0.1))
    ('natural', {'name': 'natural', 'damping': 0.1})
    """
    name = next((name for name, kind in RULES.items() if type(rule) is kind), None)
    if name is None:
        return rule
    values = {field.name: (getattr(rule, field.name), field.default) for field in fields(rule)}  # type: ignore[arg-type]
    changed = {key: value for key, (value, usual) in values.items() if value != usual}
    return {"name": name, **changed} if changed else name


def rule_of(record: Any) -> Any:
    """Return the name or the rule that `record_of` has described.

    A record without a name is of "natural", the one rule that older runs were given settings of.
    ValueError or TypeError for a record of no rule.

    >>> rule_of({"name": "natural", "damping": 0.1}) == Natural(damping=0.1), rule_of("adam")
    (True, 'adam')
    """
    if not isinstance(record, Mapping):
        return record
    settings = dict(record)
    return RULES[one_of("rule", settings.pop("name", "natural"), RULES)](**settings)


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
