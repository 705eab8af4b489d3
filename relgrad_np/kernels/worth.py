"""Whether compiling pays: what the steps of a fit cost without it."""

COMPILING = 20.0  # seconds, about, for the kernels of one dtype and kind of rule


def reference_seconds(steps: int, N: int, D: int, L: int) -> float:
    """Estimate how long the reference takes for so many steps, in seconds.

        steps L (1.2e-3 + 1e-7 N D + 5e-9 D^2 + 2e-10 N D (D + n)), n = min(N, D)

    for each layer: what Python's calls cost, passes over Y and W, and products. It was fitted to 15
    shapes, D from 2 to 1500, of the recipe, the plain step and Adam in float64 on one core, and is
    right within a factor of 4 there, and of 2 for most: it is asked for an order of magnitude.

    >>> [round(reference_seconds(*work), 2) for work in ((75, 100, 3, 2), (7500, 100, 784, 2))]
    [0.18, 389.62]
    """
    n = min(N, D)
    return steps * L * (1.2e-3 + 1e-7 * N * D + 5e-9 * D * D + 2e-10 * N * D * (D + n))


def natural_seconds(steps: int, N: int, D: int, L: int, one: int = 1) -> float:
    """Estimate what the natural gradient adds to that: N P^2 + P^3 operations, P = L (D^2 + D).

    At 2e10 operations a second, what one core does. With context P = L (D^2 + D one), one = c + 1.

    >>> round(natural_seconds(600, 2000, 2, 48), 1)
    5.7
    """
    P = L * D * (D + one)
    return steps * (N * P * P + P**3) / 2e10
