"""The notebook takes the mean of L_J1 over layers: right for two layers only. D = 3, N = 5."""

import numpy as np


def numbers():
    """Return by L the largest error of log p(x): L_J1 summed over hidden layers, and averaged."""
    found = {}
    for L in (2, 3, 5):
        rng = np.random.default_rng(0)
        Z, J, J2, terms = rng.standard_normal((5, 3)), np.eye(3), 0.0, []
        for k in range(L):
            W = np.eye(3) + 0.3 * rng.standard_normal((3, 3))
            Y, J, J2 = Z @ W.T + 0.5, W @ J, J2 + np.linalg.slogdet(W)[1]
            if k < L - 1:
                slope = 0.3 + 0.7 / (1 + np.exp(-Y))
                Z, J = 0.3 * Y + 0.7 * np.logaddexp(0, Y), slope[:, :, None] * J
                terms.append(np.log(slope).sum(1))
        right = np.linalg.slogdet(J)[1] - J2  # L_J1 of each row, by the dense Jacobian J
        found[f"sum, L = {L}"] = float(np.abs(np.sum(terms, 0) - right).max())
        found[f"mean, L = {L}"] = float(np.abs(np.mean(terms, 0) - right).max())
    return found


if __name__ == "__main__":
    for name, value in numbers().items():
        print(f"{name:12} off by {value:.1e} nats")
