"""The mean density of a few flows, a Gaussian, and a mixture of Gaussians: `FlowEnsemble`.

A flow of many layers has creases: single rows, near which it has seen none, get a density that is
out of all proportion. Where several flows are averaged they hardly have the same ones, and a small
share of a Gaussian bounds them.
"""

import math
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..core.arguments import number, whole
from ..core.brief import brief
from ..core.network import Layers
from ..core.objective import log_likelihood
from ..core.sampling import sample
from ..fitting.automatic import ChosenSettings, several_settings, validation_share
from ..fitting.loop import fit as fit_layers
from ..fitting.mixtures import chosen_mixture
from ..fitting.rank import require_full_rank
from ..fitting.records import FitDivergedError
from ..fitting.starts import init_layers
from . import saved_ensemble, space
from .chosen import parts_of
from .inputs import as_output, validated, warn_of_grids
from .stacking import log_mixture, stacking_weights

Array = Any
SHARE = 0.02  # of the Gaussian, at least
OF_MIXTURE = 0.2  # the part of the time that the mixture may take


@brief
class FlowMember(NamedTuple):
    """A fitted flow as a density of standardised rows."""

    layers: Layers
    settings: ChosenSettings

    def log_density(self, Z: Array) -> Array:
        """Return log p (N,) of Z (N, D), in nats; -inf where it has none."""
        with np.errstate(all="ignore"):
            found = log_likelihood(self.layers, Z, *parts_of(self.settings)).per_sample
        return np.where(np.isnan(found), -np.inf, found)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw samples (n, D)."""
        return sample(self.layers, rng, n, *parts_of(self.settings))[0]


@brief
class MixtureMember(NamedTuple):
    """One or several Gaussians as a density of standardised rows."""

    model: Any

    def log_density(self, Z: Array) -> Array:
        """Return log p (N,) of Z (N, D), in nats."""
        return self.model.score_samples(Z)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw samples (n, D)."""
        model: Any = self.model
        each = rng.multinomial(n, model.weights_)
        drawn = [
            rng.multivariate_normal(mean, covariance, size=count, method="cholesky")
            for mean, covariance, count in zip(model.means_, model.covariances_, each, strict=True)
        ]
        return np.concatenate(drawn)


