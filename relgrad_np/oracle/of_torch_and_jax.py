"""PyTorch modules and JAX functions as candidates: log-likelihood, and gradients by autodiff.

With a size D each returns the arguments of `check_flow` instead, for an invertible model of any
kind; `flows/adapters` makes them.

Judged are `log_prob`, `G_W_k`, `G_b_k`, and whatever other arrays of the case the function returns
by name beside its log_prob. In torch, if `Y_k` is among them, `Delta_k` is taken by autodiff too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack, overload

from .candidate import Candidate, UnusableCandidate, name_of
from .conventions import Conventions
from .flows.adapters.face import OfJaxFlow, OfTorchFlow
from .truths.records import Array, Problem
from .truths.stages import split


@overload
def from_torch(
    made: Any,
    *,
    conventions: Conventions | None = None,
    name: str | None = None,
    device: str = "cpu",
) -> Candidate: ...
@overload
def from_torch(made: Any, *, D: int, **of_flow: Unpack[OfTorchFlow]) -> dict[str, Any]: ...
def from_torch(
    made: Any,
    *,
    D: int | None = None,
    conventions: Conventions | None = None,
    name: str | None = None,
    device: str = "cpu",
    **of_flow: Any,
) -> Any:
    """Return a candidate of PyTorch code; with D, the arguments of `check_flow`.

    `made` is a `torch.nn.Module` with `log_prob(X)`, or whose call returns it, (N,). Its matrices
    and vectors of parameters are W_0, b_0, W_1, ..., in the order in which the submodules that have
    them are called, else as registered; cases of another L or D are left out. Or `made` is a
    function of the problem that makes such a module, or a function (layers, X, problem) -> log_prob
    with layers [(W, b), ...]. Instead of log_prob any of them may return a mapping with "log_prob"
    and other arrays of the case.

    With D, `made` is any invertible model with rows of D numbers: a module or function that returns
    (z, log|det J|), a mapping of such functions by name (forward, inverse, log_prob, sample, base),
    a Transform or Distribution of torch.distributions, or a model of nflows, zuko, normflows or
    FrEIA, which are known by what they have. `context` (C,) is one row that a conditional model
    gets; `X` (N, D) are rows of its domain; `base` has the latent's log density; `shape` is that of
    a row, where the model takes images, say. A float64 copy is judged, on the CPU.

    >>> import pytest; torch = pytest.importorskip("torch")
    >>> sorted(from_torch(torch.distributions.ExpTransform(), D=2))[:4]
    ['D', 'born', 'dense', 'forward']
    >>> from relgrad_np import oracle
    >>> def log_prob(layers, X, problem):  # one layer, sech
    ...     (W, b), = layers
    ...     z = X @ W.T + b
    ...     log_p = -torch.logaddexp(z, -z) + math.log(2 / math.pi)
    ...     return log_p.sum(1) + torch.linalg.slogdet(W)[1]
    >>> import math
    >>> oracle.check(oracle.from_torch(log_prob), where={"L": 1, "density": "sech"}).passed
    True
    """
    if D is not None:
        from .flows.adapters.torch_flow import torch_flow

        return torch_flow(made, D=D, name=name, **of_flow)
    if of_flow:
        raise TypeError(f"`D` is missing: {', '.join(of_flow)} are of a model for check_flow")
    how, notes, by_autodiff = conventions or Conventions(), list[str](), set[str]()

    def run(problem: Problem) -> dict[str, Array]:
        import torch

        def to(x: Array) -> Array:
            return torch.tensor(x, device=device)

        X = to(problem.X)
        if isinstance(made, torch.nn.Module) or _arguments(made) == 1:
            module = made if isinstance(made, torch.nn.Module) else made(problem)
            module = module.to(device=device, dtype=X.dtype)
            call = getattr(module, "log_prob", module)
            order = _order(module, call, X, problem, notes)
            W, b = _load(module, problem, to, how, order)
            value = call(X)
        else:
            W = [to(w).requires_grad_() for w in problem.W]
            b = [to(t).requires_grad_() for t in problem.b]
            value = made(list(zip(W, b, strict=True)), X, problem)
        found = dict(value) if isinstance(value, Mapping) else {"log_prob": value}
        if "log_prob" not in found:
            raise UnusableCandidate("the mapping must hold 'log_prob'")
        Ys = {key: y for key, y in found.items() if key.startswith("Y_") and y.requires_grad}
        total = _objective(found["log_prob"], how)
        wanted = [*W, *b, *Ys.values()]
        grads = torch.autograd.grad(total, wanted, allow_unused=True)
        keys = [f"G_W_{k}" for k in range(len(W))] + [f"G_b_{k}" for k in range(len(b))]
        keys += [f"Delta_{key[2:]}" for key in Ys]
        for key, x, grad in zip(keys, wanted, grads, strict=True):
            if key not in found:
                found[key] = torch.zeros_like(x) if grad is None else grad
                by_autodiff.add(split(key)[0])
        return found

    return Candidate(
        name or name_of(made), run=run, conventions=how, notes=notes, by_autodiff=by_autodiff
    )


def _order(module: Any, call: Any, X: Array, problem: Problem, notes: list[str]) -> list[str]:
    """Return the names of a module's parameters in the order in which its submodules are called.

    Those that are no submodule's keep their place. UnusableCandidate for parametrized and for tied
    weights: W and b can't be written into them one by one.
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
    matrices = [p for _, p in named if tuple(p.shape) == (problem.D, problem.D)]
    if len(owners) != problem.L or len(matrices) != problem.L:
        return names
    called: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, part in owners.items()
    ]
    try:
        with torch.no_grad():
            call(X)
    finally:
        for hook in hooks:
            hook.remove()
    if set(called) != set(owners):
        return names
    by_use = sorted(names, key=lambda name: called.index(name.rpartition(".")[0]))
    if by_use != names:
        shown = ", ".join(dict.fromkeys(called))
        text = f"its layers are used in another order than they are registered: {shown}"
        notes += [] if text in notes else [text]
    return by_use


