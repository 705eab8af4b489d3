"""How records of arrays are shown: small arrays as they are, large ones by shape and dtype."""

import dataclasses
import math
import textwrap
from typing import Any

WIDTH = 96  # letters in a line
SMALL = 12, 72  # numbers, and letters, of an array that is shown as it is
MANY = 4  # elements of a tuple, list or dict that are shown
LONGEST = 160  # letters of a field


def brief(record: Any) -> Any:
    """Let the records of a class be shown by `shown`: a decorator of NamedTuples and dataclasses.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.Layer(np.ones((300, 300)), np.ones(2))
    Layer(W=<(300, 300) float64>, b=array([1., 1.]))
    """
    record.__repr__ = shown
    return record


def shown(record: Any) -> str:
    """Return a record in a few lines."""
    line = in_one_line(record)
    return textwrap.fill(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def in_one_line(value: Any) -> str:
    """Return a value in one line, large arrays and the rest of long tuples left out.

    >>> in_one_line(tuple(range(50))), in_one_line({"a": 1 / 3})
    ('(0, 1, 2, 3, ... 46 more)', "{'a': 0.333333}")
    >>> in_one_line([(0, 1)] * 50)
    '[(0, 1), ... 49 like it]'
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        shape = tuple(map(int, value.shape))
        whole = " ".join(repr(value).split()) if math.prod(shape) <= SMALL[0] else None
        kind = str(value.dtype).split(".")[-1]
        return whole if whole and len(whole) <= SMALL[1] else f"<{shape} {kind}>"
    fields = getattr(type(value), "_fields", None)
    if fields is None and getattr(type(value), "__repr__", None) is shown:
        fields = [field.name for field in dataclasses.fields(value)]
    if fields is not None:
        parts = [f"{name}={_cut(in_one_line(getattr(value, name)))}" for name in fields]
        return f"{type(value).__name__}({', '.join(parts)})"
    if type(value) is dict:
        parts = [f"{key!r}: {in_one_line(one)}" for key, one in value.items()]
        return f"{{{', '.join(_first(parts))}}}"
    if type(value) is list:
        return f"[{', '.join(_first(list(map(in_one_line, value))))}]"
    if type(value) is tuple:
        comma = "," * (len(value) == 1)
        return f"({', '.join(_first(list(map(in_one_line, value))))}{comma})"
    return f"{value:.6g}" if type(value) is float and len(repr(value)) > 8 else _cut(repr(value))


def _first(parts: list[str]) -> list[str]:
    """Return the first of some parts, and in words what is beyond them."""
    if len(parts) > 2 and len(set(parts)) == 1:
        return [parts[0], f"... {len(parts) - 1} like it"]
    more = len(parts) - MANY
    return [*parts[:MANY], f"... {more} more"] if more > 1 else parts


def _cut(text: str) -> str:
    """Return a text in one line, without what is beyond its first letters."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
