"""Copies of a PyTorch model in another precision: the user's own model is never touched."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ATOMS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes)


def copied(made: Any, dtype: Any, device: str = "cpu") -> Any:
    """Return a deep copy in which every floating tensor has this dtype.

    Tensors that hang on an attribute, and that `module.double()` would forget, are among them.
    Those that were computed from others become tensors of their own.
    """
    import torch

    memo: dict[int, Any] = {}
    for _, x in held(made, torch.Tensor):
        to = dtype if x.dtype.is_floating_point else x.dtype
        new = x.detach().to(device=device, dtype=to, copy=True)
        if isinstance(x, torch.nn.Parameter):
            new = torch.nn.Parameter(new, requires_grad=x.requires_grad)
        elif x.requires_grad and x.is_leaf:
            new.requires_grad_()
        memo[id(x)] = new
    _remember_inverses(made, memo)
    return copy.deepcopy(made, memo)


def _remember_inverses(made: Any, memo: dict[int, Any]) -> None:
    """Copy what is the `inv` of a Transform by copying that: its own copy would forget it."""
    from torch.distributions.transforms import _InverseTransform

    for _, t in held(made, _InverseTransform):
        if id(t) not in memo:
            memo[id(t)] = t  # while what it inverts is copied
            _remember_inverses(t._inv, memo)
            memo[id(t)] = copy.deepcopy(t._inv, memo).inv


def held(made: Any, kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, object) of each object of a kind that another holds, once.

    Attributes, containers, bound methods and partials are looked through; what was found isn't.

    >>> list(held({"a": [1.5, "x"], "b": 2.5}, float))
    [('a.0', 1.5), ('b', 2.5)]
    """
    seen: set[int] = set()
    left: list[tuple[str, Any]] = [("", made)]
    while left:
        name, at = left.pop()
        if isinstance(at, kind):
            if id(at) not in seen:
                yield name.lstrip("."), at
        elif id(at) not in seen and not isinstance(at, ATOMS):
            left += reversed([(f"{name}.{key}", x) for key, x in _inside(at)])
        seen.add(id(at))


def _inside(at: Any) -> list[tuple[str, Any]]:
    """Return the named things that an object holds."""
    if isinstance(at, Mapping):
        return [(str(key), x) for key, x in at.items()]
    if isinstance(at, (list, tuple, set, frozenset)):
        return [(str(k), x) for k, x in enumerate(at)]
    if isinstance(at, functools.partial):
        return [("func", at.func), *_inside(at.args), *_inside(at.keywords)]
    if isinstance(at, types.MethodType):
        return [("self", at.__self__)]
    found: list[tuple[str, Any]] = []
    for key, x in getattr(at, "__dict__", {}).items():
        found += _inside(x) if key in ("_parameters", "_buffers", "_modules") else [(key, x)]
    return found


def initialised(module: Any, call: Callable[[], Any]) -> bool:
    """Call a module once in training mode; return whether its parameters initialised themselves.

    Where they did, an actnorm's for instance, they stay so. Otherwise all is put back as it was.
    """
    import torch

    before = {key: x.detach().clone() for key, x in module.state_dict().items()}
    modes = [(part, part.training) for part in module.modules()]
    module.train()
    try:
        with torch.no_grad():
            call()
    except Exception:  # what it raises shows again when it is judged
        pass
    finally:
        for part, mode in modes:
            part.training = mode
    names = {name for name, _ in module.named_parameters()}
    after = module.state_dict()
    changed = any(not torch.equal(after[k], x) for k, x in before.items() if k in names)
    if not changed:
        with torch.no_grad():
            for key, x in after.items():
                x.copy_(before[key])
    return changed
