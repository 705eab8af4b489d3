"""Small flows of every kind, in torch, with places where a mistake can be planted.

Each layer has forward(x) -> (z, log|det J|) and inverse(z) -> (x, log|det|); `bug` names what is
wrong in it, "" for nothing. They are written plainly, and stand for nobody's code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]


class Layer(nn.Module):
    """A layer with a mistake, or without."""

    def __init__(self, bug: str = "") -> None:
        super().__init__()
        self.bug = bug

    def common(self, x: Tensor, z: Tensor, log_det: Tensor) -> Pair:
        """Return (z, log|det J|) with the mistakes that any layer can have."""
        n, D = len(x), x[0].numel()
        wrong = {
            "sign": lambda: -log_det, "half": lambda: log_det / 2, "double": lambda: 2 * log_det,
            "missing": lambda: 0 * log_det, "over D": lambda: log_det / D,
            "batch sum": lambda: log_det.sum().expand(n),
            "batch mean": lambda: log_det.mean().expand(n),
            "over log 2": lambda: log_det / math.log(2),
            "float32": lambda: log_det.float().to(log_det.dtype),
            "detached": log_det.detach, "constant": lambda: log_det + 0.1,
            "first row": lambda: log_det[:1].expand(n),
            "not summed": lambda: log_det[:, None].expand(n, D), "det": log_det.exp,
        }  # fmt: skip
        return z, wrong[self.bug]() if self.bug in wrong else log_det


def conditioner(inputs: int, outputs: int, hidden: int = 12) -> nn.Sequential:
    """Return a smooth net that isn't near zero."""
    net = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    return net


