"""What most people would write: the log-likelihood in torch, and `backward`."""

import math
from typing import Any

import torch

from relgrad_np import Layer

from .contenders import Contender


def autograd(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """W+ = W + learning_rate G_W, G by automatic differentiation through slogdet: cubic."""
    return _contender(layers, alpha, learning_rate, determinant=True)


def backprop(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """W+ = W + learning_rate Delta.T @ Z: the same net without log|det W|, not a likelihood.

    What any net of this shape costs, so what an exact likelihood could at best cost.
    """
    return _contender(layers, alpha, learning_rate, determinant=False)


def log_likelihood(layers: Any, X: Any, alpha: float, determinant: bool) -> Any:
    """Mean L_p + L_J1 (+ L_J2 with `determinant`), (); normal base density."""
    Z, total = X, -0.5 * X.shape[1] * math.log(2 * math.pi)
    for k, (W, b) in enumerate(layers):
        Y = torch.nn.functional.linear(Z, W, b)  # (N, D)
        if determinant:
            total = total + torch.linalg.slogdet(W)[1]
        Z = Y
        if k < len(layers) - 1:
            Z = alpha * Y + (1 - alpha) * torch.nn.functional.softplus(Y)
            slope = alpha + (1 - alpha) * torch.sigmoid(Y)
            total = total + torch.log(slope).sum(dim=1).mean()
    return total - 0.5 * (Z * Z).sum(dim=1).mean()


def _contender(layers: Any, alpha: float, learning_rate: float, *, determinant: bool) -> Contender:
    own = [tuple(torch.tensor(x, requires_grad=True) for x in layer) for layer in layers]
    flat = [x for layer in own for x in layer]

    def step(X: Any) -> None:
        value = log_likelihood(own, torch.as_tensor(X), alpha, determinant)
        slopes = torch.autograd.grad(value, flat)
        with torch.no_grad():
            torch._foreach_add_(flat, slopes, alpha=learning_rate)

    def current() -> Any:
        return tuple(Layer(*(x.detach().numpy().copy() for x in layer)) for layer in own)

    return Contender(step=step, layers=current)
