"""One compiled call for many steps: at small sizes a call from Python costs more than a step."""

import math
from typing import Any

import numpy as np

from ...rules.guard import fell, learned
from . import charts, passes, update
from .averages import join
from .compile import exact
from .passes import pass_arrays
from .records import (
    Averaging,
    Charts,
    Formulas,
    Guarded,
    LayerArrays,
    LogDets,
    RuleNumbers,
    Sizes,
)
from .stored import compiled

has_fallen, has_learned = exact(fell), exact(learned)


@compiled
def take_steps(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, rule: Any, memory: Any,
    logdets: Any, running: Any, history: Any, guarded: Any, averaging: Any,
) -> Any:  # fmt: skip
    """Take up to K steps of any rule but Adam in place; return n, fine, taken, waiting.

    n steps were taken. `fine` is False where the next batch is not finite, or shows that the step
    before it was bad: then it has changed nothing but what is to be filled. `taken` layers are in
    the average now, and the last ones are `waiting` to join it.

    Parameters
    ----------
    blas : the address of ?gemm
    X : (K, N, D), a batch for each step, or (K, N, D + c) with context
    weights : `share` (1 or K, N), the samples' weights / N, and whether they are all equal
    layers, formulas : the fields of LayerArrays and Formulas, see `records`
    rule : the fields of RuleNumbers without the learning rate
    memory : scratch (2 max(L - 1, 1) + 1, N, D), free after the steps. And to be filled: two arrays
        YD (L, 2, N, D), number i mod 2 by step i; P (L, 2, N, D), K (L, n, n) and u (L, N), or (L,
        N, c + 1), by each step anew
    logdets : (K + 1, 2, L), the fields of LogDets before each step; all but the first to be filled
    running : the first four fields of Charts; gain (L, D), to be filled; rows (3, 5, L, D) and
        numbers (3, 3, L), what the window has seen before step i in place i mod 3, of which the
        first is given; and how many batches that are. Without charts: zeros, and ones as gain
    history : learning rates (K,) before guard and falls have their say. And to be filled: sizes
        (K, 3, L), the fields of Sizes, and terms (K, 3), L_p, L_J1, L_J2
    guarded, averaging : the fields of Guarded and Averaging
    """
    net, model, judge = LayerArrays(*layers), Formulas(*formulas), Guarded(*guarded)
    average, usual, judged = Averaging(*averaging), judge.guard, judge.judged
    taken, waiting, number = average.taken, average.waiting, X.dtype.type
    scratch, YDs, P, K, u = memory
    mean, variance, information, each, gain, rows, seen, batches = running
    rates, sizes, terms = history
    n, fine = 0, True
    while n < X.shape[0]:
        share = weights[0][min(n, weights[0].shape[0] - 1)]
        arrays = pass_arrays(blas, X[n], net.b, share, scratch, (YDs[n % 2], P, K, u))
        size, old, new = Sizes(sizes[n, 0], sizes[n, 1], sizes[n, 2]), n % 3, (n + 1) % 3
        chart = Charts(
            mean, variance, information, each, rows[old], rows[new], seen[old], seen[new], gain
        )
        rate = rates[n] * usual[3] * judge.rate
        numbers = RuleNumbers(rule[0], rule[1], rate, rule[2], rule[3], rule[4], rule[5], rule[6])
        L_p, L_J1 = passes.forward(X[n], net, model, weights[1], arrays)
        if numbers.charts:
            total = charts.backward(net, arrays, chart, size, numbers, batches + n)
        else:
            total = passes.backward(net, arrays, chart.mean, size)
            for k in range(len(net.W)):
                size.eta[k] = numbers.learning_rate
        L_J2 = 0.0
        for k in range(len(net.W)):
            L_J2 += logdets[n, 0, k]
            if numbers.charts:  # what is remembered must be finite, too
                total += 0.0 * (size.eta[k] + chart.numbers[0, k] + chart.numbers[1, k])
                for row in range(chart.rows.shape[0]):
                    for i in range(chart.rows.shape[2]):
                        total += 0.0 * chart.rows[row, k, i]
        terms[n, 0], terms[n, 1], terms[n, 2] = L_p, L_J1, L_J2
        value = np.float64(number(L_p) + number(L_J1)) + L_J2
        fine = math.isfinite(L_p + L_J1 + L_J2 + total)
        if judged and has_fallen(usual[0], usual[1], usual[2], judge.undo, value):
            fine = False
        if not fine:
            break
        if waiting:
            taken += 1
            join(net, X, average, taken, taken == average.taken + 1)
        for k in range(len(net.W)):
            logdets[n + 1, 0, k], logdets[n + 1, 1, k] = logdets[n, 0, k], logdets[n, 1, k]
        after = LogDets(logdets[n + 1, 0], logdets[n + 1, 1])
        update.step(net, arrays, chart, size, after, numbers)
        if judge.learns:
            usual[0], usual[1], usual[2], usual[3] = has_learned(
                usual[0], usual[1], usual[2], usual[3], value
            )
            judged = True
        n += 1
        waiting = average.every > 0 and (average.t + n) % average.every == 0
    return n, fine, taken, waiting
