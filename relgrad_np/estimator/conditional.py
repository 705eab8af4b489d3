"""Densities of x given a context u, p(x | u): a flow whose biases depend on the context.

Needs scikit-learn. The flow is a `RelativeGradientFlow` of rows (x, u); see `core.context`. Context
is standardised, because the relative gradient by its slopes has units, and may become features of a
transformer before: the biases are affine functions of those.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils.validation import check_array, check_is_fitted

from ..core.arguments import whole
from ..core.network import forward
from ..core.sampling import sample
from .flow import RelativeGradientFlow
from .inputs import numeric

Array = Any
AT_ONCE = 2**18  # draws that are made together


class Grid(NamedTuple):
    """A density of one or two dimensions on a grid: `axes`, and `log_p`, in nats.

    >>> Grid(("x",), "log_p").axes
    ('x',)
    """

    axes: tuple[Array, ...]
    log_p: Array


class ConditionalFlow(DensityMixin, BaseEstimator):
    """Density of rows x (D columns) given rows of context u (c columns), by maximum likelihood.

    Each layer is y = W z + B (u, 1) with an activation between: log|det W| and the cost of a step
    are those of a flow without context. What the context adds linearly to x is learned at
    once; scale, shape and number of modes depend on u through the activations.

    Parameters
    ----------
    flow : RelativeGradientFlow, optional
        Its parameters are those of the fit; it is cloned. Default: all of them "auto".
    features : transformer, optional
        Makes features of the context, by `fit_transform` and `transform`: polynomials, splines,
        random Fourier features, a Pipeline. Default: the context as it is.

    Attributes
    ----------
    flow_ : RelativeGradientFlow
        Fitted to rows (x, features), the features standardised.
    features_ : transformer or None
    n_features_in_, n_context_in_ : int
        D and c.

    >>> import numpy as np
    >>> from relgrad_np.estimator import ConditionalFlow, RelativeGradientFlow
    >>> rng = np.random.default_rng(0)
    >>> u = rng.uniform(-1, 1, (500, 1))
    >>> x = 3 * u + np.exp(u) * rng.standard_normal((500, 1))
    >>> flow = ConditionalFlow(RelativeGradientFlow(4, random_state=0)).fit(x, context=u)
    >>> flow.score_samples(x, context=u).shape, flow.sample(2, context=u).shape
    ((500,), (500, 2, 1))
    >>> bool(abs(flow.predict([[0.5]])[0, 0] - 1.5) < 0.3)
    True
    """

    def __init__(self, flow: RelativeGradientFlow | None = None, *, features: Any = None) -> None:
        self.flow = flow
        self.features = features

    def fit(
        self, X: Array, y: Any = None, *, context: Array = None, sample_weight: Any = None
    ) -> "ConditionalFlow":
        """Maximise the mean of log p(x | u) over rows X (N, D) and `context` (N, c).

        `y` is ignored. Warnings and errors: as `RelativeGradientFlow.fit`, and ValueError for a
        context that is missing, not finite or of another number of rows.
        """
        X, U = check_array(numeric(X), dtype=np.float64), self._context(context, reset=True)
        if len(U) != len(X):
            raise ValueError(f"`context` must have a row for each of `X`, {len(X)}, got {len(U)}")
        self.n_features_in_ = X.shape[1]
        self.features_ = None if self.features is None else clone(self.features)
        F = U if self.features_ is None else dense(self.features_.fit_transform(U))
        self._mean, std = F.mean(axis=0), F.std(axis=0)
        self._std = np.where(std > 0, std, 1.0)
        flow = RelativeGradientFlow() if self.flow is None else clone(self.flow)
        if getattr(flow, "support", None) is not None:
            raise ValueError("`flow` must have no `support`: take logarithms of X yourself")
        flow._context = F.shape[1]
        self.flow_ = flow
        flow.fit(np.concatenate([X, (F - self._mean) / self._std], axis=1), None, sample_weight)
        return self

    def score_samples(self, X: Array, *, context: Array = None) -> Array:
        """Return log p(x | u) of rows X (N, D) and `context` (N, c), in nats, (N,)."""
        return self.flow_.score_samples(self._rows(X, context))

    def score(self, X: Array, y: Any = None, *, context: Array = None) -> float:
        """Return the mean of log p(x | u), in nats; `y` is ignored."""
        return float(np.mean(self.score_samples(X, context=context)))

    def transform(self, X: Array, *, context: Array = None) -> Array:
        """Return the latent (N, D) of rows X (N, D) and `context` (N, c)."""
        rows = self._rows(X, context)
        return forward(self.flow_.layers_, rows, self.flow_._model()[0]).Zs[-1]

    def sample(
        self, n_samples: int = 1, *, context: Array = None, random_state: Any = None
    ) -> Array:
        """Draw `n_samples` of each row of `context` (M, c), (M, n_samples, D)."""
        check_is_fitted(self)
        n, rng = whole("n_samples", n_samples), self.flow_._generator(random_state)
        F = self._features_of(context)
        rows, drawn = np.repeat(F, n, axis=0), []
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            model = self.flow_._model()
            drawn.append(sample(self.flow_.layers_, rng, len(part), *model, context=part)[0])
        return np.concatenate(drawn).reshape(len(F), n, -1)

    def predict(self, context: Array, *, n_samples: int = 1000, random_state: Any = None) -> Array:
        """Return the mean of x given each row of `context` (M, c), (M, D), of so many draws."""
        drawn = self.sample(n_samples, context=context, random_state=random_state)
        return drawn.mean(axis=1)

    def quantiles(
        self, q: Any, context: Array, *, n_samples: int = 4000, random_state: Any = None
    ) -> Array:
        """Return quantiles `q` of each column of x given rows of `context` (M, c), of draws.

        (M, D) for a number q, (len(q), M, D) for several.
        """
        drawn = self.sample(n_samples, context=context, random_state=random_state)
        return np.quantile(drawn, q, axis=1)

    def grid(self, context: Array, *, size: int = 200, random_state: Any = None) -> Grid:
        """Return log p on a grid of x, (size,) or (size, size), given one row of `context` (c,).

        The grid reaches from the lowest of 1000 draws to the highest, and a tenth more. ValueError
        for more than two dimensions.
        """
        check_is_fitted(self)
        if self.n_features_in_ > 2:
            raise ValueError(f"a grid has one or two dimensions, and X has {self.n_features_in_}")
        row = np.reshape(np.asarray(context, dtype=np.float64), (1, -1))
        drawn = self.sample(1000, context=row, random_state=random_state)[0]
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        margin = (high - low) / 10
        axes = tuple(np.linspace(low - margin, high + margin, size).T)
        X = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
        log_p = self.score_samples(X, context=np.repeat(row, len(X), axis=0))
        return Grid(axes, log_p.reshape((size,) * len(axes)))

    def _context(self, context: Any, *, reset: bool = False) -> Array:
        """Return the context as finite numbers (M, c)."""
        if context is None:
            raise ValueError("`context` is needed: what each row of `X` is given, (N, c)")
        U = check_array(numeric(context), dtype=np.float64, input_name="context")
        if reset:
            self.n_context_in_ = U.shape[1]
        elif U.shape[1] != self.n_context_in_:
            raise ValueError(f"`context` must have {self.n_context_in_} columns, got {U.shape[1]}")
        return U

    def _features_of(self, context: Any) -> Array:
        """Return the standardised features of a context (M, c)."""
        check_is_fitted(self)
        U = self._context(context)
        F = U if self.features_ is None else dense(self.features_.transform(U))
        return (F - self._mean) / self._std

    def _rows(self, X: Array, context: Any) -> Array:
        """Return rows (x, features)."""
        F = self._features_of(context)
        X = check_array(numeric(X), dtype=np.float64)
        if X.shape[1] != self.n_features_in_ or len(X) != len(F):
            shape = len(F), self.n_features_in_
            raise ValueError(f"`X` must have shape {shape}, as the context has it, got {X.shape}")
        return np.concatenate([X, F], axis=1)


def dense(F: Any) -> Array:
    """Return features as a dense array (M, f) of float64.

    >>> dense(np.ones((2, 1), "f4")).dtype
    dtype('float64')
    """
    return np.asarray(F.toarray() if hasattr(F, "toarray") else F, dtype=np.float64)
