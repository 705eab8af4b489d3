"""One compiled call for a step: at small sizes each call from Python costs as much as its work."""

import math
from typing import Any

from . import charts, passes, update
from .compile import compiled
from .passes import pass_arrays, sizes_of
from .records import Charts, Formulas, LayerArrays, LogDets, RecipeNumbers


@compiled
def without_charts(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, scratch: Any, fresh: Any,
    sizes: Any, logdets: Any, neutral: Any, options: Any,
) -> Any:  # fmt: skip
    """Take the plain or the exponential step in place; return L_p, L_J1, L_J2, finite.

    Parameters
    ----------
    blas : the address of ?gemm
    X : (N, D)
    weights : `share` (N,), the samples' weights / N, and whether they are all equal
    layers, formulas : see `records`
    scratch : (2 max(L - 1, 1) + 1, N, D), free after the step
    fresh : the memory of the factors: (2, L, 2, N, D), K (L, n, n) and u (L, N)
    sizes : (3, L), the fields of `records.Sizes`, to be filled
    logdets : (2, L), the fields of `records.LogDets`, to be moved on
    neutral : zeros and ones (L, D), the m and gain of a step without charts
    options : learning rate, tau, and kind, 0 for plain and 1 for exponential

    Where something is not finite, nothing but `scratch`, `fresh` and `sizes` changes.
    """
    net, model, size = LayerArrays(*layers), Formulas(*formulas), sizes_of(sizes)
    arrays = pass_arrays(blas, weights[0], scratch, fresh)
    L_p, L_J1 = passes.forward(X, net, model, weights[1], arrays)
    total = passes.backward(net, arrays, neutral[0], size.norms)
    L_J2 = 0.0
    for k in range(len(net.W)):
        L_J2 += logdets[0, k]
        size.eta[k], size.own[k] = options[0], size.norms[k]
    finite = math.isfinite(L_p + L_J1 + L_J2 + total)
    if finite:
        tracked = LogDets(logdets[0], logdets[1])
        update.step(net, arrays, neutral[0], neutral[1], size, tracked, options[1], options[2])
    return L_p, L_J1, L_J2, finite


@compiled
def in_charts(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, scratch: Any, fresh: Any,
    sizes: Any, logdets: Any, running: Any, recipe: Any, options: Any,
) -> Any:  # fmt: skip
    """Take the recipe's step in place, as `without_charts` takes the others.

    Parameters
    ----------
    running : the record before the step and the one after it, to be filled, both (4, L, D):
        mean, variance, information, and x in the first column; gain (L, D), to be filled;
        whether there is a record before; the number of steps t
    recipe : see `records.RecipeNumbers`
    options : tau and kind
    """
    net, model, size = LayerArrays(*layers), Formulas(*formulas), sizes_of(sizes)
    arrays = pass_arrays(blas, weights[0], scratch, fresh)
    L_p, L_J1 = passes.forward(X, net, model, weights[1], arrays)
    before, after, gain, known, t = running
    if known:
        old, new = before.reshape(before.size), after.reshape(after.size)
        for i in range(len(old)):
            new[i] = old[i]
    chart = Charts(after[0], after[1], after[2], after[3], gain)
    total = charts.backward(net, arrays, chart, size, RecipeNumbers(*recipe), known, t)
    L_J2 = 0.0
    for k in range(len(net.W)):
        L_J2 += logdets[0, k]
        total += 0.0 * (size.eta[k] + after[3, k, 0])
        for i in range(after.shape[2]):  # what is remembered must be finite, too
            total += 0.0 * (after[0, k, i] + after[1, k, i] + after[2, k, i])
    finite = math.isfinite(L_p + L_J1 + L_J2 + total)
    if finite:
        tracked = LogDets(logdets[0], logdets[1])
        update.step(net, arrays, chart.mean, gain, size, tracked, options[0], options[1])
    return L_p, L_J1, L_J2, finite