class Coupling(Layer):
    """z = (x_a, x_b exp(s(x_a)) + t(x_a)), s = tanh(.)."""

    def __init__(self, D: int, bug: str = "") -> None:
        super().__init__(bug)
        self.d = D // 2
        self.net = conditioner(self.d, 2 * (D - self.d))
        self.leak = nn.Parameter(torch.randn(D - self.d)) if bug == "mask leaks" else None
        if bug == "dropout in eval":
            self.net.add_module("drop", _AlwaysDropout())

    def st(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return s, t and the s before its tanh."""
        raw, t = self.net(a).chunk(2, 1)
        return torch.tanh(raw), t, raw

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        if self.bug == "in place":
            x[:, self.d :] *= 1.0000001
        a, b = x[:, : self.d], x[:, self.d :]
        s, t, raw = self.st(a)
        if self.bug == "s detached":
            s = s.detach()
        scale = s.exp()
        log_det = s.sum(1)
        if self.leak is not None:
            t = t + self.leak * torch.sin(b)
        if self.bug == "tanh missed":
            log_det = raw.sum(1)
        if self.bug == "shift counted":
            log_det = (s + t).sum(1)
        if self.bug == "exp counted":
            log_det = scale.sum(1)
        if self.bug == "abs":
            log_det = s.abs().sum(1)
        if self.bug == "epsilon":
            log_det = (scale + 1e-4).log().sum(1)
        if self.bug == "last missed":
            log_det = s[:, :-1].sum(1)
        if self.bug == "a scaled too":
            a = a * 1.5
        if self.bug == "normalised by the batch":
            t = t - t.mean(0)
        if self.bug == "NaN far out":
            t = t + (b.abs() - 100).clamp(min=0) ** 0 * torch.log(200 - b.abs()) * 0
        return self.common(x, torch.cat([a, b * scale + t], 1), log_det)

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        a, b = z[:, : self.d], z[:, self.d :]
        s, t, _ = self.st(a)
        if self.bug == "inverse: order":
            return torch.cat([a, b * (-s).exp() - t], 1), -s.sum(1)
        if self.bug == "inverse: exp(+s)":
            return torch.cat([a, (b - t) * s.exp()], 1), -s.sum(1)
        if self.bug == "inverse: sign of log|det|":
            return torch.cat([a, (b - t) * (-s).exp()], 1), s.sum(1)
        if self.bug == "inverse: is forward":
            return self.forward(z)
        if self.bug == "inverse: identity":
            return z, -s.sum(1)
        return torch.cat([a, (b - t) * (-s).exp()], 1), -s.sum(1)


class _AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Drop entries in either mode."""
        return nn.functional.dropout(x, 0.3, training=True)


class LU(Layer):
    """z = W x + b, W = P L U with a unit lower triangle; log|det| = sum log|u_ii|."""

    def __init__(self, D: int, bug: str = "") -> None:
        super().__init__(bug)
        self.register_buffer("P", torch.eye(D)[torch.randperm(D)])
        self.low = nn.Parameter(0.5 * torch.randn(D, D))
        self.up = nn.Parameter(0.5 * torch.randn(D, D))
        signs = (
            torch.ones(D) if bug != "negative diagonal" else torch.tensor([-1.0] + [1.0] * (D - 1))
        )
        self.diagonal = nn.Parameter(signs * (0.5 + torch.rand(D)))
        self.b = nn.Parameter(torch.randn(D))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return L and U."""
        one = torch.eye(len(self.b), dtype=self.b.dtype)
        return self.low.tril(-1) + one, self.up.triu(1) + self.diagonal.diag()

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        L, U = self.factors()
        log_det = self.diagonal.abs().log().sum()
        if self.bug == "no log":
            log_det = self.diagonal.abs().sum()
        if self.bug in ("no abs", "negative diagonal"):
            log_det = self.diagonal.log().sum()
        if self.bug == "mean of logs":
            log_det = self.diagonal.abs().log().mean()
        if self.bug == "diagonal of L U":
            log_det = (L @ U).diagonal().abs().log().sum()
        if self.bug == "first missed":
            log_det = self.diagonal[1:].abs().log().sum()
        z = x @ (self.P.to(x) @ L @ U).T + self.b
        return self.common(x, z, log_det.expand(len(x)))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        L, U = self.factors()
        P = self.P.to(z)
        y = z if self.bug == "inverse: bias forgotten" else z - self.b
        y = y @ (P.T if self.bug == "inverse: P for P'" else P)
        y = torch.linalg.solve_triangular(L, y.T, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(U, y, upper=True).T
        return x, -self.diagonal.abs().log().sum().expand(len(z))


class Conv1x1(Layer):
    """A 1x1 convolution of (C, H, H): log|det| = H H log|det W|."""

    def __init__(self, D: int, bug: str = "", C: int = 4) -> None:
        super().__init__(bug)
        self.shape = (C, round((D // C) ** 0.5), round((D // C) ** 0.5))
        W = torch.linalg.qr(torch.randn(C, C))[0] @ (torch.eye(C) + 0.3 * torch.randn(C, C))
        if bug == "log of det" and torch.linalg.det(W) > 0:
            W[0] = -W[0]
        self.W = nn.Parameter(W)

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        X = x.reshape(len(x), *self.shape)
        z = torch.einsum("ij,njhw->nihw", self.W, X).reshape(x.shape)
        one = torch.linalg.slogdet(self.W)[1]
        times = self.shape[1] * self.shape[2]
        if self.bug == "pixels missed":
            times = 1
        if self.bug == "times H only":
            times = self.shape[1]
        if self.bug == "times C":
            times *= self.shape[0]
        if self.bug == "log of det":
            one = torch.linalg.det(self.W).log()
        return self.common(x, z, (times * one).expand(len(x)))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        Z = z.reshape(len(z), *self.shape)
        V = self.W.T if self.bug == "inverse: transpose" else torch.linalg.inv(self.W)
        x = torch.einsum("ij,njhw->nihw", V, Z).reshape(z.shape)
        times = self.shape[1] * self.shape[2]
        return x, -(times * torch.linalg.slogdet(self.W)[1]).expand(len(z))


class ActNorm(Layer):
    """z = (x + b) exp(logs)."""

    def __init__(self, D: int, bug: str = "") -> None:
        super().__init__(bug)
        self.logs, self.b = nn.Parameter(torch.randn(D) * 0.5), nn.Parameter(torch.randn(D))

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        b, scale = self.b, self.logs.exp()
        log_det = self.logs.sum()
        if self.bug == "factor 3":
            scale = (3 * self.logs).exp()
        if self.bug == "statistics of the batch":
            b, scale = -x.mean(0), 1 / (x.std(0) + 1e-3)
            log_det = scale.log().sum()
        if self.bug == "abs of logs":
            log_det = self.logs.abs().sum()
        if self.bug == "scale squared":
            scale = scale**2
        return self.common(x, (x + b) * scale, log_det.expand(len(x)))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        scale = (3 * self.logs if self.bug == "factor 3" else self.logs).exp()
        scale = scale**2 if self.bug == "scale squared" else scale
        if self.bug == "inverse: bias first":
            return (z - self.b) / scale, -self.logs.sum().expand(len(z))
        return z / scale - self.b, -self.logs.sum().expand(len(z))


class Autoregressive(Layer):
    """z_i = (x_i - mu_i(x_<i)) exp(-alpha_i(x_<i)) by masked linear maps."""

    def __init__(self, D: int, bug: str = "") -> None:
        super().__init__(bug)
        self.mu, self.alpha = (nn.Parameter(torch.randn(D, D)) for _ in range(2))
        self.b = nn.Parameter(0.3 * torch.randn(2, D))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and alpha."""
        keep = 0 if self.bug == "mask with the diagonal" else -1
        alpha = torch.tanh(x @ self.alpha.tril(-1).T + self.b[0])
        return torch.sin(x @ self.mu.tril(keep).T + self.b[1]), alpha

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        mu, alpha = self.parts(x)
        log_det = -alpha.sum(1)
        if self.bug == "alpha of z":
            alpha = self.parts((x - mu) * (-alpha).exp())[1]
        if self.bug == "last missed":
            log_det = -alpha[:, :-1].sum(1)
        if self.bug == "mask upside down":
            mu = torch.sin(x @ self.mu.triu(1).T + self.b[1])
        return self.common(x, (x - mu) * (-alpha).exp(), log_det)

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse), column by column."""
        x = torch.zeros_like(z)
        D = z.shape[1]
        order = range(D - 1) if self.bug == "inverse: a pass too few" else range(D)
        if self.bug == "inverse: one pass":
            order = range(1)
        for i in order:
            mu, alpha = self.parts(x)
            x = x.clone()
            if self.bug == "inverse: one pass":
                x = z * alpha.exp() + mu
            else:
                x[:, i] = z[:, i] * alpha[:, i].exp() + mu[:, i]
        return x, self.parts(x)[1].sum(1)


class BatchNorm(Layer):
    """z = gamma (x - m) / sqrt(v + eps) + beta with running m and v."""

    def __init__(self, D: int, bug: str = "") -> None:
        super().__init__(bug)
        self.register_buffer("m", torch.randn(D))
        self.register_buffer("v", 0.3 + torch.rand(D))
        self.gamma, self.beta = nn.Parameter(0.5 + torch.rand(D)), nn.Parameter(torch.randn(D))
        self.eps = 1e-2

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return m and v."""
        if self.training or self.bug == "batch statistics in eval":
            return x.mean(0), x.var(0, unbiased=False)
        return self.m, self.v

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        m, v = self.statistics(x)
        log_det = (self.gamma.log() - 0.5 * (v + self.eps).log()).sum()
        if self.bug == "gamma missed":
            log_det = -0.5 * (v + self.eps).log().sum()
        if self.bug == "variance for deviation":
            log_det = (self.gamma.log() - (v + self.eps).log()).sum()
        if self.bug == "eps missed":
            log_det = (self.gamma.log() - 0.5 * v.log()).sum()
        if self.bug == "plus for minus":
            log_det = (self.gamma.log() + 0.5 * (v + self.eps).log()).sum()
        z = self.gamma * (x - m) / (v + self.eps).sqrt() + self.beta
        return self.common(x, z, log_det.expand(len(x)))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        m, v = self.m, self.v
        deviation = v.sqrt() if self.bug == "inverse: eps missed" else (v + self.eps).sqrt()
        log_det = (self.gamma.log() - 0.5 * (v + self.eps).log()).sum()
        return (z - self.beta) / self.gamma * deviation + m, -log_det.expand(len(z))


