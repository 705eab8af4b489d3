"""Densities of x given a context u, p(x | u): a flow whose biases depend on the context.

Needs scikit-learn. The flow is a `RelativeGradientFlow` of rows (x, features of u); see
`core.context` and `features`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..core.arguments import whole
from ..core.brief import brief
from ..core.sampling import inverse
from ..datasets.files.frame import is_frame
from ..datasets.record import Dataset
from ..fitting.records import Epoch
from ..rules.base import State
from . import saved, space
from .features import ContextFeatures
from .flow import RelativeGradientFlow
from .history_plot import plot
from .inputs import validated

Array = Any
NUMBERS = 2**22  # of all layers' outputs, that are held at a time where rows are drawn


@brief
class Grid(NamedTuple):
    """A density of one or two dimensions on a grid: `axes`, and `log_p`, in nats.

    >>> Grid(("x",), "log_p").axes
    ('x',)
    """

    axes: tuple[Array, ...]
    log_p: Array


def _of_flow(name: str, words: str) -> Any:
    """Return a property that the fitted flow has, with its documentation."""
    return property(lambda self: getattr(self.flow_, name), doc=words)


class ConditionalFlow(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator
):
    """Density of rows x (D columns) given rows of context u (c columns), by maximum likelihood.

    Each layer is y = W z + B (u, 1) with an activation between: log|det W| and the cost of a step
    are those of a flow without context. What the context adds linearly to x is learned at
    once; scale, shape and number of modes depend on u through the activations.

    Parameters
    ----------
    flow : RelativeGradientFlow, optional
        Its parameters are those of the fit; it is cloned. Default: all of them "auto". `support`
        is that of X. With `warm_start` a `fit` goes on from the last one, with its features.
    features : transformer, optional
        Makes features of the context, by `fit_transform` and `transform`: polynomials, splines,
        random Fourier features, a Pipeline; what it makes may be sparse. Default: the context as it
        is, which must be finite numbers then.

    Attributes
    ----------
    flow_ : RelativeGradientFlow
        Fitted to rows (x, features), the features standardised.
    features_ : transformer or None
    layers_, settings_, history_, n_iter_, best_epoch_, stop_reason_, transforms_, xi_
        Those of `flow_`; `settings_` counts the slopes of the biases, too.
    n_features_in_, feature_names_in_
        Of X: D, and the names of its columns if it was a DataFrame.
    n_context_in_, context_names_in_
        The same of the context; the names are None where it had none.

    A context in a DataFrame must have its columns by the same names in the same order, always; an
    array is taken by position.

    >>> import numpy as np
    >>> from relgrad_np.estimator import ConditionalFlow, RelativeGradientFlow
    >>> rng = np.random.default_rng(0)
    >>> u = rng.uniform(-1, 1, (500, 1))
    >>> x = 3 * u + np.exp(u) * rng.standard_normal((500, 1))
    >>> flow = ConditionalFlow(RelativeGradientFlow(4, epochs=40, random_state=0)).fit(x, context=u)
    >>> flow.score_samples(x, context=u).shape, flow.sample(2, context=u).shape
    ((500,), (500, 2, 1))
    >>> bool(abs(flow.predict([[0.5]])[0, 0] - 1.5) < 0.3)
    True
    """

    flow_: RelativeGradientFlow
    _features: ContextFeatures

    def __init__(self, flow: RelativeGradientFlow | None = None, *, features: Any = None) -> None:
        self.flow = flow
        self.features = features

    def set_params(self, **params: Any) -> "ConditionalFlow":
        """Set parameters; `flow__NAME` is one of the flow's, which is made if there is none."""
        if self.flow is None and any(name.startswith("flow__") for name in params):
            self.flow = params.pop("flow", None) or RelativeGradientFlow()
        super().set_params(**params)
        return self

    def fit(
        self,
        X: Array,
        y: Any = None,
        *,
        context: Any = None,
        sample_weight: Any = None,
        callbacks: Iterable[Callable[[Epoch, State], Any]] = (),
    ) -> "ConditionalFlow":
        """Maximise the mean of log p(x | u) over rows X (N, D) and `context` (N, c).

        `y` is ignored. `sample_weight`, `callbacks`, warnings and errors: as
        `RelativeGradientFlow.fit`, and ValueError for a context that is missing, not finite or of
        another number of rows. The moments that standardise the features are weighted.
        """
        flow, features = self._new_flow(), ContextFeatures(self.features)
        X = validated(self, X, reset=True, ensure_min_samples=2)
        weights = None
        if sample_weight is not None:
            how = {"dtype": np.float64, "ensure_non_negative": True}
            weights = _check_sample_weight(sample_weight, X, **how)
        if flow.warm_start and hasattr(self, "flow_"):
            features, before = self._features, self.flow_
            flow._keep(before.layers_, (None, None), before.transforms_)
            F = features.of(context)
        else:
            F = features.fit(context, weights)
        if len(F) != len(X):
            raise ValueError(f"`context` must have a row for each of `X`, {len(X)}, got {len(F)}")
        flow.n_features_in_, flow._context = X.shape[1], F.shape[1]
        if hasattr(self, "feature_names_in_"):
            flow.feature_names_in_ = self.feature_names_in_
        flow._fit(_joined(X, F), weights, callbacks)
        self._keep(flow, features)
        return self

    def score_samples(self, X: Array, *, context: Any = None) -> Array:
        """Return log p(x | u) of rows X (N, D) and `context` (N, c), in nats, (N,).

        In the units of X. One row of context serves for all rows of X.
        """
        rows = self._rows(X, context)
        return self.flow_._log_p(rows)

    def score(
        self, X: Array, y: Any = None, *, context: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean of log p(x | u), in nats, weighted if asked for; `y` is ignored."""
        log_p = self.score_samples(X, context=context).astype(np.float64)
        return float(np.average(log_p, weights=sample_weight))

    def transform(self, X: Array, *, context: Any = None) -> Array:
        """Return the latent (N, D) of rows X (N, D) and `context` (N, c)."""
        rows = self._rows(X, context)
        return self.flow_._latents(rows)

    def fit_transform(self, X: Array, y: Any = None, *, context: Any = None, **how: Any) -> Array:
        """Fit, and return the latent (N, D) of the same rows; `how`: as of `fit`."""
        return self.fit(X, y, context=context, **how).transform(X, context=context)

    def sample(self, n_samples: int = 1, *, context: Any = None, random_state: Any = None) -> Array:
        """Draw `n_samples` of each row of `context` (M, c), (M, n_samples, D).

        `random_state` None: that of the flow.
        """
        return np.concatenate(list(self._drawn(n_samples, context, random_state)))

    def predict(self, context: Any, *, n_samples: int = 1000, random_state: Any = None) -> Array:
        """Return the mean of x given each row of `context` (M, c), (M, D), of so many draws."""
        drawn = self._drawn(n_samples, context, random_state)
        return np.concatenate([part.mean(axis=1) for part in drawn])

    def quantiles(
        self, q: Any, context: Any, *, n_samples: int = 4000, random_state: Any = None
    ) -> Array:
        """Return quantiles `q` of each column of x given rows of `context` (M, c), of draws.

        (M, D) for a number q, (len(q), M, D) for several. Cost: a single column of x is a monotone
        function of its latent, so `n_samples` draws of that serve for all rows of context, and a
        thousand rows take less than a second. With more columns `n_samples` rows are drawn for each
        row of context: about a minute of one core for a thousand rows of context, 16 layers and two
        columns, a tenth of it with n_samples=400.
        """
        if self.__sklearn_is_fitted__() and self.n_features_in_ == 1:
            return self._quantiles_of_one(q, n_samples, context, random_state)
        drawn = self._drawn(n_samples, context, random_state)
        return np.concatenate([np.quantile(part, q, axis=1) for part in drawn], axis=-2)

    def grid(
        self, context: Any, *, axes: Any = None, size: int = 200, random_state: Any = None
    ) -> Grid:
        """Return log p(x | u) on a grid of x, for X of one or two columns.

        `log_p` is (size,) or (size, size) for one row of context (c,), and has the rows first,
        (M, size) or (M, size, size), for a table (M, c). `axes`: one for each column of X; default:
        `size` points from the lowest of 1000 draws to the highest, and a tenth more. ValueError
        where X has more columns.
        """
        check_is_fitted(self)
        size = whole("size", size)
        D = self.n_features_in_
        if D > 2:
            raise ValueError(f"a grid has one or two dimensions, and X has {D} columns")
        one = not is_frame(context) and np.ndim(context) < 2
        context = np.reshape(context, (1, -1)) if one else context
        if axes is None:
            n = max(1, 1000 // max(1, len(context)))
            drawn = self.sample(n, context=context, random_state=random_state).reshape(-1, D)
            low, high = drawn.min(axis=0), drawn.max(axis=0)
            margin = (high - low) / 10
            axes = np.linspace(low - margin, high + margin, size).T
        axes = tuple(np.asarray(axis, dtype=np.float64) for axis in axes)
        if len(axes) != D or any(axis.ndim != 1 for axis in axes):
            raise ValueError(f"`axes` must be {D} array{'s' * (D > 1)} (n,), one for each column")
        X = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
        inside, F = self._inside(X), self._features_of(context)
        log_p = np.full((len(F), len(X)), -np.inf)
        for k in range(len(F)):
            log_p[k, inside] = self.flow_._log_p(_joined(X[inside], F[k : k + 1]))
        log_p = log_p.reshape(len(F), *map(len, axes))
        return Grid(axes, log_p[0] if one else log_p)

    def save(self, path: str | os.PathLike[str], data: Dataset | None = None) -> None:
        """Write what is fitted, and all parameters, to a file .npz; there is no pickle in it.

        The commands `relgrad-np evaluate` and `sample` take it, too. `data`: as of
        `RelativeGradientFlow.save`, with given columns. ValueError for a parameter that a file
        can't hold, as are `features`: pickle the estimator then.
        """
        check_is_fitted(self)
        try:
            saved.write(path, self.flow_, self._features.to_file(), data)
        except ValueError as error:  # its parameters are those of `flow_`
            raise ValueError(str(error).replace("set_params(", "flow_.set_params(")) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ConditionalFlow":
        """Return what `save` wrote, or the model of a folder of `relgrad-np train --given ...`.

        FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
        """
        flow, given = saved.read_conditional(path, cls, RelativeGradientFlow)
        made = cls(clone(flow))
        made.n_features_in_ = flow.n_features_in_
        if hasattr(flow, "feature_names_in_"):
            made.feature_names_in_ = flow.feature_names_in_
        made._keep(flow, ContextFeatures.from_file(given))
        return made

    def plot_history(self, ax: Any = None) -> Any:
        """Draw the log-likelihoods of the last `fit` by epoch into Matplotlib's `ax`; return it."""
        check_is_fitted(self)
        return plot(self.flow_, ax)

    layers_ = _of_flow("layers_", "The layers: b is (D, f + 1), of f features.")
    settings_ = _of_flow("settings_", "What the last `fit` was made with.")
    history_ = _of_flow("history_", "The epochs of the last `fit`, in nats per row of X.")
    n_iter_ = _of_flow("n_iter_", "How many epochs there were.")
    best_epoch_ = _of_flow("best_epoch_", "The epoch whose layers are kept, 0 for the start.")
    stop_reason_ = _of_flow("stop_reason_", "What ended the fit.")
    transforms_ = _of_flow("transforms_", "The way of X to model space.")
    xi_ = _of_flow("xi_", "Of each layer, how far the fit ended from a stationary point.")

    _n_features_out = _of_flow("_n_features_out", "D")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "flow_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _keep(self, flow: RelativeGradientFlow, features: ContextFeatures) -> None:
        """Keep what is fitted."""
        self.flow_, self._features = flow, features
        self.features_, self.n_context_in_ = features.made_by, features.n
        self.context_names_in_ = features.names

    def _new_flow(self) -> RelativeGradientFlow:
        """Return the flow that is to be fitted."""
        if self.flow is None:
            return RelativeGradientFlow()
        if not isinstance(self.flow, RelativeGradientFlow):
            got = type(self.flow).__name__
            raise TypeError(f"`flow` must be a RelativeGradientFlow or None, got {got}")
        made: RelativeGradientFlow = clone(self.flow)
        return made

    def _features_of(self, context: Any) -> Array:
        """Return the standardised features (M, f) of a context (M, c)."""
        check_is_fitted(self)
        return self._features.of(context)

    def _rows(self, X: Array, context: Any) -> Array:
        """Return rows (x, features)."""
        F = self._features_of(context)
        X = validated(self, X, reset=False, dtypes=[self.layers_[0].b.dtype])
        if len(F) not in (1, len(X)):
            raise ValueError(f"`context` must have a row for each of `X`, {len(X)}, got {len(F)}")
        return _joined(X, F)

    def _inside(self, X: Array) -> Array:
        """Say of rows X (N, D) whether they are inside all bounds, (N,)."""
        if self.transforms_.support is None:
            return np.ones(len(X), dtype=bool)
        low, high = self.transforms_.support.ends
        return ((X - low > 0) & (high - X > 0)).all(axis=1)

    def _quantiles_of_one(self, q: Any, n_samples: int, context: Any, random_state: Any) -> Array:
        """Return quantiles of the only column, (M, 1) or (len(q), M, 1), as those of its latent.

        z rises with x, or falls where an odd number of the W are negative, whatever the context.
        """
        F, n, flow = self._features_of(context), whole("n_samples", n_samples), self.flow_
        layers, (act, density), dtype = self.layers_, flow._model(), self.layers_[0].b.dtype
        Z = density.sample(flow._generator(random_state), (n, 1))
        falls = sum(float(layer.W[0, 0]) < 0 for layer in layers) % 2
        wanted = np.quantile(Z, 1 - np.asarray(q) if falls else q)  # () or (len(q),)
        if not np.size(wanted):
            return np.empty((0, len(F), 1), dtype)
        each = max(1, NUMBERS // ((len(layers) + F.shape[1]) * max(1, np.size(wanted))))
        parts = []
        for start in range(0, len(F), each):
            u = F[start : start + each].astype(dtype)  # (m, f)
            z = np.tile(np.reshape(wanted, (-1, 1)), (len(u), 1)).astype(dtype)  # (m len(q), 1)
            rows = np.concatenate([z, np.repeat(u, np.size(wanted), axis=0)], axis=1)
            parts.append(space.to_data(self.transforms_, inverse(layers, rows, act)))
        found = np.concatenate(parts).reshape(len(F), *np.shape(wanted), 1)
        return np.moveaxis(found, 1, 0) if np.ndim(wanted) else found

    def _drawn(self, n_samples: int, context: Any, random_state: Any) -> Iterator[Array]:
        """Yield draws (m, n, D) of a few rows of context at a time."""
        F, n = self._features_of(context), whole("n_samples", n_samples)
        flow, (D, f) = self.flow_, self.layers_[0].b.shape
        rng, at_once = flow._generator(random_state), max(1, NUMBERS // (len(self.layers_) * D + f))
        F = F.astype(self.layers_[0].b.dtype)
        each = max(1, at_once // n)  # rows of context
        for start in range(0, len(F), each):
            rows = np.repeat(F[start : start + each], n, axis=0)
            parts = (rows[k : k + at_once] for k in range(0, len(rows), at_once))
            drawn = np.concatenate([flow._drawn(rng, len(part), part) for part in parts])
            yield drawn.reshape(-1, n, D)


def _joined(X: Array, F: Array) -> Array:
    """Return rows (x, features) in the dtype of X; one row of features serves for all."""
    F = np.broadcast_to(F, (len(X), F.shape[1])) if len(F) == 1 else F
    return np.concatenate([X, F.astype(X.dtype)], axis=1)
