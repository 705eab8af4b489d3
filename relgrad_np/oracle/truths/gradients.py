"""Gradients of the log-likelihood in 60-digit arithmetic: by differencing, or by reverse mode.

Neither knows a formula of backpropagation; the tests compare the two.
"""

from collections.abc import Callable

from .exact import Matrix, Number, ctx, eliminate
from .functions import dlog_dsigma, dsigma, log_density, log_dsigma, score, sigma
from .net import Net, Row
from .reverse_mode import Node, apply, backward, dot, total

Gradients = tuple[list[Matrix], list[tuple[Matrix, Matrix, list[Number]]]]


def by_differences(net: Net, X: Matrix, Y: list[Matrix]) -> Gradients:
    """Return Deltas and [(G_W, G_C, G_b)] by differencing, one number at a time."""
    N, h, indices = len(X), ctx.mpf(10) ** -18, range(net.D)

    def slope(f: Callable[[Number], Number]) -> Number:
        return (f(h) - f(-h)) / (2 * h)

    def data_slope(k: int, y: list[Number], u: Row, i: int) -> Number:
        """Return the derivative of L_p + L_J1 of a sample in component i of its Y_k."""
        return slope(lambda s: net.data_terms(k, [*y[:i], y[i] + s, *y[i + 1 :]], u))

    def log_prob_slope(row: list[Number], i: int) -> Number:
        """Return the derivative of mean(log p) in entry i of a row of W_k or C_k, or of b_k."""
        kept = row[i]

        def at(step: Number) -> Number:
            row[i] = kept + step
            value = sum(net.log_prob(x, u) for x, u in zip(X, net.U, strict=True)) / N
            row[i] = kept
            return value

        return slope(at)

    deltas = [
        [[data_slope(k, y, u, i) / N for i in indices] for y, u in zip(rows, net.U, strict=True)]
        for k, rows in enumerate(Y)
    ]
    with ctx.workdps(90):
        G = [
            [
                [log_prob_slope(row, i) for i in range(len(row))]
                for row in [*net.W[k], *net.C[k], net.b[k]]
            ]
            for k in range(net.L)
        ]
    return deltas, [(rows[: net.D], rows[net.D : -1], rows[-1]) for rows in G]


def by_reverse_mode(net: Net, X: Matrix, Y: list[Matrix]) -> Gradients:
    """Return the same by a reverse-mode tape, with log|det| as sum_k log|det W_k| + L_J1."""
    act, dens, N = net.activation, net.density, len(X)
    W = [[[Node(w) for w in row] for row in layer] for layer in net.W]
    b = [[Node(t) for t in row] for row in net.b]
    C = [[[Node(t) for t in row] for row in layer] for layer in net.C]
    nodes: list[list[list[Node]]] = [[] for _ in range(net.L)]  # Y_k of each sample
    terms = []
    for x, u in zip(X, net.U, strict=True):
        z, given = [Node(t) for t in x], [Node(t) for t in u]
        for k in range(net.L):
            rows = zip(W[k], C[k], b[k], strict=True)
            z = [dot([*w, *c], [*z, *given]) + t for w, c, t in rows]
            nodes[k].append(z)
            if k < net.hidden:
                bend = lambda t: dlog_dsigma(act, t)  # noqa: E731
                terms += [apply(lambda t: log_dsigma(act, t), bend, y) for y in z]
                z = [apply(lambda t: sigma(act, t), lambda t: dsigma(act, t), y) for y in z]
        terms += [apply(lambda t: log_density(dens, t), lambda t: score(dens, t), t) for t in z]
    pivots = [p for layer in W for p in eliminate(layer, lambda node: abs(node.value))]
    log_det = total(apply(lambda p: ctx.log(abs(p)), lambda p: 1 / p, p) for p in pivots)
    data, det = backward(total(terms)), backward(log_det)
    deltas = [[[data[y] / N for y in ys] for ys in rows] for rows in nodes]
    G = [
        (
            [[data[w] / N + det[w] for w in row] for row in W[k]],
            [[data[t] / N for t in row] for row in C[k]],
            [data[t] / N for t in b[k]],
        )
        for k in range(net.L)
    ]
    return deltas, G
