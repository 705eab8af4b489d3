"""How wrong may a right result be: a tolerance for each array, derived and never tuned.

Each stage may err by `64 eps S + inherited`: S is its formula with absolute values in place of
values, so cancellation is allowed for and nothing else; `inherited` is the first-order effect of
what its inputs may already be wrong by. What goes through an inverse also scales with cond(W).
An elementwise f errs by 64 eps (|f| + |y f'|). All in float64 NumPy, elementwise, then the
largest entry.
"""

from typing import Any

import numpy as np

Array = Any


def _slope(f: Any, y: Array) -> Array:
    """|f'(y)| by a central difference: it only scales a tolerance."""
    h = 1e-5 * (1 + np.abs(y))
    return np.abs(f(y + h) - f(y - h)) / (2 * h)


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
    c, L, N = 64 * eps, len(layers), len(X)
    layers = [(np.asarray(W, dtype=float), np.asarray(b, dtype=float)) for W, b in layers]
    Zs, Ys = [np.asarray(X, dtype=float)], []
    e_Zs, e_Ys = [np.zeros(X.shape)], []
    for k, (W, b) in enumerate(layers):
        Ys.append(Zs[k] @ W.T + b)
        e_Ys.append(c * (np.abs(Zs[k]) @ np.abs(W).T + np.abs(b)) + e_Zs[k] @ np.abs(W).T)
        last = k == L - 1
        Zs.append(Ys[k] if last else activation.sigma(Ys[k]))
        e_Zs.append(e_Ys[k] if last else _through(activation.sigma, Ys[k], e_Ys[k], c))
    Delta = density.score(Zs[L]) / N
    e_Delta = _through(density.score, Zs[L], e_Zs[L], c) / N
    deltas, e_deltas = [Delta], [e_Delta]
    for k in reversed(range(L - 1)):
        W, Y, e_Y = np.abs(layers[k + 1][0]), Ys[k], e_Ys[k]
        slope, bend = activation.dsigma(Y), activation.dlog_dsigma(Y)
        e_Delta = (c * np.abs(Delta) + e_Delta) @ W * slope
        e_Delta += np.abs(Delta) @ W * _through(activation.dsigma, Y, e_Y, c)
        e_Delta += _through(activation.dlog_dsigma, Y, e_Y, c) / N
        Delta = Delta @ layers[k + 1][0] * slope + bend / N
        deltas.insert(0, Delta)
        e_deltas.insert(0, e_Delta)
    found: dict[str, list[float]] = {}

    def note(stage: str, error: Array) -> None:
        found.setdefault(stage, []).append(float(np.max(error)))

    for k, (W, b) in enumerate(layers):
        Z, Y, D = np.abs(Zs[k]), np.abs(Ys[k]), np.abs(deltas[k])
        e_Z, e_Y, e_D = e_Zs[k], e_Ys[k], e_deltas[k]
        V, W_, b_ = np.abs(np.linalg.inv(W)).T, np.abs(W), np.abs(b)
        note("Y", e_Y)
        note("log_dsigma", _through(activation.log_dsigma, Ys[k], e_Y, c))
        note("Delta", e_D)
        note("G_b", c * D.sum(axis=0) + e_D.sum(axis=0))
        note("G_W", c * (D.T @ Z + np.linalg.cond(W) * V) + e_D.T @ Z + D.T @ e_Z)
        for bias, b_of_Y in (("augmented", 0.0), ("separate", b_), ("published", 0.0)):
            Y_b = Y + b_of_Y
            note(f"R_W output {bias}", c * (D.T @ Y_b @ W_ + W_) + (e_D.T @ Y_b + D.T @ e_Y) @ W_)
            u, e_u = Y @ b_ + 1, e_Y @ b_
            free = bias == "separate"
            note(
                f"R_b output {bias}",
                (c * D + e_D).sum(axis=0) if free else c * (D.T @ u + b_) + e_D.T @ u + D.T @ e_u,
            )
        M = W_ @ W_.T
        e_input = c * (M @ D.T @ Z + W_) + M @ (e_D.T @ Z + D.T @ e_Z)
        for bias in ("augmented", "separate"):
            note(f"R_W input {bias}", e_input)
            e_b = (c * D + e_D).sum(axis=0)
            note(f"R_b input {bias}", e_b if bias == "separate" else M @ e_b)
    return found


def _through(f: Any, y: Array, e_y: Array, c: float) -> Array:
    """Return the error of f(y): its own, and what it inherits from y."""
    slope = _slope(f, y)
    return c * (np.abs(f(y)) + np.abs(y) * slope) + slope * e_y
