"""How wrong a right result may be: a tolerance for each array, derived and never tuned.

Each stage may err by `64 eps S + inherited`. S is its formula with absolute values in place of
values, so that cancellation is allowed for and nothing else. `inherited` is the first-order effect
of what its inputs may already be wrong by. What goes through an inverse also scales with cond(W).
An elementwise f errs by 64 eps (|f| + |y f'|). Errors are computed entry by entry, in float64; the
largest entry is returned.
"""

from typing import Any

import numpy as np

Array = Any


def tolerances(
    layers: Any, X: Array, activation: Any, density: Any, eps: float
) -> dict[str, list[float]]:
    """Return, by stage, the tolerance of each layer's array, for arithmetic of precision `eps`.

    Stages: Y, log_dsigma, Delta, G_W, G_b, and R_W, R_b by variant, as "R_W output augmented".

    >>> import relgrad_np as rg
    >>> layers = (rg.Layer(np.array([[2.0]]), np.array([1.0])),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> tolerances(layers, np.ones((1, 1)), *model, eps=2.0**-52)["Y"][0] == 64 * 2.0**-52 * 3
    True
    """
    c = 64 * eps
    layers = [(np.asarray(W, dtype=float), np.asarray(b, dtype=float)) for W, b in layers]
    Zs, Ys, e_Zs, e_Ys = _forward(layers, np.asarray(X, dtype=float), activation, c)
    Deltas, e_Deltas = _backward(layers, Zs[-1], Ys, e_Zs[-1], e_Ys, activation, density, c)
    found: dict[str, list[float]] = {}

    def note(stage: str, error: Array) -> None:
        found.setdefault(stage, []).append(float(np.max(error)))

    for k, (W, b) in enumerate(layers):
        Z, Y, D = np.abs(Zs[k]), np.abs(Ys[k]), np.abs(Deltas[k])  # (N, D)
        e_Z, e_Y, e_D = e_Zs[k], e_Ys[k], e_Deltas[k]
        V, W_, b_ = np.abs(np.linalg.inv(W)).T, np.abs(W), np.abs(b)
        note("Y", e_Y)
        note("log_dsigma", _through(activation.log_dsigma, Ys[k], e_Y, c))
        note("Delta", e_D)
        # G_W = Delta.T @ Z + inv(W).T; G_b = Delta.sum(axis=0)
        note("G_W", c * (D.T @ Z + np.linalg.cond(W) * V) + e_D.T @ Z + D.T @ e_Z)
        note("G_b", c * D.sum(axis=0) + e_D.sum(axis=0))
        # R_W = Delta.T @ (Y @ W) + W; R_b = Delta.T @ (Y @ b + 1) + b, or G_b; "separate" has Y - b
        u, e_u, e_G_b = Y @ b_ + 1, e_Y @ b_, (c * D + e_D).sum(axis=0)
        e_R_b = c * (D.T @ u + b_) + e_D.T @ u + D.T @ e_u
        for bias, b_of_Y in (("augmented", 0.0), ("separate", b_), ("published", 0.0)):
            Y_b = Y + b_of_Y
            note(f"R_W output {bias}", c * (D.T @ Y_b @ W_ + W_) + (e_D.T @ Y_b + D.T @ e_Y) @ W_)
            note(f"R_b output {bias}", e_G_b if bias == "separate" else e_R_b)
        # R_W = W W' G_W, R_b = W W' G_b: the input side
        M = W_ @ W_.T
        e_input = c * (M @ D.T @ Z + W_) + M @ (e_D.T @ Z + D.T @ e_Z)
        for bias in ("augmented", "separate"):
            note(f"R_W input {bias}", e_input)
            note(f"R_b input {bias}", e_G_b if bias == "separate" else M @ e_G_b)
    return found


def _forward(layers: Any, X: Array, activation: Any, c: float) -> tuple[list[Array], ...]:
    """Return Zs and Ys, and the error of each."""
    Zs, Ys, e_Zs, e_Ys = [X], [], [np.zeros(X.shape)], []
    for k, (W, b) in enumerate(layers):
        Ys.append(Zs[k] @ W.T + b)
        e_Ys.append(c * (np.abs(Zs[k]) @ np.abs(W).T + np.abs(b)) + e_Zs[k] @ np.abs(W).T)
        last = k == len(layers) - 1
        Zs.append(Ys[k] if last else activation.sigma(Ys[k]))
        e_Zs.append(e_Ys[k] if last else _through(activation.sigma, Ys[k], e_Ys[k], c))
    return Zs, Ys, e_Zs, e_Ys


def _backward(
    layers: Any, Z: Array, Ys: Any, e_Z: Array, e_Ys: Any, activation: Any, density: Any, c: float
) -> tuple[list[Array], list[Array]]:
    """Return the Deltas and the error of each; Z is the latent."""
    N = len(Z)
    Delta, e_Delta = density.score(Z) / N, _through(density.score, Z, e_Z, c) / N
    Deltas, e_Deltas = [Delta], [e_Delta]
    for k in reversed(range(len(layers) - 1)):
        # Delta_k = (Delta_{k+1} @ W_{k+1}) * sigma'(Y_k) + (log sigma')'(Y_k) / N
        W, Y, e_Y = np.abs(layers[k + 1][0]), Ys[k], e_Ys[k]
        slope, bend = activation.dsigma(Y), activation.dlog_dsigma(Y)
        e_Delta = (c * np.abs(Delta) + e_Delta) @ W * slope
        e_Delta += np.abs(Delta) @ W * _through(activation.dsigma, Y, e_Y, c)
        e_Delta += _through(activation.dlog_dsigma, Y, e_Y, c) / N
        Delta = Delta @ layers[k + 1][0] * slope + bend / N
        Deltas.insert(0, Delta)
        e_Deltas.insert(0, e_Delta)
    return Deltas, e_Deltas


def _through(f: Any, y: Array, e_y: Array, c: float) -> Array:
    """Return the error of f(y): its own, and what it inherits from y."""
    h = 1e-5 * (1 + np.abs(y))
    slope = np.abs(f(y + h) - f(y - h)) / (2 * h)  # |f'|; it only scales a tolerance
    return c * (np.abs(f(y)) + np.abs(y) * slope) + slope * e_y
