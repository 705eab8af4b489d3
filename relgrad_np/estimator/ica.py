"""Linear ICA as a scikit-learn estimator, with the interface of its FastICA.

Needs scikit-learn. It only translates: `fitting.ica` whitens, unmixes and judges the sources, and
`fitting.stream` follows a stream. `RelativeICA` says what is computed.
"""

import os
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..core.arguments import number, one_of, whole
from ..core.densities import Density
from ..core.densities import density as make_density
from ..core.network import Layer
from ..fitting.ica import sources
from ..fitting.ica.following import Following
from ..fitting.ica.solution import Solution, as_they_are, described, of_white
from ..fitting.ica.sources import OutputMoments
from ..fitting.ica.unmix import Unmixed, unmix
from ..fitting.ica.whitening import Whitening, whitening
from ..fitting.rank import require_full_rank
from ..fitting.records import FitWarning
from . import saved_ica
from .inputs import DTYPES, numeric, validated

Array = Any
ADAPTIVE = "auto", "extended"
FIXED = "sech", "logistic", "laplace", "student_t", "quartic"
FUNCTIONS = {"logcosh": "sech", "tanh": "sech", "exp": "student_t", "cube": "quartic"}
WHITENINGS = "unit-variance", "arbitrary-variance"
GAUSSIAN = 1e-3  # p values above it do not tell a source from a Gaussian
ARRIVED = 0.2  # over sqrt(rows): a gradient below it is less than its own sampling noise