def _load(
    module: Any, problem: Problem, to: Callable[[Array], Array], how: Conventions, order: list[str]
) -> Any:
    """Write W and b into a module's parameters; return these parameters."""
    import torch

    D, given = problem.D, dict(module.named_parameters())
    parameters = [(key, given[key]) for key in order]
    matrices = [p for _, p in parameters if tuple(p.shape) == (D, D)]
    vectors = [p for _, p in parameters if tuple(p.shape) == (D,)]
    if len(matrices) != problem.L or len(vectors) != (problem.L if how.bias == "yes" else 0):
        raise NotImplementedError("a module of another size")
    if len(parameters) != len(matrices) + len(vectors):
        shapes = ", ".join(f"{key} {tuple(p.shape)}" for key, p in parameters)
        raise UnusableCandidate(f"parameters other than W (D, D) and b (D,): {shapes}")
    with torch.no_grad():
        for p, w in zip(matrices, problem.W, strict=True):
            p.copy_(to(w))
        for p, t in zip(vectors, problem.b, strict=False):
            p.copy_(to(t))
    return matrices, vectors


@overload
def from_jax(
    made: Callable[..., Any], *, conventions: Conventions | None = None, name: str | None = None
) -> Candidate: ...
@overload
def from_jax(made: Any, *, D: int, **of_flow: Unpack[OfJaxFlow]) -> dict[str, Any]: ...
def from_jax(
    made: Any,
    *,
    D: int | None = None,
    conventions: Conventions | None = None,
    name: str | None = None,
    **of_flow: Any,
) -> Any:
    """Return a candidate of a JAX function (layers, X, problem) -> log_prob, (N,).

    With D, return the arguments of `check_flow`. `made` is then a function of rows, (N, D) or (D,),
    that returns (z, log|det J|); or one of (parameters, rows), with `parameters` a pytree; or a
    mapping of functions of rows by name (forward, inverse, log_prob, base); or a bijector or
    distribution in the style of distrax or flowjax. `context`, `X` and `base` are as in torch.

    layers is [(W, b), ...]; instead of log_prob it may return a mapping with "log_prob" and other
    arrays of the case. float64 is enabled for float64 cases.

    >>> import pytest; jax = pytest.importorskip("jax")
    >>> from relgrad_np import oracle
    >>> def log_prob(layers, X, problem):  # one layer, sech
    ...     (W, b), = layers
    ...     z = X @ W.T + b
    ...     log_p = -jax.numpy.logaddexp(z, -z) + jax.numpy.log(2 / jax.numpy.pi)
    ...     return log_p.sum(1) + jax.numpy.linalg.slogdet(W)[1]
    >>> where = {"L": 1, "D": 2, "density": "sech", "activation": "smooth_leaky_relu"}
    >>> oracle.check(oracle.from_jax(log_prob), where=where).passed
    True
    """
    if D is not None:
        from .flows.adapters.jax_flow import jax_flow

        return jax_flow(made, D=D, name=name, **of_flow)
    if of_flow:
        raise TypeError(f"`D` is missing: {', '.join(of_flow)} are of a model for check_flow")
    how, by_autodiff = conventions or Conventions(), set[str]()

    def run(problem: Problem) -> dict[str, Array]:
        import jax
        import numpy as np

        with jax.enable_x64(problem.dtype == "float64"):
            layers = [
                (jax.numpy.asarray(W), jax.numpy.asarray(b))
                for W, b in zip(problem.W, problem.b, strict=True)
            ]
            X = jax.numpy.asarray(problem.X)

            def objective(layers: Any) -> Any:
                value = made(layers, X, problem)
                found = dict(value) if isinstance(value, Mapping) else {"log_prob": value}
                return _objective(found["log_prob"], how), found

            (_, found), grads = jax.value_and_grad(objective, has_aux=True)(layers)
            for k, (G_W, G_b) in enumerate(grads):
                for key, grad in ((f"G_W_{k}", G_W), (f"G_b_{k}", G_b)):
                    if key not in found and (how.bias == "yes" or key[2] == "W"):
                        found[key] = grad
                        by_autodiff.add(key[:3])
            return {key: np.asarray(x) for key, x in found.items()}

    return Candidate(name or name_of(made), run=run, conventions=how, by_autodiff=by_autodiff)


def _objective(log_prob: Array, how: Conventions) -> Array:
    """Return what the candidate optimises: the mean or sum of log p, or of -log p."""
    total = log_prob.mean() if how.reduction == "mean" else log_prob.sum()
    return total if how.direction == "ascent" else -total


def _arguments(made: Any) -> int:
    return len(inspect.signature(made).parameters)
