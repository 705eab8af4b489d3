"""The codes and constants that kernels take for a model, the same on CPU and GPU."""

import math
from typing import Any

import numpy as np

from ..core import quartic
from ..core.densities import log_t_constant

VALUES = {
    "normal": (-0.5, -0.5 * math.log(2 * math.pi), 0.0, 0.0),
    "logistic": (-1.0, 0.0, -2.0, 0.0),
    "laplace": (0.0, -math.log(2), 0.0, 0.0),
    "sech": (-2.0, math.log(2 / math.pi), -1.0, 0.0),
    "quartic": (quartic.EDGE, -math.log(quartic.Z), 0.25, 1.5),
}
DENSITIES = (*VALUES, "student_t")


def density_values(
    name: str, params: dict[str, float], D: int = 1
) -> tuple[int, tuple[float, ...]]:
    """Return the code of a density, and its four constants; only multivariate_t's depend on D.

    >>> density_values("laplace", {})[0]
    2
    """
    if name == "multivariate_t":  # that of its radius |z|, which is Student's but for constants
        _, (scale, _, _, _) = density_values("student_t", params)
        nu = params["nu"]
        log_c = sum(log_t_constant(nu + i) + 0.5 * math.log((nu + i) / nu) for i in range(D))
        return len(DENSITIES), (scale, log_c, -(nu + D) / 2, (nu + D) * scale)
    if name != "student_t":
        return DENSITIES.index(name), VALUES[name]
    nu = params["nu"]
    root = math.sqrt(nu)
    return DENSITIES.index(name), (1 / root, log_t_constant(nu), -(nu + 1) / 2, (nu + 1) / root)


def leaky_numbers(alpha: float, dtype: str) -> tuple[Any, Any, Any, Any]:
    """Return alpha, c = 1 - alpha, c / alpha and log alpha in the dtype.

    >>> leaky_numbers(1.0, "float64")[1]
    np.float64(0.0)
    """
    real = np.dtype(dtype).type
    return real(alpha), real(1 - alpha), real((1 - alpha) / alpha), real(math.log(alpha))


def density_numbers(name: str, params: dict[str, float], dtype: str) -> tuple[int, Any]:
    """Return the code of a density in `density_sweep`, and its four constants in the dtype.

    >>> density_numbers("laplace", {}, "float64")[0]
    2
    """
    code, values = density_values(name, params)
    return code, tuple(map(np.dtype(dtype).type, values))