class RelativeICA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Linear ICA by maximum likelihood: super- and sub-Gaussian sources, however they are mixed.

    The rows are whitened, turned to a rotation that does not depend on the mixing, and unmixed by
    a quasi-Newton method in relative coordinates. So the sources, their order and their sign do not
    depend on how the data were mixed.

    Parameters
    ----------
    n_components : int, optional
        The principal directions that are kept, of largest variance in the units of the columns. By
        default all. What is beyond the rank of the data is left out; a warning says how many.
    density : str or Density
        "auto": each source is super- or sub-Gaussian by the condition of stability, and then its
        density is fitted. "extended": the former alone, between "sech" and "quartic", as extended
        Infomax does. Or one for all sources: "sech", "logistic", "laplace", "student_t", "quartic",
        or what `relgrad_np.density` or `relgrad_np.extend.density` made.
    fun : str, optional
        Instead of `density`, for those who know it from FastICA or Picard: "logcosh" or "tanh" is
        "sech", "cube" is "quartic", "exp" is "student_t". A function is refused, because its
        integral is not known: give a density.
    whiten : str or False
        "unit-variance": the sources have variance 1. "arbitrary-variance": the scale at which their
        density is most likely. False: the rows count as white already. Then nothing is subtracted
        or left out, and the scale is as for "arbitrary-variance".
    tol : float
        Stop where no element of the relative gradient exceeds it.
    max_iter : int
    n_init : int
        Starts. The first is the rotation of the fourth moments (FOBI), the others are random; the
        one with the greatest log-likelihood is kept.
    w_init : array (n, n), optional
        The first unmixing of the white rows, instead of the rotation.
    n_bootstraps : int
        Fits of so many resamples of the rows, see `diagnostics_`.
    n_jobs : int, optional
        For these fits and for several starts, by joblib.
    random_state : int, RandomState or None

    Attributes
    ----------
    components_, mixing_ : arrays (n, D), (D, n)
    mean_ : array (D,)
        sources = (X - mean_) @ components_.T, X = sources @ mixing_.T + mean_, exactly where n is
        the rank of the data.
    whitening_ : array (n, D)
    n_iter_ : int
    converged_ : bool
        Whether `tol` was reached, or no step gains anything and the gradient is less than its
        sampling noise.
    log_likelihood_ : float
        Mean over the rows that were fitted, nats.
    densities_ : list of n str
        "sech" (heavier tails than a Gaussian), "quartic" (lighter), or "fitted": with parameters of
        its own, where that is likelier; or the name of the one that was asked for. Of a Gaussian
        source it is a matter of chance.
    diagnostics_ : dict of arrays (n,)
        "margin": E psi' E u^2 / E psi u of each source. Two can be told apart where the product of
        theirs is clearly above 1; near 1 look at the next. "gaussian_p": p value of Jarque and
        Bera's test; a high one means that nothing shows the source not to be Gaussian. One such
        source does no harm, two can't be told from each other's mixtures. "explained_variance": the
        source's share of the variance of the data. "stability", with `n_bootstraps`: the mean over
        resamples of the best matched |correlation|; 1 is stable. Test and resamples take rows as
        independent, which neighbouring samples of a signal are not: they promise too much then.
    n_features_in_, feature_names_in_

    The order of the sources is that of falling non-Gaussianity: the mean log-likelihood of a
    source's density minus that of a Gaussian of its variance, nats. The sign is such that the third
    central moment is not negative.

    Of FastICA's arguments three have no counterpart. `algorithm`: all sources are estimated at
    once, and none inherits the errors of those before it. `fun_args`: a density has its own
    parameters, `relgrad_np.density("student_t", nu=3)`. `whiten_solver`: the moments are taken of
    the rows where their condition asks for it.

    >>> import numpy as np
    >>> from relgrad_np.estimator import RelativeICA
    >>> rng = np.random.default_rng(0)
    >>> S = np.c_[rng.laplace(size=2000), rng.uniform(-1, 1, 2000)]
    >>> X = S @ np.array([[1.0, 0.5], [2.0, 1.0 + 1e-3]]).T
    >>> found = RelativeICA().fit_transform(X)
    >>> C = abs(np.corrcoef(found.T, S.T)[:2, 2:])
    >>> bool((np.sort(C.max(axis=1)) > 0.999).all())
    True
    """

    _following: Following | None = None
    _followed: Any = None  # the density and the whitening that it was made for
    _kinds: list[str]  # sech or quartic, for a stream to go on with
    _base: Any  # the densities of the outputs, for `save`

    def __init__(
        self,
        n_components: int | None = None,
        *,
        density: str | Density = "auto",
        fun: str | None = None,
        whiten: str | bool = "unit-variance",
        tol: float = 1e-6,
        max_iter: int = 500,
        n_init: int = 1,
        w_init: Any = None,
        n_bootstraps: int = 0,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.density = density
        self.fun = fun
        self.whiten = whiten
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.w_init = w_init
        self.n_bootstraps = n_bootstraps
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Array, y: Any = None, sample_weight: Any = None) -> "RelativeICA":
        """Unmix the rows X (N, D); `y` is ignored.

        `sample_weight` (N,): relative, not negative. A row of weight 2 counts as two rows.

        Warns with `ConvergenceWarning` where `tol` is not reached, and with `relgrad_np.FitWarning`
        where directions are left out that have no variance, and where two sources or more cannot be
        told from a Gaussian, so that nothing tells them apart. Raises ValueError, in one line, for
        arguments out of range and for data that are not finite or that do not vary.
        """
        density, options = self._density(), self._options()
        X = self._validated(X, reset=True, ensure_min_samples=2)
        X, weights = self._weighted(X, sample_weight)
        white, n_bootstraps = self._white(X, weights, told=True), self._n_bootstraps()
        starts = self._starts(len(white.K))
        run = partial(unmix, X, white, density, weights=weights, **options)
        found = max(self._each(run, [{"start": start} for start in starts]), key=_value)
        self._following = None
        solution = of_white(white, found.W, found.b, found.log_p)
        self._base = saved_ica.base_of(found.density)
        order = self._keep(solution, X, weights, found.moments)
        self.densities_ = [found.names()[i] for i in order]
        self.diagnostics_["margin"] = np.asarray(found.kappa)[order]
        self.whitening_ = white.K.astype(X.dtype)
        self.n_iter_ = found.n_iter
        self._judge(found, len(X))
        if n_bootstraps:
            stability = self._stability(X, weights, density, n_bootstraps, options)
            self.diagnostics_["stability"] = stability
        return self

    def partial_fit(self, X: Array, y: Any = None, sample_weight: Any = None) -> "RelativeICA":
        """Follow a stream: take steps on rows X (N, D), in their order, each once.

        All columns are kept, so `n_components` is None or D. A call may have any number of rows.
        Until there is a window of rows, 1,000 or 5 for each number of a Gaussian, the sources are
        those of a fit of all of them, made anew when they are a quarter more. Below 10 rows for
        each column they are made white by the Gaussian of what has come. From then on steps of the
        rule "recipe" follow the sources. The kinds of "auto" and "extended" are "sech" or
        "quartic": that first window, or the `fit` before, chooses them, and the order. They stay,
        and so do the signs. `mean_`, variances and `diagnostics_` are those of the latest window.

        `sample_weight` (N,) is relative to the mean of all that have come. ValueError for rows that
        are not finite, FloatingPointError where the objective is not: no step is taken.
        """
        first, density = not hasattr(self, "components_"), self._density()
        X = self._validated(X, reset=first)
        D = X.shape[1]
        if self.n_components not in (None, D) or not (first or len(self.components_) == D):
            raise ValueError(
                "`partial_fit` keeps all columns: `n_components` must be None, and a fit before it "
                f"must have kept all {D}"
            )
        X, weights = self._weighted(X, sample_weight, relative=False)
        following = self._following
        made_for = getattr(density, "name", density), getattr(density, "params", None), self.whiten
        if following is None or self._followed != made_for:
            known = not first and "normal" not in self.densities_
            fitted = self._fitted_layer() if known else ()
            early = None if known or following is None else following.first
            following = Following(density, partial(self._white, weights=None), *fitted)
            following.first = early
            self._followed = made_for
        self._follow(following, X, weights)
        return self

    def transform(self, X: Array, copy: bool = True) -> Array:
        """Return the sources (N, n) of X (N, D); without `copy` X may be overwritten."""
        check_is_fitted(self)
        X = validate_data(
            self,
            numeric(X),
            reset=False,
            copy=copy,
            dtype=[np.float64, np.float32],
            force_writeable=True,
        )
        X -= self.mean_
        return X @ self.components_.T

    def inverse_transform(self, X: Array, copy: bool = True) -> Array:
        """Return the rows (N, D) whose sources are X (N, n), without what was left out."""
        check_is_fitted(self)
        n = len(self.components_)
        S = np.asarray(X)
        S = S if S.dtype in (np.float32, np.float64) else S.astype(np.float64)
        if S.ndim != 2 or S.shape[1] != n:
            raise ValueError(f"`X` must have shape (N, {n}), the sources', got {S.shape}")
        if not np.isfinite(S).all():
            raise ValueError("`X` must be finite")
        return S @ self.mixing_.T + self.mean_

    def score_samples(self, X: Array) -> Array:
        """Return the log-likelihood of each row of X (N, D), (N,), nats.

        The sources under their densities, times a Gaussian of the directions that `n_components`
        leaves out. Directions beyond the rank of the data have no density, and are not looked at.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return self._solution.log_likelihood(X.astype(np.float64))

    def score(self, X: Array, y: Any = None) -> float:
        """Return the mean log-likelihood of the rows of X (N, D), in nats; `y` is ignored."""
        return float(np.mean(self.score_samples(X)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what is fitted, and all parameters, to a file .npz; there is no pickle in it.

        The latest rows of a stream are not in it: `partial_fit` then goes on as after a fit.
        ValueError, naming it, for a parameter that a file can't hold.
        """
        check_is_fitted(self)
        saved_ica.write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "RelativeICA":
        """Return what `save` wrote.

        FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
        """
        found: RelativeICA = saved_ica.read(path, cls)
        return found

    def _density(self) -> str | Density:
        """Return "auto", "extended", or the density for all sources."""
        value: Any = self.density
        if self.fun is not None:
            if callable(self.fun):
                raise ValueError(
                    "`fun` must be a name: the integral of a function is not known, give a "
                    "relgrad_np.Density as `density`"
                )
            value = FUNCTIONS[one_of("fun", self.fun, FUNCTIONS)]
        if isinstance(value, Density):
            if value.name in ("normal", "multivariate_t"):
                raise ValueError(f"`density` {value.name!r} does not tell sources apart")
            return value
        name: str = one_of("density", value, ADAPTIVE + FIXED)
        return name if name in ADAPTIVE else make_density(name)

    def _options(self) -> dict[str, Any]:
        """Return what a fit asks of `unmix`."""
        if self.whiten is not False:
            one_of("whiten", self.whiten, WHITENINGS)
        tol = number("tol", self.tol, 0, np.inf, "positive")
        return {"tol": tol, "max_iter": whole("max_iter", self.max_iter)}

    def _n_bootstraps(self) -> int:
        return 0 if self.n_bootstraps == 0 else whole("n_bootstraps", self.n_bootstraps)

    def _validated(self, X: Array, *, reset: bool, ensure_min_samples: int = 1) -> Array:
        """Return X as a finite array (N, D), float32 or float64."""
        dtypes = DTYPES if reset else [self.components_.dtype]
        how: dict[str, Any] = {"dtypes": dtypes, "ensure_min_samples": ensure_min_samples}
        return validated(self, X, reset=reset, **how)

    def _weighted(
        self, X: Array, sample_weight: Any, relative: bool = True
    ) -> tuple[Array, Array | None]:
        """Return the rows of positive weight, and weights (n,) or None; of mean 1 if relative."""
        if sample_weight is None:
            return X, None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        X, weights = X[weights > 0], weights[weights > 0]
        return X, weights / weights.mean() if relative else weights

    def _white(self, X: Array, weights: Array | None, told: bool = False) -> Whitening:
        """Return the whitening of X (N, D); with `told` warn of what it leaves out."""
        D = X.shape[1]
        if self.whiten is False:
            if told and self.n_components not in (None, D):
                warnings.warn("Ignoring n_components with whiten=False.", stacklevel=3)
            require_full_rank(X, getattr(self, "feature_names_in_", None))
            return as_they_are(D)
        n = None if self.n_components is None else whole("n_components", self.n_components)
        if told and n is not None and n > D:
            warnings.warn(f"n_components is too large: it will be set to {D}", stacklevel=3)
        white = whitening(X, None if n is None or n >= D else n, weights)
        if not len(white.K):
            raise ValueError("`X` has no column that varies")
        asked = D if n is None else min(n, D)
        if told and len(white.K) < asked:
            self._tell_rank(X, white.rank, asked)
        return white

    def _tell_rank(self, X: Array, rank: int, asked: int) -> None:
        """Warn of components that are left out because the data have no such directions."""
        names = getattr(self, "feature_names_in_", range(X.shape[1]))
        still = [str(names[j]) for j in np.flatnonzero((X[0] == X).all(axis=0))]
        constant = f" (constant: column{'s' * (len(still) > 1)} {', '.join(still)})" * bool(still)
        missing = asked - rank
        warnings.warn(
            f"`X` has rank {rank} of {X.shape[1]} columns{constant}: {missing} of {asked} "
            f"components {'are' if missing > 1 else 'is'} left out",
            FitWarning,
            stacklevel=4,
        )

    def _starts(self, n: int) -> list[Any]:
        """Return the first unmixings (n, n) of the white rows; None for that of `unmix`."""
        first, n_init = None, whole("n_init", self.n_init)
        if self.w_init is not None:
            first = np.asarray(self.w_init, np.float64)
            if first.shape != (n, n):
                raise ValueError(
                    f"`w_init` has invalid shape {first.shape}: it must have shape {(n, n)}"
                )
            if not np.isfinite(first).all() or np.linalg.matrix_rank(first) < n:
                raise ValueError("`w_init` must be finite and invertible")
        rng = self._generator()
        return [first, *(sources.random_rotation(rng, n) for _ in range(n_init - 1))]

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))

    def _each(self, function: Any, arguments: list[dict[str, Any]]) -> list[Any]:
        """Call the function with each of the arguments, in `n_jobs` processes."""
        if len(arguments) == 1:
            return [function(**arguments[0])]
        return list(Parallel(n_jobs=self.n_jobs)(delayed(function)(**one) for one in arguments))

    def _keep(
        self,
        solution: Solution,
        X: Array,
        weights: Array | None,
        moments: OutputMoments | None = None,
        **how: Any,
    ) -> Array:
        """Keep a solution, and its sources of X (N, D) in their order; return that, (n,)."""
        unit = self.whiten == "unit-variance"
        found = described(solution, X, weights, moments, unit=unit, **how)
        self._solution, self._order = solution, found.order
        self.components_ = found.components.astype(X.dtype)
        self.mixing_ = found.mixing.astype(X.dtype)
        mean = np.zeros_like(solution.mean) if self.whiten is False else solution.mean
        self.mean_ = mean.astype(X.dtype)
        self.log_likelihood_ = found.log_likelihood
        self.diagnostics_ = found.diagnostics
        self._n_features_out = len(self.components_)
        self._kinds = ["sech" if heavy else "quartic" for heavy in found.heavy]
        return found.order

    def _judge(self, found: Unmixed, N: int) -> None:
        """Warn where the fit has not arrived, and of sources that nothing tells apart."""
        tol, near = self.tol, found.gradient <= ARRIVED / np.sqrt(N)
        self.converged_ = found.reason == "tol" or (found.reason == "stalled" and near)
        if not self.converged_:
            out = f"{self.max_iter} iterations ran out" if found.reason == "max_iter" else "stalled"
            warnings.warn(
                f"RelativeICA did not converge: {out} before `tol` {tol:g} was reached, the "
                f"largest element of the gradient is {found.gradient:.2g}; increase max_iter or "
                "tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        margin, p = self.diagnostics_["margin"], self.diagnostics_["gaussian_p"]
        alike = sources.indistinct(margin, p, GAUSSIAN)
        if alike:
            warnings.warn(
                f"components {', '.join(map(str, alike))} cannot be told from mixtures of one "
                "another: their `margin` is too small, or two or more have a high `gaussian_p` "
                "(see `diagnostics_`); more rows may help",
                FitWarning,
                stacklevel=3,
            )

    def _stability(
        self, X: Array, weights: Array | None, density: Any, n: int, options: dict[str, Any]
    ) -> Array:
        """Return the mean over n resamples of the best matched |correlation|, (components,)."""
        rng, N = self._generator(), len(X)
        share = None if weights is None else weights / weights.sum()
        counts = [{"counts": np.bincount(rng.choice(N, N, p=share), minlength=N)} for _ in range(n)]
        S = (X - self.mean_) @ self.components_.T
        again = partial(_again, X=X, S=S, density=density, white=self._white, **options)
        return np.mean(self._each(again, counts), axis=0)

    def _follow(self, following: Following, X: Array, weights: Array | None) -> None:
        """Take the rows in; keep the sources as they then are."""
        known = following.stream is not None
        following.feed(X, weights)
        self._following = following
        if known and not following.steps:
            return  # too few rows after a fit: its sources stay
        latest = following.latest().astype(X.dtype)
        solution = following.solution().centred(latest.mean(axis=0, dtype=np.float64))
        like = self.components_ if known else None
        self._keep(solution, latest, None, ordered=True, like=like)
        self.densities_ = following.names or ["normal"] * X.shape[1]
        self._base = following.parts
        self.diagnostics_["margin"] = following.margins()
        self.n_iter_, self.converged_ = following.steps, False

    def _fitted_layer(self) -> tuple[Layer, list[str]]:
        """Return what was fitted as a layer, and for a stream the kind of each source."""
        W, b = (x[self._order].astype(self.mean_.dtype) for x in self._solution.layer())
        return Layer(W, b), self._kinds

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _again(*, counts: Array, X: Array, S: Array, density: Any, white: Any, **options: Any) -> Array:
    """Return how well the sources S of X are found again in a resample, |correlation| (n,)."""
    rows = counts > 0
    X_again, weights = X[rows], counts[rows] / counts[rows].mean()
    found_white = white(X_again, weights)
    found = unmix(X_again, found_white, density, weights=weights, **options)
    return sources.matched(S, of_white(found_white, found.W, found.b, found.log_p).outputs(X))


def _value(found: Unmixed) -> float:
    return found.value
