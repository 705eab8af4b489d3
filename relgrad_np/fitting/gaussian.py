"""The Gaussian of maximum likelihood, in closed form, and a net that is it on the rows given.

A fit that falls below it has gone wrong: one layer reaches it without an iteration, and a deeper
net has it too, where its activations act affinely.
"""

import math

import numpy as np
import scipy.linalg

from ..core.activations import Activation, identity
from ..core.arrays import Array, from_numpy, namespace, to_numpy
from ..core.densities import Density, density
from ..core.network import Layer, Layers
from ..core.objective import log_likelihood
from ..datasets.moments import from_middle, moments
from ..datasets.rank import dependences, ordinary_size
from .regression import regressed
from .starts import init_layers, with_slopes

FARTHEST = 2.0**20  # units of the whitened rows, to look for where an activation is affine


def gaussian_log_likelihood(X: Array, weights: Array | None = None) -> float:
    """Return the mean log-likelihood of X (N, D), in nats, under its own Gaussian, for any units.

        -D/2 log(2 pi e) - 1/2 log det Sigma

    Sigma has 1/N, or the normalised `weights` (N,), none negative. It is inf where Sigma has not
    full rank (see `require_full_rank`), because then the likelihood has no bound. Never NaN: a
    value in X that is not finite gives -inf.

    Cost: O(N D^2 + D^3).

    >>> round(gaussian_log_likelihood(np.array([[-1e200], [1e200]])), 6)
    -461.935957
    >>> gaussian_log_likelihood(np.array([[3.0], [3.0]]))
    inf
    """
    namespace(X, "X")
    if weights is not None:
        keep = np.flatnonzero(to_numpy(weights) > 0)
        X, weights = to_numpy(X)[keep, :], to_numpy(weights)[keep].astype(np.float64)
        weights = weights / weights.max() if len(keep) else weights
    N, D = X.shape
    rows = to_numpy(X)
    if not np.isfinite(rows).all():
        return -math.inf
    if N <= D:
        return math.inf
    found = moments(rows, weights=weights)
    if found.clear:
        half_logdet = float(np.log(found.s).sum() / 2 + np.log(found.std).sum())
    elif any(dependences(rows)):
        return math.inf
    else:
        half_logdet = _half_log_det(rows, weights)
    units = float(np.log(found.unit).sum())
    return float(-D / 2 * math.log(2 * math.pi * math.e) - half_logdet - units)


def _half_log_det(X: Array, weights: Array | None) -> float:
    """Return log det(Sigma) / 2 of the rows of x / unit, where no covariance can be trusted.

    With A = sqrt(weights) [1, d] it is log|det R| of A = Q R, because det A'A = det Sigma for
    weights of sum 1. Rows sorted by size, so that QR keeps the digits of each (Cox & Higham 1998).
    """
    _, _, d = from_middle(X)
    share = np.full(len(d), 1 / len(d)) if weights is None else weights / weights.sum()
    size = ordinary_size(d, 1e-120)  # (D,); squares are not to overflow
    A = np.sqrt(share)[:, None] * np.concatenate([np.ones((len(d), 1)), d / size], axis=1)
    A = A[np.argsort(-np.abs(A).max(axis=1), kind="stable")]  # (N, D + 1)
    block, kept, R = max(4096, 4 * A.shape[1]), A[:0], A
    for begin in range(0, len(A), block):
        A_k = np.concatenate([kept, A[begin : begin + block]])
        R, columns = scipy.linalg.qr(A_k, mode="r", pivoting=True)
        kept = R[: A.shape[1], np.argsort(columns)]
    return float(np.log(np.abs(np.diag(R))).sum() + np.log(size).sum())


