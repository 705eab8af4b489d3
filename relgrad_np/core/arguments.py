"""Plain arguments, checked at the public boundary: one line that names what is wrong."""

import dataclasses
import difflib
import inspect
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np


def number(name: str, value: Any, low: float, high: float, rule: str) -> float:
    """Return `value` as a float if low < value <= high, the condition that `rule` says in words."""
    if not isinstance(value, (int, float, np.floating, np.integer)) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}")
    try:
        inside = low < float(value) <= min(high, sys.float_info.max)
    except OverflowError:
        inside = False
    if not inside:
        raise ValueError(f"`{name}` must be {rule}, got {value}")
    return float(value)


def store(record: Any, name: str, low: float, high: float, rule: str) -> None:
    """Check a field of a frozen record; keep it as a float: a NumPy scalar's dtype would spread."""
    object.__setattr__(record, name, number(name, getattr(record, name), low, high, rule))


class FunctionOf:
    """A function of an activation or density of the package, pickled by that one's name.

    `of` are the maker, the name, the parameters and the field: what it takes to make it again.
    """

    def __init__(self, function: Any, *of: Any) -> None:
        self.function, self.of = function, of

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.function(*arguments)

    def __repr__(self) -> str:
        return f"<{self.of[3]} of {self.of[1]}>"

    def __reduce__(self) -> Any:
        return function_of, self.of


def function_of(maker: Any, name: str, params: dict[str, float], key: str) -> Any:
    """Return a function of what `maker(name, **params)` makes."""
    return getattr(maker(name, **params), key)


def build(kind: str, name: str, makers: Any, params: Any) -> Any:
    """Return `makers[name](**params)`; an unknown name lists the choices."""
    one_of(kind, name, makers)
    try:
        return makers[name](**params)
    except TypeError as error:
        taken = list(inspect.signature(makers[name]).parameters)
        for key in params:
            if key not in taken:
                only = f", only {', '.join(taken)}" if taken else ""
                raise ValueError(f"{kind} {name!r} has no parameter {key!r}{only}") from None
        raise ValueError(f"{kind} {name!r}: {error}") from None


def build_part(maker: Any, name: str, makers: Any, params: Any) -> Any:
    """Return what `build` does, a record whose functions can be pickled.

    `maker` is the public function by which such a part is made again.
    """
    made = build(maker.__name__, name, makers, params)
    functions = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    named = {
        key: FunctionOf(function, maker, name, made.params, key)
        for key, function in functions.items()
        if callable(function)
    }
    return dataclasses.replace(made, **named)


def each_layer(name: str, value: Any, L: int, array: type) -> list[Any]:
    """Return L positive numbers: those of a tuple, or one for all; a 0-d `array` is not looked at.

    >>> each_layer("eta", 0.5, 2, np.ndarray)
    [0.5, 0.5]
    """
    values = list(value) if isinstance(value, (tuple, list)) else [value] * L
    if len(values) != L or any(getattr(x, "ndim", 0) for x in values):
        raise ValueError(f"`{name}` must be a number, or a tuple of {L} numbers, one a layer")
    return [x if type(x) is array else number(name, x, 0, float("inf"), "positive") for x in values]


def whole(name: str, value: Any) -> int:
    """Return `value` as an int if it is a positive integer, at most 10^12."""
    if number(name, value, 0, 1e300, "a positive integer") != int(value) and value < 2**53:
        raise ValueError(f"`{name}` must be a positive integer, got {value}")
    number(name, value, 0, 1e12, "at most 10^12")
    return int(value)


STEP_KINDS = {"plain": "(I + eta xi) W", "exponential": "exp(eta xi) W", "additive": "W + eta d"}


def require_kind(kind: Any, direction: str, choices: tuple[str, ...]) -> None:
    """Refuse a kind of step that does not go along directions of this type.

    >>> require_kind("plain", "Layer", ("additive",))
    Traceback (most recent call last):
    ValueError: `kind` 'plain', a step (I + eta xi) W, does not go along a Layer, whose kind is
        'additive' (W + eta d)
    """
    one_of("kind", kind, (*choices, *(name for name in STEP_KINDS if name not in choices)))
    if kind not in choices:
        fits = " or ".join(f"{name!r} ({STEP_KINDS[name]})" for name in choices)
        start = f"`kind` {kind!r}, a step {STEP_KINDS[kind]}, does not go along a {direction}"
        raise ValueError(f"{start}, whose kind is {fits}")


def one_of(name: str, value: Any, choices: Any) -> Any:
    """Return `value` if it is among `choices`, else list them, and say which one is like it.

    >>> one_of("rule", "Adam", ("plain", "adam"))
    Traceback (most recent call last):
    ValueError: unknown rule 'Adam'; choose from plain, adam; did you mean 'adam'?
    """
    if not isinstance(value, str) or value not in choices:
        near = nearest(value, choices) if isinstance(value, str) else None
        meant = "" if near is None else f"; did you mean {near!r}?"
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}{meant}")
    return value


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant, None if there is no such.

    >>> nearest("moons", ["toy:moons", "digits"]), nearest("Digit", ["toy:moons", "digits"])
    ('toy:moons', 'digits')
    >>> nearest("cauchy", ["normal"]) is None
    True
    """
    plain = {choice.lower().replace("-", "_"): choice for choice in choices}
    key = name.lower().replace("-", "_")
    ends = [choice for low, choice in plain.items() if low.endswith(f":{key}")]
    near = [plain[low] for low in difflib.get_close_matches(key, plain, 1, 0.7)]
    return next(iter([*ends, *near]), None)


def generator(rng: Any) -> np.random.Generator:
    """Return `rng` if it is a numpy Generator, else TypeError.

    >>> generator(None)
    Traceback (most recent call last):
    TypeError: `rng` must be a numpy.random.Generator, got NoneType
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}")
    return rng
