"""The report: a section an experiment, written from what is kept and from nothing else."""

from typing import Any, NamedTuple


class Claim(NamedTuple):
    """What is claimed, what was found, and whether it holds.

    >>> Claim("digits above their Gaussian", "-67.0, -77.1", True).holds
    True
    """

    what: str
    found: str
    holds: bool


class Section(NamedTuple):
    """An experiment's part of the report: its text, its claims, and what has not run.

    >>> Section("text", (), ()).claims
    ()
    """

    text: str
    claims: tuple[Claim, ...] = ()
    missing: tuple[str, ...] = ()


def table(titles: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table; a bar within a cell is escaped.

    >>> print(table(["a", "b"], [[1, "x"]]))
    | a | b |
    |---|---|
    | 1 | x |
    """
    lines = [titles, *rows]
    text = [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "---|" * len(titles), *text[1:]])


def hours(seconds: float) -> str:
    """Return a time as one would say it.

    >>> hours(0.2), hours(75), hours(150), hours(9000)
    ('0.2 s', '75 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def write(sections: dict[str, tuple[str, Section]], head: str, times: str) -> str:
    """Return the whole report from (title, section) by name, its first lines, and the times."""
    claims = [
        [f"[{name}](#{name})", claim.what, claim.found, "yes" if claim.holds else "**NO**"]
        for name, (_, section) in sections.items()
        for claim in section.claims
    ]
    parts = [head, "## What is claimed\n", table(["experiment", "claim", "found", "holds"], claims)]
    lacking = [
        f"- {name}: {what}" for name, (_, section) in sections.items() for what in section.missing
    ]
    parts += ["\n## What is missing\n", "\n".join(lacking) if lacking else "Nothing."]
    parts += ["\n## How long it takes\n", times]
    for name, (title, section) in sections.items():
        command = f"`python -m validation {name}`"
        parts += [f'\n<a id="{name}"></a>\n\n## {title}\n', f"{command}\n", section.text]
    return "\n".join(parts).rstrip() + "\n"
