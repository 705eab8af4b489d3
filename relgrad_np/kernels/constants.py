"""Numbers that the kernels of the base densities are given, on CPU and GPU alike; no library."""

import math

from ..student_t import log_t_constant

DENSITIES = {
    "normal": (-0.5, -0.5 * math.log(2 * math.pi), 0.0, 0.0),
    "logistic": (-1.0, 0.0, -2.0, 0.0),
    "laplace": (0.0, -math.log(2), 0.0, 0.0),
    "sech": (-2.0, math.log(2 / math.pi), -1.0, 0.0),
}
NAMES = (*DENSITIES, "student_t")


def density_values(name: str, params: dict[str, float]) -> tuple[int, tuple[float, ...]]:
    """Return the code of a density, and its four constants.

    >>> density_values("laplace", {})[0]
    2
    """
    if name != "student_t":
        return NAMES.index(name), DENSITIES[name]
    nu = params["nu"]
    root = math.sqrt(nu)
    return NAMES.index(name), (1 / root, log_t_constant(nu), -(nu + 1) / 2, (nu + 1) / root)