class Spline(Layer):
    """A monotone rational quadratic spline of each entry inside [-B, B], the identity outside."""

    def __init__(self, D: int, bug: str = "", K: int = 5, B: float = 3.0) -> None:
        super().__init__(bug)
        self.w, self.h = (nn.Parameter(torch.randn(D, K)) for _ in range(2))
        self.d = nn.Parameter(torch.randn(D, K - 1))
        self.B = B

    def knots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the knots in x and in z (D, K + 1) and the slopes there."""
        found = []
        for raw in (self.w, self.h):
            share = 0.02 + (1 - 0.02 * raw.shape[1]) * raw.softmax(1)
            ends = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(1)], 1)
            found.append(2 * self.B * ends / ends[:, -1:] - self.B)
        one = torch.ones_like(self.d[:, :1])
        slopes = torch.cat([one, nn.functional.softplus(self.d) + 0.05, one], 1)
        if self.bug == "slopes one off":
            slopes = slopes.roll(1, 1)
        return found[0], found[1], slopes

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        xs, zs, slopes = self.knots()
        inside = (x > -self.B) & (x < self.B)
        y = x.clamp(-self.B, self.B)
        k = _bin(xs, y)
        x0, x1, z0, z1, d0, d1 = (_at(t, k + j) for t in (xs, zs, slopes) for j in (0, 1))
        xi, s = (y - x0) / (x1 - x0), (z1 - z0) / (x1 - x0)
        bottom = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
        z = z0 + (z1 - z0) * (s * xi**2 + d0 * xi * (1 - xi)) / bottom
        top = d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2
        log_slope = (s**2 * top).log() - 2 * bottom.log()
        if self.bug == "width missed":
            log_slope = log_slope + (x1 - x0).log()
        if self.bug == "bottom once":
            log_slope = (s**2 * top).log() - bottom.log()
        if self.bug == "linear slope":
            log_slope = s.log()
        if self.bug == "that of the inverse":
            log_slope = -log_slope
        tail = 0.1 if self.bug == "tails counted" else 0.0
        log_slope = torch.where(inside, log_slope, torch.full_like(x, tail))
        return self.common(x, torch.where(inside, z, x), log_slope.sum(1))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse), by the quadratic's root."""
        xs, zs, slopes = self.knots()
        inside = (z > -self.B) & (z < self.B)
        y = z.clamp(-self.B, self.B)
        k = _bin(xs if self.bug == "inverse: bins of x" else zs, y)
        x0, x1, z0, z1, d0, d1 = (_at(t, k + j) for t in (xs, zs, slopes) for j in (0, 1))
        s, up = (z1 - z0) / (x1 - x0), y - z0
        c = d0 + d1 - 2 * s
        a, b, e = (z1 - z0) * (s - d0) + up * c, (z1 - z0) * d0 - up * c, -s * up
        root = (b**2 - 4 * a * e).clamp(min=0).sqrt()
        xi = 2 * e / (-b + root if self.bug == "inverse: other root" else -b - root)
        x = torch.where(inside, x0 + xi * (x1 - x0), z)
        kept, self.bug = self.bug, ""
        log_det = self.forward(x)[1]
        self.bug = kept
        return x, -log_det


