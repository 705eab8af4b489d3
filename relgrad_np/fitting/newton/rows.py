"""The rows of one layer, and one pass over them: u = C z, y = u + m, z the outputs of the start.

With context z are residuals of its regression, y = u + m u^, and m is (D, c + 1): see `frame`.

`PlainRows` serves every array library and density; `CompiledRows` does the same for NumPy and the
densities of `bases`, without context, in one compiled pass.
"""

import functools
import importlib
import importlib.util
import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...core.arrays import Array, namespace
from ...core.context import times
from ...core.numerics import widest
from .bases import QUARTIC_LOG_Z, Bases, statistics
from .elementwise import Elementwise
from .frame import BARE, Frame, FramedRows
from .pairs import PairMoments

CHUNK = 2**15  # numbers of the outputs that are worked on together: they stay in a cache
BLOCK = 2**14  # the same for compiled passes, which hold less
LANES = 64  # rows side by side in the kernel
LONGEST = 4096  # rows of a block at most: 64 factors 1 + e for each of the kernel's products
PAYS = 2**20  # N D from which a fit may wait some seconds for the kernel to be compiled


class RowMeans(NamedTuple):
    """Means over the rows: log p of a row, E score u' (D, D), E score (D,), and the moments.

    With context it is E score u^', (D, c + 1). `each` (D,): log p by unit, where the pass knows it.

    >>> RowMeans(-1.0, None, None, None).log_p
    -1.0
    """

    log_p: float
    G: Array
    g: Array
    moments: PairMoments
    each: Array | None = None


class LinearRows(Protocol):
    """Rows (N, D) of mean 0, and the pass over them; `like`: an array like theirs."""

    like: Array
    frame: Frame

    def __call__(self, C: Array, m: Array) -> RowMeans: ...  # noqa: D102


class Part(NamedTuple):
    """Some rows: z (n, D), shares w (n,) of all weight, whether these are equal; u^ or 1.

    >>> Part("Z", "w", True).equal
    True
    """

    Z: Array
    w: Array
    equal: bool
    hat: Array = 1.0


