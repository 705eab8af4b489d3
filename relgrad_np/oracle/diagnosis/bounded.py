"""Arrays that know how far off a right implementation may be: a value, and its size S.

S is the value's formula with absolute values in place of values, so that in arithmetic of precision
eps the value is off by at most 64 eps S. A formula that is executed on such arrays brings its own
tolerance, whatever the formula: right, mistaken, or a relation between two arrays. For f(y) the S
is |f| + |f'| S(y), for a product |A| S(B) + S(A) |B|; what goes through an inverse also scales with
the condition of W. `xp` stands in for the module of array functions that the formulas call.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..truths.records import Array

C = 64


class Bounded:
    """A value and its size, arrays of the same shape; the size of a given array is its modulus.

    >>> product = Bounded(np.array([[3.0, -1.0]])) @ Bounded(np.array([[1.0], [3.0]]))
    >>> product.value, product.size
    (array([[0.]]), array([[12.]]))
    """

    __array_priority__ = 1000  # numbers and NumPy arrays leave the operators to this class

    def __init__(self, value: Any, size: Any = None) -> None:
        self.value: Array = np.asarray(value, dtype=float)
        modulus = np.abs(self.value)
        self.size: Array = modulus if size is None else np.maximum(size, modulus)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> Any:
        """float64, as all evaluations are."""
        return self.value.dtype

    @property
    def T(self) -> Bounded:
        """Transposed."""
        return _made(self.value.T, self.size.T)

    def allowed(self, eps: float) -> float:
        """Return how far off any entry may be: 64 eps of the largest size."""
        return float(C * eps * np.max(self.size, initial=0.0))

    def reshape(self, *shape: Any) -> Bounded:
        """Return it in another shape."""
        return Bounded(self.value.reshape(*shape), self.size.reshape(*shape))

    def __getitem__(self, key: Any) -> Bounded:
        return Bounded(self.value[key], self.size[key])

    def __len__(self) -> int:
        return len(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __neg__(self) -> Bounded:
        return _made(-self.value, self.size)

    def __add__(self, other: Any) -> Bounded:
        o = bounded(other)
        return _made(self.value + o.value, self.size + o.size)

    def __sub__(self, other: Any) -> Bounded:
        o = bounded(other)
        return _made(self.value - o.value, self.size + o.size)

    def __mul__(self, other: Any) -> Bounded:
        o = bounded(other)
        size = self.size * np.abs(o.value) + np.abs(self.value) * o.size
        return _made(self.value * o.value, size)

    def __truediv__(self, other: Any) -> Bounded:
        o = bounded(other)
        value, below = self.value / o.value, np.abs(o.value)
        return _made(value, self.size / below + np.abs(value) * o.size / below)

    def __matmul__(self, other: Any) -> Bounded:
        o = bounded(other)
        size = self.size @ np.abs(o.value) + np.abs(self.value) @ o.size
        return _made(self.value @ o.value, size)

    def __rsub__(self, other: Any) -> Bounded:
        return bounded(other) - self

    def __rtruediv__(self, other: Any) -> Bounded:
        return bounded(other) / self

    def __rmatmul__(self, other: Any) -> Bounded:
        return bounded(other) @ self

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, n: int) -> Bounded:
        slope = np.abs(n * self.value ** (n - 1))
        return Bounded(self.value**n, np.abs(self.value**n) + slope * self.size)

    def __gt__(self, other: Any) -> Array:
        return self.value > bounded(other).value

    def __lt__(self, other: Any) -> Array:
        return self.value < bounded(other).value

    def __ge__(self, other: Any) -> Array:
        return self.value >= bounded(other).value

    def __le__(self, other: Any) -> Array:
        return self.value <= bounded(other).value


def _made(value: Any, size: Any) -> Bounded:
    """Return what an operation makes, whose size is no less than the value's modulus."""
    x = object.__new__(Bounded)
    x.value, x.size = np.asarray(value), np.asarray(size)
    return x


def bounded(x: Any) -> Bounded:
    """Return an array or a number as a Bounded one.

    >>> float(bounded(-2.0).size)
    2.0
    """
    return x if isinstance(x, Bounded) else Bounded(x)


