"""How wrong a right result may be, for each array of the suite: derived, in units of eps.

An array of a right implementation, in arithmetic of precision eps, is off by at most

    eps (64 S + inherited)

S is its formula with absolute values in place of values: cancellation is allowed for and nothing
else. `inherited` is the first-order effect of what its inputs may already be wrong by. What goes
through an inverse or a determinant also scales with the condition of W. An elementwise f has
S = 1 + |f| + |y f'|: the 1 for intermediate values of size 1, as in the logarithm of a number near
1. In mpmath like the truth, so that the suite is the same to the byte everywhere.
"""

from typing import Any

from . import definitions as truth
from . import exact
from .definitions import Values
from .exact import Matrix, ctx, product, transpose
from .problems import Problem

C = 64
REASONS = {
    "Y": "|Z| |W|' + |b|; inherits |W| from Z",
    "Z": "1 + |sigma| + |y sigma'|; inherits sigma' from Y",
    "log_dsigma": "1 + |f| + |y f'|; inherits f' from Y",
    "dlog_dsigma": "1 + |f| + |y f'|; inherits f' from Y",
    "L_p": "sum of 1 + |log p| + |z score|; inherits score from Z_L",
    "L_J1": "sum of the S of log_dsigma; inherits theirs",
    "L_J2": "sum_k of sum|inv(W)|'|W| + |log|det W|| + D",
    "log_prob": "sum of those of L_p, L_J1 and L_J2",
    "Delta": "|Delta_{k+1}| |W| (1 + 2 |sigma'| + |y sigma''|) + (1 + |f| + |y f'|)/N, "
    "f = (log sigma')'; inherits from Delta_{k+1} and Y",
    "G_W": "|Delta|'|Z| + cond(W) |inv(W)|', cond by Frobenius norms; inherits from Delta and Z",
    "G_b": "sum |Delta|; inherits from Delta",
    "R_W": "|Delta|'(|Y| |W|) + |W|; inherits from Delta and Y; no cond(W)",
    "R_b": "|Delta|'(|Y| |b| + 1) + |b|; inherits from Delta and Y; no cond(W)",
    "R_W_separate": "|Delta|'((|Y| + |b|) |W|) + |W|; inherits from Delta and Y; no cond(W)",
    "R_W_input": "|W| |W|'|Delta|'|Z| + |W|; inherits from Delta and Z; no cond(W)",
    "R_b_input": "|W| |W|' sum|Delta|; inherits from Delta",
    "W_plus": "|W| + eta S of R_W; inherits eta that of R_W",
    "b_plus": "|b| + eta S of R_b; inherits eta that of R_b",
    "logdet_plus": "sum|inv(W+)|'|W+| + |log|det W+|| + D; inherits sum|inv(W+)|' e(W+)",
    "W_exp": "exp(eta |xi~|) |W~|, |xi~| with absolute values; inherits eta e(xi~) through it",
    "b_exp": "as W_exp",
    "X_back": "cond(W) (|Y| + |b|)|inv(W)|', and (1 + |sigma| + |y sigma'|)/sigma', "
    "each carried through the layers below it",
}
Tolerance = dict[str, float]


def _abs(A: Matrix) -> Matrix:
    return [[abs(x) for x in row] for row in A]


def _map(f: Any, *matrices: Matrix) -> Matrix:
    return [
        [f(*entries) for entries in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)
    ]


def _peak(A: Any) -> Any:
    return max(map(_peak, A)) if isinstance(A, list) else abs(A)


def _add(*matrices: Matrix) -> Matrix:
    return _map(lambda *xs: sum(xs), *matrices)


def _flat(A: Matrix) -> Any:
    return sum(sum(row) for row in A)


class Elementwise:
    """f, 1 + |f| + |y f'| and |f'| at every entry of Y."""

    def __init__(self, f: Any, Y: Matrix) -> None:
        self.f = _map(f, Y)
        with ctx.workdps(30):
            h = ctx.mpf(10) ** -10
            self.slope = _map(lambda y: abs(f(y + h) - f(y - h)) / (2 * h), Y)
        self.S = _map(lambda y, f, s: 1 + abs(f) + abs(y) * s, Y, self.f, self.slope)


