"""The model as a scikit-learn estimator: a density, a transformer, and for one layer ICA.

Needs scikit-learn. Everything here only translates: `init_layers`, `fit`, `forward`, `inverse` and
`log_likelihood` do the work. What is fitted is in `layers_`.
"""

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..core.activations import Activation
from ..core.activations import activation as make_activation
from ..core.arguments import number, one_of, whole
from ..core.densities import Density
from ..core.densities import density as make_density
from ..core.network import Layer, Layers, forward
from ..core.objective import log_likelihood
from ..core.sampling import inverse, require_model, sample
from ..fitting.loop import fit as fit_layers
from ..fitting.rank import require_full_rank
from ..fitting.records import FitDivergedError, FitResult, FitWarning, NotConvergedWarning
from ..fitting.starts import KINDS, init_layers
from ..fitting.stream import Stream
from ..kernels.choose import Workload, choose, resolve
from ..rules.by_name import NEWTON, make_rule
from .inputs import missing_by_column, numeric

Array = Any


def _steps_by_batches(flow: Any) -> bool:
    """Say whether the rule can follow a stream; AttributeError if not, as scikit-learn has it."""
    if isinstance(flow.rule, str) and flow.rule == NEWTON:
        raise AttributeError(
            f"`partial_fit` needs a rule of minibatches, and rule={NEWTON!r} fits all rows at once"
        )
    return True


