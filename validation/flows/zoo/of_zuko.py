"""Transforms and flows of zuko."""

from __future__ import annotations

from typing import Any

from .entries import Entry, shaken

ITERATED = {"inverse_accuracy": 1e-5}  # its inverse bisects to 1e-6


def entries() -> list[Entry]:
    """Return the entries."""
    import numpy as np
    import torch
    import zuko.flows as zf
    import zuko.transforms as zt

    small: dict[str, Any] = {"hidden_features": (16,), "transforms": 2, "activation": torch.nn.Tanh}

    def flow(kind: str, D: int, C: int = 0, **more: Any) -> Any:
        def make() -> Any:
            torch.manual_seed(4)
            return shaken(getattr(zf, kind)(D, C, **{**small, **more}), 0.05)

        return make

    def gauss() -> Any:
        torch.manual_seed(4)
        return shaken(zf.GF(3, transforms=2, components=4), 0.05)

    def t(*x: float) -> torch.Tensor:
        return torch.tensor(x)

    normal = np.random.default_rng(0).normal(size=(40, 3))
    circle = np.random.default_rng(0).uniform(-3, 3, (32, 3))
    torch.manual_seed(5)
    LU = torch.eye(4) + 0.3 * torch.randn(4, 4)
    shape = torch.randn(3, 5)
    return [
        Entry("SoftclipTransform", 3, lambda: zt.SoftclipTransform(5.0)),
        Entry("SignedPowerTransform", 3, lambda: zt.SignedPowerTransform(t(0.3, -0.2, 0.1))),
        Entry("MonotonicAffineTransform", 3,
              lambda: zt.MonotonicAffineTransform(t(1.0, 0, -1), t(0.5, -0.3, 0.1))),
        Entry("MonotonicRQSTransform", 3, lambda: zt.MonotonicRQSTransform(
            shape, torch.flip(shape, (0,)), shape[:, :4])),
        Entry("PermutationTransform", 4,
              lambda: zt.PermutationTransform(torch.tensor([2, 0, 3, 1]))),
        Entry("RotationTransform", 4, lambda: zt.RotationTransform(LU)),
        Entry("LULinearTransform", 4, lambda: zt.LULinearTransform(LU)),
        Entry("CircularShiftTransform", 3, lambda: zt.CircularShiftTransform(5.0)),
        Entry("SinTransform", 3, zt.SinTransform),
        Entry("ComposedTransform", 3, lambda: zt.ComposedTransform(
            zt.SoftclipTransform(5.0), zt.MonotonicAffineTransform(t(1.0, 0, -1), t(0.5, 0, 0)))),
        Entry("MAF", 4, flow("MAF", 4)),
        Entry("MAF with a context", 3, flow("MAF", 3, 2), given={"context": [0.5, -1.0]}),
        Entry("NSF", 3, flow("NSF", 3, bins=5)),
        Entry("NCSF", 3, flow("NCSF", 3, bins=5), given={"X": circle},
              declared={"laws": ("behaviour", "rows", "jacobian", "inverse", "density",
                                 "gradients", "precision", "parts")}),  # a density on a torus
        Entry("NICE", 4, flow("NICE", 4)),
        Entry("RealNVP", 4, flow("RealNVP", 4)),
        Entry("SOSPF", 2, flow("SOSPF", 2), declared=ITERATED),
        Entry("NAF", 2, flow("NAF", 2, network={"hidden_features": (8,)}), declared=ITERATED,
              expected="inverse has no x for",
              why="zuko's page warns: it is invertible for features in [-10, 10] only. At these "
              "weights samples of the base have no x there; bisection stops at the border"),
        Entry("UNAF", 2, flow("UNAF", 2, network={"hidden_features": (8,)}), declared=ITERATED,
              expected="right to", why="transforms.py, UnconstrainedMonotonicTransform: z is the "
              "integral by quadrature, log|det| the integrand: they agree to its error"),
        Entry("BPF", 2, flow("BPF", 2), declared=ITERATED),
        Entry("GF", 3, gauss, given={"X": normal}, declared=ITERATED,
              expected="inverse has no x for", why="transforms.py, GaussianizationTransform.f: "
              "`torch.mean(x, dim=-1) * (1 - 1e-6)` keeps |z| of a layer below 4.9, so that the "
              "next one's stays short of the base's tails: there p has no mass, and the bisection "
              "of samples ends at its border (zuko's page warns of features beyond 10)"),
        Entry("GMM", 3, lambda: shaken(zf.GMM(3, components=3), 0.3)),
    ]  # fmt: skip