class FlowEnsemble(DensityMixin, BaseEstimator):
    """Mean density of a few flows, a Gaussian and a mixture of Gaussians, weighted by other rows.

        p(x) = sum_k w_k p_k(x)

    The flows have the settings that the rows choose, and three around them: other slopes, another
    base, half as many layers (`fitting.automatic.several_settings`). The weights are those under
    which rows held for validation are likeliest (`stacking_weights`). It is a density and nothing
    else: there is no `transform`, because a mean of densities has no latent. On the tables of
    `validation.tables` it is above a single flow nearly everywhere, at about four times the time.

    Parameters
    ----------
    mixture : bool
        Let a Gaussian mixture take part, whose size the validation rows choose.
    share : float in (0, 1)
        Of the Gaussian, at least: log p is nowhere less than log(share), -3.9, below its own.
    validation_fraction : float in (0, 1), or "auto"
        Part of the rows that stop the flows and give the weights; "auto": a fifth, a tenth of many.
    seconds : float, optional
        How long a fit may take, about, by a count of its work on one core and not by a clock.
    random_state : int, RandomState or None
    verbose : int
        1: a line for each member.
    support : dict or str, optional
        The open intervals that columns are in, as of `RelativeGradientFlow`.

    Attributes
    ----------
    members_ : tuple of FlowMember and MixtureMember
        The densities p_k, of standardised columns; the first one is the Gaussian.
    weights_ : array (K,)
        w_k, of sum 1.
    settings_ : tuple of ChosenSettings
        Of the flows among the members.
    transforms_ : Chain
        The way of X to columns without bounds: nothing, or what `support` asks for.
    mean_, scale_ : arrays (D,)
        What these columns are standardised by.
    n_features_in_, feature_names_in_

    Where rows are so few that none can be held (`fitting.automatic.validation_share`), it is the
    Gaussian alone.

    >>> import numpy as np
    >>> from relgrad_np.estimator import FlowEnsemble
    >>> X = np.random.default_rng(0).uniform(size=(150, 1)) ** 2 + 5
    >>> model = FlowEnsemble(seconds=0.1, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.sample(3).shape, len(model.weights_)
    ((150,), (3, 1), 6)
    """

    def __init__(
        self,
        *,
        mixture: bool = True,
        share: float = SHARE,
        validation_fraction: float | str = "auto",
        seconds: float | None = None,
        random_state: Any = None,
        verbose: int = 0,
        support: Any = None,
    ) -> None:
        self.mixture = mixture
        self.share = share
        self.validation_fraction = validation_fraction
        self.seconds = seconds
        self.random_state = random_state
        self.verbose = verbose
        self.support = support

    def fit(self, X: Array, y: Any = None, *, X_val: Array | None = None) -> "FlowEnsemble":
        """Fit the members to a part of X (N, D), and their weights to the rest; `y` is ignored.

        `X_val` (n, D): rows for validation; then all rows of X are fitted. A `UserWarning` names
        columns of counts and of few values.

        Raises ValueError for X that is not finite, of deficient rank (see `fitting.rank`) or of
        fewer than two rows.
        """
        X = self._validated(X, reset=True, ensure_min_samples=2)
        share = number("share", self.share, 0.0, 1 - 1e-12, "in (0, 1)")
        require_full_rank(X, getattr(self, "feature_names_in_", None))
        rng = self._generator()
        names = getattr(self, "feature_names_in_", None)
        self.transforms_ = space.chain_of(self.support, X, names)
        rows, X = X, space.to_model(self.transforms_, X)[0]
        self.mean_, self.scale_ = X.mean(axis=0), X.std(axis=0)
        Z = (X - self.mean_) / self.scale_  # (N, D)
        if X_val is None:
            train, held = self._parted(Z, rng)
        else:
            held = self._in_model_space(self._validated(X_val, reset=False))[0]  # (n, D)
            train = rng.permutation(Z)
        members: list[Any] = [MixtureMember(_gaussian(train))]
        self.weights_ = np.ones(1)
        if len(held):
            members += self._others(train, held, rng)
            log_p = np.stack([member.log_density(held) for member in members], axis=1)  # (n, K)
            self.weights_ = stacking_weights(log_p, least=(0, share))
        if len(members) > 1:
            warn_of_grids(rows, names, depth=3)
        self.members_ = tuple(members)
        self.settings_ = tuple(m.settings for m in members if isinstance(m, FlowMember))
        return self

    def score_samples(self, X: Array) -> Array:
        """Return the log-likelihood of each row of X (N, D), in nats, (N,), in the units of X."""
        check_is_fitted(self)
        Z, log_det = self._in_model_space(self._validated(X, reset=False))
        log_p = np.stack([member.log_density(Z) for member in self.members_], axis=1)  # (N, K)
        return log_mixture(log_p, self.weights_) + log_det

    def score(self, X: Array, y: Any = None) -> float:
        """Return the mean log-likelihood of the rows of X (N, D), in nats; `y` is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw samples (n_samples, D), shuffled, inside all bounds; None: the model's own seed.

        A DataFrame after a fit to one, where `sklearn.set_config(transform_output="pandas")`.
        """
        check_is_fitted(self)
        rng, n = self._generator(random_state), whole("n_samples", n_samples)
        each = rng.multinomial(n, self.weights_ / self.weights_.sum())
        pairs = zip(self.members_, each, strict=True)
        drawn = np.concatenate([member.draw(int(k), rng) for member, k in pairs if k])
        X = space.to_data(self.transforms_, rng.permutation(drawn) * self.scale_ + self.mean_)
        return as_output(self, X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what is fitted, and all parameters, to a file .npz; there is no pickle in it."""
        check_is_fitted(self)
        saved_ensemble.write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "FlowEnsemble":
        """Return what `save` wrote.

        FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
        """
        found: FlowEnsemble = saved_ensemble.read(path, cls, (FlowMember, MixtureMember))
        return found

    def _in_model_space(self, X: Array) -> tuple[Array, Any]:
        """Return standardised rows (N, D) of model space, and the log-det of the way there."""
        Y, log_det = space.to_model(self.transforms_, X, getattr(self, "feature_names_in_", None))
        return (Y - self.mean_) / self.scale_, log_det - float(np.log(self.scale_).sum())

    def _others(self, train: Array, held: Array, rng: np.random.Generator) -> list[Any]:
        """Return the flows, and the mixture if it is to take part."""
        left = self.seconds
        if left is not None:
            left = number("seconds", left, 0, math.inf, "positive")
        members: list[Any] = []
        if self.mixture:
            of_mixture = None if left is None else OF_MIXTURE * left
            left = None if left is None else (1 - OF_MIXTURE) * left
            made = chosen_mixture(train, held, int(rng.integers(2**31)), of_mixture)
            members.append(MixtureMember(made))
            self._say(f"a mixture of {made.n_components} Gaussians")
        for settings in several_settings(len(train), train.shape[1], left):
            self._say(settings.words)
            found = _flow(train, held, settings, rng)
            members += [] if found is None else [found]
        return members

    def _parted(self, Z: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the rows that are fitted and those that are held, which may be none."""
        fraction: float | str | None = self.validation_fraction
        if isinstance(fraction, str):
            if fraction != "auto":
                raise ValueError(f"`validation_fraction` must be 'auto' or a number: {fraction!r}")
            fraction = validation_share(*Z.shape)
        else:
            fraction = number("validation_fraction", fraction, 0, 1, "in (0, 1)")
        Z = rng.permutation(Z)
        n = math.ceil(float(fraction or 0) * len(Z))
        return Z[n:], Z[:n]

    def _say(self, words: str) -> None:
        if self.verbose:
            print(words)

    def _generator(self, random_state: Any = None) -> np.random.Generator:
        source = self.random_state if random_state is None else random_state
        return np.random.default_rng(check_random_state(source).randint(2**31 - 1))

    def _validated(self, X: Array, *, reset: bool, ensure_min_samples: int = 1) -> Array:
        how: dict[str, Any] = {"dtypes": np.float64, "ensure_min_samples": ensure_min_samples}
        return validated(self, X, reset=reset, **how)


def _gaussian(Z: Array) -> Any:
    return GaussianMixture(1, reg_covar=1e-9).fit(Z)


def _flow(
    train: Array, held: Array, settings: ChosenSettings, rng: np.random.Generator
) -> FlowMember | None:
    """Fit a flow that the held rows stop; None where its objective is not finite."""
    model = parts_of(settings)
    start = init_layers(
        rng, train.shape[1], settings.n_layers, kind=settings.init, X=train, activation=model[0]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not arrived: the weights judge it
        try:
            result = fit_layers(
                start,
                train,
                *model,
                rng=rng,
                X_val=held,
                rule=settings.rule,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                patience=settings.patience,
            )
        except FitDivergedError:
            return None
    return FlowMember(result.best_layers, settings)
