"""The objective, the log-likelihood, in three terms: log p(x_n) = L_p[n] + L_J1[n] + L_J2."""

import math
from typing import NamedTuple

from .activations import Activation
from .arrays import Array, check, check_parts, namespace
from .brief import brief
from .densities import Density
from .network import Layers, Tape, forward


@brief
class LogLikelihood(NamedTuple):
    """The three terms in nats: L_p (N,), L_J1 (N,), L_J2 (); `per_sample` (N,) and `mean` ().

    >>> import numpy as np
    >>> LogLikelihood(np.array([-3.0, -1.0]), np.array([0.5, 0.5]), np.asarray(1.0)).mean
    np.float64(-0.5)
    """

    L_p: Array
    L_J1: Array
    L_J2: Array

    @property
    def per_sample(self) -> Array:
        """L_p + L_J1 + L_J2, (N,)."""
        return self.L_p + self.L_J1 + self.L_J2

    @property
    def mean(self) -> Array:
        """Mean of `per_sample`, ()."""
        return namespace(self.L_p, "L_p").mean(self.per_sample)


def log_likelihood(
    layers: Layers, X: Array, activation: Activation, density: Density
) -> LogLikelihood:
    """Return the log-likelihood of X (N, D), in nats, in its three terms.

    L_p  = sum_i log p(Zs[L])
    L_J1 = sum_{k<L-1} sum_i log sigma'(Ys[k])
    L_J2 = sum_k log|det W_k|

    Cost: a forward pass and L determinants, cubic in D. A singular W gives L_J2 = -inf. A finite
    row for which an output overflows has L_p = -inf; no finite row has NaN.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.array([[0.0, 2.0], [-3.0, 0.0]]), np.zeros(2)),)
    >>> terms = rg.log_likelihood(layers, np.zeros((1, 2)), rg.activation("identity"),
    ...                           rg.density("laplace"))
    >>> terms.L_p, terms.L_J2  # -2 log 2, log 6
    (array([-1.38629436]), np.float64(1.791759469228055))
    """
    tape = forward(layers, X, activation)
    xp, (L_p, L_J1) = check(layers), data_terms(layers, tape, activation, density)
    # inf - inf between two layers is NaN; such a row is so far out that its density is 0
    far = xp.isnan(L_p + L_J1) & xp.all(xp.isfinite(X), axis=1)  # (N,)
    L_p = xp.where(far, xp.full_like(L_p, -math.inf), L_p)
    L_J1 = xp.where(far, xp.zeros_like(L_J1), L_J1)
    return LogLikelihood(L_p, L_J1, log_abs_det(layers))


def data_terms(
    layers: Layers, tape: Tape, activation: Activation, density: Density
) -> tuple[Array, Array]:
    """Return L_p (N,) and L_J1 (N,), the terms that depend on the samples; O(N D) each layer."""
    xp = check_parts(layers, Ys=tape.Ys)
    L_p = xp.sum(density.log_prob(tape.Ys[-1]), axis=1)  # (N,)
    L_J1 = xp.zeros_like(L_p)
    for Y in tape.Ys[:-1]:
        L_J1 = L_J1 + xp.sum(activation.log_dsigma(Y), axis=1)  # (N,)
    return L_p, L_J1


def log_abs_det(layers: Layers) -> Array:
    """Return L_J2 = sum_k log|det W_k|, (); cubic in D."""
    xp = check(layers)
    return sum(xp.linalg.slogdet(W)[1] for W, _ in layers)
