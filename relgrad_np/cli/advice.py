"""What messages of the package advise, as flags: those that the command at hand takes.

The package advises a `Reading` with these and those settings. A command shows flags in its place,
and leaves out what it has no flag for.
"""

import ast
import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

READING = re.compile(r"""Reading\(((?:[^()'"]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")*)\)""")
CLAUSE = re.compile(r"; |: |, or |, |(?<=\?) ")  # what stands between a message and its advice
LEADS = ("if ", "leave ")  # clauses that say nothing without the advice behind them


def with_flags(text: str) -> str:
    """Return a text of the package in which flags stand for the `Reading` that it advises.

    >>> with_flags("text; Reading(drop=['city', 'day']), or write numbers")
    'text; --drop city,day, or write numbers'
    >>> with_flags("Reading(missing_marks=[-9999], missing='drop'), fewer by Reading(columns=...)")
    '--missing-marks=-9999 --missing drop, fewer by --columns'
    """

    def flags(match: re.Match[str]) -> str:
        asked = _settings(match)
        return " ".join(_flag(*one) for one in asked.items()) if asked else match[0]

    return READING.sub(flags, text)


@contextlib.contextmanager
def taking(names: Iterable[str], instead: str = "") -> Iterator[None]:
    """Let an error advise only these settings; see `advising`, which has the rest.

    >>> with taking(["sep"]):
    ...     raise ValueError("text; Reading(drop=['city']), or write numbers")
    Traceback (most recent call last):
    ValueError: text; write numbers
    """
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        if len(error.args) == 1:
            error.args = (advising(str(error), names, instead),)
        raise


def advising(text: str, names: Iterable[str], instead: str = "") -> str:
    """Return a text of the package without the advice to set others than these.

    `instead`: what is said where a column was to be left out.

    >>> advising("text; Reading(drop=['city']), or write numbers", ["sep"], "; take it out")
    'text; write numbers; take it out'
    >>> advising("they are rounded; if they only name the rows: Reading(drop=['id'])", ["sep"])
    'they are rounded'
    >>> advising("no number; Reading(decimal=',') if the comma is its decimal mark", ["decimal"])
    "no number; Reading(decimal=',') if the comma is its decimal mark"
    """
    known, place, more = set(names), 0, ""
    while match := READING.search(text, place):
        asked = _settings(match)
        if asked.keys() <= known:
            place = match.end()
            continue
        more = instead if asked.keys() & {"drop", "columns"} else more
        text, place = _without(text, match)
    return text + more


def _without(text: str, match: re.Match[str]) -> tuple[str, int]:
    """Return a text without the clause of a match, and where it stood."""
    ends = list(CLAUSE.finditer(text, 0, match.start()))
    begin, mark = (ends[-1].start(), ends[-1][0]) if ends else (0, "")
    after = CLAUSE.search(text, match.end())
    if after is not None and after[0] in (", or ", ", "):  # other advice follows
        return f"{text[:begin]}{mark}{text[after.end() :]}", begin + len(mark)
    lead = max(text.rfind("; ", 0, begin), text.rfind(": ", 0, begin))
    if mark == ": " and text[lead + 2 : begin].startswith(LEADS):
        begin = lead
    return text[:begin] + text[after.start() if after else len(text) :], begin


def _settings(match: re.Match[str]) -> dict[str, Any]:
    """Return the settings of a `Reading` in a text, none where it can't be read."""
    try:
        call = ast.parse(match[0], mode="eval").body
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}  # type: ignore[attr-defined]
    except (ValueError, SyntaxError):
        return {}


def _flag(name: str, value: Any) -> str:
    """Return a flag with its value, quoted as a shell needs it; `...` stands for any value."""
    flag = f"--{name.replace('_', '-')}"
    if value is True or value is ...:
        return flag
    if isinstance(value, list):
        texts = [one if isinstance(one, str) else f"{one:g}" for one in value]
        value = ",".join(f'"{one}"' if "," in one else one for one in texts)
    value = value if re.fullmatch(r"[\w,.-]+", value) else shlex.quote(value)
    return f"{flag}={value}" if name == "missing_marks" or value[0] == "-" else f"{flag} {value}"


def flags_for(asked: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the flags of these names that were asked for, each after a space, or nothing.

    >>> flags_for({"sep": ";", "missing": "drop", "drop": "city"}, ("sep", "missing", "decimal"))
    " --sep ';' --missing drop"
    """
    return "".join(f" {_flag(name, asked[name])}" for name in names if asked.get(name) is not None)
