"""From the latent to the data: `inverse` and `sample`.

Cubic in D, and not part of a step; quadratic where `tracked` (see `track`) brings the inverses, so
that samples may be drawn at any time of a fit.
"""

import numpy as np

from .activations import Activation
from .arguments import generator, whole
from .arrays import Array, check, from_numpy
from .context import joined, split, times
from .densities import Density
from .network import Layers, Tape
from .objective import data_terms, log_abs_det
from .ordinary import checked_inverse
from .tracking import Tracked


def unwind(
    layers: Layers, Z: Array, activation: Activation, tracked: Tracked | None = None
) -> Tape:
    """Return the tape that ends at the latent Z (N, D): `forward`, line by line from the last.

    Cost: L inverses, cubic in D, unless they are tracked. LinAlgError names a layer of reciprocal
    condition below eps; ValueError if `tracked` holds no inverses, or of other layers.
    """
    Vs = None if tracked is None else tracked.inverse
    if tracked is not None and (Vs is None or len(Vs) != len(layers)):
        raise ValueError(f"`tracked` must hold the inverses of {len(layers)} layers")
    Z, one = split(layers, Z, "Z")
    Zs, Ys = [Z], [Z]
    for k in reversed(range(len(layers))):
        W, b = layers[k]
        # forward: Ys[k] = Zs[k] @ W.T + b
        V = checked_inverse(W, f"W of layer {k}") if Vs is None else Vs[k]
        Zs.insert(0, (Ys[0] - times(b, one)) @ V.T)  # (N, D)
        if k > 0:  # forward: Zs[k] = sigma(Ys[k-1])
            Ys.insert(0, activation.inverse(Zs[0]))  # (N, D)
    return Tape(tuple(Zs), tuple(Ys), one=one)


def inverse(
    layers: Layers, Z: Array, activation: Activation, *, tracked: Tracked | None = None
) -> Array:
    """Return the samples X (N, D) whose latent is Z (N, D); cost and errors: `unwind`.

    With context the rows of Z are (z, u), D + c columns.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(2 * np.eye(1), np.ones(1)),)
    >>> rg.inverse(layers, np.array([[5.0]]), rg.activation("identity"))
    array([[2.]])
    """
    return unwind(layers, Z, activation, tracked).Zs[0]


def sample(
    layers: Layers,
    rng: np.random.Generator,
    n: int,
    activation: Activation,
    density: Density,
    *,
    tracked: Tracked | None = None,
    context: Array | None = None,
) -> tuple[Array, Array]:
    """Draw X (n, D) from the model, and log p (n,) of each draw from the same pass.

    With layers that know of context, each row is drawn given its own, `context` (n, c).

    Cost: L inverses and L determinants, unless they are tracked. ValueError if the activation is
    not onto R.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.array([[2.0]]), np.array([1.0])),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> X, log_prob = rg.sample(layers, np.random.default_rng(0), 4, *model)
    >>> bool(np.allclose(log_prob, rg.log_likelihood(layers, X, *model).per_sample))
    True
    """
    require_model(activation, density)
    n = whole("n", n)
    generator(rng)
    check(layers)
    Z = from_numpy(density.sample(rng, (n, layers[0].W.shape[0])), layers[0].W)
    tape = unwind(layers, joined(layers, Z, context), activation, tracked)
    L_p, L_J1 = data_terms(layers, tape, activation, density)
    L_J2 = log_abs_det(layers) if tracked is None else float(sum(tracked.logdet))
    return tape.Zs[0], L_p + L_J1 + L_J2


def require_model(activation: Activation, density: Density) -> None:
    """Refuse what is no activation or density, and an activation that does not reach all of R."""
    for name, value, kind in (
        ("activation", activation, Activation),
        ("density", density, Density),
    ):
        if not isinstance(value, kind):
            got = type(value).__name__
            raise TypeError(f"`{name}` must be what {name}(name) returns, got {got}")
    if not activation.onto:
        raise ValueError(
            f"`activation` {activation.name} is not onto R, so the model's mass is below 1: "
            "it serves for verification only"
        )
