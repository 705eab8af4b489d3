"""Settings that are declared once: name, type, default, help, choices and check of a field.

A record of settings is a frozen dataclass whose fields are made by `setting`, or by `shared` where
another record has the same setting. Flags, signatures and tables are made from `declared`.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

from ..core.arguments import number, one_of

Check = Callable[[str, Any], Any]  # (name, value) -> the value to keep; ValueError, TypeError


class Setting(NamedTuple):
    """One setting as it was declared.

    `kind` is what a text is read as: int, float, bool or str; `unset` says what None stands for,
    which the setting may be if it is `optional`. `auto`: the data choose it unless it is given.

    >>> Setting("epochs", int, 15, "passes over the rows", (), "").text()
    'passes over the rows; default 15'
    >>> Setting("rule", str, None, "what steps", ("plain", "adam"), "the first").text()
    'what steps: plain, adam; default the first'
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...]
    unset: str
    optional: bool = False
    auto: bool = False

    def default_text(self) -> str:
        """Return the default in words.

        >>> Setting("patience", int, None, "", (), "never").default_text()
        'never'
        """
        if self.auto:
            return "auto"
        if self.kind is bool:
            return "yes" if self.default else "no"
        return self.unset if self.default is None else str(self.default)

    def text(self) -> str:
        """Return the line that explains the setting on a command line."""
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        return f"{self.help}{choices}; default {self.default_text()}"


def setting(
    default: Any,
    help: str,
    *,
    unset: str = "none",
    choices: Iterable[str] = (),
    check: Check | None = None,
    auto: bool = False,
) -> Any:
    """Declare a field of a frozen dataclass.

    `help` is a line without a full stop, `unset` says what None stands for, `choices` are the names
    that the field may have, and `check(name, value)` returns the value to keep. `auto`: where
    nothing is given the data choose, and the default is for those who have none.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Baking:
    ...     minutes: int = setting(30, "time in the oven")
    >>> declared(Baking)["minutes"].text()
    'time in the oven; default 30'
    """
    about = {"help": help, "unset": unset, "choices": tuple(choices), "check": check, "auto": auto}
    return dataclasses.field(default=default, metadata=about)


def shared(record: Any, name: str, *, auto: bool = False, **default: Any) -> Any:
    """Declare a field as another record does, perhaps with a `default=` or `auto=` of its own.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Baking:
    ...     minutes: int = setting(30, "time in the oven")
    >>> @dataclasses.dataclass(frozen=True)
    ... class Roasting:
    ...     minutes: int = shared(Baking, "minutes", default=90)
    >>> declared(Roasting)["minutes"].text()
    'time in the oven; default 90'
    """
    field = next(field for field in dataclasses.fields(record) if field.name == name)
    about = {**field.metadata, "auto": auto}
    return dataclasses.field(default=default.get("default", field.default), metadata=about)


def declared(record: Any) -> dict[str, Setting]:
    """Return the settings of a record, or of its class, by name and in their order.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Baking:
    ...     hot: bool = setting(True, "preheat")
    >>> declared(Baking)["hot"].kind, declared(Baking)["hot"].default_text()
    (<class 'bool'>, 'yes')
    """
    found = {}
    for field in dataclasses.fields(record):
        types = get_args(field.type) or (field.type,)
        kind = next((kind for kind in (bool, int, float) if kind in types), str)
        help, choices, unset = (field.metadata[key] for key in ("help", "choices", "unset"))
        optional = type(None) in types
        about = kind, field.default, help, choices, unset, optional, field.metadata["auto"]
        found[field.name] = Setting(field.name, *about)
    return found


def check_settings(record: Any) -> None:
    """Check each field of a frozen record by its declaration, and keep what the check returns.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Baking:
    ...     minutes: float = setting(30, "in the oven", check=within(0, 600, "at most 600"))
    >>> check_settings(Baking(1000))
    Traceback (most recent call last):
    ValueError: `minutes` must be at most 600, got 1000
    """
    for field in dataclasses.fields(record):
        if (check := field.metadata["check"]) is not None:
            value = check(field.name, getattr(record, field.name))
            object.__setattr__(record, field.name, value)


def optional(check: Check) -> Check:
    """Return a check that lets None pass.

    >>> optional(among(["linear"]))("schedule", None)
    """
    return lambda name, value: None if value is None else check(name, value)


def within(low: float, high: float, words: str) -> Check:
    """Return the check of a number in (low, high], the condition that `words` say.

    >>> within(0, 100, "positive")("undo", 3)
    3.0
    """
    return lambda name, value: number(name, value, low, high, words)


def among(choices: Iterable[str]) -> Check:
    """Return the check of a name.

    >>> among(["linear", "cosine"])("schedule", "step")
    Traceback (most recent call last):
    ValueError: unknown schedule 'step'; choose from linear, cosine
    """
    return lambda name, value: one_of(name, value, choices)
