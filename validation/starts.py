"""What the start alone gives on BSDS300, no step taken: the axes along which layers Gaussianise.

Validation, 10,000 rows, nats; leaky_tanh 0.6, 0.6, normal base; 20,000 rows make the start.
"""

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load

from .fitting import missing
from .report import Section, table
from .store import Line, Store

DEPTHS = (3, 6, 12)
KINDS = ("whiten", "gaussianize", "principal")
KEY: Line = {"data": "bsds300", "kinds": list(KINDS), "depths": list(DEPTHS)}


def score() -> Line:
    """Return the validation log-likelihood by kind of start and depth."""
    data = load("bsds300", n=20_000)
    act, dens = rg.activation("leaky_tanh", alpha=0.6, beta=0.6), rg.density("normal")
    rows: Line = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for L in DEPTHS:
            layers = rg.init_layers(
                np.random.default_rng(0), 63, L, kind=kind, X=data.train, activation=act
            )
            found = rg.log_likelihood(layers, data.validation[:10_000], act, dens).mean
            rows[kind][str(L)] = float(found)
    return rows


def run(store: Store, quick: bool) -> None:
    """Start, and judge, if the photographs are at hand."""
    if missing("bsds300") is None:
        store.run("starts", KEY, score)


def section(store: Store, quick: bool) -> Section:
    """Return the table."""
    line = store.find("starts", KEY)
    if line is None:
        return Section("", (), (f"bsds300: {missing('bsds300') or 'not run yet'}",))
    rows = [[kind, *(f"{x:.1f}" for x in line[kind].values())] for kind in KINDS]
    text = [
        "BSDS300, leaky_tanh, normal base, no step taken: validation log-likelihood in nats.",
        "",
        table(["start", *(f"L = {L}" for L in DEPTHS)], rows),
    ]
    return Section("\n".join(text))
