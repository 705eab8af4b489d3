"""Where a fit starts: orthogonal, identity or whitening layers."""

import itertools
import math
import warnings

import numpy as np

from ..core.activations import Activation, identity
from ..core.arguments import generator, one_of, whole
from ..core.arrays import Array, detached, from_numpy, namespace, to_numpy
from ..core.context import as_bias, scaled
from ..core.network import Layer, Layers, forward
from ..core.numerics import widest
from ..datasets.moments import whitening
from .rank import require_full_rank
from .regression import regressed

KINDS = ("orthogonal", "identity", "whiten", "gaussianize", "principal")
SCALES = (0.3, 0.6, 1.2, 2.4, 4.8)
SHIFTS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # in units of the scale
LOOKED_AT = 2000  # samples on which a unit's sign, scale and shift are chosen


def init_layers(
    rng: np.random.Generator,
    D: int,
    L: int,
    *,
    kind: str = "orthogonal",
    dtype: str | None = None,
    X: Array | None = None,
    activation: Activation | None = None,
    like: Array | None = None,
    context: int = 0,
) -> Layers:
    """Start `L` layers of width `D`.

    orthogonal   W uniform (Haar) among the orthogonal matrices, b = 0
    identity     W = I, b = 0
    whiten       ZCA of what reaches the layer, b = -W mu, moments with 1/N: W = Sigma^(-1/2), but
                 for the first layer W = P^(-1/2) V^(-1/2), of the standardised columns, so that
                 units do not matter; V has the variances of the columns, P their correlations
    gaussianize  whiten, then for each unit of each layer but the last the sign, scale and shift
                 that gain it most likelihood: iterative Gaussianisation (Chen & Gopinath 2000)
                 with the net's own activation; see `_gaussianizing`
    principal    the same along the principal axes of what reaches each layer, so that one layer
                 bends other directions than the next: W = s^(-1/2) Q' where Sigma = Q s Q', and
                 W = s^(-1/2) Q' V^(-1/2) where P = Q s Q' for the first layer; for deep nets.
                 (Along the whitening axes of `gaussianize` they hardly change.) Warns where it has
                 more numbers than there are rows.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws are made with NumPy, in float64, then moved.
    X : array (N, D), activation : Activation
        The samples that the last three kinds look at, and what acts between the layers.
    like : array
        Library, device and dtype of the layers; by default those of `X`, else NumPy float64.
        With `whiten` of the library of `X`.
    dtype : "float32" or "float64"
        Overrides the dtype of `like`.
    context : int
        c, of which biases are to know: they are (D, c + 1), and rows of X (x, u), D + c columns.
        The last three kinds look at what the context leaves of x by linear regression.

    Raises
    ------
    ValueError
        Sizes, names, and for the last three kinds samples that no density can be fitted to: N <= D,
        columns that are constant or affine combinations of others (`fitting.rank`), values that
        are not finite or whose start is not, in this dtype.

    Cost: cubic in D, once.

    >>> import numpy as np, relgrad_np as rg
    >>> W, b = rg.init_layers(np.random.default_rng(0), 3, 1)[0]
    >>> bool(np.allclose(W @ W.T, np.eye(3))), b
    (True, array([0., 0., 0.]))
    """
    D, L, c = whole("D", D), whole("L", L), context and whole("context", context)
    one_of("kind", kind, KINDS)
    generator(rng)
    if X is not None:
        namespace(X, "X")
    like = next((x for x in (like, X) if x is not None), np.zeros(1))
    xp = namespace(like, "like")
    if dtype is not None:
        one_of("dtype", dtype, ("float32", "float64"))
        like = xp.zeros(1, dtype=getattr(xp, dtype), device=like.device)
    if kind in ("whiten", "gaussianize", "principal"):
        if X is None:
            raise ValueError(f"`X` is needed for kind={kind!r}")
        if activation is None and L > 1:
            raise ValueError(f"`activation` is needed for kind={kind!r}")
        if namespace(X, "X") is not xp:
            raise TypeError("`X` and `like` must be arrays of the same library")
        rows = xp.astype(detached(X), like.dtype)
        made = _whitening(rows, D, c, L, activation or identity(), kind)
        if kind == "principal":
            warn_of_few_rows(D, L, X.shape[0])
        return made
    return tuple(
        Layer(
            from_numpy(_orthogonal(rng, D) if kind == "orthogonal" else np.eye(D), like),
            from_numpy(np.zeros((D, c + 1) if c else D), like),
        )
        for _ in range(L)
    )


