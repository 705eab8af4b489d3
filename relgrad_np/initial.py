"""Where a fit starts: orthogonal, identity or whitening layers."""

import numpy as np

from ._arguments import one_of, whole
from ._array import Array, from_numpy, namespace
from .activations import Activation, identity
from .network import Layer, Layers, forward

KINDS = ("orthogonal", "identity", "whiten")


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
) -> Layers:
    """Start `L` layers of width `D`.

    orthogonal   W uniform (Haar) among the orthogonal matrices, b = 0
    identity     W = I, b = 0
    whiten       ZCA of what reaches the layer, W = Sigma^(-1/2), b = -W mu, moments with 1/N

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws are made with NumPy, in float64, then moved.
    X : array (N, D), activation : Activation
        The samples that `whiten` whitens, and what acts between the layers.
    like : array
        Library, device and dtype of the layers; by default those of `X`, else NumPy float64.
        With `whiten` of the library of `X`.
    dtype : "float32" or "float64"
        Overrides the dtype of `like`.

    Raises
    ------
    ValueError
        Sizes, names, or samples whose covariance has not full rank.

    Cost: cubic in D, once.

    >>> import numpy as np, relgrad_np as rg
    >>> W, b = rg.init_layers(np.random.default_rng(0), 3, 1)[0]
    >>> bool(np.allclose(W @ W.T, np.eye(3))), b
    (True, array([0., 0., 0.]))
    """
    D, L = whole("D", D), whole("L", L)
    one_of("kind", kind, KINDS)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}")
    if X is not None:
        namespace(X, "X")
    like = next((x for x in (like, X) if x is not None), np.zeros(1))
    xp = namespace(like, "like")
    if dtype is not None:
        one_of("dtype", dtype, ("float32", "float64"))
        like = xp.zeros(1, dtype=getattr(xp, dtype), device=like.device)
    if kind == "whiten":
        if X is None:
            raise ValueError("`X` is needed for kind='whiten'")
        if activation is None and L > 1:
            raise ValueError("`activation` is needed for kind='whiten'")
        if namespace(X, "X") is not xp:
            raise TypeError("`X` and `like` must be arrays of the same library")
        return _whitening(xp.astype(X, like.dtype), D, L, activation or identity())
    return tuple(
        Layer(
            from_numpy(_orthogonal(rng, D) if kind == "orthogonal" else np.eye(D), like),
            from_numpy(np.zeros(D), like),
        )
        for _ in range(L)
    )


def _orthogonal(rng: np.random.Generator, D: int) -> Array:
    Q, R = np.linalg.qr(rng.standard_normal((D, D)))
    return Q * np.sign(np.diag(R))  # Haar: without it QR's own choice of signs shows


def _whitening(Z: Array, D: int, L: int, activation: Activation) -> Layers:
    """Whiten Z (N, D) and what each layer makes of it; the moments are taken in float64."""
    if Z.ndim != 2 or Z.shape[1] != D or Z.shape[0] == 0:
        raise ValueError(f"`X` must have shape (N, {D}) with N >= 1, got {tuple(Z.shape)}")
    xp = namespace(Z, "X")
    layers: list[Layer] = []
    for k in range(L):
        if k > 0:
            Z = activation.sigma(forward(tuple(layers[-1:]), Z, activation).Ys[0])  # (N, D)
        wide = xp.astype(Z, xp.float64)
        mu = xp.mean(wide, axis=0)  # (D,)
        Sigma = (wide - mu).T @ (wide - mu) / Z.shape[0]  # (D, D)
        if not bool(xp.all(xp.isfinite(Sigma))):
            raise ValueError(f"`X` has values that are not finite, or overflow, at layer {k}")
        s, Q = xp.linalg.eigh(Sigma)
        wide_eps, eps = (float(xp.finfo(x.dtype).eps) for x in (s, Z))
        top = float(s[-1])  # what rounding alone makes: of the moments, and of the samples
        noise = D * (wide_eps * top + 64 * eps**2 * (top + float(xp.max(mu * mu))))
        rank = int(xp.sum(xp.astype(s > noise, xp.int64)))
        if rank < D:
            raise ValueError(
                f"`X` has rank {rank} of {D} at layer {k}: drop constant or repeated columns, "
                "or add noise"
            )
        W = (Q / xp.sqrt(s)) @ Q.T
        b = -(W @ mu)
        layers.append(Layer(xp.astype(W, Z.dtype), xp.astype(b, Z.dtype)))
    return tuple(layers)
