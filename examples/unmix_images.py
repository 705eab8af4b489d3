# %% [markdown]
"""
# Mixed images

Three pictures are superposed in three ways, as by a window that shows a view and reflections. Pixels are rows, mixtures are
columns, and `RelativeICA` recovers the pictures. It knows nothing of the mixing.
"""

# %%
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_sample_images

from relgrad_np.estimator import RelativeICA

china, flower = (image.mean(axis=2) for image in load_sample_images().images)  # (427, 640), grey
pictures = [china[100:400:2, :400:2], flower[100:400:2, 180:580:2], china[60:210, 380:580]]
S = np.stack([picture.ravel() for picture in pictures], axis=1)  # (30000, 3)
S = (S - S.mean(axis=0)) / S.std(axis=0)
mixing = np.array([[0.6, 0.5, 0.4], [0.4, -0.6, 0.5], [0.5, 0.3, -0.6]])
X = S @ mixing.T

# %% [markdown]
# The fit finds the density of each picture by itself: the densities of pictures are skewed, and differ from each other.

# %%
ica = RelativeICA(random_state=0).fit(X)
found = ica.transform(X)
correlation = np.corrcoef(S.T, found.T)[:3, 3:]  # pictures, components
which = np.abs(correlation).argmax(axis=1)
best = np.abs(correlation).max(axis=1)
print("correlation with the true pictures: " + ", ".join(f"{r:.2f}" for r in best))
assert sorted(which) == [0, 1, 2]
assert best.min() > 0.9

# %% [markdown]
# Order and sign can't be known; here they are those of the true pictures.

# %%
signs = np.sign(correlation[range(3), which])
figure, panels = plt.subplots(3, 3, figsize=(9, 7))
for row, (name, rows) in zip(
    panels, {"pictures": S, "mixed": X, "found": found[:, which] * signs}.items(), strict=True
):
    for ax, pixels in zip(row, rows.T, strict=True):
        ax.imshow(pixels.reshape(150, 200), cmap="gray")
        ax.set_xticks([])
        ax.set_yticks([])
    row[0].set_ylabel(name)
plt.show()
