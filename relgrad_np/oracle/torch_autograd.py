"""Gradients of a candidate's log_prob by torch's autograd; where there are none, why and where.

A tensor without a graph does not say how it lost it. So a candidate whose log_prob has none is
called once more, and what cuts a graph on the way is noted with its place: detach, no_grad, NumPy.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .candidate import PACKAGE, place_of, said
from .torch_parameters import Read

CUTS = ("detach", ".data", "no_grad", "numpy", "torch.tensor", "tolist", "item", "float")
MOVES = {"_apply", "load_state_dict"}  # of a module: they use .data and no_grad, and cut nothing
FREES = ("backward", "grad")
ATTACHED = "compute it from the given W and b by torch's functions"
SAID = {"__array__": "numpy", "__float__": "float"}


class Untaken(Exception):
    """Why there are no gradients of a log_prob by the W and b that were given.

    `by`: the functions that may be the reason, if the candidate calls them; `else_by`: what it is
    if it calls none.
    """

    def __init__(
        self, text: str, by: Collection[str] = CUTS, else_by: str = "", remedy: str = ATTACHED
    ) -> None:
        super().__init__(text)
        self.by, self.else_by, self.remedy = by, else_by, remedy

    def explained(self, call: Callable[[], Any]) -> str:
        """Return the reason in words, and what to do; `call` calls the candidate once more."""
        by = (met(call, self.by) if self.by else "") or self.else_by
        return f"{self}{by and f' ({by})'}: {self.remedy}"


def gradients(log_prob: Any, total: Any, wanted: Mapping[str, Read]) -> dict[str, Any]:
    """Return the wanted gradients of `total` by name, None where autograd finds no path to one.

    `log_prob`: what the candidate returned; `total`: its objective, made of that. Untaken where
    there is no gradient by any of them.

    >>> import pytest; torch = pytest.importorskip("torch")
    >>> W = torch.eye(2).requires_grad_()
    >>> gradients(W.sum(1), W.sum(1).mean(), {"G_W_0": Read(W)})["G_W_0"].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    >>> gradients(W.detach().sum(1), W.detach().mean(), {"G_W_0": Read(W)})
    Traceback (most recent call last):
    relgrad_np.oracle.torch_autograd.Untaken: its log_prob has no graph
    """
    import torch

    if not log_prob.requires_grad:
        other = "inference_mode" if log_prob.is_inference() else "it is made of other numbers"
        raise Untaken("its log_prob has no graph", else_by=other)
    parameters = [one.parameter for one in wanted.values()]
    try:
        grads = torch.autograd.grad(total, parameters, allow_unused=True)
    except Exception as error:  # a backward of its own may raise anything
        if "backward through the graph a second time" not in str(error):
            raise Untaken(f"autograd raises {said(error)}", ()) from None
        text, kept = "the graph of its log_prob is freed", "a tensor is kept from the call before"
        raise Untaken(text, FREES, kept, "keep it with retain_graph=True") from None
    if not any(grad is not None and bool(grad.any()) for grad in grads):
        text = "the graph of its log_prob does not lead to the given W and b"
        raise Untaken(text, else_by="it is made of other tensors")
    return dict(zip(wanted, grads, strict=True))


def met(call: Callable[[], Any], names: Collection[str]) -> str:
    """Return which of these functions a call meets, with their places in the candidate's code.

    >>> import pytest; torch = pytest.importorskip("torch")
    >>> W = torch.eye(2).requires_grad_()
    >>> met(lambda: W.detach().numpy(), CUTS).partition(",")[0]
    'detach'
    """
    from torch.overrides import TorchFunctionMode

    seen = dict[str, None]()

    class Watch(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            word, given = _word(f, args), kwargs or {}
            if word in names and not given.get("retain_graph"):
                stack = reversed(traceback.extract_stack()[:-1])
                inside = [*itertools.takewhile(lambda at: PACKAGE not in at.filename, stack)]
                if not MOVES & {at.name for at in inside}:
                    place = place_of(inside)
                    seen[f"{word}, {place}" if place else word] = None
            return f(*args, **given)

    with Watch():
        call()
    return "; ".join(list(seen)[:4])


def _word(f: Any, args: Any) -> str:
    """Return what a function of torch is called in a report, where it meets a graph; else ""."""
    import torch

    name = getattr(f, "__name__", "")
    if name == "_set_grad_enabled":
        return "" if args[0] else "no_grad"
    first = args[0] if args and isinstance(args[0], tuple) else args[:1]
    if not any(isinstance(x, torch.Tensor) and x.requires_grad for x in first):
        return ""
    if getattr(f, "__self__", None) is torch.Tensor.data:
        return ".data"
    return "torch.tensor" if f is torch.tensor else SAID.get(name, name)
