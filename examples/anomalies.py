"""Anomalies: what is unlikely under a density of the usual data. In a scikit-learn Pipeline.

The usual data are handwritten digits, 8 x 8 pixels. Mirrored ones are as dark, as connected and as
varied, but nobody writes so. The model has seen no mirrored digit, nor the digits it is judged on.

    python examples/anomalies.py
"""

import numpy as np
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

# Pixels that are always white have no density: PCA keeps 20 directions that have one.
model = make_pipeline(
    PCA(20), StandardScaler(), RelativeGradientFlow(n_layers=4, epochs=40, random_state=0)
)
model.fit(usual)
log_p = model.score_samples(judged)  # nats

gaussian = make_pipeline(PCA(20), EmpiricalCovariance()).fit(usual)
distance = gaussian[-1].mahalanobis(gaussian[:-1].transform(judged))

threshold = np.quantile(model.score_samples(usual), 0.05)  # one usual digit in twenty is below
flagged = log_p < threshold
print(f"{len(usual)} digits fitted; {anomalous.sum()} mirrored ones among {len(judged)} judged")
print(f"area under the ROC curve: {roc_auc_score(anomalous, -log_p):.3f}")
print(f"a Gaussian's:             {roc_auc_score(anomalous, distance):.3f}")
print(
    f"flagged: {flagged[anomalous].mean():.0%} of the mirrored, "
    f"{flagged[~anomalous].mean():.0%} of the others"
)