def tolerances(problem: Problem, found: Values, X_back: Matrix) -> dict[str, Tolerance]:
    """Return S, `inherited` and `size` of each array; `size` is S without any condition number.

    >>> import numpy as np
    >>> from relgrad_np.oracle.brute import Spec
    >>> one = np.ones((1, 1)); line, normal = Spec("identity", {}), Spec("normal", {})
    >>> p = Problem("", "", "", one, (2 * one,), (one[0],), line, normal, 0.5)
    >>> tolerances(p, truth.truth(p), exact.matrix(one))["Y_0"]  # |Z| |W| + |b| = 3
    {'S': 3.0, 'inherited': 0.0, 'size': 3.0}
    """
    with ctx.workdps(20):
        made = Scales(problem, found, X_back).found
    return {name: made[name] for name in found} | {"X_back": made["X_back"]}


class Scales:
    """Walks the stages with absolute values; e_ is an error in units of eps."""

    def __init__(self, problem: Problem, v: Values, X_back: Matrix) -> None:
        self.p, self.v, self.net = problem, v, truth.Net(problem)
        self.found: dict[str, Tolerance] = {}
        self.W = [_abs(W) for W in self.net.W]
        self.b = [[abs(t) for t in b] for b in self.net.b]
        self.V = [_abs(transpose(exact.inverse(W))) for W in self.net.W]
        self.cond = [
            ctx.sqrt(_flat(_map(lambda x: x * x, W)) * _flat(_map(lambda x: x * x, V)))
            for W, V in zip(self.W, self.V, strict=True)
        ]
        self.Z = [
            _abs(exact.matrix(problem.X)),
            *(_abs(v[f"Z_{k + 1}"]) for k in range(self.net.L)),
        ]
        self.Y = [v[f"Y_{k}"] for k in range(self.net.L)]
        self.forward()
        self.backward()
        for k in range(self.net.L):
            self.gradients(k)
            self.step(k)
        self.back(X_back)

    def note(self, name: str, S: Any, inherited: Any = 0, size: Any = None) -> Any:
        """Record the largest entries; return the error 64 S + inherited, entry by entry."""
        peaks = {"S": S, "inherited": inherited, "size": S if size is None else size}
        self.found[name] = {key: float(ctx.nstr(_peak(x), 4)) for key, x in peaks.items()}
        if isinstance(S, list) and isinstance(S[0], list):
            return _map(lambda s, e: C * s + e, S, inherited or _map(lambda s: 0, S))
        return C * S + inherited if not isinstance(S, list) else None

    def forward(self) -> None:
        """Y, Z, their slopes and the terms of the log-likelihood."""
        act, dens, net = self.p.activation, self.p.density, self.net
        self.e_Z = [_map(lambda z: 0 * z, self.Z[0])]
        self.e_Y = []
        zeros = [ctx.mpf(0)] * self.p.N
        J1, e_J1 = zeros, zeros
        for k in range(net.L):
            S = [
                [x + t for x, t in zip(row, self.b[k], strict=True)]
                for row in product(self.Z[k], transpose(self.W[k]))
            ]
            self.e_Y.append(self.note(f"Y_{k}", S, product(self.e_Z[k], transpose(self.W[k]))))
            if k >= net.hidden:
                self.e_Z.append(
                    self.note(f"Z_{k + 1}", S, _map(lambda e, s: e - C * s, self.e_Y[k], S))
                )
                continue
            made = [
                ("Z", k + 1, truth.sigma),
                ("log_dsigma", k, truth.log_dsigma),
                ("dlog_dsigma", k, truth.dlog_dsigma),
            ]
            errors = []
            for stage, index, f in made:
                part = Elementwise(lambda y, f=f: f(act, y), self.Y[k])
                inherited = _map(lambda s, e: s * e, part.slope, self.e_Y[k])
                errors.append(self.note(f"{stage}_{index}", part.S, inherited))
                if stage == "log_dsigma":
                    J1 = [a + sum(row) for a, row in zip(J1, part.S, strict=True)]
                    e_J1 = [a + sum(row) for a, row in zip(e_J1, inherited, strict=True)]
            self.e_Z.append(errors[0])
            self.e_bend = [*getattr(self, "e_bend", []), errors[2]]
        part = Elementwise(lambda z: truth.log_density(dens, z), self.v[f"Z_{net.L}"])
        e_p = [sum(row) for row in _map(lambda s, e: s * e, part.slope, self.e_Z[net.L])]
        S_p = [sum(row) for row in part.S]
        dets = [
            _flat(_map(lambda x, y: x * y, V, W)) + abs(exact.log_abs_det(W_)) + self.p.D
            for V, W, W_ in zip(self.V, self.W, net.W, strict=True)
        ]
        size = [abs(exact.log_abs_det(W)) + self.p.D for W in net.W]
        self.note("L_p", S_p, e_p)
        self.note("L_J1", J1, e_J1)
        self.note("L_J2", sum(dets), 0, sum(size))
        S = [a + b + sum(dets) for a, b in zip(S_p, J1, strict=True)]
        e = [a + b for a, b in zip(e_p, e_J1, strict=True)]
        self.note("log_prob", S, e, [a + b for a, b in zip(S_p, J1, strict=True)])

    def backward(self) -> None:
        """Deltas, from the last."""
        act, dens, net, N = self.p.activation, self.p.density, self.net, self.p.N
        Z_L, k = self.v[f"Z_{net.L}"], net.L - 1
        part = Elementwise(lambda z: truth.score(dens, z), Z_L)
        P = _map(lambda f: abs(f) / N, part.f)
        own = _map(lambda s: s / N, part.S)
        inherited = _map(lambda s, e: s * e / N, part.slope, self.e_Z[net.L])
        e_P = _add(_map(lambda s: C * s, own), inherited)
        self.e_Delta: list[Any] = [None] * net.L
        if k >= net.hidden:
            self.e_Delta[k] = self.note(f"Delta_{k}", own, inherited)
            k -= 1
            P, e_P = self._below(k + 1)
        while k >= 0:
            slope = Elementwise(lambda y: truth.dsigma(act, y), self.Y[k])
            bend = Elementwise(lambda y: truth.dlog_dsigma(act, y), self.Y[k])
            own = _map(lambda p, s, f, t: p * (s + abs(f)) + t / N, P, slope.S, slope.f, bend.S)
            inherited = _map(
                lambda p, e_p, f, s, t, e: e_p * abs(f) + (p * s + t / N) * e,
                P, e_P, slope.f, slope.slope, bend.slope, self.e_Y[k],
            )  # fmt: skip
            self.e_Delta[k] = self.note(f"Delta_{k}", own, inherited)
            if k:
                P, e_P = self._below(k)
            k -= 1

    def _below(self, k: int) -> tuple[Matrix, Matrix]:
        """Return |Delta_k| |W_k| and the error of Delta_k @ W_k that it inherits."""
        return product(_abs(self.v[f"Delta_{k}"]), self.W[k]), product(self.e_Delta[k], self.W[k])

    def gradients(self, k: int) -> None:
        """Ordinary and relative gradients of layer k."""
        W, b, V, Z, Y = self.W[k], self.b[k], self.V[k], self.Z[k], _abs(self.Y[k])
        D_T, e_T = transpose(_abs(self.v[f"Delta_{k}"])), transpose(self.e_Delta[k])
        e_Y, e_Z = self.e_Y[k], self.e_Z[k]
        sums, e_sums = [[sum(row)] for row in D_T], [[sum(row)] for row in e_T]
        data = product(D_T, Z)
        e_data = _add(product(e_T, Z), product(D_T, e_Z))
        through = _map(lambda d, v: d + self.cond[k] * v, data, V)
        self.note(f"G_W_{k}", through, e_data, _add(data, V))
        self.note(f"G_b_{k}", sums, e_sums)
        S_W = _add(product(D_T, product(Y, W)), W)
        e_W = product(_add(product(e_T, Y), product(D_T, e_Y)), W)
        column = [[t] for t in b]
        u = _map(lambda t: t + 1, product(Y, column))
        S_b = _add(product(D_T, u), column)
        e_b = _add(product(e_T, u), product(D_T, product(e_Y, column)))
        self.e_R = self.note(f"R_W_{k}", S_W, e_W), self.note(f"R_b_{k}", S_b, e_b)
        self.S_R = S_W, S_b
        Y_b = [[y + t for y, t in zip(row, b, strict=True)] for row in Y]
        separate = _add(product(D_T, product(Y_b, W)), W)
        e_separate = product(_add(product(e_T, Y_b), product(D_T, e_Y)), W)
        self.note(f"R_W_separate_{k}", separate, e_separate)
        WW = product(W, transpose(W))
        self.note(f"R_W_input_{k}", _add(product(WW, data), W), product(WW, e_data))
        self.note(f"R_b_input_{k}", product(WW, sums), product(WW, e_sums))

    def step(self, k: int) -> None:
        """Follow the plain and the exponential step of layer k."""
        eta, W, column = self.p.eta, self.W[k], [[t] for t in self.b[k]]
        (S_W, S_b), (e_W, e_b) = self.S_R, self.e_R
        grow = lambda w, s: w + eta * s  # noqa: E731
        inherit = lambda e, s: eta * (e - C * s)  # noqa: E731
        e_plus = self.note(f"W_plus_{k}", _map(grow, W, S_W), _map(inherit, e_W, S_W))
        self.note(f"b_plus_{k}", _map(grow, column, S_b), _map(inherit, e_b, S_b))
        W_plus = self.v[f"W_plus_{k}"]
        V = _abs(transpose(exact.inverse(W_plus)))
        size = abs(self.v[f"logdet_plus_{k}"]) + self.p.D
        S = _flat(_map(lambda x, y: x * y, V, _abs(W_plus))) + size
        self.note(f"logdet_plus_{k}", S, _flat(_map(lambda x, e: x * e, V, e_plus)), size)
        if f"W_exp_{k}" not in self.v:
            return
        D_T, e_T = transpose(_abs(self.v[f"Delta_{k}"])), transpose(self.e_Delta[k])
        Y = _abs(self.Y[k])
        xi = _add(product(D_T, Y), exact.identity(self.p.D))
        e_xi = _add(product(e_T, Y), product(D_T, self.e_Y[k]))
        ones = [sum(row) for row in D_T], [sum(row) for row in e_T]
        xi, e_xi = exact.augmented(xi, ones[0], 0), exact.augmented(e_xi, ones[1], 0)
        M = exact.augmented(W, self.b[k])
        grown = ctx.expm(ctx.matrix(_map(lambda x: eta * x, xi)), method="taylor").tolist()
        S_W, S_b = exact.split_bias(product(grown, M))
        moved = product(_map(lambda x: eta * x, product(grown, e_xi)), product(grown, M))
        e_W, e_b = exact.split_bias(moved)
        self.note(f"W_exp_{k}", S_W, e_W)
        self.note(f"b_exp_{k}", [[t] for t in S_b], [[t] for t in e_b])

    def back(self, X_back: Matrix) -> None:
        """Carry each line's own error of the inverse through the lines below it."""
        act, net = self.p.activation, self.net
        e = _map(lambda z: 0 * z, X_back)
        Ys = truth.outputs(net, X_back)
        for k in reversed(range(net.L)):
            Y = Ys[k]
            if k < net.hidden:
                part = Elementwise(lambda y: truth.sigma(act, y), Y)
                e = _map(lambda e, s, slope: (e + C * s) / slope, e, part.S, part.slope)
            S = [[abs(y) + t for y, t in zip(row, self.b[k], strict=True)] for row in Y]
            e = product(_map(lambda e, s, c=C * self.cond[k]: e + c * s, e, S), self.V[k])
        self.note("X_back", _map(lambda e: e / C, e), 0, _abs(X_back))
