"""Recorded, invertible transforms between data and model space, in NumPy float64.

    log p(x) = log p_model(z) + log |d z / d x|      z = Chain.forward(x)

Each transform is a frozen record of plain numbers: it can be compared, printed, and written to JSON
and read back. Integers and float32 become float64; anything but a finite (N, D) array is refused.
"""

import abc
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ..core.arguments import build, generator, number, whole
from ..core.brief import brief
from .bounds import inside, interval_words, log_slope, off_line, onto_line
from .rows import Batch, Columns, batch, chunks, column_list, floats, refuse, table


class Transform(abc.ABC):
    """A map of rows that can be inverted: forward, inverse and log_det, all row by row."""

    name: ClassVar[str]

    @abc.abstractmethod
    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return Z (N, D); only those that dequantise draw from `rng`."""

    @abc.abstractmethod
    def inverse(self, Z: Any) -> Batch:
        """Return X (N, D)."""

    @abc.abstractmethod
    def log_det(self, X: Any) -> Batch:
        """Return log |det d Z / d X| (N,) at the continuous input X (N, D)."""

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the fields in a form that JSON can hold."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return {"name": self.name, **plain}


@dataclass(frozen=True)
class Dequantise(Transform):
    """Z = (X + U) / levels, U uniform on [0, 1)^D; X whole numbers 0, ..., levels - 1.

    log_det = -D log(levels), that of the division; its input X + U is continuous, in pixel units.

    >>> import numpy as np
    >>> t = Dequantise(4)
    >>> Z = t.forward(np.array([[0, 3]]), np.random.default_rng(0))
    >>> (Z >= [[0, 0.75]]).all() and (Z < [[0.25, 1]]).all(), t.inverse(Z)
    (np.True_, array([[0., 3.]]))
    """

    levels: float
    name: ClassVar[str] = "dequantise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", float(whole("levels", self.levels)))

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Add the noise and divide; ValueError where X is not a whole number in range."""
        X = batch("X", X)
        bad = (np.floor(X) != X) | (X < 0) | (self.levels - 1 < X)
        refuse("X", X, bad, f"a whole number 0, ..., {self.levels - 1:.0f}")
        Z: Batch = (X + generator(rng).random(X.shape)) / self.levels
        return Z

    def inverse(self, Z: Any) -> Batch:
        """Return the pixel, floor(levels Z) clipped to 0, ..., levels - 1."""
        return np.clip(np.floor(batch("Z", Z) * self.levels), 0, self.levels - 1)

    def log_det(self, X: Any) -> Batch:
        """Return -D log(levels) for each row."""
        N, D = batch("X", X).shape
        return np.full(N, -D * math.log(self.levels))


def of_columns(name: str, value: Any, like: Any, sign: str = "") -> tuple[float, ...]:
    """Return finite numbers, one for each column, as many as `like` has; ValueError by name.

    `sign`: "positive" or "not negative", if they must be.

    >>> of_columns("std", (1.0, 0.0), (0.0, 0.0), "positive")
    Traceback (most recent call last):
    ValueError: `std` must be finite and positive
    """
    x = np.asarray(value, dtype=np.float64)
    if x.ndim != 1 or x.size != np.size(like) or not x.size:
        raise ValueError(f"`{name}` must have shape (D,), D >= 1, got {x.shape}")
    right = {"": True, "positive": (x > 0).all(), "not negative": (x >= 0).all()}[sign]
    if not (np.isfinite(x).all() and right):
        raise ValueError(f"`{name}` must be finite{sign and f' and {sign}'}")
    return tuple(x.tolist())


