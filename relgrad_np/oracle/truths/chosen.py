"""Which cases of a suite `where` chooses; what there is, where it chooses none."""

from collections.abc import Iterable, Mapping
from typing import Any

from .records import Case, Suite, matches, property_of

ELSEWHERE = dict.fromkeys(("activation", "density"), "; oracle.suite makes cases of others")
ELSEWHERE["c"] = '; candidates that serve context declare {"context": "yes"}, others do not'


def chosen(suite: Suite, where: Mapping[str, Any] | None) -> Suite:
    """Return the cases that fit `where`; ValueError in one line if it names none.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> len(chosen(small(), {"activation": "elu", "L": 2}).cases) > 1
    True
    >>> chosen(small(), {"activation": "relu"})
    Traceback (most recent call last):
    ValueError: no case of the small suite of this package fits `where`: activation must be ...
    """
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(f"`where` must be a mapping such as {{'L': 2}}, got {where!r:.60}")
    kept = suite.where(**where) if where else suite
    if where and not kept.cases:
        raise ValueError(f"no case of {suite.name} fits `where`: {_why(suite.cases, where)}")
    return kept


def _why(cases: tuple[Case, ...], where: Mapping[str, Any]) -> str:
    """Return the first property that leaves no case, and the values that would leave one."""
    left, before = cases, dict[str, Any]()
    for key, wanted in where.items():
        fits = tuple(case for case in left if matches(case.problem, {key: wanted}))
        if not fits:
            values = listed(property_of(case.problem, key) for case in left)
            given = f" where {_said(before)}" if before else ""
            return (
                f"{key} must be one of {values}{given}, got {wanted!r:.60}{ELSEWHERE.get(key, '')}"
            )
        left, before[key] = fits, wanted
    return "there is none"


def _said(choices: Mapping[str, Any]) -> str:
    return " and ".join(f"{key} is {value!r:.60}" for key, value in choices.items())


def listed(values: Iterable[Any], most: int = 12) -> str:
    """Return the distinct values, in order, a dozen at most.

    >>> listed([2, 1, 2])
    '1, 2'
    """
    found = list(dict.fromkeys(values))
    if all(not isinstance(value, str) for value in found):
        found.sort()
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more