def _elementwise(f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Any:
    """Return f for Bounded arrays, given |f'|."""

    def of(x: Any) -> Bounded:
        x = bounded(x)
        value = f(x.value)
        return Bounded(value, np.abs(value) + np.abs(slope(x.value)) * x.size)

    return of


def _sum(x: Any, axis: Any = None) -> Bounded:
    return Bounded(np.sum(x.value, axis), np.sum(x.size, axis))


def _two(f: Callable[[Array, Array], Array], x: Bounded, y: Bounded) -> Bounded:
    """Return a function of two arrays whose slopes are at most 1."""
    value = f(x.value, y.value)
    return Bounded(value, np.abs(value) + np.maximum(x.size, y.size))


def of_part(part: Any) -> Any:
    """Return an activation or a density of the user's own for Bounded arrays.

    Its functions are run on the values; their slopes are taken by differences.

    >>> own = of_part(SimpleNamespace(sigma=lambda y: y * y))
    >>> own.sigma(Bounded([3.0], [5.0])).size.round(6)
    array([39.])
    """
    functions = {name: f for name, f in vars(part).items() if callable(f)}
    return SimpleNamespace(**{name: _elementwise(f, _slope(f)) for name, f in functions.items()})


def _slope(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def slope(x: Array) -> Array:
        h = 1e-6 * (1 + np.abs(x))
        return (f(x + h) - f(x - h)) / (2 * h)

    return slope


def _where(condition: Array, x: Any, y: Any) -> Bounded:
    x, y = bounded(x), bounded(y)
    return Bounded(np.where(condition, x.value, y.value), np.where(condition, x.size, y.size))


def _guarded(f: Callable[..., Array], shape: tuple[int, ...], *arrays: Array) -> Array:
    """Return f, or NaN where a matrix is singular or not finite."""
    try:
        return f(*arrays)
    except np.linalg.LinAlgError:
        return np.full(shape, np.nan)


def inverse(W: Any) -> Bounded:
    """Return inv(W); its size is |inv(W)| (S(W) |inv(W)| + cond(W)).

    >>> inverse(np.array([[2.0]])).value
    array([[0.5]])
    """
    W = bounded(W)
    V = _guarded(np.linalg.inv, W.shape, W.value)
    A = np.abs(V)
    cond = np.sqrt(np.sum(W.value**2) * np.sum(V**2))
    return Bounded(V, A @ W.size @ A + cond * A)


def _log_det_size(W: Bounded) -> Array:
    return np.sum(np.abs(inverse(W).value).T * W.size)


def _slogdet(W: Any) -> tuple[Array, Bounded]:
    W = bounded(W)
    sign, log = _guarded(np.linalg.slogdet, (2,), W.value)
    return sign, Bounded(log, _log_det_size(W) + len(W))


def _det(W: Any) -> Bounded:
    W = bounded(W)
    det = np.linalg.det(W.value)
    return Bounded(det, np.abs(det) * (1 + _log_det_size(W)))


def _solve(A: Any, B: Any) -> Bounded:
    A, B, V = bounded(A), bounded(B), inverse(A)
    return Bounded(V.value @ B.value, V.size @ B.size)


xp = SimpleNamespace(
    abs=lambda x: Bounded(np.abs(x.value), x.size),
    sign=lambda x: Bounded(np.sign(x.value)),
    exp=_elementwise(np.exp, np.exp),
    expm1=_elementwise(np.expm1, np.exp),
    log=_elementwise(np.log, lambda x: 1 / x),
    log1p=_elementwise(np.log1p, lambda x: 1 / (1 + x)),
    tanh=_elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    sqrt=_elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    asinh=_elementwise(np.arcsinh, lambda x: 1 / np.hypot(1, x)),
    sinh=_elementwise(np.sinh, np.cosh),
    hypot=lambda x, y: _two(np.hypot, x, y),
    logaddexp=lambda x, y: _two(np.logaddexp, x, y),
    sum=_sum,
    max=lambda x: Bounded(np.max(x.value)),
    where=_where,
    eye=lambda n, dtype=None: Bounded(np.eye(n)),
    asarray=lambda x, dtype=None: bounded(x),
    ones_like=lambda x: Bounded(np.ones(x.shape)),
    zeros_like=lambda x: Bounded(np.zeros(x.shape)),
    linalg=SimpleNamespace(inv=inverse, slogdet=_slogdet, det=_det, solve=_solve),
)  # fmt: skip
"""What the formulas call of NumPy, torch or jax.numpy, on Bounded arrays."""