@brief
@dataclass(frozen=True)
class DequantiseColumns(Transform):
    """Z = X + step U by column, U uniform on [0, 1)^D; a step of 0 leaves a column as it is.

    X is on the grid offset + k step. log_det = 0: noise widens, it does not stretch.

    >>> import numpy as np
    >>> t = DequantiseColumns((1.0, 0.0), (2.0, 0.0))
    >>> Z = t.forward(np.array([[3.0, 0.7]]), np.random.default_rng(0))
    >>> bool(3 <= Z[0, 0] < 5), t.inverse(Z)
    (True, array([[3. , 0.7]]))
    """

    offset: tuple[float, ...]
    step: tuple[float, ...]
    name: ClassVar[str] = "dequantise_columns"

    def __post_init__(self) -> None:
        for key, sign in (("offset", ""), ("step", "not negative")):
            value = of_columns(key, getattr(self, key), self.offset, sign)
            object.__setattr__(self, key, value)

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return X + step U."""
        X = batch("X", X, len(self.step))
        Z: Batch = X + generator(rng).random(X.shape) * self.step
        return Z

    def inverse(self, Z: Any) -> Batch:
        """Return the point of the grid at or below Z, where the step is not 0."""
        Z, step = batch("Z", Z, len(self.step)), np.asarray(self.step)
        offset = np.asarray(self.offset)
        k = np.floor((Z - offset) / np.where(step > 0, step, 1) + 1e-9)
        X: Batch = np.where(step > 0, offset + k * step, Z)
        return X

    def log_det(self, X: Any) -> Batch:
        """Return 0 for each row."""
        return np.zeros(len(batch("X", X, len(self.step))))


@dataclass(frozen=True)
class Logit(Transform):
    """Z = log(s / (1 - s)), s = lam + (1 - 2 lam) X; X in [0, 1], or (0, 1) if lam = 0.

    1 - s is computed as lam + (1 - 2 lam) (1 - X), which does not cancel near X = 1.

    >>> import numpy as np
    >>> Logit(0.25).forward(np.array([[0.5, 1.0]])), Logit(0.0).log_det(np.array([[0.5]]))
    (array([[0.        , 1.09861229]]), array([1.38629436]))
    """

    lam: float = 1e-6  # Papamakarios et al. (2017) on MNIST, and the paper; bounds |Z| by 13.8
    name: ClassVar[str] = "logit"

    def __post_init__(self) -> None:
        low, high = math.nextafter(0.0, -1.0), math.nextafter(0.5, 0.0)
        object.__setattr__(self, "lam", number("lam", self.lam, low, high, "in [0, 0.5)"))

    def _squeezed(self, X: Any) -> tuple[Batch, Batch]:
        """Return s and 1 - s."""
        X = batch("X", X)
        if self.lam > 0:
            refuse("X", X, (X < 0) | (X > 1), "in [0, 1]")
        else:
            refuse("X", X, (X <= 0) | (X >= 1), "in (0, 1) when lam = 0")
        scale = 1 - 2 * self.lam
        return self.lam + scale * X, self.lam + scale * (1 - X)

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return log s - log(1 - s)."""
        s, rest = self._squeezed(X)
        return np.log(s) - np.log(rest)

    def inverse(self, Z: Any) -> Batch:
        """Return (sigmoid(Z) - lam) / (1 - 2 lam), outside [0, 1] by up to lam for large |Z|."""
        Z = batch("Z", Z)
        small = np.exp(-np.abs(Z))  # at most 1: the exponential never overflows
        s = np.where(Z < 0, small, 1.0) / (1 + small)
        X: Batch = (s - self.lam) / (1 - 2 * self.lam)
        return X

    def log_det(self, X: Any) -> Batch:
        """Return sum_i log(1 - 2 lam) - log s_i - log(1 - s_i) for each row."""
        s, rest = self._squeezed(X)
        log_det: Batch = (math.log1p(-2 * self.lam) - np.log(s) - np.log(rest)).sum(axis=1)
        return log_det


