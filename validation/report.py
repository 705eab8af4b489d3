"""The report: a section an experiment, written from what is kept and from nothing else."""

import re
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


MOST = 8  # columns of a table


def table(titles: list[str], rows: list[list[Any]], keys: int = 1) -> str:
    r"""Return a Markdown table; a bar within a cell is escaped.

    More than eight columns make several tables, each with the first `keys` columns.

    >>> print(table(["a", "b"], [[1, "x"]]))
    | a | b |
    |---|---|
    | 1 | x |
    >>> wide = table([str(i) for i in range(10)], [list(range(10))], keys=2)
    >>> [text.splitlines()[0] for text in wide.split("\n\n")]
    ['| 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |', '| 0 | 1 | 8 | 9 |']
    """
    if len(titles) > MOST:
        own = range(keys, len(titles), MOST - keys)
        parts = ([*range(keys), *range(i, min(i + MOST - keys, len(titles)))] for i in own)
        return "\n\n".join(
            table([titles[i] for i in part], [[row[i] for i in part] for row in rows])
            for part in parts
        )
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
    parts = [head, "## In short\n", summary(sections), *pictures(sections)]
    parts += ["\n# Appendix\n", "## What is claimed\n"]
    parts += [table(["experiment", "claim", "found", "holds"], claims)]
    lacking = [
        f"- {name}: {what}" for name, (_, section) in sections.items() for what in section.missing
    ]
    parts += ["\n## What is missing\n", "\n".join(lacking) if lacking else "Nothing."]
    parts += ["\n## How long it takes\n", times]
    for name, (title, section) in sections.items():
        command = f"`python -m validation {name}`"
        parts += [f'\n<a id="{name}"></a>\n\n## {title}\n', f"{command}\n", section.text]
    return "\n".join(parts).rstrip() + "\n"


def summary(sections: dict[str, tuple[str, Section]]) -> str:
    """Return half a page: how many claims hold, which do not, and one that stands for each section.

    >>> claims = Claim("it ascends", "by 2 nats", True), Claim("in a second", "in two", False)
    >>> print(summary({"steps": ("The steps", Section("", claims))}))
    1 of 2 claims hold. Those that do not:
    <BLANKLINE>
    - [steps](#steps): in a second: in two
    <BLANKLINE>
    The first claim of each experiment:
    <BLANKLINE>
    | experiment | claim | found |
    |---|---|---|
    | [The steps](#steps) | it ascends | by 2 nats |
    """
    every = [(name, claim) for name, (_, part) in sections.items() for claim in part.claims]
    failed = [f"- [{n}](#{n}): {c.what}: {c.found}" for n, c in every if not c.holds]
    text = [f"{len(every) - len(failed)} of {len(every)} claims hold."]
    if failed:
        text[0] += " Those that do not:"
        text += ["", *failed]
    rows = [
        [f"[{title.split(':')[0]}](#{name})", part.claims[0].what, part.claims[0].found]
        for name, (title, part) in sections.items()
        if part.claims
    ]
    text += ["", "The first claim of each experiment:", ""]
    return "\n".join([*text, table(["experiment", "claim", "found"], rows)])


FIRST = {  # pictures that stand before the appendix, and what to see in them
    "toys": "Eight toys: samples and density look like the data, except for rings in rings.",
    "density": "MNIST: deeper nets gain more, and all of them pass the published figure.",
    "scaling": "A step costs what its matrix products cost; inverting costs more as D grows.",
}
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)")


def pictures(sections: dict[str, tuple[str, Section]]) -> list[str]:
    """Return the first picture of each of three sections, with a caption that says what to see."""
    found = []
    for name, words in FIRST.items():
        picture = PICTURE.search(sections[name][1].text) if name in sections else None
        if picture:
            found += ["", re.sub(r"!\[[^]]*\]", f"![{words}]", picture[0]), "", f"*{words}*"]
    return found
