# %% [markdown]
"""
# A density of your own CSV

How likely is each row of a table, which rows are odd, and what would new rows be?

    python examples/own_csv.py my.csv [new_rows.csv]

The first line of the file names the columns. Columns that are not numbers and rows with missing values are left out.
A constant column, or one that others determine (a copy, a sum), has no density: a message names it, and you drop it.
Without an argument it writes a table of its own, with three wrong rows.
"""

# %%
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from relgrad_np.estimator import RelativeGradientFlow


def made_up_table(path: Path) -> None:
    """Write 600 people's height, weight and pulse; the last three rows are wrong."""
    rng = np.random.default_rng(0)
    height = 1.72 + 0.09 * rng.standard_normal(600)
    weight = 23 * height**2 * np.exp(0.15 * rng.standard_normal(600))
    pulse = 55 + 8 * rng.gamma(2.0, size=600)
    table = pd.DataFrame({"height": height, "weight": weight, "pulse": pulse})
    table.loc[597] = [172.0, 68.0, 70.0]  # in centimetres
    table.loc[598] = [1.75, 20.0, 80.0]
    table.loc[599] = [1.60, 60.0, 300.0]
    table.to_csv(path, index=False)


# %%
if len(sys.argv) > 1:
    path = Path(sys.argv[1])
else:
    path = Path("people.csv")
    made_up_table(path)
whole = pd.read_csv(path)
table = whole.select_dtypes("number").dropna(axis="columns", how="all").dropna()
if table.shape != whole.shape:
    left_out = list(whole.columns.difference(table.columns))
    print(f"left out: columns {left_out}, {len(whole) - len(table)} rows with missing values")

# %% [markdown]
# Columns may have any units: the start whitens them, and the steps do not depend on how they are mixed.

# %%
flow = RelativeGradientFlow(
    n_layers=4, density="student_t", epochs=40, validation_fraction=0.2, random_state=0
)
try:
    flow.fit(table)
except ValueError as error:  # it names the columns that have no density
    sys.exit(f"{path}: {error}")
log_p = pd.Series(flow.score_samples(table), index=table.index, name="log_p")
best = max(epoch.validation for epoch in flow.history_)
print(f"{len(table)} rows of {list(flow.feature_names_in_)}")
print(f"log-likelihood of rows kept for validation: {best:.2f} nats a row")

# %% [markdown]
# The least likely rows come first. The wrong ones are among them.

# %%
print("the least likely rows:")
print(table.assign(log_p=log_p.round(1)).sort_values("log_p").head(5).to_string())
assert len(sys.argv) > 1 or {597, 598, 599} <= set(log_p.nsmallest(5).index)

# %% [markdown]
# New rows, drawn from the density:

# %%
new = pd.DataFrame(flow.sample(5, random_state=1), columns=table.columns)
target = Path(sys.argv[2]) if len(sys.argv) > 2 else path.with_name("new_rows.csv")
new.to_csv(target, index=False)
print(f"five new rows, in {target}:")
print(new.round(2).to_string())
