"""Errors of the size of float32 digits: how large they are, and whether one constant makes them.

A constant that is kept in float32, in code of float64 otherwise, makes errors of 1e-8 to 1e-7 of
the values, and no formula is wrong. So small an error is no evidence for a sum of two terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..truths.records import Spec
from .bounded import Bounded
from .wrong import Wrong

SMALLEST, LARGEST = 2.0**-31, 2.0**-21  # in units of the size of the array's terms


def small(roots: Sequence[Wrong]) -> float | None:
    """Return the largest error, in units of the array's size, if it is one of float32 digits.

    >>> small([]) is None
    True
    """
    sizes = [_relative(w) for w in roots if w.outcome.eps < 2.0**-40]
    largest = max(sizes, default=0.0)
    return largest if len(sizes) == len(roots) and SMALLEST <= largest <= LARGEST else None


def _relative(w: Wrong) -> float:
    with np.errstate(all="ignore"):
        off = float(np.max(np.abs(w.value - w.base.value), initial=0.0))
    size = w.outcome.case.tolerances[w.name].size
    return off / size if size and math.isfinite(off) else math.inf


def float32_constants(roots: Sequence[Wrong]) -> Iterator[tuple[str, str, str]]:
    """Yield which constant of the base density was rounded to float32, if that explains all.

    As kind, detail and words of a relation.
    """
    if roots[0].stage not in ("L_p", "log_prob") or small(roots) is None:
        return
    names = list[str]()
    for w in roots:
        fits = [n for n, c in constants(w.problem.density) if w.agrees(_rounded(w, c))]
        if not fits:
            return
        names += fits[:1]
    *first, last = dict.fromkeys(names)
    listed = f"{', '.join(first)} and {last}" if first else last
    yield "float32 constant", listed, f"the right one with {listed} kept in float32"


def _rounded(w: Wrong, c: float) -> Bounded:
    """Return the base where its constant, D times c, was rounded to float32."""
    return w.base + Bounded(w.problem.D * (float(np.float32(c)) - c) * np.ones(np.shape(w.value)))


def constants(density: Spec) -> list[tuple[str, float]]:
    """Return the constants that code for a density is likely to hold, as they enter log p.

    >>> constants(Spec("laplace", {}))
    [('log 2', -0.6931471805599453)]
    """
    two_pi, nu = math.log(2 * math.pi) / 2, density.params.get("nu", 3.0)
    of_nu = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)
    of_size = math.log(nu * math.pi) / 2
    known = {
        "normal": [("1/2 log 2 pi", -two_pi)],
        "sech": [("log(pi / 2)", -math.log(math.pi / 2)), ("log pi", -math.log(math.pi))],
        "laplace": [("log 2", -math.log(2))],
        "student_t": [
            ("the constant of the t density", of_nu - of_size),
            ("lgamma((nu + 1) / 2) - lgamma(nu / 2)", of_nu), ("1/2 log(nu pi)", -of_size),
        ],
    }  # fmt: skip
    return known.get(density.name, [])
