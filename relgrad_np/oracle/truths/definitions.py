"""Expected values from the definitions, in mpmath: what every implementation is held against.

Shares no code with the package: forward by its definition, the log-determinant from a dense
Jacobian got by differencing the forward map, gradients by differencing the log-likelihood (above
D = 8 by a reverse-mode tape, `tape.py`), slopes by differencing the functions, the relative
gradient as G~ W~' W~ with dense matrices, the step as a dense matrix or its exponential. 60 digits
and more; nobody's stable form, for there is nothing to keep stable.
"""

from collections.abc import Callable
from typing import Any

from . import reverse_mode as tape
from .exact import (
    Matrix,
    Number,
    augmented,
    combine,
    ctx,
    eliminate,
    inverse,
    log_abs_det,
    matrix,
    product,
    split_bias,
    transpose,
)
from .problems import Problem

Values = dict[str, Any]
DIFFERENCED = 8  # the largest D whose gradients are differenced
DENSE = 8  # the largest D with an exponential step


def sigma(activation: Any, y: Number) -> Number:
    """Return sigma(y), from its definition.

    >>> from relgrad_np.oracle.brute import Spec
    >>> ctx.nstr(sigma(Spec("smooth_leaky_relu", {"alpha": 0.5}), ctx.mpf(0)), 5)
    '0.34657'
    """
    p = activation.params
    if activation.name == "smooth_leaky_relu":
        return p["alpha"] * y + (1 - p["alpha"]) * ctx.log(1 + ctx.exp(y))
    if activation.name == "leaky_tanh":
        return ctx.tanh(p["alpha"] * y) + p["beta"] * y
    if activation.name == "identity":
        return y
    if activation.name == "softplus":
        return ctx.log(1 + ctx.exp(y))
    if activation.name == "elu":
        return y if y > 0 else p["alpha"] * (ctx.exp(y) - 1)
    raise ValueError(f"unknown activation {activation.name!r}")


def log_density(density: Any, z: Number) -> Number:
    """Return log p(z), from the definition.

    >>> from relgrad_np.oracle.brute import Spec
    >>> ctx.exp(log_density(Spec("laplace", {}), ctx.mpf(0)))
    mpf('0.5')
    """
    if density.name == "normal":
        return -z * z / 2 - ctx.log(2 * ctx.pi) / 2
    if density.name == "logistic":
        return -z - 2 * ctx.log(1 + ctx.exp(-z))
    if density.name == "laplace":
        return -abs(z) - ctx.log(2)
    if density.name == "sech":
        return -ctx.log(ctx.pi * ctx.cosh(z))
    if density.name == "student_t":
        nu = ctx.mpf(density.params["nu"])
        c = ctx.gamma((nu + 1) / 2) / ctx.gamma(nu / 2) / ctx.sqrt(nu * ctx.pi)
        return ctx.log(c) - (nu + 1) / 2 * ctx.log(1 + z * z / nu)
    raise ValueError(f"unknown density {density.name!r}")


def derivative(f: Callable[[Number], Number], y: Number) -> Number:
    """Return f'(y) by a central difference with digits to spare; may be nested once.

    >>> ctx.nstr(derivative(lambda y: y**3, ctx.mpf(2)), 20)
    '12.0'
    """
    digits = 100 + int(abs(y))
    with ctx.workdps(3 * digits):
        h = ctx.mpf(10) ** -digits
        return (f(y + h) - f(y - h)) / (2 * h)


def dsigma(activation: Any, y: Number) -> Number:
    """Return sigma'(y)."""
    return derivative(lambda t: sigma(activation, t), y)


def log_dsigma(activation: Any, y: Number) -> Number:
    """Return log sigma'(y)."""
    with ctx.workdps(3 * (100 + int(abs(y)))):
        return ctx.log(dsigma(activation, y))


def dlog_dsigma(activation: Any, y: Number) -> Number:
    """Return (log sigma')'(y)."""
    return derivative(lambda t: log_dsigma(activation, t), y)


def score(density: Any, z: Number) -> Number:
    """Return (log p)'(z)."""
    return derivative(lambda t: log_density(density, t), z)