def gaussian_layers(X: Array, L: int, activation: Activation, context: int = 0) -> Layers | None:
    """Return layers of a net of normal base that is, on the rows of X (N, D), their Gaussian.

    The first layer whitens, and shifts all rows to where the activation is affine to rounding,
    sigma(y) = a y + c: smooth_leaky_relu beyond 36, leaky_tanh where tanh is 1. Each next
    layer undoes a and c, and the last one the shift. Rows farther out than those of X are bent.
    None if no such place is within 1e6, as of an activation of your own that bends everywhere.
    With `context` columns behind those of x it is the Gaussian linear regression on them.

    Raises ValueError for X that is not finite or has not full rank: see `require_full_rank`.

    Cost: that of one whitening.

    >>> import relgrad_np as rg
    >>> X = np.random.default_rng(0).normal(size=(50, 2)) * [1, 1e9]
    >>> act = rg.activation("leaky_tanh")
    >>> layers = gaussian_layers(X, 3, act)
    >>> found = rg.log_likelihood(layers, X, act, rg.density("normal")).mean
    >>> bool(abs(found - gaussian_log_likelihood(X)) < 1e-9)
    True
    """
    rows, slopes = (to_numpy(part) for part in regressed(X, context))
    (first,) = init_layers(np.random.default_rng(0), rows.shape[1], 1, kind="whiten", X=rows)
    layers = [(first.W, first.b)]
    if L > 1:
        W, b = (x.astype(np.float64) for x in first)
        extent = float(np.abs(rows @ W.T + b).max())
        place = _affine_place(activation, extent, float(np.finfo(rows.dtype).eps))
        if place is None:
            return None
        shift, a, c = place
        back, ones = np.eye(len(b)) / a, np.ones(len(b))
        layers = [(W, b + shift), *[(back, -c / a * ones)] * (L - 1)]
        layers[-1] = (back, (-c / a - shift) * ones)
    made = [Layer(from_numpy(W, X), from_numpy(b, X)) for W, b in layers]
    if context > 0:
        zero = np.zeros_like(slopes)
        shares = [from_numpy(zero if k else slopes, X) for k in range(L)]
        made = [with_slopes(layer, part) for layer, part in zip(made, shares, strict=True)]
    return tuple(made)


def gain_over_gaussian(
    layers: Layers, activation: Activation, base: Density, gaussian: Layers, X: Array
) -> Array:
    """Return by how many nats rows X (n, D) are likelier than under one layer of a normal base.

    A NumPy array (n,) of float64.

    >>> import relgrad_np as rg
    >>> one, two = ((rg.Layer(np.eye(1) * s, np.zeros(1)),) for s in (1.0, 2.0))
    >>> gain_over_gaussian(two, identity(), rg.density("normal"), one, np.zeros((1, 1))).round(3)
    array([0.693])
    """
    with np.errstate(all="ignore"):
        ours = log_likelihood(layers, X, activation, base).per_sample
        theirs = log_likelihood(gaussian, X, identity(), density("normal")).per_sample
        return to_numpy(ours - theirs).astype(np.float64)


def regression_unless_worse(
    layers: Layers, activation: Activation, base: Density, X: Array, X_val: Array, context: int
) -> Layers | None:
    """Return the Gaussian regression of X (N, D + c) on its context, unless X_val speak against it.

    One layer for a normal base. It is None where `layers` are better on the validation rows, in the
    mean; with context by more than a standard error of that mean, as a net of many layers that was
    stopped by these rows is a little better on them than on others, and to a law that is linear it
    adds noise alone.

    >>> import relgrad_np as rg
    >>> rng = np.random.default_rng(0)
    >>> X, bad = rng.standard_normal((2, 50, 2)), (rg.Layer(np.eye(1), np.full((1, 2), 9.0)),)
    >>> made = regression_unless_worse(bad, identity(), rg.density("normal"), *X, 1)
    >>> made is not None and made[0].b.shape
    (1, 2)
    """
    try:
        plain = gaussian_layers(X, 1, identity(), context)
    except ValueError:  # these rows have not full rank, though with the others they may
        return None
    if plain is None:
        return None
    gain = gain_over_gaussian(layers, activation, base, plain, X_val)
    least = gain.std() / math.sqrt(len(gain)) if context > 0 else 0.0
    return None if gain.mean() > least else plain


def _affine_place(
    activation: Activation, extent: float, eps: float
) -> tuple[float, float, float] | None:
    """Return shift, a and c: sigma(y) = a y + c to rounding for |y - shift| <= extent.

    The nearest such shift, because a large one costs digits.
    """
    steps = np.linspace(0.0, 2 * extent + 1.0, 65)
    for t in (0.0, *(2.0 ** np.arange(0.0, math.log2(FARTHEST), 0.25))):
        for sign in (1.0, -1.0):
            y = sign * (t + steps)
            with np.errstate(all="ignore"):
                slopes, z = activation.log_dsigma(y), activation.sigma(y)  # (65,)
                a = math.exp(slopes[-1])
                c = float(z[-1]) - a * float(y[-1])
                bent = np.abs(z - (a * y + c))
            straight = bool((np.abs(slopes - slopes[-1]) <= eps).all())
            if straight and bool((bent <= 4 * eps * (np.abs(z) + a * np.abs(y))).all()):
                return sign * (t + extent), a, c
    return None
