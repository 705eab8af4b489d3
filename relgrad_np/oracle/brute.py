"""The definitions, by loops and dense matrices: slow, plain, and without any code of the core.

Only NumPy is imported. The formulas are those of a textbook, good for moderate |y|. Every function
keeps the dtype it is given: `numpy.longdouble` arrays give more digits than the core has, complex
ones give derivatives by the complex step. A model is a sequence of layers (W, b), an activation and
a base density, of which only `name` and `params` are read.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Matrix = Any
Layers = Sequence[tuple[Matrix, Matrix]]


class Named(Protocol):
    """What is read of an activation or a density."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def params(self) -> dict[str, float]:
        """All of its parameters."""


def sigma(activation: Named, y: Matrix) -> Matrix:
    """Return sigma(y), from its definition.

    >>> import relgrad_np as rg
    >>> relu = rg.activation("smooth_leaky_relu", alpha=0.5)
    >>> sigma(relu, np.array(0.0)) == 0.5 * math.log(2)
    np.True_
    """
    p, right = activation.params, np.real(y) > 0
    if activation.name == "smooth_leaky_relu":
        return p["alpha"] * y + (1 - p["alpha"]) * np.log1p(np.exp(y))
    if activation.name == "leaky_tanh":
        return np.tanh(p["alpha"] * y) + p["beta"] * y
    if activation.name == "identity":
        return y
    if activation.name == "softplus":
        return np.log1p(np.exp(y))
    if activation.name == "elu":
        return np.where(right, y, p["alpha"] * np.expm1(y))
    raise ValueError(f"unknown activation {activation.name!r}")


def dsigma(activation: Named, y: Matrix) -> Matrix:
    """Return sigma'(y), differentiated by hand from the definition.

    >>> import relgrad_np as rg
    >>> dsigma(rg.activation("identity"), np.array([2.0]))
    array([1.])
    """
    p, right = activation.params, np.real(y) > 0
    if activation.name == "smooth_leaky_relu":
        return p["alpha"] + (1 - p["alpha"]) / (1 + np.exp(-y))
    if activation.name == "leaky_tanh":
        return p["alpha"] / np.cosh(p["alpha"] * y) ** 2 + p["beta"]
    if activation.name == "identity":
        return np.ones_like(y)
    if activation.name == "softplus":
        return 1 / (1 + np.exp(-y))
    if activation.name == "elu":
        return np.where(right, np.ones_like(y), p["alpha"] * np.exp(y))
    raise ValueError(f"unknown activation {activation.name!r}")


def log_density(density: Named, z: Matrix) -> Matrix:
    """Return log p(z), from the definition; its sum over a row is that of the row.

    >>> import relgrad_np as rg
    >>> float(np.exp(log_density(rg.density("laplace"), np.array(0.0))))
    0.5
    """
    one = np.ones_like(np.real(z))
    if density.name == "normal":
        return -z * z / 2 - np.log(2 * np.pi * one) / 2
    if density.name == "logistic":
        return -z - 2 * np.log1p(np.exp(-z))
    if density.name == "laplace":
        return -z * np.sign(np.real(z)) - np.log(2 * one)
    if density.name == "sech":
        return -np.log(np.cosh(z)) - np.log(_pi(one))
    if density.name == "quartic":
        size = z * np.sign(np.real(z))
        parabola = 4 + 8 * (size - 2) + 6 * (size - 2) ** 2
        mass = one.dtype.type("2.563728907129322579849743582138248164573")
        return -np.where(np.real(size) <= 2, size**4 / 4, parabola) - np.log(mass)
    if density.name == "student_t":
        nu = density.params["nu"]
        log_c = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - math.log(nu * math.pi) / 2
        return log_c - (nu + 1) / 2 * np.log(1 + z * z / nu)
    if density.name == "multivariate_t":  # of the row, in D equal parts
        nu, D = density.params["nu"], z.shape[-1]
        log_c = math.lgamma((nu + D) / 2) - math.lgamma(nu / 2) - D * math.log(nu * math.pi) / 2
        rest = (nu + D) / 2 * np.log(1 + np.sum(z * z, axis=-1, keepdims=True) / nu)
        return (log_c - rest) / D * one
    raise ValueError(f"unknown density {density.name!r}")