class RelativeGradientFlow(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator
):
    """Density of invertible layers y = W z + b with an activation between, by maximum likelihood.

    Parameters
    ----------
    n_layers : int
        1 is a linear model: a Gaussian with density="normal", ICA with any other.
    activation : str or Activation
        What acts between the layers: "smooth_leaky_relu", "leaky_tanh", "identity", or what
        `relgrad_np.activation` returned.
    density : str or Density
        Base density of the latent: "normal", "logistic", "laplace", "sech", "quartic"
        (ICA of sources that are lighter than the Gaussian), "student_t", "multivariate_t" (of all
        components at once: no ICA), or what `relgrad_np.density` made.
    rule : str or rule
        "recipe", "natural", "plain", "exponential", "scalar", "adam", "group_adam", "newton" (all
        rows at once, no `partial_fit`), or a rule; see `relgrad_np.fit`.
    learning_rate : float, optional
        Default: the rule's own.
    schedule : str
        "linear", "constant", "cosine" or "harmonic"; `partial_fit` is constant.
    batch_size, epochs : int, optional
        Most rows of a batch, None for all of them (in `fit`); passes over the rows, None for 15, or
        500 with "newton".
    init : str
        "gaussianize", "principal", "whiten", "orthogonal" or "identity", see
        `relgrad_np.init_layers`.
    validation_fraction : float in (0, 1), optional
        Part of the rows kept for validation: the best layers on them are chosen.
    patience : int, optional
        Stop after so many epochs without a better validation.
    tol : float, optional
        Stop when no epoch of the last `n_iter_no_change` has gained this much, in nats per row.
    n_iter_no_change : int
    implementation : str, optional
        "reference" or "numba"; default: the fastest that is installed, but no call compiles for
        steps that the reference takes sooner, see `relgrad_np.fit`.
    random_state : int, RandomState or None
    verbose : int
        1: a progress bar.
    warm_start : bool
        `fit` goes on from `layers_`.

    Attributes
    ----------
    layers_ : tuple of Layer
    history_ : tuple of Epoch
        Of the last call of `fit`; log-likelihoods in nats per row.
    n_iter_ : int
        Epochs of the last `fit`.
    xi_ : tuple of float
        Of each layer, how far the last `fit` ended from a stationary point: 0 there, dimensionless,
        of a size below sqrt(D) if the fit has arrived; see `relgrad_np.FitResult`.
    n_features_in_, feature_names_in_
    components_, mixing_, mean_ : arrays (D, D), (D, D), (D,)
        For n_layers=1: sources = (X - mean_) @ components_.T, X = sources @ mixing_.T + mean_.

    Data may come in any affine coordinates: the default start whitens standardised columns, and the
    steps are equivariant. Constant columns, affine combinations of others, and no more rows than
    columns have no density: whatever `init`, a ValueError names the columns.

    >>> import numpy as np
    >>> from relgrad_np.estimator import RelativeGradientFlow
    >>> X = np.random.default_rng(0).standard_normal((200, 2)) @ [[2, 0], [1, 1]] + 5
    >>> flow = RelativeGradientFlow(random_state=0).fit(X)
    >>> Z = flow.transform(X)
    >>> bool(np.allclose(flow.inverse_transform(Z), X)), flow.score_samples(X).shape
    (True, (200,))
    """

    _fitted: Layers | None = None
    _learned: tuple[Any, Any] = (None, None)  # a rule, and what it has learned in a fit
    _stream: Stream | None = None
    _warned_of: Array = None  # the W of which it was said that it does not unmix

    def __init__(
        self,
        n_layers: int = 2,
        *,
        activation: str | Activation = "smooth_leaky_relu",
        density: str | Density = "normal",
        rule: Any = "recipe",
        learning_rate: float | None = None,
        schedule: str = "linear",
        batch_size: int | None = 100,
        epochs: int | None = None,
        init: str = "gaussianize",
        validation_fraction: float | None = None,
        patience: int | None = None,
        tol: float | None = None,
        n_iter_no_change: int = 5,
        implementation: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_layers = n_layers
        self.activation = activation
        self.density = density
        self.rule = rule
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.init = init
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.implementation = implementation
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def fit(self, X: Array, y: Any = None, sample_weight: Any = None) -> "RelativeGradientFlow":
        """Maximise the mean log-likelihood of X (N, D); `y` is ignored.

        `sample_weight` (N,): relative, not negative, see `relgrad_np.fit`; the rows that are held
        for validation are judged with theirs. The start looks at the rows of positive weight alike.

        The layers that are kept are the best on the rows fitted, or on those for validation: those
        of the fit, its start, or the Gaussian of these rows. Warns with `relgrad_np.FitWarning`
        where the fit ended below one of these, and with scikit-learn's `ConvergenceWarning` where
        it has not arrived.

        Raises ValueError for X that is not finite, of deficient rank (of the rows of positive
        weight; see `fitting.rank`) or of fewer than two rows, and
        `FitDivergedError` (a FloatingPointError) where the objective is not finite at the start;
        where it is not later on, the best layers are kept, with a `FitWarning`.
        """
        X = self._validated(X, reset=True, ensure_min_samples=2)
        rng, model = self._generator(), self._model()
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        if self.patience is not None and self.validation_fraction is None:
            raise ValueError("`patience` needs `validation_fraction`: rows to judge epochs by")
        rows = np.arange(len(X))
        held: Array = rows[:0]
        if self.validation_fraction is not None:
            fraction = number("validation_fraction", self.validation_fraction, 0, 1, "in (0, 1)")
            held = rng.permutation(rows)[: math.ceil(fraction * len(X))]
            rows = np.setdiff1d(rows, held)
            if len(rows) < 2:
                raise ValueError("`validation_fraction` leaves fewer than 2 rows to fit")
        start = getattr(self, "layers_", None) if self.warm_start else None
        if start is None or start[0].b.shape[0] != X.shape[1] or len(start) != self.n_layers:
            positive = rows if weights is None else rows[weights[rows] > 0]
            start = self._start(rng, X[positive], activation=model[0])
        else:
            start = tuple(Layer(*(x.astype(X.dtype) for x in layer)) for layer in start)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                result = fit_layers(
                    start,
                    X[rows],
                    *model,
                    rule=self.rule,
                    learning_rate=self.learning_rate,
                    schedule=self.schedule,
                    batch_size=self.batch_size,
                    epochs=self.epochs,
                    rng=rng,
                    X_val=X[held] if len(held) else None,
                    sample_weight_val=None if weights is None or not len(held) else weights[held],
                    patience=self.patience,
                    tol=self.tol,
                    n_iter_no_change=self.n_iter_no_change,
                    implementation=self.implementation,
                    sample_weight=None if weights is None else weights[rows],
                    progress=bool(self.verbose),
                )
            except FitDivergedError as error:
                result = self._after(error, X[rows if weights is None else rows[weights[rows] > 0]])
        for one in heard:  # in scikit-learn's words
            same = not issubclass(one.category, NotConvergedWarning)
            category = one.category if same else ConvergenceWarning
            warnings.warn(str(one.message), category, stacklevel=2)
        by_steps = not isinstance(self.rule, str) or self.rule != NEWTON
        rule = make_rule(self.rule, self.learning_rate) if by_steps else None
        self._keep(result.best_layers, (rule, result.rule_state))
        self.history_ = result.history
        self.n_iter_ = len(result.history)
        self.xi_ = result.xi
        return self

    @available_if(_steps_by_batches)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Array, y: Any = None, sample_weight: Any = None
    ) -> "RelativeGradientFlow":
        """Follow a stream: take further steps on X (N, D), its rows in their order, each once.

        A call may have any number of rows. The first ones, up to 10 for each column, make the
        start; until then the layers are those of a Gaussian of what has come. What the rule has
        learned, also in `fit`, and the latest rows, by which it is measured again, are kept from
        call to call. `sample_weight` (N,) is relative to the mean of all that have come.

        A call that is interrupted leaves the layers of its last whole step. ValueError for rows
        that are not finite and for another `n_layers` than that of the layers so far,
        FloatingPointError where the objective is not finite: no step is taken. There is no
        `partial_fit` with rule="newton".
        """
        first = not hasattr(self, "layers_")
        if not first and len(self.layers_) != self.n_layers:
            raise ValueError(
                f"`n_layers` is {self.n_layers}, and the layers so far are {len(self.layers_)}: "
                "`fit` starts anew, `partial_fit` can't change it"
            )
        stream, X = None if first else self._stream, self._validated(X, reset=first)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            X, weights = X[weights > 0], weights[weights > 0]
        rule, model = make_rule(self.rule, self.learning_rate), self._model()
        size = whole("batch_size", self.batch_size)
        if stream is None or not stream.is_of(rule, *model, size):
            stream = Stream(
                partial(self._start, self._generator(), activation=model[0]),
                *model,
                rule,
                batch_size=size,
                layers=getattr(self, "layers_", None),
                rule_state=self._learned[1] if type(self._learned[0]) is type(rule) else None,
            )
            self._stream = stream
        step, state = resolve(self.implementation, X), stream.kept and stream.kept.state
        if self.implementation is None:  # a few rows never wait for kernels to be compiled
            work = Workload(math.ceil(len(X) / size), min(len(X), size))
            step = choose(step, state, *model, rule, work) if state else resolve("reference")
        stream.feed(X, step, weights)
        self._n_features_out = X.shape[1]
        return self

    @property
    def layers_(self) -> Layers:
        """The layers: of the last fit, or of the last whole step of `partial_fit`."""
        kept = self._stream.kept if self._stream is not None else None
        layers = self._fitted if kept is None else kept.layers
        if layers is None:
            raise AttributeError("`layers_` is there after fitting only")
        return layers

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layers_")

    def transform(self, X: Array) -> Array:
        """Return the latent of X (N, D), an array (N, D)."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return forward(self.layers_, X, self._model()[0]).Zs[-1]

    def inverse_transform(self, X: Array) -> Array:
        """Return the samples (N, D) whose latent is X (N, D)."""
        check_is_fitted(self)
        Z = self._latent(X)
        return inverse(self.layers_, Z, self._model()[0])

    def score_samples(self, X: Array) -> Array:
        """Return the log-likelihood of each row of X (N, D), in nats, (N,)."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return log_likelihood(self.layers_, X, *self._model()).per_sample

    def score(self, X: Array, y: Any = None) -> float:
        """Return the mean log-likelihood of the rows of X (N, D), in nats; `y` is ignored."""
        return float(np.mean(self.score_samples(X), dtype=np.float64))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw samples (n_samples, D) from the model; `random_state` None: that of the model."""
        check_is_fitted(self)
        rng = self._generator(random_state)
        return sample(self.layers_, rng, whole("n_samples", n_samples), *self._model())[0]

    @property
    def components_(self) -> Array:
        """The unmixing matrix W (D, D) of a model of one layer; warns if its base is normal."""
        return self._unmixing("components_")

    @property
    def mixing_(self) -> Array:
        """The mixing matrix inv(W) (D, D) of a model of one layer; warns if its base is normal."""
        W = self._unmixing("mixing_")
        return np.linalg.inv(W.astype(np.float64)).astype(W.dtype)

    @property
    def mean_(self) -> Array:
        """The point (D,) that a model of one layer maps to the latent 0."""
        W, b = self._only_layer("mean_")
        return np.linalg.solve(W.astype(np.float64), -b.astype(np.float64)).astype(b.dtype)

    def _only_layer(self, name: str) -> Layer:
        layers: Layers = getattr(self, "layers_", ())
        if len(layers) != 1:
            raise AttributeError(f"`{name}` is there after fitting with n_layers=1 only")
        return Layer(*layers[0])

    def _unmixing(self, name: str) -> Array:
        """Return W of the only layer; warn, once a fit, if no W could unmix."""
        W = self._only_layer(name).W
        if self._model()[1].name == "normal" and self._warned_of is not W:
            self._warned_of = W
            warnings.warn(
                f"a normal base cannot unmix: `{name}` only whitens, and any rotation of it is as "
                "likely; use relgrad_np.estimator.RelativeICA, or density='sech'",
                UserWarning,
                stacklevel=3,
            )
        return W

    def _model(self) -> tuple[Activation, Density]:
        """Return activation and density as they are to be used."""
        act, dens = self.activation, self.density
        if isinstance(act, str):
            act = make_activation(act)
        if isinstance(dens, str):
            dens = make_density(dens)
        require_model(act, dens)
        return act, dens

    def _after(self, error: FitDivergedError, X: Array) -> FitResult:
        """Return the best of what a fit that diverged had, and say so.

        Raises the error where that has no finite log-likelihood on X (N, D).
        """
        with np.errstate(all="ignore"):
            value = float(log_likelihood(error.result.best_layers, X, *self._model()).mean)
        if not np.isfinite(value):
            raise error
        warnings.warn(f"the fit diverged: {error}", FitWarning, stacklevel=3)
        return error.result

    def _generator(self, random_state: Any = None) -> np.random.Generator:
        """Return a generator that follows `random_state`, or the model's own."""
        source = self.random_state if random_state is None else random_state
        return np.random.default_rng(check_random_state(source).randint(2**31 - 1))

    def _start(self, rng: np.random.Generator, X: Array, *, activation: Activation) -> Layers:
        """Return the layers that a fit of X starts from."""
        kind, L = one_of("init", self.init, KINDS), whole("n_layers", self.n_layers)
        require_full_rank(X, getattr(self, "feature_names_in_", None))
        return init_layers(rng, X.shape[1], L, kind=kind, X=X, activation=activation)

    def _validated(self, X: Array, *, reset: bool, ensure_min_samples: int = 1) -> Array:
        """Return X as a finite array (N, D), float32 or float64."""
        dtypes = [np.float64, np.float32]
        if not reset:
            dtypes = [self.layers_[0].b.dtype]
        X = numeric(X)
        with missing_by_column(X):
            return validate_data(
                self, X, reset=reset, dtype=dtypes, ensure_min_samples=ensure_min_samples
            )

    def _latent(self, Z: Array) -> Array:
        """Return Z as an array (N, D) of the model's dtype; its columns have other names."""
        Z = np.asarray(Z, dtype=self.layers_[0].b.dtype)
        if Z.ndim != 2 or Z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"`X` must have shape (N, {self.n_features_in_}), the latent's, got {Z.shape}"
            )
        if not np.isfinite(Z).all():
            raise ValueError("`X` must be finite")
        return Z

    def _keep(self, layers: Layers, learned: tuple[Any, Any]) -> None:
        """Keep the layers of a fit, and its rule with what that has learned."""
        self._fitted, self._learned, self._stream = layers, learned, None
        self._n_features_out = layers[0].b.shape[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
