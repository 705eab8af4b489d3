"""Mistakes that are not in the catalogue: each must be detected, at the right stage and layer."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from relgrad_np.oracle import check
from relgrad_np.oracle.mistakes import elementwise as e
from relgrad_np.oracle.mistakes.formulas import LINES, Line
from relgrad_np.oracle.truths.records import Suite

from .planted import numpy_candidate


class Uncatalogued(NamedTuple):
    """A mistake, the stage and layer (0, 1, last, below last, net) in which it shows first."""

    title: str
    stage: str
    layer: str
    lines: Mapping[str, Line]


def _half(x: Any) -> Any:
    return x.astype(np.float16).astype(x.dtype)


def _mirror(m: Any, k: int) -> Any:
    return LINES["Z"](m, k) if k >= m.hidden else _overwrite(m.Y[k], LINES["Z"](m, k))


def _overwrite(target: Any, value: Any) -> Any:
    target[...] = value
    return target


def _clipped(m: Any, k: int) -> Any:
    y = m.Y[k]
    if k >= m.hidden or m.act.name != "smooth_leaky_relu":
        return LINES["Z"](m, k)
    a = m.act.params["alpha"]
    return a * y + (1 - a) * np.log1p(np.exp(np.minimum(y, 30)))


def _kinked(m: Any, k: int) -> Any:
    y = m.Y[k]
    if k >= m.hidden or m.act.name != "smooth_leaky_relu":
        return LINES["Z"](m, k)
    return np.maximum(y, m.act.params["alpha"] * y)


def _one_newton_step(m: Any) -> Any:
    Z = m.Z_back
    for k in reversed(range(m.L)):
        if k < m.hidden:
            y = Z
            Z = y - (e.sigma(np, m.act, y) - Z) / e.dsigma(np, m.act, y)
        Z = LINES["unline"](m, k, Z)
    return Z


UNCATALOGUED = [
    Uncatalogued("sum over the samples, not over components", "L_p", "net", {
        "L_p": lambda m: 0 * LINES["L_p"](m) + np.sum(
            e.log_density(np, m.dens, m.Z[-1]), 0).mean()}),
    Uncatalogued("stale cache: every layer's R_W uses the first layer's W", "R_W", "1", {
        "R_W": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.W[0]) + m.W[k]}),
    Uncatalogued("in-place aliasing: sigma overwrites Y", "Y", "0", {"Z": _mirror}),
    Uncatalogued("off by one: the bias of the layer below", "Y", "1", {
        "Y": lambda m, k: m.Z[k] @ m.W[k].T + m.b[max(k - 1, 0)]}),
    Uncatalogued("broadcasting: b is added by sample, not by component", "Y", "0", {
        "Y": lambda m, k: m.Z[k] @ m.W[k].T + m.b[k][np.arange(m.N) % m.D][:, None]}),
    Uncatalogued("a clipped exponent in the activation", "Z", "0", {"Z": _clipped}),
    Uncatalogued("the kinked leaky ReLU for the smooth one", "Z", "0", {"Z": _kinked}),
    Uncatalogued("dtype truncation: b goes through float16", "Y", "0", {
        "Y": lambda m, k: m.Z[k] @ m.W[k].T + _half(m.b[k])}),
    Uncatalogued("1/(N - 1) for 1/N", "Delta", "last", {"share": lambda m: 1 / max(m.N - 1, 0.5)}),
    Uncatalogued("back through the symmetric part of W", "Delta", "below last", {
        "dZ": lambda m, k: m.Delta[k] @ (m.W[k] + m.W[k].T) / 2}),
    Uncatalogued("Deltas clipped to 0.05", "Delta", "last", {
        "Delta": lambda m, k, above: np.clip(LINES["Delta"](m, k, above), -0.05, 0.05)}),
    Uncatalogued("the score of sech for every density", "Delta", "last", {
        "dZ_last": lambda m: -np.tanh(m.Z[-1]) / m.N}),
    Uncatalogued("the product of the diagonal for the determinant", "L_J2", "net", {
        "logdet": lambda m, k: np.sum(np.log(np.abs(np.diag(m.W[k]))))}),
    Uncatalogued("samples of Delta and Y in different order", "R_W", "0", {
        "R_W": lambda m, k: m.Delta[k].T @ (m.Y[k][::-1] @ m.W[k]) + m.W[k]}),
    Uncatalogued("the last sample is left out of R_W", "R_W", "0", {
        "R_W": lambda m, k: m.Delta[k][:-1].T @ (m.Y[k][:-1] @ m.W[k]) + m.W[k]}),
    Uncatalogued("weight decay in G_W", "G_W", "0", {
        "G_W": lambda m, k: LINES["G_W"](m, k) - 0.01 * m.W[k]}),
    Uncatalogued("G_b of the layer above", "G_b", "0", {
        "G_b": lambda m, k: m.Delta[min(k + 1, m.L - 1)].sum(0)}),
    Uncatalogued("the modulus of b in R_b", "R_b", "0", {
        "R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1) + np.abs(m.b[k])}),
    Uncatalogued("eta shrinks with depth", "W_plus", "1", {
        "W_plus": lambda m, k: m.W[k] + m.eta / (k + 1) * m.R_W[k]}),
    Uncatalogued("log|det W+| to first order in eta", "logdet_plus", "0", {
        "logdet_plus": lambda m, k: LINES["logdet"](m, k) + m.eta * (
            m.D + np.sum(m.Delta[k] * m.Y[k]))}),
    Uncatalogued("one step of Newton's method for the inverse activation", "X_back", "net", {
        "X_back": _one_newton_step}),
    Uncatalogued("log cosh with its log 2 forgotten, whatever the density", "L_p", "net", {
        "L_p": lambda m: LINES["L_p"](m) + m.D * math.log(2)}),
]  # fmt: skip


def table(suite: Suite, dtype: str) -> list[tuple[str, bool, bool, str]]:
    """For each: its title, whether it was detected and placed right, what was said."""
    rows = []
    for s in UNCATALOGUED:
        report = check(numpy_candidate(s.lines), suite, dtype=dtype, twice=False)
        L = report.layers
        layer = {"net": None, "last": L - 1, "below last": L - 2}.get(s.layer, 0)
        layer = int(s.layer) if s.layer.isdigit() else layer
        right = report.first is not None and (report.first.stage, report.first.layer) == (
            s.stage, layer,
        )  # fmt: skip
        right = right and report.stage == s.stage and report.layer == layer
        rows.append((s.title, not report.passed, right, report.diagnosis))
    return rows
