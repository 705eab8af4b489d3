"""What the start alone gives on BSDS300, no step taken: the axes along which layers Gaussianise.

    python -m validation.starts

Validation, 10,000 rows, nats; leaky_tanh 0.6, 0.6, normal base; 20,000 rows make the start.
"""

import json

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load

from .experiments import RESULTS

DEPTHS = (3, 6, 12)


def main() -> None:
    """Start, judge, print."""
    data = load("bsds300", n=20_000)
    act, dens = rg.activation("leaky_tanh", alpha=0.6, beta=0.6), rg.density("normal")
    rows = {}
    print("| | " + " | ".join(f"L = {L}" for L in DEPTHS) + " |\n|---|" + "---|" * len(DEPTHS))
    for kind in ("whiten", "gaussianize", "principal"):
        rows[kind] = {}
        for L in DEPTHS:
            layers = rg.init_layers(
                np.random.default_rng(0), 63, L, kind=kind, X=data.train, activation=act
            )
            found = rg.log_likelihood(layers, data.validation[:10_000], act, dens).mean
            rows[kind][str(L)] = float(found)
        print(f"| {kind} | " + " | ".join(f"{x:.1f}" for x in rows[kind].values()) + " |")
    text = json.dumps({"command": "python -m validation.starts", "bsds300": rows}, indent=1)
    (RESULTS / "starts.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
