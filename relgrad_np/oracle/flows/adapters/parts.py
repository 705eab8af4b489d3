"""The parts of a composed PyTorch model, each as a function of its own, from data to latent.

Containers of known styles are taken apart by their lists. Any other module is run once, and its
submodules that return (z, log|det J|) are its parts if each takes what the one before returned; a
reordering of the columns between two of them is a part too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .face import Map, Part
from .modules import calls_of, pair

LISTS = ("_transforms", "_flows", "module_list", "flows")


def parts_of(made: Any, x: Any, context: Any) -> list[Part]:
    """Return the (name, forward, inverse) of a composed module; [] if it can't be taken apart.

    x (N, ...) are rows in the shape that the module takes.
    """
    import torch

    if not isinstance(made, torch.nn.Module):
        return []
    prefix = ""
    if hasattr(made, "_transform") and hasattr(made, "_distribution"):
        made, prefix = made._transform, "_transform."
    if hasattr(made, "q0") and hasattr(made, "flows"):
        return _listed(made, "flows", x, context, prefix, back=True)
    return _inside(made, x, context, prefix, back=False)


def _inside(made: Any, x: Any, context: Any, prefix: str, back: bool) -> list[Part]:
    """Return the parts of a module that is gone through ahead or back."""
    import torch

    kind = type(made).__name__
    if kind in ("InverseTransform", "Reverse"):
        key = "_transform" if hasattr(made, "_transform") else "flow"
        return _inside(getattr(made, key), x, context, f"{prefix}{key}.", not back)
    if kind in ("CompositeTransform", "Composite", "SequenceINN"):
        key = next(key for key in LISTS if isinstance(getattr(made, key, 0), torch.nn.ModuleList))
        return _listed(made, key, x, context, prefix, back)
    return [] if back else _traced(made, x, context, prefix)


def _listed(made: Any, key: str, x: Any, context: Any, prefix: str, back: bool) -> list[Part]:
    """Return the parts of a list of modules, at the shapes in which rows reach them."""
    import torch

    modules = list(getattr(made, key))
    order = list(range(len(modules)))
    found: list[Part] = []
    for k in reversed(order) if back else order:
        module = modules[k]
        name = f"{prefix}{key}.{k}"
        ahead, behind = calls_of(module, context)
        call = behind if back else ahead
        if call is None:
            return []
        deeper = _inside(module, x, context, f"{name}.", back)
        title = f"{name} ({type(module).__name__}{', inverted' if back else ''})"
        try:
            with torch.no_grad():
                z = pair(call(x), x)[0]
        except Exception:  # it shows when this part is judged, the last that rows reach
            return [*found, (title, _at_shape(call, tuple(x.shape[1:])), None)]
        other = ahead if back else behind
        inverse = None if other is None else _at_shape(other, tuple(z.shape[1:]), alone=True)
        found += deeper or [(title, _at_shape(call, tuple(x.shape[1:])), inverse)]
        x = z
    return found


def _at_shape(call: Map, shape: tuple[int, ...], alone: bool = False) -> Map:
    """Return the map of a part for rows of any shape of that many numbers."""

    def forward(x: Any) -> Any:
        x = x.reshape(len(x), *shape)
        return pair(call(x), x, alone)

    return forward


class _Call(NamedTuple):
    """A call of a submodule: its name, what it took and returned, and the calls inside it."""

    name: str
    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    z: Any
    inner: list[Any]


def _traced(made: Any, x: Any, context: Any, prefix: str) -> list[Part]:
    """Return the parts of a module by the calls that it makes."""
    import torch

    stack: list[list[_Call]] = [[]]
    hooks = []

    def before(*_: Any) -> None:
        stack.append([])

    def after(module: Any, args: Any, kwargs: Any, out: Any, name: str) -> None:
        inner = stack.pop()
        rows = args and isinstance(args[0], torch.Tensor) and args[0].shape[:1] == x.shape[:1]
        try:
            z = pair(out, args[0])[0] if rows else None
        except (ValueError, AttributeError, TypeError):
            z = None
        if z is not None and z.numel() == x.numel() == args[0].numel():
            stack[-1].append(_Call(name, module, args, kwargs, z, inner))
        else:
            stack[-1].extend(inner)

    for name, module in made.named_modules():
        hooks.append(module.register_forward_pre_hook(before))
        bound = lambda m, a, k, out, name=name: after(m, a, k, out, name)  # noqa: E731
        hooks.append(module.register_forward_hook(bound, with_kwargs=True))
    try:
        with torch.no_grad():
            calls_of(made, context)[0](x)
    except Exception:  # what it raises shows again when it is judged
        return []
    finally:
        for hook in hooks:
            hook.remove()
    roots = stack[0]
    if len(roots) != 1:
        return []
    found = _chain(roots[0], prefix, context)
    return [] if found is None or len(found) < 2 else found


def _chain(call: _Call, prefix: str, context: Any) -> list[Part] | None:
    """Return the parts of a call if each takes what the one before returned; None if not."""
    if not call.inner:
        return None
    at, last = call.args[0], ""
    found: list[Part] = []
    for one in [*call.inner, None]:
        to = call.z if one is None else one.args[0]
        glue = _reordering(at, to)
        if glue is None:
            return None
        here = "its result" if one is None else f"{prefix}{one.name}"
        if glue != list(range(len(glue))):
            title = f"the reordering between {last or 'its input'} and {here}"
            undo = [glue.index(i) for i in range(len(glue))]
            found.append((title, _reordered(glue), _reordered(undo)))
        if one is None:
            break
        deeper = _chain(one, prefix, context)
        back = calls_of(one.module, context)[1]
        inverse = None if back is None else _at_shape(back, tuple(one.z.shape[1:]), alone=True)
        found += deeper or [(f"{here} ({type(one.module).__name__})", _again(one), inverse)]
        at, last = one.z, here
    return found


def _reordering(at: Any, to: Any) -> list[int] | None:
    """Return the order of columns that makes `to` of `at`; None if there is none."""
    import torch

    a, b = at.reshape(len(at), -1), to.reshape(len(to), -1)
    if torch.equal(a, b):
        return list(range(a.shape[1]))
    columns: dict[bytes, list[int]] = {}
    for i in range(a.shape[1]):
        columns.setdefault(a[:, i].contiguous().numpy().tobytes(), []).append(i)
    order = []
    for j in range(b.shape[1]):
        same = columns.get(b[:, j].contiguous().numpy().tobytes())
        if not same:
            return None
        order.append(same.pop(0))
    return order


def _reordered(order: list[int]) -> Map:
    def forward(x: Any) -> Any:
        return x.reshape(len(x), -1)[:, order], x.new_zeros(len(x))

    return forward


def _again(call: _Call) -> Map:
    """Return the map of a submodule, with the other arguments that it got then."""
    shape, n = tuple(call.args[0].shape[1:]), len(call.args[0])

    def fit(value: Any, rows: int) -> Any:
        same = getattr(value, "ndim", 0) > 0 and len(value) == n
        return value[:1].expand(rows, *value.shape[1:]) if same else value

    def forward(x: Any) -> Any:
        x = x.reshape(len(x), *shape)
        args = [fit(value, len(x)) for value in call.args[1:]]
        kwargs = {key: fit(value, len(x)) for key, value in call.kwargs.items()}
        return pair(call.module(x, *args, **kwargs), x)

    return forward
