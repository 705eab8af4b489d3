"""The model as a scikit-learn estimator: a density, a transformer, and for one layer ICA.

Needs scikit-learn. Everything here only translates: `init_layers`, `fit`, `forward`, `inverse` and
`log_likelihood` do the work. What is fitted is in `layers_`.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight

from ..core.activations import Activation
from ..core.arguments import number, one_of, whole
from ..core.densities import Density
from ..core.network import Layer, Layers
from ..core.objective import log_likelihood
from ..datasets.fitted_rows import FittedRows
from ..datasets.transforms import Chain
from ..fitting.automatic import ChosenSettings
from ..fitting.gaussian import regression_unless_worse
from ..fitting.loop import fit as fit_layers
from ..fitting.rank import require_full_rank
from ..fitting.records import Epoch, FitDivergedError, FitResult, FitWarning, NotConvergedWarning
from ..fitting.starts import KINDS, init_layers
from ..fitting.stream import Stream
from ..kernels.choose import Workload, choose, resolve
from ..rules.base import State
from ..rules.by_name import NEWTON, make_rule
from . import space
from .chosen import asks_for_depth, parameters_for, parts_of, regression_of, settings_now
from .fitted import FittedFlow
from .inputs import warn_of_grids

Array = Any
SOME = 2000  # rows at most by which a model knows those that it was fitted to
MANY = 50  # rows for validation that are enough for that


def _steps_by_batches(flow: Any) -> bool:
    """Say whether the rule can follow a stream; AttributeError if not, as scikit-learn has it."""
    if isinstance(flow.rule, str) and flow.rule == NEWTON:
        raise AttributeError(
            f"`partial_fit` needs a rule of minibatches, and rule={NEWTON!r} fits all rows at once"
        )
    return True


class RelativeGradientFlow(FittedFlow):
    """Density of invertible layers y = W z + b with an activation between, by maximum likelihood.

    Where a parameter is "auto", the numbers of rows and columns choose it, by the table of
    `fitting.automatic`: as many layers as the rows can bear, with validation rows that stop the
    fit, and one layer, the Gaussian, where the flow is no better on these rows, or where there are
    too few rows to hold any. `settings_` says what was chosen. Others follow what is given: with
    one layer, or with another rule than "natural" and "recipe", they are the settings of
    `relgrad_np.fit`.

    Parameters
    ----------
    n_layers : int, or "auto"
        1 is a linear model: a Gaussian with density="normal", ICA with any other.
    activation : str or Activation
        "auto", or what acts between the layers, as follows.
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
        500 with "newton". Or "auto" each.
    init : str
        "gaussianize", "principal", "whiten", "orthogonal" or "identity", see
        `relgrad_np.init_layers`.
    validation_fraction : float in (0, 1), optional, or "auto"
        Part of the rows kept for validation: the best layers on them are chosen. "auto": a fifth,
        a tenth of many rows, where the settings are chosen by the rows; else None, for none.
    patience : int, optional, or "auto"
        Stop after so many epochs without a better validation, None for never.
    tol : float, optional
        Stop when no epoch of the last `n_iter_no_change` has gained this much, in nats per row.
    n_iter_no_change : int
    implementation : str, optional
        "reference" or "numba"; default: the fastest that is installed, but no call compiles for
        steps that the reference takes sooner, see `relgrad_np.fit`.
    random_state : int, RandomState or None
    verbose : int
        1: a progress bar; with `support` its values are of model space.
    warm_start : bool
        `fit` goes on from `layers_`.
    seconds : float, optional
        How long a fit may take, about, if settings are chosen: fewer epochs, then fewer layers. It
        is a count of the work on one free core, made before the fit, and no clock stops it.
    support : dict or str, optional
        The open intervals that columns are in, by name or number: {"age": (0, 120), "income": (0,
        None), 3: "unit"}, or "age=0:120,income=0:". The flow then works on the logit of a column
        with two bounds and on the logarithm of the distance to a single one: that is model space.
        Samples are inside, and every log-likelihood is in the units of X.

    Attributes
    ----------
    layers_ : tuple of Layer
    settings_ : ChosenSettings
        What the last `fit` was made with; `settings_.words` is a line about it.
    history_ : tuple of Epoch
        Of the last call of `fit`; log-likelihoods in nats per row, in the units of X. A DataFrame
        of them has named columns: `pandas.DataFrame(flow.history_)`.
    n_iter_, best_epoch_ : int
        Epochs of the last `fit`, and the one whose layers are kept, 0 for the start.
    stop_reason_ : str
        "epochs", "patience", "tol", "callback", or another of the rule "newton".
    transforms_ : Chain
        The way of X to model space: nothing, or what `support` asks for.
    xi_ : tuple of float
        Of each layer, how far the last `fit` ended from a stationary point: 0 there, dimensionless,
        of a size below sqrt(D) if the fit has arrived; see `relgrad_np.FitResult`.
    n_features_in_, feature_names_in_
    components_, mixing_, mean_ : arrays (D, D), (D, D), (D,)
        For n_layers=1: sources = (X - mean_) @ components_.T, X = sources @ mixing_.T + mean_; with
        `support` this is so in model space.

    Data may come in any affine coordinates: the default start whitens standardised columns, and the
    steps are equivariant. So a Pipeline needs no `StandardScaler`: behind one, log-likelihoods are
    per unit of the scaled columns, without the scaler's log-determinant. Constant columns, affine
    combinations of others, and no more rows than columns have no density: whatever `init`, a
    ValueError names the columns.

    >>> import numpy as np
    >>> from relgrad_np.estimator import RelativeGradientFlow
    >>> X = np.random.default_rng(0).standard_normal((200, 2)) @ [[2, 0], [1, 1]] + 5
    >>> flow = RelativeGradientFlow(random_state=0).fit(X)
    >>> Z = flow.transform(X)
    >>> bool(np.allclose(flow.inverse_transform(Z), X)), flow.score_samples(X).shape
    (True, (200,))
    """

    _learned: tuple[Any, Any] = (None, None)  # a rule, and what it has learned in a fit

    def __init__(
        self,
        n_layers: int | str = "auto",
        *,
        activation: str | Activation = "auto",
        density: str | Density = "auto",
        rule: Any = "auto",
        learning_rate: float | None = None,
        schedule: str = "linear",
        batch_size: int | str | None = "auto",
        epochs: int | str | None = "auto",
        init: str = "auto",
        validation_fraction: float | str | None = "auto",
        patience: int | str | None = "auto",
        tol: float | None = None,
        n_iter_no_change: int = 5,
        implementation: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        seconds: float | None = None,
        support: Any = None,
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
        self.seconds = seconds
        self.support = support

    def fit(
        self,
        X: Array,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callbacks: Iterable[Callable[[Epoch, State], Any]] = (),
    ) -> "RelativeGradientFlow":
        """Maximise the mean log-likelihood of X (N, D); `y` is ignored.

        `sample_weight` (N,): relative, not negative, see `relgrad_np.fit`; the rows that are held
        for validation are judged with theirs. The start looks at the rows of positive weight alike.
        `callbacks`, functions of (Epoch, State), are called after each epoch, and one that returns
        something true stops the fit. An `Epoch` is one of `history_`; the layers of a `State` are
        those of model space.

        The layers that are kept are the best on the rows fitted, or on those for validation: those
        of the fit, its start, or the Gaussian of these rows. Warns with `relgrad_np.FitWarning`
        where the fit ended below one of these, and with scikit-learn's `ConvergenceWarning` where
        it has not arrived, unless `seconds` cut it short. A `UserWarning` names columns of counts
        and of few values, to which a deep density can't be fitted without noise.

        Raises ValueError for X that is not finite, has rows on a bound or beyond it, is of
        deficient rank (of the rows of positive weight; see `fitting.rank`) or has fewer than two
        rows, and `FitDivergedError` (a FloatingPointError) where the objective is not finite at the
        start; where it is not later on, the best layers are kept, with a `FitWarning`.
        """
        self._context = 0
        X = self._validated(X, reset=True, ensure_min_samples=2)
        return self._fit(X, sample_weight, callbacks)

    def _fit(
        self, X: Array, sample_weight: Any, callbacks: Iterable[Callable[[Epoch, State], Any]]
    ) -> "RelativeGradientFlow":
        """Fit rows X (N, D), or (N, D + c) with their context, that have been looked at."""
        rng, weights = self._generator(), None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        chain = self._chain_for(X)
        Z, log_det = self._in_model_space(X, chain)
        N = len(X) if weights is None else int(np.count_nonzero(weights))
        D = X.shape[1] - self._context
        settings, share = parameters_for(self, N, D, self._context)
        model = parts_of(settings)
        if self.verbose:
            print(settings.words)
        rows, held = self._split(rng, len(X), share, settings.patience)
        counted = rows if weights is None else rows[weights[rows] > 0]
        start = self._begun(chain, X.dtype, settings.n_layers, D)
        if start is None:
            start = self._start(rng, Z[counted], settings, activation=model[0])
        shifts = [space.mean_of(log_det, part, weights) for part in (rows, held)]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                result = fit_layers(
                    start,
                    Z[rows],
                    *model,
                    rule=settings.rule,
                    learning_rate=self.learning_rate,
                    schedule=self.schedule,
                    batch_size=settings.batch_size,
                    epochs=settings.epochs,
                    rng=rng,
                    X_val=Z[held] if len(held) else None,
                    sample_weight_val=None if weights is None or not len(held) else weights[held],
                    patience=settings.patience,
                    tol=self.tol,
                    n_iter_no_change=self.n_iter_no_change,
                    implementation=self.implementation,
                    sample_weight=None if weights is None else weights[rows],
                    progress=bool(self.verbose),
                    callbacks=[space.in_data_space(call, *shifts) for call in callbacks],
                )
            except FitDivergedError as error:
                result = self._after(error, Z[counted], model)
        by_steps = not isinstance(settings.rule, str) or settings.rule != NEWTON
        rule = make_rule(settings.rule, self.learning_rate) if by_steps else None
        if weights is None and len(held) and asks_for_depth(self):
            closed = self._in_closed_form(result, settings, model, Z[rows], Z[held])
            if closed is not None:
                (result, settings), heard, rule = closed, [], None
        names = getattr(self, "feature_names_in_", None)
        grids = settings.n_layers > 1 and warn_of_grids(X[rows, :D], names)
        if grids or (settings.cut and self.tol is None):  # no more epochs are wanted
            heard = [one for one in heard if one.category is not NotConvergedWarning]
        for one in heard:  # in scikit-learn's words
            same = not issubclass(one.category, NotConvergedWarning)
            category = one.category if same else ConvergenceWarning
            warnings.warn(f"{one.message}{space.said(chain)}", category, stacklevel=3)
        self.settings_ = settings
        self._keep(result.best_layers, (rule, result.rule_state), chain)
        self.history_ = tuple(space.moved(epoch, *shifts) for epoch in result.history)
        self.n_iter_, self.best_epoch_ = len(result.history), result.best_epoch
        self.stop_reason_, self.xi_ = result.stop_reason, result.xi
        judged = counted if len(held) < MANY else held  # none that the layers were fitted to
        some = judged[:: math.ceil(len(judged) / SOME)]
        log_p = log_likelihood(self.layers_, Z[some], *self._model()).per_sample
        self._fitted_rows = FittedRows.of(Z[some], log_p)
        return self

    def _split(
        self, rng: np.random.Generator, N: int, share: float | None, patience: int | None
    ) -> tuple[Array, Array]:
        """Return the numbers of the rows that are fitted, and of those that judge the epochs."""
        rows = np.arange(N)
        if share is None:
            if patience is not None:
                raise ValueError("`patience` needs `validation_fraction`: rows to judge epochs by")
            return rows, rows[:0]
        fraction = number("validation_fraction", share, 0, 1, "in (0, 1)")
        held = rng.permutation(rows)[: math.ceil(fraction * N)]
        if N - len(held) < 2:
            raise ValueError("`validation_fraction` leaves fewer than 2 rows to fit")
        return np.setdiff1d(rows, held), held

    def _in_closed_form(
        self,
        result: FitResult,
        settings: ChosenSettings,
        model: tuple[Activation, Density],
        Z: Array,
        Z_val: Array,
    ) -> tuple[FitResult, ChosenSettings] | None:
        """Return the Gaussian of the rows in the place of a fit; None where the fit is better."""
        plain = regression_unless_worse(result.best_layers, *model, Z, Z_val, self._context)
        if plain is None:
            return None
        made = result._replace(best_layers=plain, best_epoch=0, xi=(0.0,), rule_state=None)
        return made, regression_of(settings)

    def _begun(self, chain: Chain, dtype: Any, L: int, D: int) -> Layers | None:
        """Return the layers that a warm start goes on from; None where none fit."""
        layers: Layers | None = getattr(self, "layers_", None) if self._goes_on(chain) else None
        shape = (D, self._context + 1) if self._context else (D,)  # of b
        if layers is None or layers[0].b.shape != shape or len(layers) != L:
            return None
        return tuple(Layer(*(x.astype(dtype) for x in layer)) for layer in layers)

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
        first, settings = not hasattr(self, "layers_"), settings_now(self)
        if not first and len(self.layers_) != settings.n_layers:
            raise ValueError(
                f"`n_layers` is {settings.n_layers}, and the layers so far are {len(self.layers_)}"
                ": `fit` starts again, `partial_fit` can't change it"
            )
        stream, X = None if first else self._stream, self._validated(X, reset=first)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            X, weights = X[weights > 0], weights[weights > 0]
        chain = self._chain_for(X) if first else self._chain
        X, _ = self._in_model_space(X, chain)
        rule, model = make_rule(settings.rule, self.learning_rate), parts_of(settings)
        size = whole("batch_size", settings.batch_size)
        if stream is None or not stream.is_of(rule, *model, size):
            stream = Stream(
                partial(self._start, self._generator(), settings=settings, activation=model[0]),
                *model,
                rule,
                batch_size=size,
                layers=getattr(self, "layers_", None),
                rule_state=self._learned[1] if type(self._learned[0]) is type(rule) else None,
            )
            self._stream, self.transforms_, self._fitted_rows = stream, chain, None
        step, state = resolve(self.implementation, X), stream.kept and stream.kept.state
        if self.implementation is None:  # a few rows never wait for kernels to be compiled
            work = Workload(math.ceil(len(X) / size), min(len(X), size))
            step = choose(step, state, *model, rule, work) if state else resolve("reference")
        stream.feed(X, step, weights)
        self._n_features_out = X.shape[1]
        return self

    def _after(self, error: FitDivergedError, X: Array, model: Any) -> FitResult:
        """Return the best of what a fit that diverged had, and say so.

        Raises the error where that has no finite log-likelihood on X (N, D).
        """
        with np.errstate(all="ignore"):
            value = float(log_likelihood(error.result.best_layers, X, *model).mean)
        if not np.isfinite(value):
            raise error
        warnings.warn(f"the fit diverged: {error}", FitWarning, stacklevel=4)
        return error.result

    def _start(
        self,
        rng: np.random.Generator,
        X: Array,
        settings: ChosenSettings,
        *,
        activation: Activation,
    ) -> Layers:
        """Return the layers that a fit of X starts from."""
        kind, L = one_of("init", settings.init, KINDS), whole("n_layers", settings.n_layers)
        c, D = self._context, X.shape[1] - self._context
        require_full_rank(X, getattr(self, "feature_names_in_", None), context=c)
        return init_layers(rng, D, L, kind=kind, X=X, activation=activation, context=c)

    def _keep(self, layers: Layers, learned: tuple[Any, Any], chain: Chain) -> None:
        """Keep the layers of a fit, its rule with what that has learned, and the way to them."""
        self._fitted, self._learned, self._stream = layers, learned, None
        self.transforms_ = chain
        self._n_features_out = layers[0].b.shape[0]
