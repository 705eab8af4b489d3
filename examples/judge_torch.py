# %% [markdown]
"""
# A torch net, array by array

Is my torch module right? The oracle answers array by array, and names the mistake if there is one. This is a flow of
two layers with a relative gradient written by hand.
"""

# %%
import math

import torch

from relgrad_np import oracle

ALPHA = 0.3125  # of the oracle's cases


def my_flow(layers, X, problem):
    """Return log p and the relative gradient of its mean, by hand."""
    (W_0, b_0), (W_1, b_1) = layers
    N = len(X)
    Y_0 = X @ W_0.T + b_0
    Y_1 = (ALPHA * Y_0 + (1 - ALPHA) * torch.logaddexp(Y_0, torch.zeros_like(Y_0))) @ W_1.T + b_1

    s = torch.sigmoid(Y_0)
    slope = ALPHA + (1 - ALPHA) * s
    log_p = (math.log(2 / math.pi) - torch.logaddexp(Y_1, -Y_1)).sum(1) + slope.log().sum(1)
    log_det = sum(torch.linalg.slogdet(W)[1] for W in (W_0, W_1))

    Delta_1 = -torch.tanh(Y_1) / N
    Delta_0 = (Delta_1 @ W_1) * slope + (1 - ALPHA) * s * (1 - s) / slope / N
    found = {"log_prob": log_p + log_det}
    for k, (W, b, Y, Delta) in enumerate(((W_0, b_0, Y_0, Delta_0), (W_1, b_1, Y_1, Delta_1))):
        found[f"R_W_{k}"] = Delta.T @ (Y @ W) + W
        found[f"R_b_{k}"] = Delta.T @ (Y @ b + 1) + b
    return found


# %% [markdown]
# Now the term of the log-determinant is left out in one bias.


# %%
def forgetful(layers, X, problem):
    """Return the same without the term of log|det W| in one bias."""
    found = my_flow(layers, X, problem)
    return found | {"R_b_0": found["R_b_0"] - layers[0][1]}


# %%
where = {"L": 2, "activation": "smooth_leaky_relu", "density": "sech"}
for candidate in (my_flow, forgetful):
    report = oracle.check(oracle.from_torch(candidate), where=where)
    print(f"{candidate.__name__}: {report.verdict}\n")
    assert report.passed == (candidate is my_flow)
assert report.mistake == "R_b_without_b"
