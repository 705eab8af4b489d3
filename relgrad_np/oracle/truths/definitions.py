"""Expected values from the definitions, in mpmath: what every implementation is held against.

They share no code with the core, and need no stable forms: there are 60 digits and more. The
log-determinant is that of a dense Jacobian, which comes from differencing the forward pass. The
gradients come from differencing the log-likelihood, above D = 8 from a reverse-mode tape. The
relative gradient is G~ W~' W~ with dense matrices, the step a dense matrix or its exponential.
"""

from typing import Any

from .exact import (
    Matrix,
    Number,
    augmented,
    combine,
    ctx,
    inverse,
    log_abs_det,
    matrix,
    product,
    split_affine,
    transpose,
)
from .functions import dlog_dsigma, log_density, log_dsigma
from .gradients import by_differences, by_reverse_mode
from .net import Net
from .records import Problem
from .stages import STAGES, split

Values = dict[str, Any]
DIFFERENCED = 8  # the largest D whose gradients are differenced
DENSE = 8  # the largest D with an exponential step
LONG = 40  # the longest exponential step; a sum of terms e^40 in size leaves few digits to compare


def true_arrays(problem: Problem, differenced: int | None = None) -> Values:
    """Return every array of a case by name, as nested lists of mpmath numbers.

    `differenced`: the largest D whose gradients are differenced; above, they are those of the tape.

    >>> import numpy as np
    >>> from relgrad_np.oracle.truths.records import Spec
    >>> one = np.ones((1, 1)); line, normal = Spec("identity", {}), Spec("normal", {})
    >>> found = true_arrays(Problem("", "", "", one, (2 * one,), (one[0],), line, normal, 0.5))
    >>> [ctx.nstr(found[name][0][0], 6) for name in ("Y_0", "Delta_0", "G_W_0", "R_W_0")]
    ['3.0', '-3.0', '-2.5', '-16.0']
    """
    net, X = Net(problem), matrix(problem.X)
    N, L, act, dens = problem.N, problem.L, problem.activation, problem.density
    found: Values = {}
    Y = net.outputs(X)
    Z = [X, *([net.activated(k, row) for row in Y[k]] for k in range(L))]
    for k in range(L):
        found[f"Y_{k}"], found[f"Z_{k + 1}"] = Y[k], Z[k + 1]
    for name, f in (("log_dsigma", log_dsigma), ("dlog_dsigma", dlog_dsigma)):
        for k in range(net.hidden):
            found[f"{name}_{k}"] = [[f(act, y) for y in row] for row in Y[k]]
    found["L_p"] = [sum(log_density(dens, z) for z in row) for row in Z[L]]
    found["L_J1"] = [
        sum((sum(found[f"log_dsigma_{k}"][n]) for k in range(net.hidden)), ctx.mpf(0))
        for n in range(N)
    ]
    found["L_J2"] = sum(log_abs_det(W) for W in net.W)
    total = [p + j + found["L_J2"] for p, j in zip(found["L_p"], found["L_J1"], strict=True)]
    found["log_prob"] = total
    if problem.D <= DIFFERENCED:
        found["log_prob"] = [net.log_prob(x, u) for x, u in zip(X, net.U, strict=True)]
    if max(abs(a - b) for a, b in zip(found["log_prob"], total, strict=True)) > 1e-30:
        raise ArithmeticError(f"{problem.id}: the dense Jacobian contradicts L_J1 + L_J2")
    small = (DIFFERENCED if differenced is None else differenced) >= problem.D
    deltas, G = (by_differences if small else by_reverse_mode)(net, X, Y)
    for k in range(L):
        found[f"Delta_{k}"] = deltas[k]
        found |= _gradients(net, k, *G[k])
        found |= _step(net, k, found, ctx.mpf(problem.eta))
    if problem.c:
        return found
    return {name: x for name, x in found.items() if not STAGES[split(name)[0]].of_context}


def _gradients(net: Net, k: int, G_W: Matrix, G_C: Matrix, G_b: list[Number]) -> Values:
    """Return the gradients of layer k; the relative ones by the dense products that define them."""
    W = net.W[k]
    M, WW = augmented(W, net.C[k], net.b[k]), product(W, transpose(W))
    xi = product(augmented(G_W, G_C, G_b, 0), transpose(M))  # G~ W~'
    R_W, R_C, R_b = split_affine(product(xi, M), net.D)
    return {
        f"G_W_{k}": G_W,
        f"G_b_{k}": G_b,
        f"G_C_{k}": G_C,
        f"xi_{k}": split_affine(xi, net.D)[0],
        f"R_W_{k}": R_W,
        f"R_b_{k}": R_b,
        f"R_C_{k}": R_C,
        f"R_W_separate_{k}": product(product(G_W, transpose(W)), W),
        f"R_W_input_{k}": product(WW, G_W),
        f"R_b_input_{k}": [ctx.fdot(row, G_b) for row in WW],
        f"R_C_input_{k}": product(WW, G_C),
    }


def _step(net: Net, k: int, found: Values, eta: Number) -> Values:
    """Return layer k after the plain step, and, where D is small enough, after the exponential."""
    M = augmented(net.W[k], net.C[k], net.b[k])
    R = augmented(found[f"R_W_{k}"], found[f"R_C_{k}"], found[f"R_b_{k}"], 0)
    W_plus, C_plus, b_plus = split_affine(combine(M, R, eta), net.D)
    made: Values = {
        f"W_plus_{k}": W_plus,
        f"b_plus_{k}": b_plus,
        f"C_plus_{k}": C_plus,
        f"logdet_plus_{k}": log_abs_det(W_plus),
    }
    xi = product(R, inverse(M)) if net.D <= DENSE else []  # R~ = xi~ W~
    if xi and eta * max(sum(abs(x) for x in row) for row in xi) < LONG:
        grown = ctx.expm(ctx.matrix([[eta * x for x in row] for row in xi]), method="taylor")
        moved = split_affine(product(grown.tolist(), M), net.D)
        made[f"W_exp_{k}"], made[f"C_exp_{k}"], made[f"b_exp_{k}"] = moved
    return made