def _bin(knots: Tensor, x: Tensor) -> Tensor:
    """Return the bin of each entry (N, D)."""
    return (x[:, :, None] >= knots[None, :, 1:-1]).sum(2)


def _at(table: Tensor, k: Tensor) -> Tensor:
    """Return table[d, k[n, d]], (N, D)."""
    return table.expand(len(k), *table.shape).gather(2, k[:, :, None])[:, :, 0]


class Flow(nn.Module):
    """Layers, a standard normal base, log p and samples; mistakes of its own."""

    def __init__(self, *layers: Layer, D: int, bug: str = "") -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.D, self.bug = D, bug

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        total = x.new_zeros(len(x))
        for k, layer in enumerate(self.layers):
            z, log_det = layer(x)
            if self.bug == "forgets layer 1" and k == 1:
                log_det = 0
            if self.bug == "keeps the last only":
                total = 0
            if self.bug == "adds the first twice" and k == 0:
                total = total + log_det
            if self.bug == "log|det| at z" and k == 2:
                log_det = layer(z)[1]
            if self.bug == "subtracts layer 2" and k == 2:
                log_det = -log_det
            x, total = z, total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        total = z.new_zeros(len(z))
        layers = list(self.layers)
        if self.bug == "inverse in forward's order":
            layers = layers[::-1]
        if self.bug == "inverse skips the last":
            layers = layers[:-1]
        for layer in reversed(layers):
            z, log_det = layer.inverse(z)
            total = total + log_det
        return z, total

    def base(self, z: Tensor) -> Tensor:
        """Return the log density of the latent."""
        half = 1.0 if self.bug == "base: 1/2 missed" else 0.5
        constant = (
            0.0 if self.bug == "base: constant missed" else 0.5 * self.D * math.log(2 * math.pi)
        )
        if self.bug == "base: constant of one":
            constant = 0.5 * math.log(2 * math.pi)
        return -half * (z**2).sum(1) - constant

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p."""
        z, log_det = self.forward(x)
        if self.bug == "log p: minus log|det|":
            return self.base(z) - log_det
        if self.bug == "log p: no log|det|":
            return self.base(z)
        if self.bug == "log p: mean over the batch":
            return (self.base(z) + log_det).mean().expand(len(x))
        if self.bug == "log p: sum over the batch":
            return (self.base(z) + log_det).sum().expand(len(x))
        if self.bug == "log p: base at x":
            return self.base(x) + log_det
        if self.bug == "log p: -log p":
            return -(self.base(z) + log_det)
        if self.bug == "log p: over D":
            return (self.base(z) + log_det) / self.D
        if self.bug == "log p: clipped":
            return (self.base(z) + log_det).clamp(min=-8)
        if self.bug == "log p: in bits":
            return (self.base(z) + log_det) / math.log(2)
        if self.bug == "log p: no gradient":
            return (self.base(z) + log_det).detach() + 0 * log_det
        return self.base(z) + log_det

    def sample(self, n: int) -> Pair:
        """Return rows and their log p."""
        dtype = next(self.parameters()).dtype
        z = torch.randn(n, self.D, dtype=dtype)
        if self.bug == "sample: temperature":
            z = 0.7 * z
        if self.bug == "sample: uniform base":
            z = (torch.rand(n, self.D, dtype=dtype) - 0.5) * math.sqrt(12)
        if self.bug == "sample: one column repeated":
            z[:, 1] = z[:, 0]
        if self.bug == "sample: positive half":
            z = z.abs()
        if self.bug == "sample: variance for deviation":
            z = 1.3**2 * z / 1.3
        if self.bug == "sample: truncated":
            z = z.clamp(-1.5, 1.5)
        if self.bug == "sample: a chain":
            for k in range(1, n):
                z[k] = 0.9 * z[k - 1] + math.sqrt(1 - 0.81) * z[k]
        x, log_det = self.forward(z) if self.bug == "sample: by forward" else self.inverse(z)
        if self.bug == "sample: is z":
            x = z
        log_p = self.base(z) - log_det
        if self.bug == "sample: own log p plus log|det|":
            log_p = self.base(z) + log_det
        if self.bug == "sample: own log p of the base":
            log_p = self.base(z)
        return x, log_p
