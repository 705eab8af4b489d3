# %% [markdown]
"""
# Samples of handwritten digits

Images are rows of pixels: 1,797 digits of 8 x 8 come with scikit-learn. They are dequantised and transformed to logits,
because the model is a density on all of R, and back to pixels at the end. If you have MNIST in a folder, use
`load("mnist", folder)` in place of `load("digits", seed=0)`; `relgrad-np train mnist --preset mnist --data-dir FOLDER`
does everything.
"""

# %%
import numpy as np
from matplotlib import pyplot as plt

import relgrad_np as rg
from relgrad_np.datasets import load

data = load("digits", seed=0)  # rows in logit space, and the way back
activation, density = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
rng = np.random.default_rng(0)
start = rg.init_layers(rng, 64, 3, kind="gaussianize", X=data.train, activation=activation)
result = rg.fit(start, data.train, activation, density, rng=rng, epochs=20, X_val=data.validation)
test = rg.log_likelihood(result.best_layers, data.test, activation, density).mean
print(f"{len(data.train)} digits fitted, {len(data.test)} unseen: {test:.1f} nats a digit")

# %% [markdown]
# For comparison, the closed-form Gaussian of the same training rows, which must be worse:

# %%
mean, covariance = data.train.mean(axis=0), np.cov(data.train.T, bias=True)
off = data.test - mean
squares = (off * np.linalg.solve(covariance, off.T).T).sum(axis=1)
log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
print(f"a Gaussian: {-(squares.mean() + log_det) / 2:.1f} nats a digit")
assert test > -(squares.mean() + log_det) / 2 + 5

# %%
samples, _ = rg.sample(result.best_layers, rng, 40, activation, density)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
for ax, rows, name in zip(panels, (data.test[:40], samples), ("data", "samples"), strict=True):
    images = data.transforms.inverse(rows).reshape(4, 10, 8, 8)  # pixels
    ax.imshow(np.block([list(row) for row in images]), cmap="gray_r", vmin=0, vmax=16)
    ax.set_title(name)
    ax.set_axis_off()
plt.show()
