"""What several laws look at: rows inside the domain, forward there, its Jacobians.

Without X, rows are drawn: normal at three scales, from `sample`, and by `inverse` of normal rows.
What is not finite at rows that were drawn lies outside the domain, and is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .calls import FlowCalls
from .differences import Jacobians, jacobians
from .latent import normal
from .proposal import Weighted, weighted_rows
from .records import MOST, Array, FlowRaised

N_ROWS = 64
FEWEST = 4
N_SAMPLES = 2000
SLIGHT = 1e-2  # a relative error of the inverse that other laws allow for: it is said once
N_WEIGHTED = 8000  # and up to ten times as many, where they are cheap


class ChosenRows(NamedTuple):
    """The rows to judge at, which of them are the user's own, and what to say about the rest."""

    X: Array
    given: bool
    word: str


class Evidence:
    """Rows, forward and Jacobians of a flow, each computed once and when first asked for."""

    def __init__(
        self, calls: FlowCalls, X: Array | None = None, seconds: float = 20.0, X_from: str = ""
    ) -> None:
        self.calls = calls
        self.given = X
        self.X_from = X_from  # where X is from, in words, if not from the user
        self.budget = seconds
        self.random = False  # whether results differ from call to call
        self.wrong_log_det: tuple[int, ...] = ()  # rows of X where the law of log|det J| fails
        self.inverse_error = 0.0  # of forward(inverse(z)), relative
        self.unreached = (0, 1)  # for how many of how many draws of the base inverse has no x

    @cached_property
    def rows(self) -> ChosenRows:
        """The rows to judge at."""
        if self.given is not None:
            most = N_ROWS if self.calls.D <= 100 else N_ROWS // 4
            given = self.given[:most]
            word = f"{len(given)} rows {self.X_from or 'of X'}"
            return ChosenRows(given, True, word)
        return _drawn(self.calls)

    @property
    def X(self) -> Array:
        """The rows to judge at (N, D)."""
        return self.rows.X

    @cached_property
    def spread(self) -> Array:
        """The scale of each column (D,): half the range between the quartiles, else 1."""
        low, high = np.quantile(self.X, [0.25, 0.75], axis=0)
        wide = np.asarray((high - low) / 1.35)
        return np.where((wide > 0) & (len(self.X) >= 8), wide, 1.0)

    @cached_property
    def forward(self) -> tuple[Array, Array]:
        """Z and log|det J| at X."""
        return self.calls.z(self.X)

    @cached_property
    def log_p(self) -> Array:
        """Log p at X, as `log_prob` returns it."""
        return self.calls.log_p(self.X)

    @property
    def inexact(self) -> float:
        """How far forward(inverse(z)) may be from z, relative: as declared, or found and slight."""
        found = 4 * self.inverse_error
        return max(self.calls.inverse_accuracy, found if found <= SLIGHT else 0.0)

    @property
    def log_base(self) -> Callable[[Array], Array]:
        """The base's log density, that of a standard normal where it is not given."""
        return self.calls.log_base if self.calls.base is not None else normal

    @cached_property
    def has_normal_base(self) -> bool:
        """Whether log_prob is forward's with a standard normal base."""
        z, log_det = self.forward
        return bool(np.allclose(self.log_p, normal(z) + log_det, rtol=1e-6, atol=1e-6))

    @cached_property
    def samples(self) -> tuple[Array, Array | None]:
        """Samples (n, D), and their log p if `sample` returns it; more where they are cheap."""
        n = N_SAMPLES if self.calls.D <= 256 else N_SAMPLES // 4
        start = time.perf_counter()
        x, log_p = samples_of(self.calls, n)
        f = self.calls.z if self.calls.forward is not None else self.calls.log_p
        if self.calls.forward is not None or self.calls.log_prob is not None:
            f(x)
        if 10 * (time.perf_counter() - start) > 1.0 or self.calls.D > 64:
            return x, log_p
        more, log_q = samples_of(self.calls, 9 * n)
        both = None if log_p is None or log_q is None else np.concatenate([log_p, log_q])
        return np.concatenate([x, more]), both

    @cached_property
    def around(self) -> Array:
        """Rows that show where p is: samples, else inverted ones, else those weighted by p."""
        start = self._start
        if start is not self.X or self.calls.log_prob is None:
            return start
        made = self.weighted
        if not np.isfinite(made.weights).all():
            return start
        return made.x[self.calls.rng(26).choice(len(made.x), 1000, p=made.weights)]

    @cached_property
    def _start(self) -> Array:
        for make in (lambda: self.samples[0], lambda: _inverted(self.calls)):
            made = _tried(make)
            if made and len(made[0]) >= N_ROWS // 2 and np.ptp(made[0], axis=0).min() > 0:
                return made[0]
        return self.X

    @cached_property
    def weighted(self) -> Weighted:
        """Rows with weights that follow log_prob, made without `sample`."""
        return weighted_rows(self.calls.log_p, self._start, N_WEIGHTED, self.calls.rng(11))

    @cached_property
    def jacobians(self) -> Jacobians:
        """Jacobians at the first rows of X, as many as the size allows."""
        x = self.X[: self.judged]
        self.calls.bar.expect(6 * self.calls.D * len(x))
        return jacobians(self.calls, self.calls.z, x, self.spread)

    @property
    def judged(self) -> int:
        """How many rows have a Jacobian: 40 in few dimensions, and as many as there is time for."""
        most = int(np.clip(40 * (24 / max(self.calls.D, 24)), 1, min(40, len(self.X))))
        if self.calls.D <= 24:
            return most
        one = 6 * self.calls.D * self.seconds_per_row
        return int(np.clip(self.budget / max(one, 1e-12), 1, most))

    @cached_property
    def too_large(self) -> bool:
        """Whether one whole Jacobian takes more than the time given."""
        return self.calls.D > 1000 and 6 * self.calls.D * self.seconds_per_row > self.budget

    @cached_property
    def seconds_per_density(self) -> float:
        """How long log_prob takes for a row of a batch."""
        each = list[float]()
        for rows in (512, 512, 4096):  # a large batch costs less a row; the first call may compile
            x = np.resize(self.X, (rows, self.calls.D))
            start = time.perf_counter()
            self.calls.log_p(x)
            each.append((time.perf_counter() - start) / rows)
            if each[-1] * 4096 > 1.0:
                break
        return min(each)

    @cached_property
    def seconds_per_row(self) -> float:
        """How long forward takes for a row of a large batch."""
        start = time.perf_counter()
        x = np.resize(self.X, (min(512, max(64, MOST // self.calls.D)), self.calls.D))
        self.calls.z(x)
        return (time.perf_counter() - start) / len(x)

    @property
    def usable(self) -> bool:
        """Whether there is a row whose Jacobian can be judged."""
        if self.too_large:
            return False
        try:
            return bool(self.jacobians.usable.any())
        except (FlowRaised, np.linalg.LinAlgError):
            return False

    @cached_property
    def true_log_det(self) -> Array:
        """Log|det J| by differences at the first rows of X; NaN where it can't be told."""
        made = self.jacobians
        return np.where(made.usable, made.log_det, np.nan)


def _drawn(calls: FlowCalls) -> ChosenRows:
    """Return rows at which everything is finite, from several kinds of draws, interleaved."""
    rng, D = calls.rng(1), calls.D
    normal = rng.standard_normal((N_ROWS, D)) * np.resize([1.0, 0.5, 2.0], N_ROWS)[:, None]
    kinds = [normal]
    if calls.inverse is not None:
        kinds += _tried(lambda: calls.x(rng.standard_normal((N_ROWS // 2, D)))[0])
    if calls.sample is not None:
        kinds += _tried(lambda: samples_of(calls, N_ROWS // 2)[0])
    finite = [kind[_inside(calls, kind)] for kind in kinds]
    lost = len(normal) - len(finite[0])
    f = "forward" if calls.forward is not None else "log_prob"
    word = f"{f} is not finite at {lost} of {len(normal)} drawn rows" if lost else ""
    pool = [x for x in finite if len(x)]
    if sum(map(len, pool)) < FEWEST:
        raise FlowRaised(f"{word}: give X, rows inside its domain", relation="domain")
    order = np.argsort(np.concatenate([np.arange(len(x)) / len(x) for x in pool]), kind="stable")
    X = np.concatenate(pool)[order][: N_ROWS if D <= 100 else N_ROWS // 4]
    more = f"; {word}, which were left out" if lost else ""
    return ChosenRows(X, False, f"{len(X)} drawn rows{more}")


def _inverted(calls: FlowCalls) -> Array:
    """Return the x of normal latents."""
    if calls.inverse is None:
        return np.empty((0, calls.D))
    return calls.x(calls.rng(12).standard_normal((400, calls.D)))[0]


def _tried(make: Callable[[], Array]) -> list[Array]:
    """Return [rows], or [] where they can't be made: the law of that callable will say why."""
    try:
        made = make()
    except FlowRaised:
        return []
    return [made[np.isfinite(made).all(axis=1)]]


def _inside(calls: FlowCalls, x: Array) -> Array:
    """Return at which rows forward and log p are finite."""
    if not len(x):
        return np.zeros(0, dtype=bool)
    ok = np.ones(len(x), dtype=bool)
    if calls.forward is not None:
        ok &= np.isfinite(_by_row(calls, x)[0]).all(axis=1)
    elif calls.log_prob is not None:
        try:
            ok &= np.isfinite(calls.log_p(x))
        except FlowRaised as error:
            if error.relation != "raises":
                raise
            ok &= False
    return ok


def _by_row(calls: FlowCalls, x: Array) -> tuple[Array, Array]:
    """Return forward of all rows; one by one where all at once raise, NaN where one does."""
    try:
        return calls.z(x)
    except FlowRaised as error:
        if error.missing or error.relation != "raises":
            raise
        first = error
    z, log_det = np.full(x.shape, np.nan), np.full(len(x), np.nan)
    for i in range(len(x)):
        try:
            z[i : i + 1], log_det[i : i + 1] = calls.z(x[i : i + 1])
        except FlowRaised:
            continue
    if np.isnan(z).all():
        raise first
    return z, log_det


def samples_of(calls: FlowCalls, n: int) -> tuple[Array, Array | None]:
    """Return n samples (n, D), and their log p if `sample` returns it.

    >>> samples_of(FlowCalls(D=2, sample=lambda n: np.zeros((n, 2))), 3)[0].shape
    (3, 2)
    """
    if calls.sample is None:
        raise FlowRaised("sample is not given", True)
    try:
        made = calls.sample(n)
    except NotImplementedError as error:
        raise FlowRaised("sample is not implemented", True) from error
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise FlowRaised(f"sample raises {text}") from error
    x, log_p = made if isinstance(made, tuple | list) and len(made) == 2 else (made, None)
    x = np.array(x, dtype=float)
    if x.shape != (n, calls.D):
        raise FlowRaised(
            f"sample({n}) returned shape {x.shape}, it must be {(n, calls.D)}", relation="shape"
        )
    if log_p is None:
        return x, None
    log_p = np.array(log_p, dtype=float)
    if log_p.shape not in ((n,), (n, 1)):
        text = f"log p of sample({n}) has shape {log_p.shape}, it must be {(n,)}"
        raise FlowRaised(text, relation="shape")
    return x, log_p.reshape(n)