class Net:
    """A net with numbers of mpmath: what every definition below is about."""

    def __init__(self, problem: Problem) -> None:
        self.W = [matrix(W) for W in problem.W]
        self.b = [matrix([b])[0] for b in problem.b]
        self.activation, self.density = problem.activation, problem.density
        self.L, self.D = problem.L, problem.D
        self.hidden = self.L - (problem.last_layer == "affine")

    def from_Y(self, k: int, y: list[Number]) -> tuple[list[Number], list[list[Number]]]:
        """Return the latent of one sample whose Y_k is `y`, and its Y_k, Y_{k+1}, ..."""
        ys = [y]
        for j in range(k, self.L):
            z = [sigma(self.activation, t) for t in ys[-1]] if j < self.hidden else ys[-1]
            if j + 1 < self.L:
                ys.append(self.line(j + 1, z))
        return z, ys

    def line(self, k: int, z: list[Number]) -> list[Number]:
        """Return W_k z + b_k."""
        return [ctx.fdot(row, z) + b for row, b in zip(self.W[k], self.b[k], strict=True)]

    def latent(self, x: list[Number]) -> list[Number]:
        """Return the latent of one sample."""
        return self.from_Y(0, self.line(0, x))[0]

    def log_prob(self, x: list[Number]) -> Number:
        """Return log p(x): density of the latent, and log|det| of the dense Jacobian."""
        z = self.latent(x)
        with ctx.workdps(3 * (60 + int(max(map(abs, x))))):
            h = ctx.mpf(10) ** -(40 + int(max(map(abs, x))))
            columns = []
            for i in range(self.D):
                right, left = (
                    self.latent([t + s * (i == j) for j, t in enumerate(x)]) for s in (h, -h)
                )
                columns.append([(r - q) / (2 * h) for r, q in zip(right, left, strict=True)])
            J = log_abs_det(columns)
        return sum(log_density(self.density, t) for t in z) + J

    def data_terms(self, k: int, y: list[Number]) -> Number:
        """Return L_p plus the terms of L_J1 from layer k on, of a sample whose Y_k is `y`."""
        z, ys = self.from_Y(k, y)
        slopes = (log_dsigma(self.activation, t) for row in ys[: self.hidden - k] for t in row)
        return sum((log_density(self.density, t) for t in z), sum(slopes, ctx.mpf(0)))


def truth(problem: Problem) -> Values:
    """Return every array of a case by name, as nested lists of mpmath numbers.

    >>> import numpy as np
    >>> from relgrad_np.oracle.brute import Spec
    >>> one = np.ones((1, 1)); line, normal = Spec("identity", {}), Spec("normal", {})
    >>> found = truth(Problem("", "", "", one, (2 * one,), (one[0],), line, normal, 0.5))
    >>> [ctx.nstr(found[name][0][0], 6) for name in ("Y_0", "Delta_0", "G_W_0", "R_W_0")]
    ['3.0', '-3.0', '-2.5', '-16.0']
    """
    net, X = Net(problem), matrix(problem.X)
    N, L, act, dens = problem.N, problem.L, problem.activation, problem.density
    found: Values = {}
    Y = outputs(net, X)
    Z = [X, *([net_input(net, k, row) for row in Y[k]] for k in range(L))]
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
    small = problem.D <= DIFFERENCED
    total = [p + j + found["L_J2"] for p, j in zip(found["L_p"], found["L_J1"], strict=True)]
    found["log_prob"] = [net.log_prob(x) for x in X] if small else total
    if max(abs(a - b) for a, b in zip(found["log_prob"], total, strict=True)) > 1e-30:
        raise ArithmeticError(f"{problem.id}: the dense Jacobian contradicts L_J1 + L_J2")
    deltas, G = (differenced if small else taped)(net, X, Y)
    for k in range(L):
        found[f"Delta_{k}"] = deltas[k]
        found |= _gradients(net, k, *G[k])
        found |= _step(net, k, found, ctx.mpf(problem.eta))
    return found


def outputs(net: Net, X: Matrix) -> list[Matrix]:
    """Return Y_0, Y_1, ... of samples X."""
    rows = [net.from_Y(0, net.line(0, x))[1] for x in X]
    return [[ys[k] for ys in rows] for k in range(net.L)]


def net_input(net: Net, k: int, y: list[Number]) -> list[Number]:
    """Return Z_{k+1} of a sample whose Y_k is `y`."""
    return [sigma(net.activation, t) for t in y] if k < net.hidden else y


def differenced(net: Net, X: Matrix, Y: list[Matrix]) -> Any:
    """Return Deltas and [(G_W, G_b)] by differencing, one number at a time."""
    N, h = len(X), ctx.mpf(10) ** -18

    def slope(f: Callable[[Number], Number]) -> Number:
        return (f(h) - f(-h)) / (2 * h)

    def moved(row: list[Number], i: int, step: Number) -> list[Number]:
        return [*row[:i], row[i] + step, *row[i + 1 :]]

    def along(row: list[Number], i: int, step: Number) -> Number:
        kept, row[i] = row[i], row[i] + step
        value = sum(net.log_prob(x) for x in X) / N
        row[i] = kept
        return value

    indices = range(net.D)
    deltas = [
        [
            [slope(lambda s, k=k, y=y, i=i: net.data_terms(k, moved(y, i, s))) / N for i in indices]  # type: ignore[misc]
            for y in rows
        ]
        for k, rows in enumerate(Y)
    ]
    with ctx.workdps(90):
        G = [
            [
                [slope(lambda s, row=row, i=i: along(row, i, s)) for i in indices]  # type: ignore[misc]
                for row in [*net.W[k], net.b[k]]
            ]
            for k in range(net.L)
        ]
    return deltas, [(rows[:-1], rows[-1]) for rows in G]