def warn_of_few_rows(D: int, L: int, N: int) -> None:
    """Warn, by name, where principal axes are those of the rows themselves: P > N.

    Layer after layer then bends along what no other rows have: of 100 rows of a Gaussian in 12
    dimensions 32 layers make -14 nats a row, and of 100 others -153.

    >>> warn_of_few_rows(2, 8, 48)
    """
    P = L * D * (D + 1)
    if L > 1 and P > N:
        warnings.warn(
            f"`init` 'principal' makes L (D^2 + D) = {P:,} numbers of {N:,} rows, which other rows "
            "will not be like: fewer layers, or 'gaussianize'",
            UserWarning,
            stacklevel=3,
        )


def _orthogonal(rng: np.random.Generator, D: int) -> Array:
    Q, R = np.linalg.qr(rng.standard_normal((D, D)))
    return Q * np.sign(np.diag(R))  # Haar: without it QR's own choice of signs shows


def _whitening(X: Array, D: int, c: int, L: int, activation: Activation, kind: str) -> Layers:
    """Whiten x and what each layer makes of it, X (N, D + c); moments as wide as the device can."""
    if X.ndim != 2 or X.shape[1] != D + c or X.shape[0] == 0:
        raise ValueError(f"`X` must have shape (N, {D + c}) with N >= 1, got {tuple(X.shape)}")
    xp = namespace(X, "X")
    require_full_rank(regressed(X, c)[0])
    eps = float(xp.finfo(X.dtype).eps)
    narrow = widest(X) == xp.float32  # moments are then taken elsewhere, in float64
    layers: list[Layer] = []
    for k in range(L):
        if k > 0:
            Z = activation.sigma(forward(tuple(layers[-1:]), X, activation).Ys[0])  # (N, D)
            X = Z if c == 0 else xp.concat([Z, X[:, D:]], axis=1)  # what reaches the layer
        if not bool(xp.all(xp.isfinite(X))):
            raise ValueError(f"`X` has values that are not finite, or overflow, at layer {k}")
        axes = kind == "principal" and k < L - 1
        Z, slopes = regressed(X, c)  # (N, D)
        W, b, _ = whitening(to_numpy(Z) if narrow else Z, eps, common=k > 0, principal=axes)
        if narrow:
            W, b = from_numpy(W, Z), from_numpy(b, Z)
        with np.errstate(over="ignore"):  # of float32, see below
            layer = Layer(xp.astype(W, Z.dtype), xp.astype(b, Z.dtype))
            if c > 0:
                layer = with_slopes(layer, slopes)
        if not all(bool(xp.all(xp.isfinite(x))) for x in layer):
            raise ValueError(
                f"the start of layer {k} is beyond {Z.dtype}: `X` needs other units, or float64"
            )
        if kind != "whiten" and k < L - 1:
            layer = _gaussianizing(layer, X, activation)
        layers.append(layer)
    return tuple(layers)


def with_slopes(layer: Layer, slopes: Array) -> Layer:
    """Return the layer of residuals z - slopes u, y = W z + b, as one of z: B = [-W slopes, b]."""
    (W, b), xp = layer, namespace(layer.W, "W")
    return Layer(W, xp.concat([-W @ slopes, b[:, None]], axis=1))


def _gaussianizing(layer: Layer, X: Array, activation: Activation) -> Layer:
    """Give each whitened unit u the scale s and shift t of its output s u + t, s of either sign.

    Chosen on a grid to maximise what the unit gains in log-likelihood over the next whitening,

        J = E[log sigma'(s u + t)] + log|s| - log(Var[sigma(s u + t)]) / 2.
    """
    xp = namespace(X, "X")
    eps, tiny = (float(getattr(xp.finfo(X.dtype), x)) for x in ("eps", "smallest_normal"))
    step = max(1, X.shape[0] // LOOKED_AT)
    u = forward((layer,), X[::step, :], activation).Ys[0]  # (n, D)
    best = xp.full_like(u[0, :], -math.inf)  # (D,)
    s_best, t_best = xp.ones_like(best), xp.zeros_like(best)
    for s, t in itertools.product((s * sign for s in SCALES for sign in (1, -1)), SHIFTS):
        t = abs(s) * t
        J = xp.mean(activation.log_dsigma(s * u + t), axis=0) + math.log(abs(s))
        z = activation.sigma(s * u + t)
        least = (eps * xp.max(xp.abs(z), axis=0)) ** 2 + tiny  # of a unit that does not vary
        J = J - 0.5 * xp.log(xp.maximum(xp.var(z, axis=0), least))  # (D,)
        better = (best < J) & ~xp.isinf(J)  # nor where J is NaN
        best = xp.where(better, J, best)
        s_best = xp.where(better, xp.full_like(best, s), s_best)
        t_best = xp.where(better, xp.full_like(best, t), t_best)
    W, b = layer
    return Layer(W * s_best[:, None], scaled(s_best, b) + as_bias(t_best, b))
