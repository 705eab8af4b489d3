"""One compiled call for a step: at small sizes each call from Python costs as much as its work."""

import math
from typing import Any

from . import charts, passes, update
from .passes import pass_arrays
from .records import Charts, Formulas, LayerArrays, LogDets, RuleNumbers, Sizes
from .stored import compiled


@compiled
def take_step(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, rule: Any, scratch: Any,
    fresh: Any, sizes: Any, logdets: Any, running: Any,
) -> Any:  # fmt: skip
    """Take the step of any rule but Adam in place; return L_p, L_J1, L_J2, finite.

    Parameters
    ----------
    blas : the address of ?gemm
    X : (N, D)
    weights : `share` (N,), the samples' weights / N, and whether they are all equal
    layers, formulas, rule : the fields of LayerArrays, Formulas, RuleNumbers, see `records`
    scratch : (2 max(L - 1, 1) + 1, N, D), free after the step
    fresh : memory of the factors, to be filled: (2, L, 2, N, D), K (L, n, n) and u (L, N)
    sizes : (3, L), to be filled: the fields of `records.Sizes`
    logdets : (2, L), to be moved on: the fields of `records.LogDets`
    running : the fields of `records.Charts`, and how many batches the window has seen before.
        Without charts: zeros, and ones as gain

    Where something is not finite, nothing changes but what is to be filled.
    """
    net, numbers = LayerArrays(*layers), RuleNumbers(*rule)
    arrays, size = (
        pass_arrays(blas, weights[0], scratch, fresh),
        Sizes(sizes[0], sizes[1], sizes[2]),
    )
    parts, t = running
    chart = Charts(*parts)
    L_p, L_J1 = passes.forward(X, net, Formulas(*formulas), weights[1], arrays)
    if numbers.charts:
        total = charts.backward(net, arrays, chart, size, numbers, t)
    else:
        total = passes.backward(net, arrays, chart.mean, size)
        for k in range(len(net.W)):
            size.eta[k] = numbers.learning_rate
    L_J2 = 0.0
    for k in range(len(net.W)):
        L_J2 += logdets[0, k]
        if numbers.charts:  # what is remembered must be finite, too
            total += 0.0 * (size.eta[k] + chart.numbers[0, k] + chart.numbers[1, k])
            for row in range(chart.rows.shape[0]):
                for i in range(chart.rows.shape[2]):
                    total += 0.0 * chart.rows[row, k, i]
    finite = math.isfinite(L_p + L_J1 + L_J2 + total)
    if finite:
        update.step(net, arrays, chart, size, LogDets(logdets[0], logdets[1]), numbers)
    return L_p, L_J1, L_J2, finite
