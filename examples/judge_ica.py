# %% [markdown]
"""
# Three ICA programs

Picard's relative gradient, the infomax update of MNE and EEGLAB, and the natural gradient of AMICA with a generalised
Gaussian source, each written from its formula in about ten lines. The oracle compares the arrays that each returns with
60-digit values, after its conventions are declared: descent, a base density without its constant, weights stored (in,
out), sums over a block. Then each gets a mistake, which the oracle names. It needs mpmath
(`pip install -e ".[vectors]"`).
"""

# %%
import numpy as np

from relgrad_np import oracle


def picard(problem):
    """Take signals in rows (D, N), the score tanh; G is the loss's gradient, relative to W."""
    W, X = problem.W[0], problem.X.T
    Y = W @ X
    psi = np.tanh(Y)
    G = psi @ Y.T / X.shape[1] - np.eye(len(W), dtype=W.dtype)
    loss = np.abs(Y) + np.log1p(np.exp(-2 * np.abs(Y))) - np.log(2)  # log cosh(y), no constant
    found = {"Y_0": Y.T, "L_p": -loss.sum(0), "Delta_0": psi.T / X.shape[1], "xi_0": G}
    return found | {"W_plus_0": W - problem.eta * G @ W}


def infomax(problem):
    """Take weights (in, out), the score 1 - 2 y of a logistic source, sums over the block."""
    weights, data = problem.W[0], problem.X
    u = data @ weights
    y = 1 / (1 + np.exp(-u))
    BI = len(data) * np.eye(len(weights), dtype=weights.dtype)
    step = BI + u.T @ (1 - 2 * y)
    return {"Y_0": u, "xi_0": step, "W_plus_0": weights + problem.eta * weights @ step}


def amica(problem):
    """Take sources of density exp(-|y|^rho) / (2 Gamma(1 + 1/rho)); W moves by (I - E[fp y']) W."""
    W, rho = problem.W[0], problem.density.params["rho"]
    y = problem.X @ W.T
    fp = rho * np.sign(y) * np.abs(y) ** (rho - 1)
    dW = np.eye(len(W), dtype=W.dtype) - fp.T @ y / len(y)
    return {"Y_0": y, "Delta_0": -fp / len(y), "xi_0": dW, "W_plus_0": W + problem.eta * dW @ W}


def spoiled(candidate, **wrong):
    """Return the same candidate with some of its arrays changed."""
    return lambda p: {k: wrong.get(k, lambda x, p: x)(x, p) for k, x in candidate(p).items()}


# %%
no_bias = {"bias": "none"}
one_layer = [  # whose it is, on which cases, with which conventions, and a mistake to make in it
    (picard, {"density": "sech"}, {"direction": "descent", "base": "unnormalised"},
     {"xi_0": lambda G, p: G.T}),
    (infomax, {"density": "logistic"}, {"weights": "transposed", "reduction": "sum"},
     {"W_plus_0": lambda weights, p: p.W[0] - (weights - p.W[0])}),
    (amica, {"density": "generalized_gaussian", "rho": 1.5}, {},
     {"xi_0": lambda dW, p: dW - np.eye(p.D)}),
]  # fmt: skip
for candidate, model, conventions, mistake in one_layer:
    how = oracle.Conventions(**no_bias, **conventions)
    # the oracle has cases for the first two; for the third it makes some
    suite = oracle.suite(**model, L=1, D=2, bias=False) if "rho" in model else None
    where = {"L": 1, "density": model["density"]}
    for made in (candidate, spoiled(candidate, **mistake)):
        name = candidate.__name__
        report = oracle.check(made, suite, conventions=how, name=name, where=where)
        print(f"{report.candidate}: {report.verdict}\n")
        assert report.passed == (made is candidate)
