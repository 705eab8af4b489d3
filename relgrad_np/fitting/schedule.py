"""The rule of a fit, and the learning rate of each of its steps."""

from dataclasses import replace

from ..rules.adam import Adam
from ..rules.base import Rule
from ..rules.by_name import make_rule
from ..rules.recipe import Recipe
from .options import SCHEDULES, Options


def rule_of(asked: Options, each: int) -> Rule:
    """Return the rule that was asked for; `each`: steps of an epoch, its clock's or window's.

    >>> rule_of(Options(rule=Adam(clock=0)), 7).clock
    7
    """
    rule = make_rule(asked.rule, asked.learning_rate)
    if isinstance(rule, Adam) and rule.clock == 0:
        rule = replace(rule, clock=each)
    if isinstance(rule, Recipe) and rule.window is None:
        rule = replace(rule, window=each)
    if asked.track_inverse and not rule.tracks:
        raise ValueError("`track_inverse` needs a multiplicative rule: nothing is tracked with it")
    return rule


def sized(learning_rate: float, asked: Options, t: int, total: int) -> float:
    """Return the learning rate of step t of `total`: by the schedule, and the warmup.

    >>> sized(0.1, Options(schedule="linear", warmup=3), 1, 4)
    0.0375...
    """
    return all_sized(learning_rate, asked, range(t, t + 1), total)[0]


def all_sized(learning_rate: float, asked: Options, steps: range, total: int) -> list[float]:
    """Return the learning rates of these steps of `total`."""
    factor, warmup = SCHEDULES[asked.schedule], asked.warmup
    rates = [learning_rate * factor(t / total) for t in steps]
    if steps.start < warmup:
        pairs = zip(steps, rates, strict=True)
        return [rate * min(1.0, (t + 1) / (warmup + 1)) for t, rate in pairs]
    return rates