def _pi(one: Matrix) -> Matrix:
    return 4 * np.arctan(one)  # to the digits of the dtype


def forward(layers: Layers, X: Matrix, activation: Named) -> tuple[list[Matrix], list[Matrix]]:
    """Return (Zs, Ys) by loops over samples, layers, outputs and inputs.

    >>> forward([(np.array([[2.0]]), np.array([1.0]))], np.array([[3.0]]), None)[0][-1]
    array([[7.]])
    """
    Zs, Ys = [X], []
    for k, (W, b) in enumerate(layers):
        Y = np.zeros(X.shape, dtype=np.result_type(X, W, b))
        for n in range(X.shape[0]):
            for i in range(X.shape[1]):
                Y[n, i] = b[i]
                for j in range(X.shape[1]):
                    Y[n, i] += W[i, j] * Zs[k][n, j]
        Ys.append(Y)
        Zs.append(sigma(activation, Y) if k < len(layers) - 1 else Y)
    return Zs, Ys


def jacobian(layers: Layers, x: Matrix, activation: Named) -> Matrix:
    """Return the dense Jacobian (D, D) of the latent with respect to the one sample x (D,).

    >>> jacobian([(np.array([[2.0]]), np.array([1.0]))], np.array([3.0]), None)
    array([[2.]])
    """
    _, Ys = forward(layers, x[None, :], activation)
    J = np.eye(len(x), dtype=x.dtype)
    for k, (W, _) in enumerate(layers):
        J = W @ J
        if k < len(layers) - 1:
            J = np.diag(dsigma(activation, Ys[k][0])) @ J
    return J


def determinant(M: Matrix) -> Matrix:
    """Return det(M) by elimination with row pivoting.

    >>> determinant(np.array([[0.0, 2.0], [3.0, 1.0]]))
    np.float64(-6.0)
    """
    M, det = M.copy(), M.dtype.type(1)
    for j in range(len(M)):
        pivot = j + int(np.argmax(np.abs(M[j:, j])))
        if M[pivot, j] == 0:
            return M.dtype.type(0)
        if pivot != j:
            M[[j, pivot]] = M[[pivot, j]]
            det = -det
        det = det * M[j, j]
        for i in range(j + 1, len(M)):
            M[i] = M[i] - M[i, j] / M[j, j] * M[j]
    return det


def inverse_matrix(M: Matrix) -> Matrix:
    """Return inv(M) by Gauss and Jordan's elimination with row pivoting.

    >>> inverse_matrix(np.array([[0.0, 2.0], [4.0, 0.0]]))
    array([[0.  , 0.25],
           [0.5 , 0.  ]])
    """
    D = len(M)
    both = np.concatenate([M, np.eye(D, dtype=M.dtype)], axis=1)
    for j in range(D):
        pivot = j + int(np.argmax(np.abs(both[j:, j])))
        both[[j, pivot]] = both[[pivot, j]]
        both[j] = both[j] / both[j, j]
        for i in range(D):
            if i != j:
                both[i] = both[i] - both[i, j] * both[j]
    return both[:, D:]


def log_likelihood(layers: Layers, X: Matrix, activation: Named, density: Named) -> Matrix:
    """Return log p(x_n) (N,): base density of the latent plus log|det| of the dense Jacobian.

    >>> import relgrad_np as rg
    >>> layers, model = [(np.array([[-2.0]]), np.zeros(1))], (None, rg.density("laplace"))
    >>> log_likelihood(layers, np.zeros((1, 1)), *model)  # log(1/2) + log 2
    array([0.])
    """
    Zs, _ = forward(layers, X, activation)
    log_p = []
    for n in range(len(X)):
        det = determinant(jacobian(layers, X[n], activation))
        log_p.append(np.sum(log_density(density, Zs[-1][n])) + np.log(det * np.sign(np.real(det))))
    return np.array(log_p)


