"""An entry of the zoo, and what the libraries' entries are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RIGHT = "right"


@dataclass(frozen=True)
class Entry:
    """A model: who made it, what makes it, how it is checked, and what must come out.

    `expected` is RIGHT, or words that must be in the verdict, with `why` saying what is wrong and
    where; `declared` are arguments of check_flow, such as the accuracy of an inverse that iterates.
    """

    name: str
    D: int
    make: Callable[[], Any]
    given: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    expected: str = RIGHT
    why: str = ""


def shaken(module: Any, scale: float = 0.3, seed: int = 0) -> Any:
    """Add normal noise to every trained parameter of a module, so that no layer is the identity."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p += scale * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return module


def net(inputs: int, outputs: int, hidden: int = 16) -> Any:
    """Return a small smooth conditioner."""
    import torch

    return torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, outputs)
    )
