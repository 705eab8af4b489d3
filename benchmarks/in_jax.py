"""The published algorithm and two variations as compiled JAX, written from the mathematics.

Everything a step needs is one XLA program whose inputs are donated. Samples are rows and
y = W z + b, as in the package; nothing here is shared with it but the records.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relgrad_np import Layer

from .contenders import Contender

Tree = Any  # a tuple of (W, b), or of them


def sigma(y: Any, alpha: float) -> Any:
    """Alpha y + (1 - alpha) log(1 + e^y)."""
    return alpha * y + (1 - alpha) * jax.nn.softplus(y)


def slope(y: Any, alpha: float) -> Any:
    """sigma'(y) = alpha + (1 - alpha) / (1 + e^-y)."""
    return alpha + (1 - alpha) * jax.nn.sigmoid(y)


def log_slope_slope(y: Any, alpha: float) -> Any:
    """(log sigma')'(y) = (1 - alpha) s (1 - s) / sigma'(y) with s = 1 / (1 + e^-y)."""
    s = jax.nn.sigmoid(y)
    return (1 - alpha) * s * (1 - s) / (alpha + (1 - alpha) * s)


def relative_gradient(layers: Tree, X: Any, alpha: float, bias: str) -> Tree:
    """R_W = Delta.T @ (Y @ W) + W and R_b = Delta.T @ (Y @ b + 1) [+ b], normal base density.

    The term in brackets is what `bias="published"` lacks. 4 L - 1 products of (N, D) by (D, D)
    size, as in the package; Y @ W and Delta @ W are one, which reads W once: 5 % of a step.
    """
    N = X.shape[0]
    Ys, Z = [], X  # (N, D)
    for k, (W, b) in enumerate(layers):
        Ys.append(Z @ W.T + b)
        Z = sigma(Ys[k], alpha) if k < len(layers) - 1 else Ys[k]
    Delta = -Z / N
    R: list[tuple[Any, Any]] = []
    for k in reversed(range(len(layers))):
        W, b = layers[k]
        own = b if bias == "augmented" else 0.0
        both = jnp.concatenate([Ys[k], Delta] if k > 0 else [Ys[k]]) @ W
        R.insert(0, (Delta.T @ both[:N] + W, (Ys[k] @ b + 1) @ Delta + own))
        if k > 0:
            Y = Ys[k - 1]
            Delta = both[N:] * slope(Y, alpha) + log_slope_slope(Y, alpha) / N
    return tuple(R)


def published_gradient(layers: Tree, X: Any, alpha: float, bias: str) -> Tree:
    """Return the same by the products of the authors' code: no two are one, and W z is made again.

    In their order, with samples as columns on the way, so that XLA does not take one product for
    another: A = W.T @ (W @ Z.T), R_W = Delta.T @ A.T + outer(G_b, W.T @ b) + W, and
    R_b = G_b (1 + b.b) + Delta.T @ (Z @ (W.T @ b)): 5 L - 1 products, and one more (D, D) array.
    Its delta is by automatic differentiation; here by hand, which is no slower.
    """
    N = X.shape[0]
    Zs, Ys = [X], []  # (N, D)
    for k, (W, b) in enumerate(layers):
        Ys.append(Zs[k] @ W.T + b)
        Zs.append(sigma(Ys[k], alpha) if k < len(layers) - 1 else Ys[k])
    Delta = -Zs[-1] / N
    R: list[tuple[Any, Any]] = []
    for k in reversed(range(len(layers))):
        W, b = layers[k]
        own = b if bias == "augmented" else 0.0
        G_b, A = jnp.sum(Delta, axis=0), W.T @ (W @ Zs[k].T)  # (D,), (D, N)
        R_b = G_b * (1 + b @ b) + Delta.T @ (Zs[k] @ (W.T @ b)) + own
        R.insert(0, (Delta.T @ A.T + jnp.outer(G_b, W.T @ b) + W, R_b))
        if k > 0:
            Y = Ys[k - 1]
            Delta = (Delta @ W) * slope(Y, alpha) + log_slope_slope(Y, alpha) / N
    return tuple(R)


def log_likelihood(layers: Tree, X: Any, alpha: float) -> Any:
    """Mean log p(x) with slogdet and no derivative written by hand, (); normal base density."""
    Z, total = X, 0.0
    for k, (W, b) in enumerate(layers):
        Y = Z @ W.T + b  # (N, D)
        Z, total = Y, total + jnp.linalg.slogdet(W)[1]
        if k < len(layers) - 1:
            Z = sigma(Y, alpha)
            total = total + jnp.mean(jnp.sum(jnp.log(slope(Y, alpha)), axis=1))
    D = X.shape[1]
    return total + jnp.mean(jnp.sum(-0.5 * Z * Z, axis=1)) - 0.5 * D * np.log(2 * np.pi)


def adam(
    layers: Any,
    *,
    alpha: float,
    learning_rate: float,
    bias: str = "published",
    clock: int = 1,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    gradient: Any = relative_gradient,
) -> Contender:
    """Adam on the relative gradient.

        m <- beta1 m + (1 - beta1) R,    v <- beta2 v + (1 - beta2) R^2
        W <- W + learning_rate m_hat / (sqrt(v_hat) + epsilon),  m_hat = m / (1 - beta1^tick)

    tick = 1 + t // clock: the published code's is the number of the epoch (`clock`: steps in an
    epoch, `bias="published"`); Adam's own is clock = 1, the right bias `bias="augmented"`.
    `sweep` takes all its steps in one `lax.scan`.
    """

    def advance(carry: Tree, X: Any) -> Tree:
        layers, m, v, t = carry
        R = gradient(layers, X, alpha, bias)
        tick = (1 + t // clock).astype(X.dtype)
        c1, c2 = 1 - beta1**tick, 1 - beta2**tick
        each = jax.tree.map
        m = each(lambda m, r: beta1 * m + (1 - beta1) * r, m, R)
        v = each(lambda v, r: beta2 * v + (1 - beta2) * r * r, v, R)
        layers = each(
            lambda p, m, v: p + learning_rate * (m / c1) / (jnp.sqrt(v / c2) + epsilon),
            layers,
            m,
            v,
        )
        return layers, m, v, t + 1

    start = _own(layers)
    zeros = (jax.tree.map(jnp.zeros_like, start), jax.tree.map(jnp.zeros_like, start))
    return _contender((start, *zeros, jnp.zeros((), jnp.int32)), advance)


def plain(
    layers: Any,
    *,
    alpha: float,
    learning_rate: float,
    bias: str = "augmented",
    gradient: Any = relative_gradient,
) -> Contender:
    """W+ = W + learning_rate R_W: the relative gradient with the plainest of steps."""

    def advance(carry: Tree, X: Any) -> Tree:
        R = gradient(carry[0], X, alpha, bias)
        return (jax.tree.map(lambda p, r: p + learning_rate * r, carry[0], R),)

    return _contender((_own(layers),), advance)


def published(layers: Any, **options: Any) -> Contender:
    """`plain` with the products of the authors' code."""
    return plain(layers, gradient=published_gradient, **options)


def published_adam(layers: Any, **options: Any) -> Contender:
    """`adam` with the products of the authors' code."""
    return adam(layers, gradient=published_gradient, **options)


def autodiff(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """W+ = W + learning_rate G_W, G by automatic differentiation through slogdet: cubic."""

    def advance(carry: Tree, X: Any) -> Tree:
        G = jax.grad(log_likelihood)(carry[0], X, alpha)
        return (jax.tree.map(lambda p, g: p + learning_rate * g, carry[0], G),)

    return _contender((_own(layers),), advance)


def _own(layers: Any) -> Tree:
    """Copy NumPy layers to the device; a donated buffer must not be the caller's."""
    return tuple((jnp.array(W, copy=True), jnp.array(b, copy=True)) for W, b in layers)


def _contender(carry: Tree, advance: Any) -> Contender:
    """Compile `advance` for one batch, and a scan of it for many; keep the state here."""
    step_program = jax.jit(advance, donate_argnums=0)
    scan_programs: dict[Any, Any] = {}

    def scan(carry: Tree, X: Any, rows: Any) -> Tree:
        return jax.lax.scan(lambda carry, i: (advance(carry, X[i]), None), carry, rows)[0]

    def step(X: Any) -> None:
        nonlocal carry
        carry = jax.block_until_ready(step_program(carry, X))

    def compiled(X: Any, rows: Any) -> Any:
        key = X.shape, X.dtype, rows.shape
        if key not in scan_programs:
            scan_programs[key] = jax.jit(scan, donate_argnums=0).lower(carry, X, rows).compile()
        return scan_programs[key]

    def sweep(X: Any, rows: Any) -> None:
        nonlocal carry
        rows = jnp.asarray(rows, jnp.int32)  # (steps, N)
        carry = jax.block_until_ready(compiled(X, rows)(carry, X, rows))

    def current() -> Any:  # copies: the next step reuses these buffers
        return tuple(Layer(np.array(W), np.array(b)) for W, b in carry[0])

    return Contender(
        step=step,
        layers=current,
        sweep=sweep,
        to_device=lambda X: jax.block_until_ready(jnp.asarray(X)),
        warm=lambda X, rows: compiled(X, jnp.asarray(rows, jnp.int32)) and None,
    )
