"""Numbers of a case that a wrong factor could be."""

import math

import numpy as np

from ..truths.records import Problem


def numbers(p: Problem, k: int) -> dict[str, float]:
    """Return the numbers that a factor in layer k could be, by name.

    >>> from relgrad_np.oracle.truths.problems import optimum
    >>> numbers(optimum(), 0)["1/N"]
    0.125
    """
    N, D, L, eta = p.N, p.D, p.L, p.eta
    sign, log = np.linalg.slogdet(p.W[k])
    found = {
        "N": N, "1/N": 1 / N, "N - 1": N - 1, "1/N - 1": 1 / N - 1, "1/(N + 1)": 1 / (N + 1),
        "N/(N - 1)": N / (N - 1) if N > 1 else math.nan, "(N - 1)/N": (N - 1) / N,
        "1/(N - 1)": 1 / (N - 1) if N > 1 else math.nan, "N/(N + 1)": N / (N + 1),
        "N^2": N**2, "1/N^2": 1 / N**2, "sqrt(N)": N**0.5, "1/sqrt(N)": N**-0.5,
        "D": D, "1/D": 1 / D, "D - 1": D - 1, "sqrt(D)": D**0.5, "1/sqrt(D)": D**-0.5,
        "N D": N * D, "1/(N D)": 1 / (N * D), "D/N": D / N, "N/D": N / D,
        "L": L, "1/L": 1 / L, "L - 1": L - 1, "k + 1": k + 1, "1/(k + 1)": 1 / (k + 1),
        "L - k": L - k, "1/(L - k)": 1 / (L - k), "k": k, "1 - 1/L": 1 - 1 / L,
        "sign(det W)": sign, "det W": sign * math.exp(log), "|det W|": math.exp(log),
        "-2 [det W < 0]": -2.0 if sign < 0 else 0.0, "log|det W|": log,
        "eta": eta, "1/eta": 1 / eta, "-eta": -eta, "1 + eta": 1 + eta,
        "1/(1 + eta)": 1 / (1 + eta), "eta/2": eta / 2, "-eta/2": -eta / 2,
        "1 - eta": 1 - eta, "eta^2": eta**2, "eta^2 - eta": eta**2 - eta,
        "eta/N - eta": eta / N - eta, "eta N - eta": eta * N - eta, "D - N": D - N,
        "eta/(k + 1) - eta": eta / (k + 1) - eta, "eta/L - eta": eta / L - eta,
        "D log 2": D * math.log(2), "D log(2 pi)/2": D * math.log(2 * math.pi) / 2,
        "D log pi": D * math.log(math.pi), "D L": D * L, "log N": math.log(N), "log D": math.log(D),
        "1/det W": sign * math.exp(-log), "1/|det W|": math.exp(-log), "-1/N": -1 / N,
        "-1/D": -1 / D, "1/D - 1": 1 / D - 1, "1/L - 1": 1 / L - 1,
    }  # fmt: skip
    for name in ("alpha", "beta"):
        if name in p.activation.params:
            value = p.activation.params[name]
            found |= {name: value, f"1 - {name}": 1 - value, f"1/{name}": 1 / value}
    return {name: float(x) for name, x in found.items()}
