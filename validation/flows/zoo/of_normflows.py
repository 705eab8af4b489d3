"""Flows of normflows: a layer goes from latent to data, and is judged in that direction."""

from __future__ import annotations

from typing import Any

from .entries import Entry, shaken


def entries() -> list[Entry]:
    """Return the entries."""
    import normflows as n
    import torch

    def mlp(*sizes: int) -> Any:
        return n.nets.MLP(list(sizes))

    def flow(D: int, *layers: Any) -> Any:
        return n.NormalizingFlow(n.distributions.DiagGaussian(D), list(layers))

    def masked(D: int, k: int) -> Any:
        mask = ((torch.arange(D) + k) % 2).float()
        return shaken(n.flows.MaskedAffineFlow(mask, mlp(D, 16, D), mlp(D, 16, D)), 0.1)

    def real_nvp(D: int) -> Any:
        return flow(D, *(layer for k in range(3) for layer in (masked(D, k), n.flows.ActNorm(D))))

    def splines(D: int) -> Any:
        layers: list[Any] = []
        for _ in range(2):
            layers += [n.flows.AutoregressiveRationalQuadraticSpline(D, 1, 16, num_bins=5),
                       n.flows.LULinearPermute(D)]  # fmt: skip
        return shaken(flow(D, *layers), 0.1)

    def coupled(D: int) -> Any:
        return shaken(flow(D, n.flows.CoupledRationalQuadraticSpline(D, 1, 16, num_bins=5),
                           n.flows.LULinearPermute(D)), 0.1)  # fmt: skip

    def residual(D: int) -> Any:
        net = n.nets.LipschitzMLP([D, 16, D], init_zeros=False, lipschitz_const=0.9)
        return n.flows.Residual(net, exact_trace=False, brute_force=True)

    def composite() -> Any:
        return n.flows.Composite([masked(4, 0), n.flows.Permute(4), masked(4, 1)])

    def whole() -> Any:
        made = real_nvp(4)
        return {"forward": made.inverse_and_log_det, "inverse": made.forward_and_log_det}

    return [
        Entry("Planar", 3, lambda: shaken(n.flows.Planar((3,)))),
        Entry("Planar(act='leaky_relu')", 3,
              lambda: shaken(n.flows.Planar((3,), act="leaky_relu")),
              expected="float32",
              why="planar.py: `(x < 0) * (self.h.negative_slope - 1.0) + 1.0` has the default "
              "dtype, and so has log|det| in a float64 net"),
        Entry("Radial", 3, lambda: n.flows.Radial((3,))),
        Entry("AffineConstFlow", 4, lambda: shaken(n.flows.AffineConstFlow((4,)))),
        Entry("ActNorm", 4, lambda: n.flows.ActNorm((4,))),
        Entry("MaskedAffineFlow", 4, lambda: masked(4, 0)),
        Entry("AffineCouplingBlock", 4,
              lambda: shaken(n.flows.AffineCouplingBlock(mlp(2, 16, 4)), 0.1)),
        Entry("Permute", 5, lambda: n.flows.Permute(5), expected="float32",
              why="mixing.py: `torch.zeros(len(z), device=z.device)` has the default dtype"),
        Entry("InvertibleAffine", 4, lambda: shaken(n.flows.InvertibleAffine(4), 0.1)),
        Entry("InvertibleAffine(use_lu=False)", 4,
              lambda: shaken(n.flows.InvertibleAffine(4, use_lu=False), 0.1)),
        Entry("Invertible1x1Conv", 16, lambda: shaken(n.flows.Invertible1x1Conv(4), 0.1),
              given={"shape": (4, 2, 2)}),
        Entry("Invertible1x1Conv(use_lu=True)", 16,
              lambda: shaken(n.flows.Invertible1x1Conv(4, use_lu=True), 0.1),
              given={"shape": (4, 2, 2)}),
        Entry("LULinearPermute", 4, lambda: shaken(n.flows.LULinearPermute(4), 0.1)),
        Entry("MaskedAffineAutoregressive", 4,
              lambda: shaken(n.flows.MaskedAffineAutoregressive(4, 16), 0.1)),
        Entry("CoupledRationalQuadraticSpline", 4,
              lambda: shaken(n.flows.CoupledRationalQuadraticSpline(4, 1, 16), 0.1)),
        Entry("AutoregressiveRationalQuadraticSpline", 4,
              lambda: shaken(n.flows.AutoregressiveRationalQuadraticSpline(4, 1, 16), 0.1)),
        Entry("PeriodicWrap", 3, lambda: n.flows.PeriodicWrap([0], 6.0)),
        Entry("Residual(brute_force=True), D = 2", 2, lambda: residual(2),
              declared={"inverse_accuracy": 1e-4}, expected="depends on the other rows",
              why="residual.py, _inverse_fixed_point: `while not torch.all(...)` goes on until the "
              "last row of the batch is within 1e-5, so a row's digits depend on the others"),
        Entry("Residual, D = 3", 3, lambda: residual(3), expected="random",
              why="residual.py: log|det| is an estimate with random vectors and a random number of "
              "terms, right in the mean"),
        Entry("BatchNorm", 4, n.flows.BatchNorm, expected="statistics of the batch are used",
              why="normalization.py: its page says that it is without the derivatives of the "
              "batch's statistics"),
        Entry("GlowBlock", 16, lambda: shaken(n.flows.GlowBlock(4, 8), 0.1),
              given={"shape": (4, 2, 2)}),
        Entry("Composite", 4, composite, expected="part '_flows.1 (Permute)'",
              why="Permute's dtype, found in the composed flow; base.py, Composite._cascade: "
              "`torch.zeros(batch_size)` has the default dtype too"),
        Entry("NormalizingFlow: MaskedAffineFlow, ActNorm", 4, lambda: real_nvp(4)),
        Entry("NormalizingFlow: autoregressive splines, LU", 3, lambda: splines(3)),
        Entry("NormalizingFlow: coupled splines, LU", 3, lambda: coupled(3)),
        Entry("NormalizingFlow: Planar", 2, lambda: shaken(flow(2, n.flows.Planar((2,))), 0.3)),
        Entry("NormalizingFlow.inverse_and_log_det", 4, whole, expected="float32",
              why="core.py: `torch.zeros(len(x), device=x.device)` has the default dtype; log_prob "
              "passes the rows' dtype and is right"),
    ]  # fmt: skip
