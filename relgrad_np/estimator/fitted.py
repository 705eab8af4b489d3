"""What a flow does once it is fitted: densities, latents, samples, and for one layer ICA.

Rows are brought to model space on their way in, and back on their way out (`space`).
"""

import os
import warnings
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..core.activations import Activation
from ..core.arguments import whole
from ..core.densities import Density
from ..core.network import Layer, Layers, forward
from ..core.objective import log_likelihood
from ..core.sampling import inverse, sample
from ..datasets.fitted_rows import FittedRows
from ..datasets.record import Dataset
from ..datasets.transforms import Chain
from ..fitting.stream import Stream
from . import saved, space
from .chosen import parts_of, settings_now
from .history_plot import plot
from .inputs import DTYPES, as_output, validated

Array = Any


class FittedFlow(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A flow as it is used; `RelativeGradientFlow` says what it is and how it is fitted."""

    _fitted: Layers | None = None
    _stream: Stream | None = None
    _fitted_rows: FittedRows | None = None  # what is known of the rows of the last fit
    _warned_of: Array = None  # the W of which it was said that it does not unmix
    _context: int = 0  # columns of context after those of X: of the flow in a `ConditionalFlow`

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
        return self._latents(self._validated(X, reset=False))

    def inverse_transform(self, X: Array) -> Array:
        """Return the samples (N, D) whose latent is X (N, D), inside all bounds."""
        check_is_fitted(self)
        Z = self._latent(X)
        return space.to_data(self._chain, inverse(self.layers_, Z, self._model()[0]))

    def score_samples(self, X: Array) -> Array:
        """Return the log-likelihood of each row of X (N, D), in nats, (N,), in the units of X.

        ValueError, with counts by column, for rows on a bound of `support` or beyond it.
        """
        check_is_fitted(self)
        return self._log_p(self._validated(X, reset=False))

    def score(self, X: Array, y: Any = None) -> float:
        """Return the mean log-likelihood of the rows of X (N, D), in nats; `y` is ignored."""
        return float(np.mean(self.score_samples(X), dtype=np.float64))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw samples (n_samples, D), inside all bounds; `random_state` None: the model's own.

        After a fit to a DataFrame and `set_output(transform="pandas")`, or "polars", they are a
        DataFrame with the columns of the fit, like what `transform` returns then.
        """
        check_is_fitted(self)
        drawn = self._drawn(self._generator(random_state), whole("n_samples", n_samples))
        return as_output(self, drawn)

    def save(self, path: str | os.PathLike[str], data: Dataset | None = None) -> None:
        """Write what is fitted, and all parameters, to a file .npz; there is no pickle in it.

        It is the format of `relgrad_np.save` and of the model.npz of a run, and `relgrad-np
        evaluate` and `sample` take it as well. What a rule has learned for `partial_fit` is not in
        it. `data`: what `relgrad_np.datasets.load` returned, if its rows were fitted. They are in
        model space, so with `data` the file has the way there and the names of the columns, and a
        flow that is loaded from it takes and draws raw rows of these columns, without gaps.
        ValueError, naming it, for a parameter that is not of the package's own making, and for
        `data` of other columns.
        """
        check_is_fitted(self)
        saved.write(path, self, data=data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Return what `save` wrote, or the model of a run folder of `relgrad-np train`.

        FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.

        >>> import tempfile, numpy as np
        >>> from relgrad_np.estimator import RelativeGradientFlow
        >>> X = np.random.default_rng(0).exponential(size=(50, 1))
        >>> flow = RelativeGradientFlow(1, rule="plain", epochs=1, support={0: (0, None)}).fit(X)
        >>> path = tempfile.mkdtemp() + "/flow.npz"
        >>> flow.save(path)
        >>> again = RelativeGradientFlow.load(path)
        >>> again.support, again.score(X) == flow.score(X)
        ({0: (0, None)}, True)
        """
        return saved.read(path, cls)

    def plot_history(self, ax: Any = None) -> Any:
        """Draw the log-likelihoods of the last `fit` by epoch into Matplotlib's `ax`; return it."""
        check_is_fitted(self)
        return plot(self, ax)

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

    @property
    def _chain(self) -> Chain:
        """The way to model space: `transforms_`, none where nothing has been fitted."""
        return getattr(self, "transforms_", None) or Chain(())

    def _latents(self, rows: Array) -> Array:
        """Return the latent (N, D) of rows (N, D), or (N, D + c) with their context."""
        Z, _ = self._in_model_space(rows)
        return forward(self.layers_, Z, self._model()[0]).Zs[-1]

    def _log_p(self, rows: Array) -> Array:
        """Return log p (N,) of rows (N, D), or (N, D + c) with their context."""
        Z, log_det = self._in_model_space(rows)
        return log_likelihood(self.layers_, Z, *self._model()).per_sample + log_det

    def _drawn(self, rng: np.random.Generator, n: int, context: Array | None = None) -> Array:
        """Draw n rows (n, D), each given its row of `context` (n, c) where the layers know it."""
        drawn = sample(self.layers_, rng, n, *self._model(), context=context)[0]
        return space.to_data(self._chain, drawn)

    def _chain_for(self, X: Array) -> Chain:
        """Return the way of rows X (N, D) to model space: the one so far where a fit goes on."""
        x = X[:, : X.shape[1] - self._context]
        made = space.chain_of(self.support, x, getattr(self, "feature_names_in_", None))
        return self._chain if self._goes_on(made) else made

    def _goes_on(self, chain: Chain) -> bool:
        """Say whether a fit with these bounds goes on from the layers so far."""
        return bool(self.warm_start) and space.alike(chain, self._chain)

    def _in_model_space(self, X: Array, chain: Chain | None = None) -> tuple[Array, Any]:
        """Return rows (N, D) in model space, and the log-det (N,) of the way there, or 0.

        Context, in the last columns, stays as it is.
        """
        chain = self._chain if chain is None else chain
        names = getattr(self, "feature_names_in_", None)
        if not self._context or not chain.transforms:
            return space.to_model(chain, X, names)
        x, u = np.split(X, [X.shape[1] - self._context], axis=1)
        Z, log_det = space.to_model(chain, x, names)
        return np.concatenate([Z, u], axis=1), log_det

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
        return parts_of(settings_now(self))

    def _generator(self, random_state: Any = None) -> np.random.Generator:
        """Return a generator that follows `random_state`, or the model's own."""
        source = self.random_state if random_state is None else random_state
        return np.random.default_rng(check_random_state(source).randint(2**31 - 1))

    def _validated(self, X: Array, *, reset: bool, ensure_min_samples: int = 1) -> Array:
        """Return X as a finite array (N, D), float32 or float64."""
        if self._context:
            raise ValueError("this flow is of a ConditionalFlow: ask that one, with `context=`")
        dtypes = DTYPES if reset else [self.layers_[0].b.dtype]
        how: dict[str, Any] = {"dtypes": dtypes, "ensure_min_samples": ensure_min_samples}
        return validated(self, X, reset=reset, **how)

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
