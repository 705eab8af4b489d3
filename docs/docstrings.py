"""How the site reads docstrings (a griffe extension): their layout is for a terminal.

Examples stand at the end without a headline, notes behind the sections, formulas and small tables
are aligned by spaces. Here examples get their headline, notes go before the sections, what is
aligned is shown as it stands, and `<` is no tag.
"""

import re
from typing import Any

import griffe

from relgrad_np.fitting.declared import declared
from relgrad_np.fitting.options import Options

HEAD = re.compile(r"^(\w+)\n-+$", re.M)
DOCSTRING = """Add <a, b>.

Raises
------
ValueError
    No.

Cost: 1.

>>> add(1, 2)
3"""
ALIGNED = re.compile(r"\S {2,}\S")


class Layout(griffe.Extension):
    """Lays out each docstring before it is parsed, and shows the options of `fit`."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Show the options that `**options` stands for, as the function's own signature does."""
        if any("shows_options" in str(decorator.value) for decorator in func.decorators):
            own = [p for p in func.parameters if p.name != "options"]
            kind = griffe.ParameterKind.keyword_only
            shown = [
                griffe.Parameter(name, kind=kind, default=repr(option.default))
                for name, option in declared(Options).items()
            ]
            func.parameters = griffe.Parameters(*own, *shown)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Show the fields of a named tuple as the signature that it is made with."""
        if any(str(base).endswith("NamedTuple") for base in cls.bases):
            kind = griffe.ParameterKind.positional_or_keyword
            fields = [
                griffe.Parameter(name, annotation=one.annotation, kind=kind, default=one.value)
                for name, one in cls.members.items()
                if isinstance(one, griffe.Attribute) and "property" not in one.labels
            ]
            own = griffe.Parameter("self", kind=kind)
            made = griffe.Function("__init__", parameters=griffe.Parameters(own, *fields))
            cls.set_member("__init__", made)

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace the docstring of what was found."""
        if obj.docstring is not None:
            obj.docstring.value = laid_out(obj.docstring.value)


def laid_out(text: str) -> str:
    r"""Return a docstring with its notes before the sections, its examples under a headline.

    >>> laid_out(DOCSTRING).split("\n\n")[:2]
    ['Add &lt;a, b>.', 'Cost: 1.']
    >>> laid_out(DOCSTRING).split("\n\n")[2:]
    ['Raises\n------\nValueError\n    No.', 'Examples\n--------\n>>> add(1, 2)\n3']
    """
    words, sections = [], []
    for block in text.split("\n\n"):
        if HEAD.match(block):
            sections.append(block)
        elif block.startswith(">>> "):
            new = not any(section.startswith("Examples\n") for section in sections)
            sections.append("Examples\n--------\n" * new + block)
        elif sections and block.startswith(" "):  # a section goes on
            sections.append(block)
        else:
            words.append(_plain(block))
    return "\n\n".join(words + sections)


def _plain(block: str) -> str:
    r"""Return a block of text: fenced if it is aligned by spaces or indented, else escaped.

    >>> _plain("R_W  = xi W")
    '```text\nR_W  = xi W\n```'
    """
    if block.startswith("    ") or ALIGNED.search(block):
        return f"```text\n{block}\n```"
    parts = re.split(r"(`[^`]*`)", block)
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)
