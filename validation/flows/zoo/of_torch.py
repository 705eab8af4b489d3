"""Transforms and distributions of torch.distributions."""

from __future__ import annotations

from .entries import Entry


def entries() -> list[Entry]:
    """Return the entries."""
    import torch
    import torch.distributions as td
    from torch.distributions import transforms as tt

    f64 = torch.float64

    def t(*x: float) -> torch.Tensor:
        return torch.tensor(x, dtype=f64)

    normal = td.Independent(td.Normal(torch.zeros(3, dtype=f64), torch.ones(3, dtype=f64)), 1)
    L = torch.tensor([[1.0, 0, 0], [0.5, 2.0, 0], [-0.3, 0.7, 0.4]], dtype=f64)
    mixture = td.MixtureSameFamily(
        td.Categorical(t(0.3, 0.7)),
        td.Independent(td.Normal(torch.tensor([[-2.0, 0], [1.0, 1.0]], dtype=f64), 0.7), 1),
    )
    return [
        Entry("ExpTransform", 3, tt.ExpTransform),
        Entry("SigmoidTransform", 3, tt.SigmoidTransform),
        Entry("TanhTransform", 3, tt.TanhTransform),
        Entry("SoftplusTransform", 3, tt.SoftplusTransform),
        Entry("PowerTransform(1.5)", 3, lambda: tt.PowerTransform(t(1.5))),
        Entry("AffineTransform, one scale negative", 3,
              lambda: tt.AffineTransform(t(1.0, 0, -1), t(2.0, -0.5, 3))),
        Entry("AffineTransform(event_dim=1)", 3,
              lambda: tt.AffineTransform(t(1.0, 0, -1), t(2.0, -0.5, 3), event_dim=1)),
        Entry("CumulativeDistributionTransform", 2,
              lambda: tt.CumulativeDistributionTransform(td.Normal(t(0.5), t(2.0)))),
        Entry("ComposeTransform(affine, tanh, affine)", 3, lambda: tt.ComposeTransform([
            tt.AffineTransform(0.5, 2.0), tt.TanhTransform(), tt.AffineTransform(1.0, -3.0)])),
        Entry("IndependentTransform(exp)", 4,
              lambda: tt.IndependentTransform(tt.ExpTransform(), 1)),
        Entry("CatTransform(exp, identity)", 4, lambda: tt.CatTransform(
            [tt.ExpTransform(), tt.identity_transform], dim=-1, lengths=[2, 2])),
        Entry("StackTransform", 2,
              lambda: tt.StackTransform([tt.ExpTransform(), tt.SigmoidTransform()], dim=-1),
              expected="the last axis is not summed",
              why="transforms.py, StackTransform.log_abs_det_jacobian: `return "
              "torch.stack(logdetjacs, dim=self.dim)` is (N, 2), and its domain's event_dim is 1, "
              "for which a log|det| is (N,)"),
        Entry("SigmoidTransform().inv", 3, lambda: tt.SigmoidTransform().inv),
        Entry("MultivariateNormal", 3,
              lambda: td.MultivariateNormal(t(1.0, 0, -1), scale_tril=L)),
        Entry("LowRankMultivariateNormal", 3, lambda: td.LowRankMultivariateNormal(
            t(1.0, 0, -1), torch.tensor([[1.0], [0.5], [2.0]], dtype=f64), t(0.5, 1, 2))),
        Entry("MixtureSameFamily of normals", 2, lambda: mixture),
        Entry("Independent(StudentT)", 2,
              lambda: td.Independent(td.StudentT(t(5.0, 3.0), t(0.0, 1.0), t(1.0, 2.0)), 1)),
        Entry("Independent(Laplace)", 2,
              lambda: td.Independent(td.Laplace(t(0.0, 1.0), t(1.0, 2.0)), 1)),
        Entry("Independent(Gumbel)", 2,
              lambda: td.Independent(td.Gumbel(t(0.0, 1.0), t(1.0, 2.0)), 1)),
        Entry("Independent(Gamma)", 2,
              lambda: td.Independent(td.Gamma(t(2.0, 3.0), t(1.0, 2.0)), 1)),
        Entry("Independent(Beta)", 2,
              lambda: td.Independent(td.Beta(t(2.0, 3.0), t(1.5, 2.0)), 1)),
        Entry("Independent(LogNormal)", 2,
              lambda: td.Independent(td.LogNormal(t(0.0, 0.5), t(0.5, 0.3)), 1)),
        Entry("Independent(Kumaraswamy)", 2,
              lambda: td.Independent(td.Kumaraswamy(t(2.0, 3.0), t(2.0, 1.5)), 1)),
        Entry("Independent(Weibull)", 2,
              lambda: td.Independent(td.Weibull(t(1.0, 2.0), t(1.5, 2.0)), 1)),
        Entry("TransformedDistribution(normal, affine, tanh)", 3,
              lambda: td.TransformedDistribution(normal, [
                  tt.AffineTransform(t(0.5, 0, 0), t(0.8, -0.5, 0.6)), tt.TanhTransform()])),
    ]  # fmt: skip
