"""PyTorch modules and functions: how each style of model is called, known by what it has.

Known styles are zuko's lazy flows, nflows' Flow, normflows' NormalizingFlow, and FrEIA's modules;
any other is a module or function that returns (z, log|det J|), log p, or both by its methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from .face import Face, Map, kinds
from .transforms import of_distribution, of_transform, rows

CONTEXTS = ("context", "condition", "conditions", "cond", "c", "cond_inputs", "y", "h")
BACKWARDS = ("rev", "reverse", "inverse", "invert", "inv")
INVERSES = ("inverse_and_log_det", "inverse", "reverse", "inv", "decode", "backward")
BASES = ("_distribution", "q0", "base", "base_dist", "base_distribution", "prior", "distribution")
INSIDES = ("_transform", "transform", "flow", "bijector", "net")


def face_of(made: Any, D: int, x: Any, context: Any) -> Face:
    """Return the face of whatever was given; `x` are rows to try it at, `context` (1, C) or None.

    ValueError, in one line, for what has no (z, log|det J|) and no log p.
    """
    import torch.distributions as td

    if isinstance(made, td.Transform):
        return of_transform(lambda: made, D)
    if isinstance(made, td.Distribution):
        return of_distribution(lambda: made, D)
    if isinstance(made, Mapping):
        return _of_mapping(made)
    if lazy := _lazy(made, context):
        first = lazy()
        return (of_transform if isinstance(first, td.Transform) else of_distribution)(lazy, D)
    if hasattr(made, "_transform") and hasattr(made, "_distribution"):
        return _of_nflows(made, context)
    if hasattr(made, "q0") and hasattr(made, "flows"):
        return _of_normflows(made, context)
    return _of_any(made, x, context)


def _of_mapping(made: Mapping[str, Any]) -> Face:
    """Return the face of functions that are given by name."""
    names = ("forward", "inverse", "log_prob", "sample", "base")
    for name in made:
        if name not in names:
            raise ValueError(f"unknown function {name!r}; choose from {', '.join(names)}")
    how = dict(made)
    if forward := how.get("forward"):
        how["forward"] = lambda x: pair(forward(x), x)
    return Face(**how)


def _lazy(made: Any, context: Any) -> Callable[[], Any] | None:
    """Return a function that makes the Distribution or Transform of a lazy model, zuko's say."""
    import torch.distributions as td

    if not callable(made):
        return None
    lazy = kinds(made) & {"LazyDistribution", "LazyTransform"}
    needed = [] if lazy else _needed(made.forward if hasattr(made, "forward") else made)
    if needed:
        return None
    row = () if context is None else (context[0],)
    try:
        found = made(*row)
    except Exception:
        if lazy:
            raise
        return None
    return (lambda: made(*row)) if isinstance(found, (td.Transform, td.Distribution)) else None


def _of_nflows(made: Any, context: Any) -> Face:
    embed = getattr(made, "_embedding_net", None)

    def inside(n: int) -> dict[str, Any]:
        if context is None:
            return {}
        rows = context.expand(n, -1)
        return {"context": rows if embed is None else embed(rows)}

    def sample(n: int) -> Any:
        if context is None:
            return made.sample_and_log_prob(n)
        x, log_p = made.sample_and_log_prob(n, context=context)
        return x[0], log_p[0]

    return Face(
        forward=lambda x: pair(made._transform(x, **inside(len(x))), x),
        inverse=lambda z: pair(made._transform.inverse(z, **inside(len(z))), z),
        log_prob=lambda x: _with(made.log_prob, x, context),
        sample=sample,
        base=lambda z: made._distribution.log_prob(z, **inside(len(z))),
    )


def _of_normflows(made: Any, context: Any) -> Face:
    """Return a face by the flows themselves, as log_prob does it; they go from latent to data."""

    def through(x: Any, calls: list[Any]) -> tuple[Any, Any]:
        total = x.new_zeros(len(x))
        for call in calls:
            x, log_det = pair(_with(call, x, context), x)
            total = total + log_det
        return x, total

    def sample(n: int) -> Any:
        if context is None:
            return made.sample(n)
        return made.sample(n, context=context.expand(n, -1))

    return Face(
        forward=lambda x: through(x, [flow.inverse for flow in reversed(made.flows)]),
        inverse=lambda z: through(z, list(made.flows)),
        log_prob=lambda x: _with(made.log_prob, x, context),
        sample=sample,
        base=lambda z: _with(made.q0.log_prob, z, context),
    )


def _of_any(made: Any, x: Any, context: Any) -> Face:
    """Return the face of a module or a function by its call and its methods."""
    name = type(made).__name__
    log_prob = getattr(made, "log_prob", None)
    face = Face(
        log_prob=None if log_prob is None else lambda x: _with(log_prob, x, context),
        sample=_sampler(made, context),
        base=_base(made, context),
    )
    try:
        face = _by_call(made, x, context, face)
    except ValueError as error:
        if face.log_prob is None:
            raise
        face = face._replace(notes=(f"no (z, log|det J|) of it is judged: {error}",))
    if face.forward is None and face.log_prob is None:
        raise ValueError(f"{name} has neither (z, log|det J|) nor log_prob")
    return face