class PlainRows:
    """Rows of any array library, under any density that acts elementwise."""

    def __init__(self, parts: tuple[Part, ...], base: Elementwise, frame: Frame = BARE) -> None:
        self.parts, self.base, self.like, self.frame = parts, base, parts[0].Z, frame

    @classmethod
    def of(
        cls, rows: FramedRows, W: Array, b: Array, weights: Array | None, base: Elementwise
    ) -> tuple["PlainRows", Array]:
        """Return the rows z = W x + b less their mean, and that, (D,); weights of mean 1.

        With context, z = W x + B u~ less its regression m u^, and m (D, c + 1).
        """
        X, one, hat, frame = rows
        xp, N, wide = namespace(X, "X"), X.shape[0], widest(X)
        n = max(1, CHUNK // W.shape[0])
        if weights is None:
            shares = xp.full((N,), 1 / N, dtype=X.dtype, device=X.device)
        else:
            shares = weights / N
        pieces = [slice(i, min(i + n, N)) for i in range(0, N, n)]
        ones, hats = ([_of(x, piece) for piece in pieces] for x in (one, hat))
        Ys = [X[p, :] @ W.T + times(b, u) for p, u in zip(pieces, ones, strict=True)]  # (n, D)
        ws = [shares[piece] for piece in pieces]
        means = (_mean(Y, w, h) for Y, w, h in zip(Ys, ws, hats, strict=True))
        m = sum((xp.astype(part, wide) for part in means), 0.0)  # (D,), or (D, c + 1)
        shift = xp.astype(m, X.dtype)
        parts = tuple(
            Part(Y - times(shift, h), w, weights is None, h)
            for Y, w, h in zip(Ys, ws, hats, strict=True)
        )
        # what is taken off is what is put back
        return cls(parts, base, frame), xp.astype(shift, wide)

    @classmethod
    def cut(cls, Z: Array, weights: Array | None, base: Elementwise) -> "PlainRows":
        """Return the rows Z (N, D) of NumPy, of mean 0, in parts; weights of mean 1."""
        N, n = len(Z), max(1, CHUNK // Z.shape[1])
        shares = np.full(N, 1 / N, Z.dtype) if weights is None else (weights / N).astype(Z.dtype)
        pieces = [slice(i, i + n) for i in range(0, N, n)]
        return cls(tuple(Part(Z[p], shares[p], weights is None) for p in pieces), base)

    def under(self, base: Elementwise) -> "PlainRows":
        """Return the same rows under another density."""
        return PlainRows(self.parts, base, self.frame)

    def __call__(self, C: Array, m: Array) -> RowMeans:
        """Return what the rows say of u = C z, y = u + m. Cost: two products N D^2."""
        xp, wide, dtype = namespace(m, "m"), m.dtype, self.like.dtype
        shift, CT = xp.astype(m, dtype), xp.astype(C.T, dtype)
        mean, G, sums, g_u = 0.0, 0.0, 0.0, 0.0
        for Z, w, equal, hat in self.parts:
            U = Z @ CT
            log_p, score, dscore = self.base(U + times(shift, hat))
            mean = mean + xp.astype(w @ log_p, wide)
            found = w[0] * (score.T @ U) if equal else (score * w[:, None]).T @ U
            G = G + xp.astype(found, wide)  # (D, D)
            curved = dscore * U
            columns = (score, score * score, U * U, dscore, curved, curved * U)
            sums = sums + xp.astype(xp.stack([w @ x for x in columns]), wide)  # (6, D)
            if m.ndim == 2:
                g_u = g_u + xp.astype(_mean(score, w, hat), wide)  # (D, c + 1)
        g, information, variance, k, c, own = (sums[i, :] for i in range(6))  # type: ignore[index]
        g = g if m.ndim == 1 else g_u
        return RowMeans(float(mean), G, g, PairMoments(-k, -c, -own, variance, information))

    def statistics(self, C: Array, m: Array) -> Array:
        """Return the means (D, 4) of the sufficient statistics of `bases`; NumPy alone."""
        return sum(np.tensordot(p.w, statistics(p.Z @ C.T + m), 1) for p in self.parts)

    def log_p(self, C: Array, m: Array, log_p: Any = None) -> Array:
        """Return the mean of log p of each unit, (D,), of `log_p` or else under `Bases`."""
        base: Any = self.base
        log_p = log_p or base.log_p
        return sum(np.tensordot(p.w, log_p(p.Z @ C.T + m), 1) for p in self.parts)

    def powers(self, C: Array) -> Array:
        """Return E u^2, E u^3 and E u^4 of each unit, (3, D)."""
        return sum(_powers((p.Z @ C.T).T, p.w) for p in self.parts)


def _of(one: Array, rows: slice) -> Array:
    """Return these rows of context (N, c + 1), or 1."""
    return one if isinstance(one, float) else one[rows, :]


def _mean(Y: Array, w: Array, hat: Array) -> Array:
    """Return E y (D,) of Y (n, D) with shares w (n,), or E y u^' (D, c + 1)."""
    return w @ Y if isinstance(hat, float) else (Y * w[:, None]).T @ hat


class CompiledRows:
    """Rows of NumPy in blocks (B, D, n), under `Bases`, in float32 or float64; without context."""

    frame = BARE

    def __init__(self, Z: Array, N: int, covariance: Array, base: Bases) -> None:
        self.Z, self.N, self.covariance, self.base, self.like = Z, N, covariance, base, Z
        _, D, n = Z.shape
        self.scratch = np.empty((2 * D + 1, max(n, LANES, D)), Z.dtype)

    @classmethod
    def of(
        cls, X: Array, W: Array, b: Array, base: Bases, dtype: Any, covariance: Array | None = None
    ) -> "CompiledRows":
        """Return the rows z = W x + b of X (N, D), of mean 0; their covariance if it is known."""
        N, D = X.shape[0], W.shape[0]
        n = min(max(LANES, BLOCK // D // LANES * LANES), LONGEST, -(-N // LANES) * LANES)
        Z, shift = np.zeros((-(-N // n), D, n), dtype), b[:, None]
        for block, i in zip(Z, range(0, N, n), strict=True):
            part = X[i : i + n]
            block[:, : len(part)] = W @ part.T + shift
        if covariance is None:
            covariance = sum((z @ z.T for z in Z.astype(np.float64)), np.zeros((D, D))) / N
        return cls(Z, N, covariance, base)

    def under(self, base: Bases) -> "CompiledRows":
        """Return the same rows under other densities."""
        return CompiledRows(self.Z, self.N, self.covariance, base)

    def _pass(self, C: Array, m: Array, base: Bases) -> tuple[Array, Array]:
        """Return the kernel's means (7, D), and E psi u' (D, D)."""
        last = self.N - (len(self.Z) - 1) * self.Z.shape[2]
        sums, products = _kernel().measured(
            self.Z, last, C, m, base.quartic, base.theta, self.scratch
        )
        return sums / self.N, products / self.N

    def __call__(self, C: Array, m: Array) -> RowMeans:
        """Return what the rows say of u = C z, y = u + m. Cost: two products N D^2."""
        sums, products = self._pass(C, m, self.base)
        variance = np.sum((C @ self.covariance) * C, axis=1)  # (D,)
        log_p = self._log_p(sums, m, variance)
        moments = PairMoments(sums[4], sums[5], sums[6], variance, sums[3])
        return RowMeans(float(log_p.sum()), -products, -sums[2], moments, log_p)

    def log_p(self, C: Array, m: Array) -> Array:
        """Return the mean of log p of each unit, (D,)."""
        variance = np.sum((C @ self.covariance) * C, axis=1)
        return self._log_p(self._pass(C, m, self.base)[0], m, variance)

    def powers(self, C: Array) -> Array:
        """Return E u^2, E u^3 and E u^4 of each unit, (3, D); what fills the last block is 0."""
        C = C.astype(self.Z.dtype)
        return sum(_powers(C @ z, None) for z in self.Z) / self.N

    def _log_p(self, sums: Array, m: Array, variance: Array) -> Array:
        base, stats = self.base, self._statistics(sums, m, variance)
        own = -np.sum(stats * base.theta, axis=1) - base.log_Z
        return np.where(base.quartic, -sums[0] - QUARTIC_LOG_Z, own)

    def statistics(self, C: Array, m: Array) -> Array:
        """Return the means (D, 4) of the sufficient statistics of `bases`."""
        sums, _ = self._pass(C, m, Bases.alike("sech", len(m)))
        return self._statistics(sums, m, np.sum((C @ self.covariance) * C, axis=1))

    @staticmethod
    def _statistics(sums: Array, m: Array, variance: Array) -> Array:
        log_cosh = sums[0] - math.log(2)
        return np.stack([m, (variance + m * m) / 2, log_cosh, m - sums[1]], axis=1)


def _powers(U: Array, w: Array | None) -> Array:
    """Return the sums of u^2, u^3 and u^4 of each row of U (D, n), times w (n,), (3, D)."""
    square = U * U
    weighted = square if w is None else square * w
    pairs = (weighted, np.ones_like(U)), (weighted, U), (weighted, square)
    return np.stack([np.einsum("ij,ij->i", x, y, dtype=np.float64) for x, y in pairs])


def compiles(dtype: Any, size: int) -> bool:
    """Say whether passes are to be compiled: Numba is there, and has the code, or it pays.

    `size` is N D of the rows. Compiling takes some seconds, once for each dtype.
    """
    if importlib.util.find_spec("numba") is None:
        return False
    if size >= PAYS:
        return True
    stored = importlib.import_module("relgrad_np.kernels.cpu.stored")
    return bool(stored.has_code(_kernel().ica_pass, dtype))


@functools.cache
def _kernel() -> Any:
    return importlib.import_module("relgrad_np.kernels.cpu.ica")  # which needs Numba