@brief
@dataclass(frozen=True)
class Support(Transform):
    """Columns with bounds, mapped onto R: z = log(x - low), -log(high - x), or both, the logit.

    `low` and `high`: a number for each column, or None for no bound; the interval is open. z has
    `centre` subtracted, by column, 0 where there is no bound; `fit` takes the median of the rows.
    `inverse` is always inside, whatever rounds. The maps are those of `datasets.bounds`.

    >>> import numpy as np
    >>> t = Support((0.0, None), (1.0, None), (0.0, 0.0))
    >>> t.forward(np.array([[0.75, 7.0]])).round(4), t.log_det(np.array([[0.5, 7.0]])).round(4)
    (array([[1.0986, 7.    ]]), array([1.3863]))
    """

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    centre: tuple[float, ...]
    name: ClassVar[str] = "support"

    def __post_init__(self) -> None:
        D = len(self.low)
        for key in ("low", "high", "centre"):
            value = tuple(None if x is None else float(x) for x in getattr(self, key))
            if len(value) != D or not all(x is None or math.isfinite(x) for x in value):
                raise ValueError(f"`{key}` must be {D} finite numbers, or None for no bound")
            object.__setattr__(self, key, value)
        low, high = self.ends
        if None in self.centre or not (low < high).all():
            raise ValueError("`low` must be below `high`, and `centre` must have no None")

    @property
    def ends(self) -> tuple[Batch, Batch]:
        """The bounds as arrays (D,), -inf and inf where there are none."""
        return _ends(self.low, self.high)

    @classmethod
    def fit(
        cls, X: Any, low: tuple[float | None, ...], high: tuple[float | None, ...], name: str = "X",
        columns: Columns = None,
    ) -> Self:  # fmt: skip
        """Return the transform whose centres are the medians of up to 20,000 rows of X (N, D).

        ValueError, in one line, for rows on a bound or beyond it, counted by column.
        """
        X = table(name, X, len(low))
        require_inside(name, X, low, high, columns)
        Z = onto_line(floats(X[:: -(-len(X) // 20_000)]), *_ends(low, high))
        centre = np.where(np.isfinite(_ends(low, high)).any(axis=0), np.median(Z, axis=0), 0.0)
        return cls(low, high, tuple(centre.tolist()))

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return z - centre; ValueError for rows on a bound or beyond it."""
        X = batch("X", X, len(self.low))
        require_inside("X", X, self.low, self.high)
        Z: Batch = onto_line(X, *self.ends) - self.centre
        return Z

    def inverse(self, Z: Any) -> Batch:
        """Return the rows, each strictly inside its bounds."""
        return off_line(batch("Z", Z, len(self.low)) + self.centre, *self.ends)

    def inside(self, X: Any) -> Any:
        """Return X, of any floating dtype, with what rounding has put on a bound moved inside."""
        return inside(X, *self.ends)

    def log_det(self, X: Any) -> Batch:
        """Return sum_i log dz_i / dx_i for each row."""
        X = batch("X", X, len(self.low))
        require_inside("X", X, self.low, self.high)
        log_det: Batch = log_slope(X, *self.ends).sum(axis=1)
        return log_det

    def words(self, columns: Columns = None) -> str:
        """Return the bounds in words.

        >>> Support((0.0, None), (1.0, None), (0.0, 0.0)).words(("share", "x"))
        "'share' in (0, 1)"
        """
        which = [j for j, pair in enumerate(zip(self.low, self.high, strict=True)) if any_of(*pair)]
        shown = [
            f"{column_list([j], columns)} {interval_words(self.low[j], self.high[j])}"
            for j in which[:8]
        ]
        return ", ".join(shown) + ", ..." * (len(which) > 8)

    @property
    def maps(self) -> str:
        """The maps in use: "log", "logit" or "log/logit"."""
        pairs = list(zip(self.low, self.high, strict=True))
        logit = any(low is not None and high is not None for low, high in pairs)
        log = any((low is None) != (high is None) for low, high in pairs)
        return "/".join(["log"] * log + ["logit"] * logit)


def any_of(low: float | None, high: float | None) -> bool:
    """Say whether there is a bound.

    >>> any_of(None, None), any_of(0.0, None)
    (False, True)
    """
    return low is not None or high is not None


def _ends(low: tuple[float | None, ...], high: tuple[float | None, ...]) -> tuple[Batch, Batch]:
    """Return the bounds as arrays (D,)."""
    pair = [-np.inf if x is None else x for x in low], [np.inf if x is None else x for x in high]
    return np.array(pair[0]), np.array(pair[1])


def require_inside(
    name: str,
    X: Any,
    low: tuple[float | None, ...],
    high: tuple[float | None, ...],
    columns: Columns = None,
    noise: Any = 0.0,
) -> None:
    """Refuse rows of X (N, D) on a bound or beyond it; X may be in a file, and is read in chunks.

    `noise` (D,) is the width of what is yet to be added to a column: with it the lower bound itself
    will be inside, and x + noise may be the upper one.

    >>> require_inside("X", np.array([[0.0, 1.0]]), (0.0, None), (None, None), ("age", "x"))
    Traceback (most recent call last):
    ValueError: `X` has 1 of 1 rows on or beyond the bounds of column 'age' (above 0), the first...
    """
    least, most = _ends(low, high)
    D = len(least)
    counts, first = np.zeros(D, int), np.full(D, -1)
    spread = np.broadcast_to(np.asarray(noise, np.float64), (D,))
    for start, rows in chunks(len(X), D):
        Y = floats(np.asarray(X[rows]))
        refuse(name, Y, ~np.isfinite(Y), "finite", start, columns)
        wide = spread > 0
        above, below = Y - least, most - Y - spread
        good = np.where(wide, (above >= 0) & (below >= 0), (above > 0) & (below > 0))
        bad = ~good & (np.isfinite(least) | np.isfinite(most))
        counts += bad.sum(axis=0)
        new = (first < 0) & bad.any(axis=0)
        first[new] = start + bad.argmax(axis=0)[new]
    if not counts.any():
        return
    which = [int(j) for j in np.flatnonzero(counts)]
    shown = [
        f"{counts[j]} of {len(X)} rows on or beyond the bounds of column"
        f" {column_list([j], columns)} ({interval_words(low[j], high[j])}), the first"
        f" {floats(np.asarray(X[first[j] : first[j] + 1]))[0, j]:.15g} in row {first[j]}"
        for j in which[:5]
    ]
    flag = " first" if name == "X" else " (Reading(dequantise=True))"  # X: an estimator's rows
    more = f", and in {len(which) - 5} more columns" * (len(which) > 5)
    raise ValueError(
        f"`{name}` has {'; '.join(shown)}{more}: widen the bound or leave these rows out; values"
        f" that were rounded onto a bound need uniform noise of the rounding's width{flag}"
    )


@brief
@dataclass(frozen=True)
class Standardise(Transform):
    """Z = (X - mean) / std by column; mean and std of length D, kept as tuples, std > 0.

    >>> import numpy as np
    >>> t = Standardise.fit(np.array([[1.0, 0.0], [3.0, 8.0]]))
    >>> t, t.forward(np.array([[3.0, 4.0]]))
    (Standardise(mean=(2.0, 4.0), std=(1.0, 4.0)), array([[1., 0.]]))
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: ClassVar[str] = "standardise"

    def __post_init__(self) -> None:
        for key, sign in (("mean", ""), ("std", "positive")):
            value = of_columns(key, getattr(self, key), self.mean, sign)
            object.__setattr__(self, key, value)

    @classmethod
    def fit(
        cls, X: Any, name: str = "X", columns: Columns = None, before: Transform | None = None
    ) -> Self:
        """Return the moments 1/N of the rows of X; ValueError naming any constant columns.

        With `before` they are those of the rows that this transform makes of X. The rows are read
        once, in chunks whose moments are pooled (Chan, Golub and LeVeque, 1979).
        So X may be a memory-mapped file of any real dtype; at most 64 MiB are in memory at a time.
        """
        X = table(name, X)
        N, D = X.shape
        mean, squares = np.zeros(D), np.zeros(D)
        constant = np.ones(D, dtype=bool)
        first = floats(X[:1])[0]
        first = first if before is None else before.forward(first[None])[0]
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below, by column
            for start, rows in chunks(N, D):
                Y = floats(X[rows])  # (n, D)
                refuse(name, Y, ~np.isfinite(Y), "finite", start, columns)
                Y = Y if before is None else before.forward(Y)
                # compare the values: up to rounding, the std of a constant column need not be 0
                constant &= (first == Y).all(axis=0)
                m, n = Y.mean(axis=0), len(Y)
                shift = m - mean
                Y = Y - m
                squares += (Y**2).sum(axis=0) + shift**2 * (start * n / (start + n))
                mean = mean + shift * (n / (start + n))
            std = np.sqrt(squares / N)
        if constant.any():
            listed = column_list(np.flatnonzero(constant), columns)
            raise ValueError(f"`{name}` has columns that are constant: {listed}")
        extreme = ~np.isfinite(mean) | ~np.isfinite(std) | (std <= 0)
        if extreme.any():
            listed = column_list(np.flatnonzero(extreme), columns)
            raise ValueError(
                f"`{name}` has columns whose variance is beyond float64: {listed}; rescale them"
            )
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return (X - mean) / std; ValueError where that overflows."""
        X = batch("X", X, len(self.mean))
        with np.errstate(over="ignore"):
            Z: Batch = (X - self.mean) / self.std
        refuse("X", X, ~np.isfinite(Z), "near the rows that mean and std were fitted to")
        return Z

    def inverse(self, Z: Any) -> Batch:
        """Return mean + std Z."""
        return np.asarray(self.mean) + np.asarray(self.std) * batch("Z", Z, len(self.mean))

    def log_det(self, X: Any) -> Batch:
        """Return -sum_i log(std_i) for each row."""
        return np.full(len(batch("X", X, len(self.mean))), -np.log(self.std).sum())


TRANSFORMS: dict[str, type[Transform]] = {
    t.name: t for t in (Dequantise, DequantiseColumns, Logit, Support, Standardise)
}


def from_dict(record: dict[str, Any]) -> Transform:
    """Return the transform that `to_dict` wrote; ValueError for an unknown name or field.

    >>> from_dict({"name": "logit", "lam": 0.1})
    Logit(lam=0.1)
    """
    params = dict(record)
    return build("transform", params.pop("name", None), TRANSFORMS, params)  # type: ignore[no-any-return]


@brief
@dataclass(frozen=True)
class Chain:
    """Transforms that are applied in order; `inverse` undoes them, the last one first.

    >>> import numpy as np
    >>> chain = Chain((Logit(0.0), Standardise((0.0,), (2.0,))))
    >>> Z, log_det = chain.forward_with_log_det(np.array([[0.5], [0.75]]))
    >>> Z.ravel().round(4), log_det.round(4), chain.inverse(Z).ravel()
    (array([0.    , 0.5493]), array([0.6931, 0.9808]), array([0.5 , 0.75]))
    """

    transforms: tuple[Transform, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                got = type(transform).__name__
                raise TypeError(f"`transforms` must hold transforms, got {got}")

    def forward(self, X: Any, rng: np.random.Generator | None = None) -> Batch:
        """Return Z (N, D)."""
        return self.forward_with_log_det(X, rng)[0]

    def forward_with_log_det(
        self, X: Any, rng: np.random.Generator | None = None
    ) -> tuple[Batch, Batch]:
        """Return Z (N, D) and the sum of the log_dets (N,), each taken at its transform's input."""
        Z = batch("X", X)
        log_det = np.zeros(len(Z))
        for transform in self.transforms:
            log_det, Z = log_det + transform.log_det(Z), transform.forward(Z, rng)
        return Z, log_det

    def inverse(self, Z: Any) -> Batch:
        """Return X (N, D)."""
        X = batch("Z", Z)
        for transform in reversed(self.transforms):
            X = transform.inverse(X)
        return X

    @property
    def support(self) -> Support | None:
        """The bounds among the transforms, None where there are none."""
        return next((one for one in self.transforms if isinstance(one, Support)), None)

    @property
    def space(self) -> str:
        """What to call the space of Z.

        >>> Chain((Standardise((0.0,), (2.0,)),)).space, Chain(()).space
        ('standardised space', 'data space')
        """
        names = {transform.name for transform in self.transforms}
        words = ["standardised"] * ("standardise" in names) + ["logit"] * ("logit" in names)
        words += [self.support.maps] if self.support else []
        return " ".join([*(words or ["data"]), "space"])

    def require_inside(self, name: str, X: Any, columns: Columns = None) -> None:
        """Refuse rows X of data space that are on a bound or beyond it, all of them counted."""
        if self.support is not None:
            before = self.transforms[0]
            noise = before.step if isinstance(before, DequantiseColumns) else 0.0
            require_inside(name, X, self.support.low, self.support.high, columns, noise)

    def to_list(self) -> list[dict[str, Any]]:
        """Return the transforms' records, in order."""
        return [transform.to_dict() for transform in self.transforms]

    @classmethod
    def from_list(cls, records: list[dict[str, Any]]) -> Self:
        """Return the chain that `to_list` wrote."""
        return cls(tuple(from_dict(record) for record in records))


def bits_per_dim(log_prob: ArrayLike, log_det: ArrayLike, D: int) -> Any:
    """Return -(log_prob + log_det) / (D log 2), elementwise: the code length of a pixel, in bits.

    `log_prob` is the model's log-likelihood in model space, in nats. `log_det` is that of the whole
    chain from pixel units (0 to `levels`) to model space, so it includes that of Dequantise. As in
    published numbers, the density is then one over pixels of width 1. Its mean bounds the code
    length of the discrete data from above (Theis et al., 2016); log2(levels) is that of a uniform
    density.

    >>> float(bits_per_dim(0.0, Dequantise(256).log_det([[0.0, 0.0]])[0], 2))
    8.0
    """
    return -(np.asarray(log_prob) + np.asarray(log_det)) / (whole("D", D) * math.log(2))
