"""Samples: images drawn from the models of MNIST, Fashion-MNIST, the digits and BSDS300."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting.storage.model import in_float64
from relgrad_np.runs import plots

from .density import variants
from .fitting import SETS, Wanted, fitted, missing
from .report import Claim, Section, table
from .store import Line, Store

SHOWN = {  # the density runs of seed 0 whose samples are shown, and what they are called
    ("digits", "as set"): "the digits (8 x 8)",
    ("mnist", "two layers"): "MNIST, two layers",
    ("mnist", "eight layers"): "MNIST, eight layers",
    ("fashion-mnist", "two layers"): "Fashion-MNIST, two layers",
    ("fashion-mnist", "eight layers"): "Fashion-MNIST, eight layers",
    ("bsds300", "as set"): "BSDS300, patches of 8 x 8",
}


def wanted(quick: bool) -> Iterator[tuple[str, str, Wanted]]:
    """Yield (title, name of the picture, run)."""
    for (name, variant), title in SHOWN.items():
        picture = name if variant == "as set" else f"{name}-{variant.replace(' ', '-')}"
        yield title, picture, Wanted(name, variants(name, 0)[variant])


def key(picture: str, one: Wanted) -> Line:
    """Return what tells this picture: its model."""
    return {"picture": picture, **one.key()}


def run(store: Store, quick: bool) -> None:
    """Draw what is not drawn; a model that is not kept is fitted again."""
    for _, picture, one in wanted(quick):
        if missing(one.data) is None:
            show(store, picture, one)


def show(store: Store, picture: str, one: Wanted) -> None:
    """Draw a picture, if it is not there or not of this model."""
    path, mine = store.figure(f"samples-{picture}"), key(picture, one)
    if path.exists() and store.find("samples", mine) and not store.renews("samples", mine):
        return
    _, model = fitted(store, "density", one)
    line = draw(path, one.data, model, SETS(one.data, 0))
    store.run("samples", mine, lambda: line)


def draw(path: Path, name: str, model: Any, data: Any) -> Line:
    """Draw 36 test rows beside 36 samples; return what tells how the samples are."""
    layers, n = in_float64(model.layers), 2000
    X, log_p = rg.sample(layers, np.random.default_rng(0), n, model.activation, model.density)
    test = np.asarray(data.test[:n])
    own = rg.log_likelihood(layers, test, model.activation, model.density).per_sample
    images = patches if name == "bsds300" else model.transforms.inverse
    shape = (8, 8) if name == "bsds300" else data.image_shape
    plots.image_grid(
        path, images(test[:36]), images(X[:36]), shape,
        ("test rows", "samples of the model"),
    )  # fmt: skip
    return {
        "log p of samples": float(log_p.mean()),
        "log p of test rows": float(own.mean()),
        "finite": bool(np.isfinite(X).all()),
    }


def patches(X: Any) -> Any:
    """Give patches (N, 63) their last pixel back: they sum to nothing."""
    return np.hstack([X, -X.sum(axis=1, keepdims=True)])


def section(store: Store, quick: bool) -> Section:
    """Return the pictures."""
    rows, pictures, lacking, claims = [], [], [], []
    for title, picture, one in wanted(quick):
        line = store.find("samples", key(picture, one))
        if line is None:
            lacking.append(f"{title}: {'no data' if missing(one.data) else 'not drawn yet'}")
            continue
        rows.append([title, f"{line['log p of samples']:.1f}", f"{line['log p of test rows']:.1f}"])
        pictures.append(f"{title}:\n\n![samples](figures/samples-{picture}.png)\n")
        if not line["finite"]:
            claims.append(Claim(f"{title}: every sample is finite", "not all of 2,000", False))
    text = [
        "36 test rows beside 36 samples, nothing chosen, no temperature. Mean log-likelihood under "
        "the model of 2,000 samples and of as many test rows; where the first is far from the "
        "second, the model is not the data's distribution, however good its density. Patches that "
        "leave the scale are of the tail of their heavy base, which bounded pixels have not:",
        "",
        table(["model", "log p of samples", "log p of test rows"], rows),
        "",
        *pictures,
    ]
    return Section("\n".join(text), tuple(claims), tuple(lacking))
