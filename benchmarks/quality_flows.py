"""Flows of other libraries as contenders of `benchmarks.quality`, by torch and Adam.

zuko's NSF: four autoregressive transforms of rational splines with 8 bins, nets of two hidden
layers of 128. nflows' MAF: five affine autoregressive layers with two blocks of 128, at D above 100
of 512. Columns are standardised first, because the splines act on [-5, 5].
"""

from typing import Any

import numpy as np
import torch

BATCH = {"digits": 100, "mnist": 200}  # rows of a batch; else 500


def make(name: str, D: int) -> Any:
    """Return the flow, and the function of (flow, X) that is its log p (N,)."""
    if name == "zuko-nsf":
        import zuko

        return zuko.flows.NSF(D, transforms=4, hidden_features=(128, 128)), zuko_log_prob
    from nflows.flows.autoregressive import MaskedAutoregressiveFlow

    hidden = 128 if D <= 100 else 512
    flow = MaskedAutoregressiveFlow(D, hidden, 5, 2, use_residual_blocks=False)
    return flow, lambda flow, X: flow.log_prob(X)


def zuko_log_prob(flow: Any, X: Any) -> Any:
    """Return log p (N,)."""
    return flow().log_prob(X)


def train(data: Any, asked: dict[str, Any], course: Any, judge: Any) -> None:
    """Train without end; option: `rate`. Images are dequantised anew, as they are for `fit`."""
    from relgrad_np.runs.rows import rows_of  # which reading the data has imported already

    torch.set_num_threads(1)
    torch.manual_seed(asked["seed"])
    rng = np.random.default_rng(asked["seed"])
    first = np.asarray(data.train[:: -(-len(data.train) // 50_000)])
    mean, std = first.mean(axis=0), first.std(axis=0)
    flow, log_prob = make(asked["contender"], len(mean))
    optimiser = torch.optim.Adam(flow.parameters(), asked["options"]["rate"])

    def ready(X: Any) -> Any:
        return torch.from_numpy(((X - mean) / std).astype(np.float32))

    def score(_: Any, X: Any) -> float:
        with torch.no_grad():
            parts = [log_prob(flow, ready(part)) for part in np.array_split(X, -(-len(X) // 500))]
        return float(torch.cat(parts).double().mean() - np.log(std).sum())

    course.judge = judge(score)
    rows, transform = rows_of(data, "float32", data.levels is not None)
    N = BATCH.get(data.name, 500)
    each, done = -(-len(rows) // N), 0
    while True:
        for batch in np.array_split(rng.permutation(len(rows)), each):
            X = rows[batch] if transform is None else transform(rows[batch], rng)
            optimiser.zero_grad()
            (-log_prob(flow, ready(X)).mean()).backward()
            optimiser.step()
            done += 1
            if course.due():
                course.report(done / each, [flow])