def _by_call(made: Any, x: Any, context: Any, face: Face) -> Face:
    """Add what a model's call returns: forward and inverse, or log p. ValueError for neither."""
    ahead, back = calls_of(made, context)
    try:
        found = ahead(x)
    except NotImplementedError as error:
        if back is None:
            raise ValueError(f"forward is not implemented: {error}") from None
        note = "it has no forward: its inverse is judged in the place of that"
        return face._replace(forward=lambda x: pair(back(x), x), notes=(note,))
    except Exception:
        inner = (getattr(made, key, None) for key in INSIDES)
        inside = next((one for one in inner if callable(one)), None)
        if face.log_prob is None:
            raise
        if inside is None:
            raise ValueError("its call doesn't take rows") from None
        f = face_of(inside, x[0].numel(), x, context)
        return face._replace(forward=f.forward, inverse=f.inverse, parts=f.parts)
    if not isinstance(found, (tuple, list)):
        if tuple(found.shape) == (len(x),) and face.log_prob is None:
            return face._replace(log_prob=ahead)
        what = "z alone" if found.shape == x.shape else f"an array of shape {tuple(found.shape)}"
        raise ValueError(f"the call returns {what}: it must return (z, log|det J|) or log p")
    pair(found, x)
    both = None if back is None else (lambda z: pair(back(z), z, alone=True))
    return face._replace(forward=lambda x: pair(ahead(x), x), inverse=both)


def calls_of(made: Any, context: Any) -> tuple[Map, Map | None]:
    """Return the calls of a model from its input to its output and back; None without a way back.

    Back is a flag of its forward, or a method.
    """
    both = (_own(made, key) for key in ("forward_and_log_det", "call_and_ladj"))
    call = next((f for f in both if f), made)
    names = _names(call.forward if hasattr(call, "forward") else call)
    if "rev" in names and "jac" in names:  # FrEIA's
        one = hasattr(made, "module_list") or hasattr(made, "node_list")
        c = None if context is None else "c"

        def freia(x: Any, rev: bool) -> Any:
            given = {} if c is None else {"c": [context.expand(len(x), -1)]}
            return made(x if one else (x,), rev=rev, jac=True, **given)

        return (lambda x: freia(x, False)), (lambda z: freia(z, True))
    ahead = lambda x: _with(call, x, context)  # noqa: E731
    flag = next((key for key in BACKWARDS if key in names), None)
    if flag:
        return ahead, lambda z: _with(call, z, context, **{flag: True})
    if "mode" in names:  # the style of pytorch-flows
        return ahead, lambda z: _with(call, z, context, mode="inverse")
    method = next((f for key in INVERSES if (f := _own(made, key))), None)
    return ahead, None if method is None else lambda z: _with(method, z, context)


def pair(found: Any, x: Any, alone: bool = False) -> Any:
    """Return (z, log|det|) of a call's results; `alone`: z alone will do.

    A number as log|det| stands for all rows; (N, 1) is (N,).
    """
    if not isinstance(found, (tuple, list)):
        if alone:
            return found
        raise ValueError("it must return (z, log|det J|), and returns one array")
    z, rest = found[0], list(found[1:])
    if isinstance(z, (tuple, list)):  # FrEIA's tuple; a list of what each layer returned
        z = z[-1]
    if len(rest) > 1:
        rest = [r for r in rest if getattr(r, "ndim", None) == 1 and len(r) == len(x)]
    if len(rest) != 1:
        raise ValueError(
            f"it returns {len(found)} values, and which is log|det J| is not clear: "
            "give a function that returns (z, log|det J|)"
        )
    ladj = rest[0]
    if not hasattr(ladj, "numel"):  # a number, of Python or NumPy
        ladj = x.new_full((len(x),), float(ladj))
    if ladj.numel() == 1:
        ladj = ladj.reshape(1).expand(len(x))
    return z, ladj.reshape(-1) if ladj.shape == (len(x), 1) else ladj


def _with(call: Any, x: Any, context: Any, **flags: Any) -> Any:
    """Return what a call returns at rows, with the context repeated for each where there is one."""
    if context is None:
        return call(x, **flags)
    rows = context.expand(len(x), -1)
    name = next((key for key in CONTEXTS if key in _names(call)), None)
    return call(x, rows, **flags) if name is None else call(x, **{name: rows}, **flags)


def _sampler(made: Any, context: Any) -> Callable[[int], Any] | None:
    call = getattr(made, "sample", None)
    if not callable(call):
        return None
    name = next((key for key in CONTEXTS if key in _names(call)), None)

    def sample(n: int) -> Any:
        given = {} if context is None or name is None else {name: context.expand(n, -1)}
        try:
            return call(n, **given)
        except TypeError:
            return call((n,), **given)

    return sample


def _base(made: Any, context: Any) -> Map | None:
    """Return the log density of what a model calls its base, prior or q0."""
    import torch.distributions as td

    for key in BASES:
        p = getattr(made, key, None)
        method = inspect.ismethod(p) and len(_needed(p)) == 1
        call = p if method else getattr(p, "log_prob", None)
        if callable(call):
            return _base_of(call, context, isinstance(p, td.Distribution))
    return None


def _base_of(call: Any, context: Any, of_torch: bool) -> Map:
    contextual = any(key in CONTEXTS for key in _names(call))

    def base(z: Any) -> Any:
        return rows(call(z)) if of_torch else _with(call, z, context if contextual else None)

    return base


def _own(made: Any, key: str) -> Any:
    """Return a method of a model, if it is one."""
    found = getattr(made, key, None)
    return found if inspect.ismethod(found) else None


def _names(call: Any) -> list[str]:
    call = call.forward if hasattr(call, "forward") and not inspect.ismethod(call) else call
    try:
        return list(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        return []


def _needed(call: Any) -> list[str]:
    """Return the names of the arguments that a call can't do without."""
    try:
        given = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return ["?"]
    kind = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in given if p.default is p.empty and p.kind not in kind]