def taped(net: Net, X: Matrix, Y: list[Matrix]) -> Any:
    """Return the same by a reverse-mode tape; log|det| as sum_k log|det W_k| + L_J1."""
    act, dens, node = net.activation, net.density, tape.Node
    W = [[[node(w) for w in row] for row in layer] for layer in net.W]
    b = [[node(t) for t in row] for row in net.b]
    nodes, terms = [], []
    for x in X:
        z = [node(t) for t in x]
        for k in range(net.L):
            z = [tape.dot(row, z) + t for row, t in zip(W[k], b[k], strict=True)]
            nodes.append(z)
            if k < net.hidden:
                slope, bend = (lambda t: log_dsigma(act, t)), (lambda t: dlog_dsigma(act, t))
                terms += [tape.apply(slope, bend, y) for y in z]
                z = [tape.apply(lambda t: sigma(act, t), lambda t: dsigma(act, t), y) for y in z]
        terms += [
            tape.apply(lambda t: log_density(dens, t), lambda t: score(dens, t), t) for t in z
        ]
    size = lambda n: abs(n.value)  # noqa: E731
    pivots = [p for layer in W for p in eliminate(layer, size)]
    log_det = tape.total(tape.apply(lambda p: ctx.log(abs(p)), lambda p: 1 / p, p) for p in pivots)
    data, N = tape.backward(tape.total(terms)), len(X)
    det = tape.backward(log_det)
    deltas = [[[data[y] / N for y in nodes[n * net.L + k]] for n in range(N)] for k in range(net.L)]
    G = [
        (
            [[data[w] / N + det[w] for w in row] for row in W[k]],
            [data[t] / N for t in b[k]],
        )
        for k in range(net.L)
    ]
    return deltas, G


def _gradients(net: Net, k: int, G_W: Matrix, G_b: list[Number]) -> Values:
    W, b = net.W[k], net.b[k]
    M, WW = augmented(W, b), product(W, transpose(W))
    R_W, R_b = split_bias(product(product(augmented(G_W, G_b, 0), transpose(M)), M))
    return {
        f"G_W_{k}": G_W,
        f"G_b_{k}": G_b,
        f"R_W_{k}": R_W,
        f"R_b_{k}": R_b,
        f"R_W_separate_{k}": product(product(G_W, transpose(W)), W),
        f"R_W_input_{k}": product(WW, G_W),
        f"R_b_input_{k}": [ctx.fdot(row, G_b) for row in WW],
    }


def _step(net: Net, k: int, found: Values, eta: Number) -> Values:
    M = augmented(net.W[k], net.b[k])
    R = augmented(found[f"R_W_{k}"], found[f"R_b_{k}"], 0)
    W_plus, b_plus = split_bias(combine(M, R, eta))
    made: Values = {
        f"W_plus_{k}": W_plus,
        f"b_plus_{k}": b_plus,
        f"logdet_plus_{k}": log_abs_det(W_plus),
    }
    if net.D <= DENSE:
        xi = product(R, inverse(M))
        grown = ctx.expm(ctx.matrix([[eta * x for x in row] for row in xi]), method="taylor")
        made[f"W_exp_{k}"], made[f"b_exp_{k}"] = split_bias(product(grown.tolist(), M))
    return made


def latent(problem: Problem, X: Any) -> Matrix:
    """Return the latent Z_L of samples X (N, D)."""
    net = Net(problem)
    return [net.latent(x) for x in matrix(X)]


def preimage(problem: Problem, Z: Any, nearby: Any) -> Matrix:
    """Return the samples whose latent is Z, by Newton's method from each Y_k of samples nearby."""
    net, found = Net(problem), []
    Y = outputs(net, matrix(nearby))
    inverses = [inverse(W) for W in net.W]
    for n, row in enumerate(matrix(Z)):
        z = row
        for k in reversed(range(net.L)):
            y = z
            if k < net.hidden:
                y = [_solve(net.activation, t, Y[k][n][i]) for i, t in enumerate(z)]
            z = [
                ctx.fdot(line, [t - c for t, c in zip(y, net.b[k], strict=True)])
                for line in inverses[k]
            ]
        found.append(z)
    return found


def _solve(activation: Any, z: Number, y: Number) -> Number:
    for _ in range(60):
        change = (sigma(activation, y) - z) / dsigma(activation, y)
        y -= change
        if abs(change) < 1e-40 * (1 + abs(y)):
            return y
        if abs(change) > 100:
            break
    raise ArithmeticError("Newton's method did not converge")
