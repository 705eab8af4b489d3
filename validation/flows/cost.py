"""What a check costs at D = 784 and D = 3,072: a Glow-like net of images, in torch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from relgrad_np import oracle

from .own import Layer, Pair


class Squeeze(Layer):
    """(C, H, W) -> (4 C, H / 2, W / 2), log|det| = 0."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Pair:
        """Return (z, 0)."""
        C, H, W = self.shape
        y = x.reshape(len(x), C, H // 2, 2, W // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return y.reshape(len(x), 4 * C, H // 2, W // 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, 0)."""
        C, H, W = self.shape
        y = z.reshape(len(z), C, 2, 2, H // 2, W // 2).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(len(z), C, H, W), z.new_zeros(len(z))


class Step(Layer):
    """Actnorm, 1x1 convolution, affine coupling with a small convolutional net."""

    def __init__(self, C: int, pixels: int, hidden: int = 16, bug: str = "") -> None:
        super().__init__(bug)
        self.logs = nn.Parameter(0.1 * torch.randn(C, 1, 1))
        self.b = nn.Parameter(torch.randn(C, 1, 1))
        self.W = nn.Parameter(torch.linalg.qr(torch.randn(C, C))[0] + 0.02 * torch.randn(C, C))
        self.pixels, self.half = pixels, C // 2
        self.net = nn.Sequential(
            nn.Conv2d(C // 2, hidden, 3, padding=1), nn.Tanh(), nn.Conv2d(hidden, C, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        x = torch.einsum("ij,njhw->nihw", self.W, (x + self.b) * self.logs.exp())
        a, b = x[:, : self.half], x[:, self.half :]
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s)
        pixels = 1 if self.bug == "pixels missed" else self.pixels
        log_det = pixels * torch.linalg.slogdet(self.W)[1] + self.pixels * self.logs.sum()
        return torch.cat([a, b * s.exp() + t], 1), s.flatten(1).sum(1) + log_det

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        a, b = z[:, : self.half], z[:, self.half :]
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s)
        y = torch.cat([a, (b - t) * (-s).exp()], 1)
        y = torch.einsum("ij,njhw->nihw", torch.linalg.inv(self.W), y)
        log_det = self.pixels * (torch.linalg.slogdet(self.W)[1] + self.logs.sum())
        return y * (-self.logs).exp() - self.b, -s.flatten(1).sum(1) - log_det


class Glow(nn.Module):
    """A squeeze and steps of one scale, with a standard normal base."""

    def __init__(self, shape: tuple[int, int, int], steps: int, bug: str = "") -> None:
        super().__init__()
        C, H, W = shape
        self.D = C * H * W
        inner = [Step(4 * C, H * W // 4, bug=bug if k == 1 else "") for k in range(steps)]
        self.layers = nn.ModuleList([Squeeze(shape), *inner])

    def forward(self, x: Tensor) -> Pair:
        """Return (z, log|det J|)."""
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Pair:
        """Return (x, log|det| of the inverse)."""
        total = z.new_zeros(len(z))
        for layer in reversed(self.layers):
            z, log_det = layer.inverse(z)
            total = total + log_det
        return z, total

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p."""
        z, log_det = self.forward(x)
        return -0.5 * (z**2).flatten(1).sum(1) - 0.5 * self.D * math.log(2 * math.pi) + log_det

    def sample(self, n: int) -> Tensor:
        """Return n rows."""
        C, H, W = self.layers[0].shape
        dtype = next(self.parameters()).dtype
        return self.inverse(torch.randn(n, 4 * C, H // 2, W // 2, dtype=dtype))[0]


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """Yield a record of each size, right and with a mistake."""
    for shape, bug in (
        ((1, 28, 28), ""), ((1, 28, 28), "pixels missed"),
        ((3, 32, 32), ""), ((3, 32, 32), "pixels missed"),
    ):  # fmt: skip
        D = math.prod(shape)
        if only and only != str(D):
            continue
        torch.manual_seed(0)
        made = Glow(shape, 4, bug)
        start, cpu = time.perf_counter(), time.process_time()
        given = oracle.from_torch(made, D=D, shape=shape)
        report = oracle.check_flow(**given)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(report.text())
        yield {
            "library": "Glow-like", "name": f"D = {D}, {bug or 'right'}", "D": D,
            "verdict": report.verdict, "seconds": round(seconds, 1), "cpu": round(cpu, 1),
            "limit": 60 if D < 1000 else 120,
            "as_expected": report.passed == (not bug),
        }  # fmt: skip
