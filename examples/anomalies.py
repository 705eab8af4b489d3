# %% [markdown]
"""
# Anomalies, in a Pipeline

An anomaly is a row that is unlikely under a density of the usual rows. Here handwritten digits of 8 x 8 pixels are usual,
and mirrored ones are not: they are as dark, as connected and as varied, but nobody writes them. The model has not seen
mirrored digits, or the digits it is judged on.
"""

# %%
import numpy as np
from matplotlib import pyplot as plt
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from relgrad_np.estimator import RelativeGradientFlow

digits = load_digits().data  # (1797, 64)
usual, unseen = train_test_split(digits, test_size=0.3, random_state=0)
mirrored = unseen.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
judged = np.concatenate([unseen, mirrored])
anomalous = np.arange(len(judged)) >= len(unseen)

# %% [markdown]
# Pixels that are always white have no density, so PCA keeps 20 directions that have one. The model is the last step of a
# scikit-learn pipeline.

# %%
model = make_pipeline(
    PCA(20), StandardScaler(), RelativeGradientFlow(n_layers=4, epochs=40, random_state=0)
)
model.fit(usual)
log_p = model.score_samples(judged)  # nats

# %% [markdown]
# It has to beat a Gaussian of the same directions.

# %%
gaussian = make_pipeline(PCA(20), EmpiricalCovariance()).fit(usual)
distance = gaussian[-1].mahalanobis(gaussian[:-1].transform(judged))

threshold = np.quantile(model.score_samples(usual), 0.05)  # one usual digit in twenty is below
flagged = log_p < threshold
print(f"{len(usual)} digits fitted; {anomalous.sum()} mirrored ones among {len(judged)} judged")
areas = roc_auc_score(anomalous, -log_p), roc_auc_score(anomalous, distance)
print(f"area under the ROC curve: {areas[0]:.3f}")
print(f"a Gaussian's:             {areas[1]:.3f}")
print(
    f"flagged: {flagged[anomalous].mean():.0%} of the mirrored, "
    f"{flagged[~anomalous].mean():.0%} of the others"
)
assert areas[0] > areas[1] + 0.1

# %%
figure, axes = plt.subplots(figsize=(7, 3.2))
bins = np.linspace(np.quantile(log_p, 0.01), log_p.max(), 40)
for rows, colour, name in ((~anomalous, "C0", "as written"), (anomalous, "C1", "mirrored")):
    axes.hist(log_p[rows], bins, histtype="step", color=colour, lw=1.8)
    axes.text(np.median(log_p[rows]), 2, name, color=colour, ha="center")
axes.axvline(threshold, color="0.5", ls=":")
axes.set(xlabel="log-likelihood (nats)", ylabel="digits")
plt.show()
