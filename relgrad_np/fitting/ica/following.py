"""Sources that are followed along a stream of rows, by steps of the rule "recipe".

A `Stream` takes the steps. What it does not know is which density each source has: the first rows
say so, a window of them, and then it stays. A new start of the latest rows is brought into the
order of the sources that are followed, so that each keeps its density and its place.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...core.activations import activation
from ...core.arrays import Array
from ...core.densities import Density, density
from ...core.network import Layer, Layers
from ...rules.base import train_step
from ...rules.recipe import Recipe
from ..rank import require_full_rank
from ..starts import init_layers
from ..stream import FIRST, Stream, capacity, padded
from . import sources
from .columns import by_columns
from .solution import Solution, of_layer, of_white
from .unmix import unmix
from .whitening import Whitening

BATCH = 100  # rows of a step
GROWTH = 1.25  # of the first rows, after which their fit is made anew


class Following:
    """Sources of a stream of rows (N, D).

    `white(X)` whitens rows; `kind`: "auto" or "extended", between "sech" and "quartic", or the
    density of all sources. With a `layer` that was fitted, and for "auto" or "extended" the `names`
    of its densities, it goes on from there, else from the first rows.

    >>> from relgrad_np.fitting.ica.whitening import whitening
    >>> following, rng = Following(density("sech"), whitening), np.random.default_rng(0)
    >>> for n in (10, 500, 1000):
    ...     following.feed(rng.laplace(size=(n, 2)))
    ...     print(following.names, following.steps)
    [] 0
    ['sech', 'sech'] 0
    ['sech', 'sech'] 16
    """

    def __init__(
        self,
        kind: str | Density,
        white: Callable[[Array], Whitening],
        layer: Layer | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.kind, self.white = kind, white
        self.first: tuple[Array, Array] | None = None  # rows and weights, until they fill a window
        self.made = 0  # of these rows, those that the layer is made of
        self.layer, self.names = layer, list(names)  # of the densities, in the sources' order
        if layer is not None and isinstance(kind, Density):
            self.names = [kind.name] * len(layer.b)
        self.stream: Stream | None = None if layer is None else self._stream()

    @property
    def steps(self) -> int:
        """The steps that have been taken."""
        kept = None if self.stream is None else self.stream.kept
        return 0 if kept is None or kept.state is None else int(kept.state.t)

    def feed(self, X: Array, weights: Array | None = None) -> None:
        """Take rows X (N, D) in, in their order, with weights (N,) > 0 or None.

        Until there is a window of rows, the sources are those of a fit of all of them, made anew
        when they are a quarter more; from then on there are steps. ValueError where the rows of a
        fit have no full rank, FloatingPointError where a batch has no finite objective: then these
        rows count as not seen.
        """
        if self.stream is not None:
            self.stream.feed(X, train_step, weights)
            return
        D, w = X.shape[1], np.ones(len(X)) if weights is None else weights
        if self.first is not None:
            X, w = np.concatenate([self.first[0], X]), np.concatenate([self.first[1], w])
        if len(X) >= max(FIRST * D, GROWTH * self.made) or len(X) >= capacity(D):
            self.layer, self.names = self._unmixed(X, w / w.mean())
            self.made = len(X)
        self.first = X, w
        if len(X) >= capacity(D):
            stream = self._stream()
            stream.feed(X, train_step, w)
            self.stream, self.first = stream, None

    def solution(self) -> Solution:
        """Return the sources as they are; before there are rows enough, white and Gaussian."""
        if self.stream is not None and self.stream.kept is not None:
            (layer,) = self.stream.kept.layers
            return of_layer(layer, self.stream.density)
        if self.layer is not None:
            return of_layer(self.layer, self._base())
        X = self.latest()
        (layer,) = init_layers(np.random.default_rng(0), X.shape[1], 1, kind="whiten", X=X)
        return of_layer(layer, density("normal"))

    def latest(self) -> Array:
        """Return the latest rows (n, D), which are kept; few ones with more around them."""
        if self.stream is not None:
            return np.concatenate(self.stream.window)
        assert self.first is not None
        return self.first[0] if self.made else padded(self.first[0])

    def margins(self) -> Array:
        """Return the margins (n,) of the sources in the latest rows, see `sources.margins`."""
        base = density("normal") if self.layer is None else self._base()
        return sources.margins(base, self.solution().outputs(self.latest()))

    @property
    def parts(self) -> tuple[Density, ...]:
        """The densities of the sources, one by one, or the one of all of them."""
        if self.layer is None:
            return (density("normal"),)
        if isinstance(self.kind, Density):
            return (self.kind,)
        made = {name: density(name) for name in self.names}
        return tuple(made[name] for name in self.names)

    def _base(self) -> Density:
        """Return the density of all sources, each of its own kind."""
        return self.parts[0] if isinstance(self.kind, Density) else by_columns(self.parts)

    def _stream(self) -> Stream:
        """Return a stream that starts from the layer."""
        model = activation("identity"), self._base()
        return Stream(self._start, *model, Recipe(), batch_size=BATCH)

    def _start(self, X: Array) -> Layers:
        """Return the layer to begin with; later that of X, in the order that the sources have."""
        kept = None if self.stream is None else self.stream.kept
        if kept is None or kept.state is None:
            assert self.layer is not None
            return (self.layer,)
        (old,), (new, _) = kept.layers, self._unmixed(X, None)
        _, partner, _ = sources.partners(*(X @ W.T for W in (old.W, new.W)))
        return (Layer(new.W[partner], new.b[partner]),)

    def _unmixed(self, X: Array, weights: Array | None) -> tuple[Layer, list[str]]:
        """Return a layer that unmixes X, and the names of its densities, in the order of `sources`.

        In the dtype of X. The signs are those of the unmixing: a density need not be even.
        """
        white = self.white(X)
        if len(white.K) < X.shape[1]:
            require_full_rank(X)
            raise ValueError(f"`X` has rank {white.rank}: a stream needs {X.shape[1]}, full rank")
        kind = "extended" if isinstance(self.kind, str) else self.kind
        found = unmix(X, white, kind, weights=weights)
        solution = of_white(white, found.W, found.b, found.log_p)
        order, _ = sources.order_and_sign(found.moments)
        W, b = (x[order].astype(X.dtype) for x in solution.layer())
        return Layer(W, b), [found.names()[i] for i in order]
