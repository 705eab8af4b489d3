# %% [markdown]
"""
# A flow of your own, by its laws

Is my normalizing flow right, and if not, which layer is wrong? Its laws say. This is a RealNVP in torch with an LU
layer: first right, then with two mistakes that train all the same. One log-determinant misses an entry of the diagonal,
and one coupling's inverse scales before it shifts.
"""

# %%
import torch
from torch import nn

from relgrad_np import oracle

D = 4


class Coupling(nn.Module):
    """Half of the columns scale and shift the other half."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(D // 2, 16), nn.Tanh(), nn.Linear(16, D))

    def forward(self, x):
        """Return (z, log|det J|)."""
        a, b = x.chunk(2, dim=1)
        s, t = self.net(a).chunk(2, dim=1)
        return torch.cat([a, b * s.exp() + t], dim=1), s.sum(dim=1)

    def inverse(self, z):
        """Return x."""
        a, b = z.chunk(2, dim=1)
        s, t = self.net(a).chunk(2, dim=1)
        return torch.cat([a, (b - t) * (-s).exp()], dim=1)


class Mixing(nn.Module):
    """z = L U x, with a diagonal of U of either sign."""

    def __init__(self):
        super().__init__()
        self.low, self.up = nn.Parameter(torch.randn(D, D)), nn.Parameter(torch.randn(D, D))

    def factors(self):
        """Return L and U."""
        return self.low.tril(-1) + torch.eye(D, dtype=self.low.dtype), self.up.triu()

    def forward(self, x):
        """Return (z, log|det J|)."""
        L, U = self.factors()
        return x @ (L @ U).T, U.diagonal().abs().log().sum().expand(len(x))

    def inverse(self, z):
        """Return x."""
        L, U = self.factors()
        y = torch.linalg.solve_triangular(L, z.T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(U, y, upper=True).T


class Flow(nn.Module):
    """Layers and a standard normal base."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Coupling(), Mixing(), Coupling()])
        self.base = torch.distributions.Normal(0.0, 1.0)

    def forward(self, x):
        """Return (z, log|det J|)."""
        total = 0
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, z):
        """Return x."""
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z

    def log_prob(self, x):
        """Return log p, (N,)."""
        z, log_det = self(x)
        return self.base.log_prob(z).sum(dim=1) + log_det

    def sample(self, n):
        """Return n rows."""
        return self.inverse(torch.randn(n, D))


# %% [markdown]
# Two layers that are wrong:


# %%
class WrongMixing(Mixing):
    """A mixing whose log|det J| is wrong."""

    def forward(self, x):
        """Return (z, log|det J|), which misses the last entry of the diagonal."""
        z, _ = super().forward(x)
        return z, self.up.diagonal()[:-1].abs().log().sum().expand(len(x))


class WrongCoupling(Coupling):
    """The inverse divides by the scale before it subtracts the shift."""

    def inverse(self, z):
        """Return what is not x."""
        a, b = z.chunk(2, dim=1)
        s, t = self.net(a).chunk(2, dim=1)
        return torch.cat([a, b * (-s).exp() - t], dim=1)


# %%
torch.manual_seed(0)
flow = Flow()
laws = ("jacobian", "inverse", "density", "parts")  # the cheap ones; all of them without `laws`
report = oracle.check_flow(**oracle.from_torch(flow, D=D), laws=laws)
print(report.text())
assert report.passed

# %%
for k, wrong in ((1, WrongMixing()), (2, WrongCoupling())):
    flow = Flow()
    flow.layers[k] = wrong
    report = oracle.check_flow(
        **oracle.from_torch(flow, D=D), laws=("jacobian", "inverse", "parts")
    )
    print(report.verdict)
    assert f"layers.{k} (Wrong" in report.verdict
