"""Transforms and flows of nflows."""

from __future__ import annotations

from typing import Any

from .entries import Entry, shaken

LINSPACE = (
    "splines/linear.py, inverse: `torch.linspace(0, 1, num_bins + 1)` has the default dtype: in a "
    "float64 net x comes back with float32 digits"
)


def entries() -> list[Entry]:
    """Return the entries."""
    import nflows.distributions as nd
    import nflows.flows as nf
    import nflows.transforms as nt
    import numpy as np
    import torch
    from nflows.nn import nets

    def mask(D: int) -> Any:
        return torch.arange(D) % 2

    def resnet(inputs: int, outputs: int) -> Any:
        return nets.ResidualNet(inputs, outputs, hidden_features=16, num_blocks=1,
                                activation=torch.tanh)  # fmt: skip

    def coupling(name: str, D: int, **more: Any) -> Any:
        kind = getattr(nt, name)
        return lambda: shaken(kind(mask(D), resnet, **more), 0.1)

    def autoregressive(name: str, D: int, **more: Any) -> Any:
        kind = getattr(nt, name)
        return lambda: shaken(kind(features=D, hidden_features=16, num_blocks=1,
                                   activation=torch.tanh, **more), 0.1)  # fmt: skip

    def batch_norm() -> Any:
        made = shaken(nt.BatchNorm(5))
        made.train()
        for _ in range(20):
            made(2 * torch.randn(64, 5) + 1)
        return made.eval()

    def glow(D: int) -> Any:
        torch.manual_seed(1)
        layers: list[Any] = []
        for _ in range(3):
            layers += [nt.ActNorm(D), nt.LULinear(D, identity_init=False),
                       nt.AffineCouplingTransform(mask(D), resnet)]  # fmt: skip
        return nf.Flow(shaken(nt.CompositeTransform(layers), 0.1), nd.StandardNormal([D]))

    def spline_flow(D: int) -> Any:
        torch.manual_seed(2)
        layers: list[Any] = []
        for _ in range(2):
            spline = nt.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                D, 16, num_blocks=1, tails="linear", tail_bound=3.0, num_bins=5
            )
            layers += [nt.RandomPermutation(D), spline]
        return nf.Flow(shaken(nt.CompositeTransform(layers), 0.1), nd.StandardNormal([D]))

    def conditional() -> Any:
        torch.manual_seed(3)
        layers = [nt.MaskedAffineAutoregressiveTransform(3, 16, context_features=2),
                  nt.LULinear(3, identity_init=False)]  # fmt: skip
        base = nd.ConditionalDiagonalNormal([3], context_encoder=torch.nn.Linear(2, 6))
        return nf.Flow(shaken(nt.CompositeTransform(layers), 0.1), base)

    unit = np.random.default_rng(0).uniform(0.02, 0.98, (48, 4))
    inside = {"X": unit}
    cdf = {"X": unit}
    return [
        Entry("IdentityTransform", 4, nt.IdentityTransform),
        Entry("PointwiseAffineTransform", 4,
              lambda: nt.PointwiseAffineTransform(torch.tensor([0.5, 1, 0, -1]),
                                                  torch.tensor([2.0, 3, 0.5, 1]))),
        Entry("Tanh", 4, nt.Tanh),
        Entry("LogTanh", 4, nt.LogTanh),
        Entry("LeakyReLU", 4, nt.LeakyReLU, expected="float32",
              why="nonlinearities.py: `torch.log(torch.as_tensor(self.negative_slope))` has the "
              "default dtype, whatever that of the rows: its log|det| in a float64 net is float32"),
        Entry("Sigmoid", 4, nt.Sigmoid),
        Entry("Logit", 4, nt.Logit, given=inside),
        Entry("GatedLinearUnit", 4, nt.GatedLinearUnit, given={"context": [0.3]},
              expected="averaged over the 4 dimensions",
              why="nonlinearities.py: `return inputs * gate, torch.log(gate).reshape(-1)` counts "
              "one column, and all are scaled; right for one column"),
        Entry("NaiveLinear", 5, lambda: nt.NaiveLinear(5), expected="inverse raises RuntimeError",
              why="linear.py, inverse_no_cache: `torch.solve` was removed from torch"),
        Entry("LULinear", 5, lambda: shaken(nt.LULinear(5, identity_init=False))),
        Entry("QRLinear", 5, lambda: shaken(nt.QRLinear(5, num_householder=3))),
        Entry("SVDLinear", 5, lambda: shaken(nt.SVDLinear(5, num_householder=4))),
        Entry("HouseholderSequence", 5, lambda: nt.HouseholderSequence(5, 3)),
        Entry("RandomPermutation", 6, lambda: nt.RandomPermutation(6)),
        Entry("ReversePermutation", 6, lambda: nt.ReversePermutation(6)),
        Entry("ActNorm", 5, lambda: nt.ActNorm(5)),
        Entry("BatchNorm", 5, batch_norm),
        Entry("OneByOneConvolution", 16, lambda: shaken(nt.OneByOneConvolution(4)),
              given={"shape": (4, 2, 2)}),
        Entry("SqueezeTransform", 16, nt.SqueezeTransform, given={"shape": (1, 4, 4)}),
        Entry("AffineCouplingTransform", 6, coupling("AffineCouplingTransform", 6)),
        Entry("AdditiveCouplingTransform", 6, coupling("AdditiveCouplingTransform", 6)),
        Entry("PiecewiseLinearCouplingTransform", 4,
              coupling("PiecewiseLinearCouplingTransform", 4, tails="linear", tail_bound=3.0),
              expected="right to", why=LINSPACE),
        Entry("PiecewiseQuadraticCouplingTransform", 4,
              coupling("PiecewiseQuadraticCouplingTransform", 4, tails="linear", tail_bound=3.0)),
        Entry("PiecewiseCubicCouplingTransform", 4,
              coupling("PiecewiseCubicCouplingTransform", 4, tails="linear", tail_bound=3.0)),
        Entry("PiecewiseRationalQuadraticCouplingTransform", 4,
              coupling("PiecewiseRationalQuadraticCouplingTransform", 4, tails="linear",
                       tail_bound=3.0)),
        Entry("MaskedAffineAutoregressiveTransform", 5,
              autoregressive("MaskedAffineAutoregressiveTransform", 5)),
        Entry("MaskedPiecewiseLinearAutoregressiveTransform", 4,
              autoregressive("MaskedPiecewiseLinearAutoregressiveTransform", 4, num_bins=5),
              given=inside, expected="right to", why=LINSPACE),
        Entry("MaskedPiecewiseQuadraticAutoregressiveTransform", 4,
              autoregressive("MaskedPiecewiseQuadraticAutoregressiveTransform", 4,
                             tails="linear", tail_bound=3.0)),
        Entry("MaskedPiecewiseCubicAutoregressiveTransform", 4,
              autoregressive("MaskedPiecewiseCubicAutoregressiveTransform", 4, num_bins=5),
              given=inside),
        Entry("MaskedPiecewiseRationalQuadraticAutoregressiveTransform", 4,
              autoregressive("MaskedPiecewiseRationalQuadraticAutoregressiveTransform", 4,
                             tails="linear", tail_bound=3.0)),
        Entry("PiecewiseLinearCDF", 4, lambda: shaken(nt.PiecewiseLinearCDF([4])), given=cdf,
              expected="right to", why=LINSPACE),
        Entry("PiecewiseQuadraticCDF", 4, lambda: shaken(nt.PiecewiseQuadraticCDF([4])), given=cdf),
        Entry("PiecewiseCubicCDF", 4, lambda: shaken(nt.PiecewiseCubicCDF([4])), given=cdf),
        Entry("PiecewiseRationalQuadraticCDF", 4,
              lambda: shaken(nt.PiecewiseRationalQuadraticCDF([4])), given=cdf),
        Entry("InverseTransform(LULinear)", 4,
              lambda: nt.InverseTransform(shaken(nt.LULinear(4, identity_init=False)))),
        Entry("Flow: actnorm, LU, affine couplings", 6, lambda: glow(6)),
        Entry("Flow: rational quadratic splines", 3, lambda: spline_flow(3)),
        Entry("MaskedAutoregressiveFlow", 4,
              lambda: shaken(nf.MaskedAutoregressiveFlow(4, 16, 2, 1), 0.1)),
        Entry("SimpleRealNVP", 4, lambda: shaken(nf.SimpleRealNVP(4, 16, 3, 1), 0.1)),
        Entry("Flow with a context", 3, conditional, given={"context": [0.3, -1.0]}),
    ]  # fmt: skip
