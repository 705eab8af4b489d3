"""The history of a fit as a picture; Matplotlib is imported when one is asked for."""

from typing import Any

import numpy as np


def plot(flow: Any, ax: Any = None) -> Any:
    """Draw log-likelihoods by epoch into `ax`, or a new figure's; return the axes.

    The training rows', the validation rows', those of the averaged layers where they are there, and
    the epoch that is kept. ModuleNotFoundError, in one line, without Matplotlib; ValueError where
    there is no history.
    """
    history = getattr(flow, "history_", ())
    if not history:
        raise ValueError(
            "there is no history: `fit` makes one, `partial_fit` and a run's file don't"
        )
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "`plot_history` needs Matplotlib: pip install matplotlib", name="matplotlib"
            ) from None
        ax = plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
    epochs = [entry.epoch for entry in history]
    lines = {
        "train": "training rows",
        "validation": "validation rows",
        "averaged": "averaged layers",
    }
    for name, label in lines.items():
        values = np.array([getattr(entry, name) for entry in history], float)
        if np.isfinite(values).any():
            style = {"ls": "--", "marker": "."} if name == "averaged" else {"marker": "."}
            ax.plot(epochs, np.where(np.isfinite(values), values, np.nan), label=label, **style)
    if getattr(flow, "best_epoch_", 0):
        ax.axvline(flow.best_epoch_, color="0.6", lw=1, zorder=0, label="kept")
    ax.set(xlabel="epoch", ylabel="log-likelihood, nats a row")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax
