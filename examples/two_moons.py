# %% [markdown]
"""
# Two moons, from data to samples

A density in the plane, by the array functions that everything else calls: start, fit, score, sample. Sixteen dense
layers map the two moons to one round cloud.
"""

# %%
import numpy as np
from matplotlib import pyplot as plt

import relgrad_np as rg
from relgrad_np.datasets import TOYS

rng = np.random.default_rng(0)
X, unseen = TOYS["moons"](3000, rng), TOYS["moons"](1000, rng)  # (N, 2) each
X, unseen = (X - X.mean(axis=0)) / X.std(axis=0), (unseen - X.mean(axis=0)) / X.std(axis=0)

activation, density = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("student_t")
start = rg.init_layers(rng, D=2, L=16, kind="principal", X=X, activation=activation)

# %% [markdown]
# In few dimensions the natural gradient of all layers at once is the rule to take.

# %%
result = rg.fit(
    start, X, activation, density, rule="natural", rng=rng, epochs=60, batch_size=600, X_val=unseen
)
layers = result.best_layers
log_p = rg.log_likelihood(layers, unseen, activation, density).per_sample  # (1000,), nats
gaussian = -np.log(2 * np.pi) - 1 - np.linalg.slogdet(np.cov(X.T))[1] / 2
print(f"unseen rows: {log_p.mean():.2f} nats a row, a Gaussian {gaussian:.2f}")
assert log_p.mean() > gaussian + 0.8

# %% [markdown]
# Samples are drawn in the latent space and pass the inverse of each layer. `sample` also returns their exact log-likelihoods.

# %%
samples, _ = rg.sample(layers, rng, 3000, activation, density)
latent = rg.forward(layers, X, activation).Zs[-1]

grid = np.stack(np.meshgrid(*2 * [np.linspace(-2.6, 2.6, 200)]), axis=-1).reshape(-1, 2)
p = np.exp(rg.log_likelihood(layers, grid, activation, density).per_sample).reshape(200, 200)

figure, axes = plt.subplots(1, 4, figsize=(12, 3.2))
for ax, rows, name in zip(axes, (X, samples, latent), ("data", "samples", "latent"), strict=False):
    ax.plot(*rows.T, ".", ms=1.5)
    ax.set_title(name)
    ax.set_box_aspect(1)
for ax in axes[:2]:
    ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
axes[2].set(xlim=(-6, 6), ylim=(-6, 6))
axes[3].imshow(p, origin="lower", extent=(-2.6, 2.6, -2.6, 2.6))
axes[3].set_title("density")
plt.show()
