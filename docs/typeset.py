"""Typeset the formulas of the site, and put lines of the source beside them (a mkdocs hook).

`$...$` and `$$...$$`, as GitHub reads them, become MathML when the site is built: browsers show it
without a script or a font, so that nothing is fetched. A mark `<!-- code: FILE: FRAGMENT -->`
becomes the one line of the file that has the fragment, so that no page shows a line that is not
there; marks that follow each other make one block.
"""

import functools
import html
import io
import itertools
import re
import tokenize
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.M | re.S)
INDENTED = re.compile(r"^    .*$", re.M)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
SHOWN = re.compile(r"^\$\$(.+?)\$\$$", re.M | re.S)
INLINE = re.compile(r"(?<![\\$\w])\$(?=[^\s$])([^$]+?)(?<=[^\s\\])\$(?![\w$])")
RELATION = re.compile(r"=|<|>|\\(?:le|ge|to)\b")
SIGN = re.compile(r"[+-] ")
LONG = 30  # characters of a formula that is not broken
NAME = re.compile(r"<mo(?: movablelimits=\"true\")?>([a-z]{2,})</mo>")
BEFORE_NAME = re.compile(r"(</mi>|</mn>|</msu[bp]>|</msubsup>|</mfrac>)(<mi>[a-z]{2,}</mi>)")
AFTER_NAME = re.compile(r"(<mi>[a-z]{2,}</mi>)(?=<m(?:i|n|sub|sup|subsup|over|frac)>)")
BAR = re.compile(r"<mo(?: stretchy=\"false\")?>(&#x0007C;|&#x02016;)</mo>")
MARKS = re.compile(r"(?:^<!-- code: [\w/.]+: .+? -->$\n?)+", re.M)
MARK = re.compile(r"^<!-- code: ([\w/.]+): (.+?) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace marks by lines of the source, formulas by MathML (called by mkdocs).

    >>> on_page_markdown("`$a$` costs $5, $x$").count("<math")
    1
    """
    return typeset(MARKS.sub(lambda found: lines_of_source(found[0]), markdown))


def lines_of_source(marks: str) -> str:
    """Return the lines that marks of one place name, as a block of code with its file.

    >>> marks = "<!-- code: relgrad_np/core/relative.py: R_W = Delta.T @ (Y @ W) + W -->"
    >>> print(lines_of_source(marks))
    ```python title="relgrad_np/core/relative.py"
    R_W = Delta.T @ (Y @ W) + W  # (D, D); (Delta.T @ Y) @ W is cubic
    ```
    <BLANKLINE>
    """
    found = MARK.findall(marks)
    lines = "\n".join(line_of_source(*mark) for mark in found)
    files = ", ".join(dict.fromkeys(file for file, _ in found))
    return f'```python title="{files}"\n{lines}\n```\n'


def line_of_source(file: str, fragment: str) -> str:
    """Return the only line of code that has a fragment; ValueError if there is not just one.

    >>> line_of_source("relgrad_np/core/relative.py", "no such line")
    Traceback (most recent call last):
    ValueError: relgrad_np/core/relative.py has 0 lines with 'no such line'
    """
    lines = [line for line in lines_of_code(file) if fragment in line]
    if len(lines) != 1:
        raise ValueError(f"{file} has {len(lines)} lines with {fragment!r}")
    return lines[0].strip()


@functools.cache
def lines_of_code(file: str) -> list[str]:
    """Return the lines of a file without those of its docstrings."""
    text = (ROOT / file).read_text()
    lines, own = text.splitlines(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.end[0] > token.start[0]:
            own.update(range(token.start[0] - 1, token.end[0]))
    return [line for i, line in enumerate(lines) if i not in own]


def typeset(markdown: str) -> str:
    r"""Return a page whose formulas are MathML; code stays as it is.

    >>> typeset("$$\na + b\n$$")[:45]
    '<div class="formula"><math xmlns="http://www.'
    >>> typeset("`$x$`"), typeset("from $5 to $6")
    ('`$x$`', 'from $5 to $6')
    """
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    for code in (FENCED, CODE):
        markdown = code.sub(keep, markdown)
    markdown = SHOWN.sub(
        lambda found: f'<div class="formula">{mathml(found[1].strip(), "block")}</div>', markdown
    )
    markdown = INLINE.sub(lambda found: in_line(found[1]), markdown)
    while "\0" in markdown:
        markdown = re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], markdown)
    return markdown


def in_line(formula: str) -> str:
    """Return a formula within a line of text; a long one in parts, between which the line may end.

    >>> in_line("W = I").count("<math")
    1
    >>> in_line("W^+ = (I + a) W = W + a W + b W + c W").count("<math")
    3
    """
    formula = " ".join(html.unescape(formula).split())
    parts = at_top_level(formula, RELATION) if len(formula) > LONG else [formula]
    parts = [b for a in parts for b in (at_top_level(a, SIGN) if len(a) > 2 * LONG else [a])]
    shown = [mathml(part if i == 0 else "{}" + part, "inline") for i, part in enumerate(parts)]
    return " ".join(f"<span>{part}</span>" for part in shown)  # a line may begin with a span


def at_top_level(formula: str, sign: re.Pattern[str]) -> list[str]:
    r"""Return the parts of a formula that begin with such a sign outside of all brackets.

    >>> at_top_level(r"a = (b = c) \le d", RELATION)
    ['a ', '= (b = c) ', '\\le d']
    """
    depth, cuts = 0, [0]
    for i, letter in enumerate(formula):
        depth += (letter in "([{") - (letter in ")]}")
        depth += formula.startswith("\\begin", i) - formula.startswith("\\end", i)
        if i and depth == 0 and sign.match(formula, i):
            cuts.append(i)
    ends = zip(cuts, [*cuts[1:], len(formula)], strict=True)
    return [part for a, b in ends if (part := formula[a:b])]


def mathml(formula: str, display: str) -> str:
    """Return one formula as MathML, on one line.

    >>> mathml("R_W", "inline").count("<msub>")
    1
    """
    from latex2mathml.converter import convert

    formula = " ".join(html.unescape(formula).split()).replace("{aligned}", "{align*}")
    made: str = convert(formula, display=display)
    if "\\" in re.sub(r"<annotation.*?</annotation>", "", made):
        raise ValueError(f"a command of this formula is not known: {formula}")
    return spaced(made.replace("\n", " "))


def spaced(made: str) -> str:
    """Return MathML with the spaces of print: about names of functions, none inside of bars.

    >>> spaced("<mi>D</mi><mi>log</mi><mi>s</mi>").count("<mspace")
    2
    >>> spaced("<mo>&#x0007C;</mo><mi>K</mi><mo>&#x0007C;</mo>").count('form="postfix"')
    1
    """
    made = NAME.sub(r"<mi>\1</mi>", made)
    thin = '<mspace width="0.167em" />'
    made = BEFORE_NAME.sub(rf"\1{thin}\2", made)
    made = AFTER_NAME.sub(rf"\1{thin}", made)
    sides = itertools.cycle(("prefix", "postfix"))
    return BAR.sub(lambda found: f'<mo stretchy="false" form="{next(sides)}">{found[1]}</mo>', made)
