"""Fit by full batches of second order: `newton`, the public function."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.arguments import number, whole
from ...core.arrays import Array, detached
from ...core.densities import Density
from ...core.network import Layers
from ...core.sampling import require_model
from ...rules.base import State
from ..batches import Batches
from ..given import in_use, require_samples
from ..options import PASSES_OF_NEWTON
from ..outcome import completed
from ..records import Epoch, FitResult
from ..survey import Rows
from ..team import Team
from ..watched import Watched
from .asked import MEMORY, TOL, Asked
from .whole import fit_all_rows


def newton(
    layers: Layers,
    X: Array,
    activation: Activation,
    density: Density,
    *,
    tol: float = TOL,
    max_iter: int = PASSES_OF_NEWTON,
    memory: int = MEMORY,
    X_val: Array | None = None,
    patience: int | None = None,
    sample_weight: Any = None,
    sample_weight_val: Any = None,
    compare: bool = True,
    progress: bool = False,
    callbacks: Sequence[Callable[[Epoch, State], Any]] = (),
) -> FitResult:
    """Maximise the mean log-likelihood of X (N, D) from `layers` on, by full batches.

    L-BFGS in relative coordinates, so that nothing depends on how the data were mixed. Its first
    guess of the curvature is that of pairs of units where there is one layer (linear ICA, see
    `pairs`), and the Fisher information of each layer where there are several (`joint`). Every
    step raises the exact log-likelihood, up to rounding. It is for few layers and up to some 1e4
    rows that all fit into memory; it overfits fast, so give validation rows and patience.

    Parameters
    ----------
    layers : tuple of Layer
        The start, see `init_layers`; never changed.
    X, X_val : arrays (N, D), with context (N, D + c)
        Samples to fit, and to validate; library, device and dtype of the layers.
    tol : float
        Stop where no element of the gradient, relative and in the chart of centred outputs,
        exceeds it; dimensionless.
    max_iter, memory : int
        Most iterations, and the moves that L-BFGS remembers.
    patience : int
        Stop after so many iterations without a better validation; needs X_val.
    sample_weight : (N,) numbers, not negative
        The weighted mean is maximised; weights are relative.
    sample_weight_val : (N,) numbers, not negative
        Those of the rows of X_val, of whose log-likelihood the weighted mean is validated.
    compare : bool
        Without X_val, return what is best on the rows: the layers of the fit, its start or, with a
        normal base, layers that are the Gaussian of these rows; `FitWarning` where the fit ended
        below that. It costs two passes over the rows, and their moments.
    progress : bool
        A bar with the exact log-likelihood of all rows (needs tqdm).
    callbacks : functions of (Epoch, State)
        Called after each iteration; one that returns something true stops the fit.

    Returns
    -------
    FitResult
        An `Epoch` of the history is an iteration: `train` is the exact log-likelihood of all rows
        after it, `learning_rate` and `eta` are its step size, `drift` is known of the last.
        `n_rejected` counts trials that were not taken. `stop_reason`: "tol", "max_iter" (with a
        `NotConvergedWarning`), "stalled" (no step ascends beyond rounding, as at a kink of the
        Laplace), "patience" or "callback". `best_layers` are the best in validation, the start
        included; without X_val the last, or what `compare` found to be better. `xi` is that of the
        best layers.

    Raises
    ------
    FitDivergedError (a FloatingPointError)
        The objective is not finite at the start; names the layer.
    ValueError, TypeError
        Arguments, by name; samples that are not finite; a density that does not act elementwise.

    Cost of an iteration: two products N D^2 with one layer, 5 L - 1 with several; O(L D^3). With
    context each counts D (D + c) for D^2, and the passes of one layer aren't compiled.

    >>> import numpy as np, relgrad_np as rg
    >>> rng = np.random.default_rng(0)
    >>> X = rng.laplace(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    >>> start = rg.init_layers(rng, 2, 1, kind="whiten", X=X)
    >>> result = rg.newton(start, X, rg.activation("identity"), rg.density("sech"))
    >>> result.stop_reason, len(result.history) < 20
    ('tol', True)
    """
    asked = Asked(
        number("tol", tol, 0, math.inf, "positive"),
        whole("max_iter", max_iter),
        whole("memory", memory),
        patience if patience is None else whole("patience", patience),
        compare=bool(compare),
    )
    require_model(activation, density)
    require_samples(layers, X, X_val, False)
    for name, given in (("patience", patience), ("sample_weight_val", sample_weight_val)):
        if given is not None and X_val is None:
            raise ValueError(f"`{name}` needs `X_val`")
    batches = Batches(detached(X), sample_weight, None, None, np.random.default_rng(0), Team())
    held = in_use(detached(X_val), sample_weight_val)
    watched = Watched(tuple(callbacks), bool(progress))
    found = fit_all_rows(layers, batches, activation, density, held, asked, watched, {})
    rows = Rows(batches, activation, density, layers[0].b.shape[0])
    return completed(*found, layers, rows, asked, held, depth=3)
