"""A net in 60-digit arithmetic: forward, log-likelihood by a dense Jacobian, and inverse."""

from collections.abc import Sequence
from typing import Any

from .exact import Matrix, Number, ctx, inverse, log_abs_det, matrix
from .functions import dsigma, log_density, log_dsigma, sigma
from .records import Problem

Row = Sequence[Number]


class Net:
    """The layers and the model of a problem; `hidden` counts the layers with an activation.

    `u` is the context of a sample, empty where there is none; `U` has that of every sample.

    >>> import numpy as np
    >>> from relgrad_np.oracle.truths.records import Spec
    >>> one, model = np.ones((1, 1)), (Spec("identity", {}), Spec("normal", {}))
    >>> net = Net(Problem("", "", "", one, (2 * one,), (one[0],), *model))
    >>> net.latent([ctx.mpf(3)])
    [mpf('7.0')]
    """

    def __init__(self, problem: Problem) -> None:
        self.W = [matrix(W) for W in problem.W]
        self.b = [matrix([b])[0] for b in problem.b]
        self.C = [matrix(C) for C in problem.C] or [[[] for _ in b] for b in self.b]
        self.U = [[] for _ in problem.X] if problem.U is None else matrix(problem.U)
        self.activation, self.density = problem.activation, problem.density
        self.L, self.D = problem.L, problem.D
        self.hidden = self.L - (problem.last_layer == "affine")

    def line(self, k: int, z: list[Number], u: Row = ()) -> list[Number]:
        """Return W_k z + C_k u + b_k."""
        return [ctx.fdot(row, z) + s for row, s in zip(self.W[k], self.shift(k, u), strict=True)]

    def shift(self, k: int, u: Row = ()) -> list[Number]:
        """Return C_k u + b_k."""
        return [ctx.fdot(row, u) + b for row, b in zip(self.C[k], self.b[k], strict=True)]

    def activated(self, k: int, y: list[Number]) -> list[Number]:
        """Return Z_{k+1} of one sample whose Y_k is `y`."""
        return [sigma(self.activation, t) for t in y] if k < self.hidden else y

    def from_Y(
        self, k: int, y: list[Number], u: Row = ()
    ) -> tuple[list[Number], list[list[Number]]]:
        """Return the latent of one sample whose Y_k is `y`, and its Y_k, Y_{k+1}, ..."""
        ys = [y]
        for j in range(k, self.L - 1):
            ys.append(self.line(j + 1, self.activated(j, ys[-1]), u))
        return self.activated(self.L - 1, ys[-1]), ys

    def latent(self, x: list[Number], u: Row = ()) -> list[Number]:
        """Return the latent of one sample."""
        return self.from_Y(0, self.line(0, x, u), u)[0]

    def log_prob(self, x: list[Number], u: Row = ()) -> Number:
        """Return log p(x | u): density of the latent, and log|det| of the dense Jacobian in x."""
        z, ys = self.from_Y(0, self.line(0, x, u), u)
        with ctx.workdps(200 + int(max(abs(t) for row in ys for t in row))):
            h = ctx.mpf(2) ** -200
            columns = []
            for i in range(self.D):
                right, left = (
                    self.latent([t + s * (i == j) for j, t in enumerate(x)], u) for s in (h, -h)
                )
                columns.append([(r - q) / (2 * h) for r, q in zip(right, left, strict=True)])
            J = log_abs_det(columns)
        return sum(log_density(self.density, t) for t in z) + J

    def data_terms(self, k: int, y: list[Number], u: Row = ()) -> Number:
        """Return L_p plus the terms of L_J1 from layer k on, of a sample whose Y_k is `y`."""
        z, ys = self.from_Y(k, y, u)
        slopes = (log_dsigma(self.activation, t) for row in ys[: self.hidden - k] for t in row)
        return sum((log_density(self.density, t) for t in z), sum(slopes, ctx.mpf(0)))

    def outputs(self, X: Matrix) -> list[Matrix]:
        """Return Y_0, Y_1, ... of samples X, with the context of each."""
        pairs = zip(X, self.U, strict=True)
        rows = [self.from_Y(0, self.line(0, x, u), u)[1] for x, u in pairs]
        return [[ys[k] for ys in rows] for k in range(self.L)]

    def preimage(self, Z: Matrix, nearby: Matrix) -> Matrix:
        """Return the samples whose latent is Z, by Newton's method from each Y_k of `nearby`."""
        found, Y = [], self.outputs(nearby)
        inverses = [inverse(W) for W in self.W]
        for n, z in enumerate(Z):
            for k in reversed(range(self.L)):
                y = z
                if k < self.hidden:
                    y = [_solve(self.activation, t, Y[k][n][i]) for i, t in enumerate(z)]
                shifted = [t - s for t, s in zip(y, self.shift(k, self.U[n]), strict=True)]
                z = [ctx.fdot(row, shifted) for row in inverses[k]]
            found.append(z)
        return found


def _solve(activation: Any, z: Number, y: Number) -> Number:
    """Return the solution of sigma(y) = z, by Newton's method from `y`."""
    for _ in range(60):
        change = (sigma(activation, y) - z) / dsigma(activation, y)
        y -= change
        if abs(change) < 1e-40 * (1 + abs(y)):
            return y
        if abs(change) > 100:
            break
    raise ArithmeticError("Newton's method did not converge")