def gradient(
    f: Callable[[list[tuple[Matrix, Matrix]]], Matrix], layers: Layers, h: float = 0.0
) -> list[tuple[Matrix, Matrix]]:
    """Differentiate f(layers) with respect to every entry of every W and b, one at a time.

    h > 0: central differences, (f(x + h) - f(x - h)) / (2 h). h = 0: the complex step,
    Im f(x + i 1e-30) / 1e-30, which has no error of truncation or cancellation.

    >>> gradient(lambda layers: layers[0][0][0, 0] ** 3, [(np.array([[2.0]]), np.zeros(1))])
    [(array([[12.]]), array([0.]))]
    """
    grads = [(np.zeros_like(W), np.zeros_like(b)) for W, b in layers]
    for k, parts in enumerate(layers):
        for which, part in enumerate(parts):
            for index in np.ndindex(part.shape):

                def at(step: Any, k: int = k, which: int = which, index: Any = index) -> Matrix:
                    moved = [[np.asarray(p) for p in layer] for layer in layers]
                    if isinstance(step, complex):
                        moved = [[p.astype(np.clongdouble) for p in layer] for layer in moved]
                    moved[k][which] = moved[k][which].copy()
                    moved[k][which][index] += step
                    return f([(W, b) for W, b in moved])

                grads[k][which][index] = (
                    (at(h) - at(-h)) / (2 * h) if h else np.imag(at(1e-30j)) / 1e-30
                )
    return grads


def augmented(W: Matrix, b: Matrix) -> Matrix:
    """Return W~ = [[W, b], [0, 1]], (D + 1, D + 1).

    >>> augmented(np.array([[2.0]]), np.array([3.0]))
    array([[2., 3.],
           [0., 1.]])
    """
    D = len(b)
    M = np.eye(D + 1, dtype=W.dtype)
    M[:D, :D], M[:D, D] = W, b
    return M


def relative(
    W: Matrix, b: Matrix, G_W: Matrix, G_b: Matrix, side: str = "output", bias: str = "augmented"
) -> tuple[Matrix, Matrix]:
    """Return (R_W, R_b) from the ordinary gradient, by the dense products that define them.

    >>> R_W, R_b = relative(*(np.array(v) for v in ([[2.0]], [1.0], [[-2.5]], [-3.0])))
    >>> R_W, R_b
    (array([[-16.]]), array([-11.]))
    """
    D = len(b)
    if side == "input":
        return W @ W.T @ G_W, G_b if bias == "separate" else W @ W.T @ G_b
    if bias == "separate":
        return G_W @ W.T @ W, G_b
    G = np.zeros((D + 1, D + 1), dtype=W.dtype)
    G[:D, :D], G[:D, D] = G_W, G_b
    M = augmented(W, b)
    R = G @ M.T @ M
    return R[:D, :D], R[:D, D] - (b if bias == "published" else 0)


def expm(M: Matrix) -> Matrix:
    """Return the matrix exponential: Taylor's series of M / 2^s, squared s times.

    >>> expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    size = float(np.max(np.sum(np.abs(M), axis=0)))
    halvings = max(0, math.ceil(math.log2(size)) + 3) if size > 0 else 0
    M = M / 2**halvings
    term = total = np.eye(len(M), dtype=M.dtype)
    for j in range(1, 30):
        term = term @ M / j
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def step(
    W: Matrix, b: Matrix, R_W: Matrix, R_b: Matrix, eta: float, kind: str = "plain"
) -> tuple[Matrix, Matrix]:
    """Return (W+, b+) after a step along the relative gradient, by dense matrices.

    plain: W+ = W + eta R_W. exponential: W~+ = exp(eta xi~) W~ with xi~ = R~ inv(W~).

    >>> step(*(np.array(v) for v in ([[2.0]], [1.0], [[-16.0]], [-11.0])), 0.125)
    (array([[0.]]), array([-0.375]))
    """
    if kind == "plain":
        return W + eta * R_W, b + eta * R_b
    D, M = len(b), augmented(W, b)
    R = augmented(R_W, R_b)
    R[D, D] = 0
    moved = expm(eta * (R @ inverse_matrix(M))) @ M
    return moved[:D, :D], moved[:D, D]
