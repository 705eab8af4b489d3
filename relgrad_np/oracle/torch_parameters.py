"""The parameters of a PyTorch module: which is which, W_k, b_k and C_k of a case written into them.

They are told apart by their shape, and ordered as the submodules that have them are called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .candidate import UnusableCandidate
from .conventions import Conventions
from .truths.records import Array, Problem


class Read(NamedTuple):
    """Where an array of a case stands: all of a parameter, or a part of it."""

    parameter: Any
    part: Any = ...

    def of(self, x: Any) -> Any:
        """Return the part of an array of the parameter's shape, as of its gradient."""
        return x[self.part]


def arrays_of(problem: Problem) -> tuple[tuple[Array, ...], ...]:
    """Return W and b of each layer, and C where there is context.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> len(arrays_of(small().cases[0].problem))
    2
    """
    return (problem.W, problem.b, problem.C) if problem.c else (problem.W, problem.b)


def read_from(parts: Sequence[Sequence[Any]]) -> dict[str, Read]:
    """Return where the gradient by each of these W, b and C is to be read.

    >>> list(read_from([["W"], ["b"]]))
    ['G_W_0', 'G_b_0']
    """
    found: dict[str, Read] = {}
    for letter, arrays in zip("WbC", parts, strict=False):
        found |= {f"G_{letter}_{k}": Read(x) for k, x in enumerate(arrays)}
    return found


def in_order_of_use(
    module: Any, call: Any, given: Sequence[Any], problem: Problem, notes: list[str]
) -> list[str]:
    """Return the names of a module's parameters in the order in which its submodules are called.

    Those that are no submodule's keep their place. UnusableCandidate for parametrized and for tied
    weights: arrays can't be written into them one by one.
    """
    import torch

    named = list(module.named_parameters(remove_duplicate=False))
    instead = "give a function of (layers, X, problem)"
    first: dict[int, str] = {}
    for name, p in named:
        if "parametrizations." in name:
            raise UnusableCandidate(f"{name} is parametrized: {instead}")
        if (one := first.setdefault(id(p), name)) != name:
            raise UnusableCandidate(f"{one} and {name} are tied: {instead}")
    names = [name for name, _ in named]
    owners = {name: part for name, part in module.named_modules() if name and part._parameters}
    square = {(problem.D, problem.D), _both(problem)}
    matrices = [p for _, p in named if tuple(p.shape) in square]
    sizes = {problem.L, 2 * problem.L} if problem.c else {problem.L}
    if len(owners) not in sizes or len(matrices) != problem.L:
        return names
    called: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, part in owners.items()
    ]
    grads = [None if p.grad is None else p.grad.clone() for _, p in named]
    try:
        with torch.enable_grad():  # for it may take gradients of its own
            call(*given)
    finally:
        for hook in hooks:
            hook.remove()
        for (_, p), grad in zip(named, grads, strict=True):
            p.grad = grad
    if set(called) != set(owners):
        return names
    by_use = sorted(names, key=lambda name: called.index(name.rpartition(".")[0]))
    if _by_shape(module, by_use) != _by_shape(module, names):
        shown = ", ".join(dict.fromkeys(called))
        text = f"its layers are used in another order than they are registered: {shown}"
        notes += [] if text in notes else [text]
    return by_use


def _by_shape(module: Any, names: Sequence[str]) -> dict[tuple[int, ...], list[str]]:
    """Return the names of parameters of each shape, in order."""
    found: dict[tuple[int, ...], list[str]] = {}
    given = dict(module.named_parameters())
    for name in names:
        found.setdefault(tuple(given[name].shape), []).append(name)
    return found


def _both(problem: Problem) -> tuple[int, ...]:
    """Return the shape of (W, C) in one matrix; that of W where there is no context."""
    D, c = problem.D, problem.c
    turned = bool(c) and problem.C[0].shape[0] != D
    return (D + c, D) if turned else (D, D + c)


def load(
    module: Any, problem: Problem, to: Callable[[Array], Any], how: Conventions, order: list[str]
) -> dict[str, Read]:
    """Write W, b and C into a module's parameters; return where their gradients are to be read.

    NotImplementedError for a module of another size, UnusableCandidate for one that can't be one of
    this kind.
    """
    import torch

    D, c = problem.D, problem.c
    given = dict(module.named_parameters())
    kinds: dict[str, Any] = {"W": (D, D), "b": (D,)}
    if c:
        kinds |= {"C": tuple(problem.C[0].shape), "WC": _both(problem)}
        if c == D and kinds["WC"] not in {tuple(p.shape) for p in given.values()}:
            raise NotImplementedError("W and C have the same shape")
    of = {
        key: [given[name] for name in order if tuple(given[name].shape) == shape]
        for key, shape in kinds.items()
    }
    _require(module, problem, how, of, kinds)
    if of.get("WC"):
        W = (slice(D),) if kinds["WC"][0] > D else (slice(None), slice(D))
        C = (*W[:-1], slice(D, None))
        read = {f"G_W_{k}": Read(p, W) for k, p in enumerate(of["WC"])}
        read |= {f"G_C_{k}": Read(p, C) for k, p in enumerate(of["WC"])}
        read |= {f"G_b_{k}": Read(p) for k, p in enumerate(of["b"])}
    else:
        read = read_from([of["W"], of["b"], of.get("C", [])])
    arrays = dict(zip("WbC", arrays_of(problem), strict=False))
    with torch.no_grad():
        for key, one in read.items():
            one.of(one.parameter).copy_(to(arrays[key[2]][int(key[4:])]))
    return read


def _require(
    module: Any, problem: Problem, how: Conventions, of: dict[str, list[Any]], kinds: dict[str, Any]
) -> None:
    """Refuse a module whose parameters are not those of this many layers of this size."""
    L, biases = problem.L, problem.L if how.bias == "yes" else 0
    n = {key: len(found) for key, found in of.items()}
    if n["W"] + n.get("WC", 0) == L and problem.c:
        instead = "give a function of (layers, X, U, problem)"
        shapes = [tuple(p.shape) for p in module.parameters()]
        if not n["C"] + n["WC"] and kinds["C"][::-1] in shapes:
            text = f"C is {kinds['C'][::-1]}, not {kinds['C']}: declare weights transposed, or not"
            raise UnusableCandidate(text)
        if not n["WC"] and 0 < n["C"] != L:
            text = f"{n['C']} matrices of context {kinds['C']} for {L} layers: {instead}"
            raise UnusableCandidate(text)
        if n["b"] > biases:
            text = f"{n['b']} vectors {kinds['b']} for {L} layers: a bias beside C is one too many"
            raise UnusableCandidate(f"{text}; {instead}")
    whole = n.get("WC") == L and not n["W"] + n["C"]
    apart = n["W"] == L and n.get("C", 0) == (L if problem.c else 0) and not n.get("WC")
    if not (whole or apart) or n["b"] != biases:
        raise NotImplementedError("a module of another size")
    if sum(n.values()) != len(list(module.parameters())):
        shapes_of = ((key, tuple(p.shape)) for key, p in module.named_parameters())
        shown = ", ".join(f"{key} {shape}" for key, shape in shapes_of)
        text = f"parameters other than W (D, D) and b (D,): {shown}"
        if problem.c:
            text = f"parameters other than W (D, D), b (D,) and C (D, c): {shown}"
        elif any(p.ndim == 2 and problem.D in p.shape for p in module.parameters()):
            text += "; a conditional net declares Conventions(context='yes')"
        raise UnusableCandidate(text)
