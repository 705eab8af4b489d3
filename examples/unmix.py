# %% [markdown]
"""
# Mixed signals

Four signals are mixed and shifted, and then recovered up to order, sign and scale. ICA is one layer at maximum likelihood
(Infomax with the relative gradient). `RelativeICA` finds the density of each source by itself: three of these have heavier
tails than the Gaussian, one has lighter ones.
"""

# %%
import numpy as np
from matplotlib import pyplot as plt

from relgrad_np.estimator import RelativeICA

rng = np.random.default_rng(0)
t = np.arange(4000) / 400  # seconds
sources = np.stack(
    [
        np.sin(2 * np.pi * 7 * t) * np.maximum(np.sin(2 * np.pi * 0.3 * t), 0) ** 4,  # bursts
        np.sin(2 * np.pi * 2.3 * t),  # a steady tone, lighter than the Gaussian
        np.exp(-((t % 0.9 - 0.4) ** 2) / 0.0008) - 0.3 * np.exp(-((t % 0.9 - 0.5) ** 2) / 0.004),
        rng.standard_normal(t.size)
        * np.cos(2 * np.pi * 0.11 * t) ** 4,  # noise that comes and goes
    ],
    axis=1,
)
sources = (sources - sources.mean(axis=0)) / sources.std(axis=0)
mixing = rng.uniform(-1, 1, (4, 4))
X = sources @ mixing.T + [3.0, -1.0, 0.5, 2.0]  # what four sensors hear

# %% [markdown]
# Four sensors hear mixtures of them. The fit has the interface of scikit-learn's FastICA.

# %%
ica = RelativeICA(random_state=0).fit(X)
found = ica.transform(X)

# %% [markdown]
# If all went well, the unmixing matrix times the mixing matrix is a scaled permutation. The Amari distance measures how far
# it is from one: 0 is perfect, 1 the worst.

# %%
gain = np.abs(ica.components_ @ mixing)  # a scaled permutation, if all went well
rows, columns = gain / gain.max(axis=1, keepdims=True), gain / gain.max(axis=0)
amari = (rows.sum() + columns.sum() - 2 * len(gain)) / (2 * len(gain) * (len(gain) - 1))
print(f"Amari distance to the true mixing: {amari:.4f} (0 is perfect, 1 the worst)")
assert amari < 0.02

order = gain.argmax(axis=0)
agreement = [abs(np.corrcoef(sources[:, j], found[:, i])[0, 1]) for j, i in enumerate(order)]
print("correlation with the true signals: " + ", ".join(f"{r:.3f}" for r in agreement))

# %%
figure, panels = plt.subplots(4, 3, sharex=True, figsize=(9, 5))
shown = t < 4
for j in range(4):
    sign = np.sign(np.corrcoef(sources[:, j], found[:, order[j]])[0, 1])
    three = (sources[:, j], X[:, j], sign * found[:, order[j]])
    for axes, signal in zip(panels[j], three, strict=True):
        axes.plot(t[shown], signal[shown], lw=0.7)
        axes.set_yticks([])
for axes, title in zip(panels[0], ("signals", "heard by the sensors", "found"), strict=True):
    axes.set_title(title)
for axes in panels[-1]:
    axes.set_xlabel("seconds")
plt.show()
