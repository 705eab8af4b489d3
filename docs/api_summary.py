"""Put a table of what a page of the API has at its top (a mkdocs hook).

`<!-- api summary -->`, with what stands from there to `<!-- end -->`, becomes a row for each name
that the page's directives show: how it is imported, and the first sentence of its docstring, so
that the two can't differ. What stands there is for those who read the page as a file: where the
docstrings are.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import relgrad_np

MARK = re.compile("<!-- api summary -->.*?<!-- end -->", re.S)
DIRECTIVE = re.compile(r"^::: ([\w.]+)\n((?:    .*\n?)*)", re.M)
MEMBERS = re.compile(r"members: \[(.*)\]")


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Replace the mark by the table (called by mkdocs).

    >>> page = "<!-- api summary -->\n<!-- end -->\n\n::: relgrad_np.core.backprop.backprop\n"
    >>> print(on_page_markdown(page).splitlines()[2])
    | [`rg.backprop`][relgrad_np.core.backprop.backprop] | Return Deltas[k] = d mean(L_p ... |
    """
    return MARK.sub(lambda _: table(markdown), markdown)


def table(markdown: str) -> str:
    """Return a row for each name that the directives of a page show, in their order."""
    rows = (
        f"| [`{short(path)}`][{path if short(path) != path else ''}] | {first(path)} |"
        for path in shown(markdown)
    )
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def shown(markdown: str) -> list[str]:
    r"""Return the paths of what the directives of a page show.

    >>> shown("::: a.b\n    options:\n      members: [c, d]\n\n::: a.e\n")
    ['a.b.c', 'a.b.d', 'a.e']
    """
    paths = []
    for path, options in DIRECTIVE.findall(markdown):
        members = MEMBERS.search(options)
        paths += [f"{path}.{name}" for name in members[1].split(", ")] if members else [path]
    return paths


def files(markdown: str) -> list[str]:
    r"""Return the files of the package in which a page's names are defined.

    >>> files("::: relgrad_np.Layer\n\n::: relgrad_np.forward\n")
    ['relgrad_np/core/network.py']
    """
    root = Path(relgrad_np.__file__).parents[1]
    things = [found(path) for path in shown(markdown)]
    paths = [Path(inspect.getfile(one)) for one in things if not isinstance(one, dict)]
    return list(dict.fromkeys(path.relative_to(root).as_posix() for path in paths))


def short(path: str) -> str:
    """Return how something is imported: `rg.` stands for the package's own names.

    >>> short("relgrad_np.rules.recipe.Recipe"), short("relgrad_np.oracle.flows.check.check_flow")
    ('rg.Recipe', 'oracle.check_flow')
    """
    name, thing = path.rsplit(".", 1)[1], found(path)
    for prefix, module in (("rg", "relgrad_np"), ("oracle", "relgrad_np.oracle")):
        if getattr(importlib.import_module(module), name, None) is thing:
            return f"{prefix}.{name}"
    for module in ("relgrad_np.estimator", "relgrad_np.datasets", "relgrad_np.extend"):
        if getattr(importlib.import_module(module), name, None) is thing:
            return f"{module}.{name}"
    return path


def found(path: str) -> Any:
    """Return what a path names."""
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def first(path: str) -> str:
    """Return the first sentence of its docstring, or what there is to say of a constant.

    >>> first("relgrad_np.forward")
    'Push samples X (N, D) through the net; return all that they met on the way.'
    """
    thing = found(path)
    if path == "relgrad_np.PRESETS":
        return f"Settings that were tuned to named data: {', '.join(relgrad_np.PRESETS)}."
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    words = re.split(r"(?<=\.) (?=[A-Z])", text)[0]
    return words.replace("|", "\\|").replace("<", "&lt;")
