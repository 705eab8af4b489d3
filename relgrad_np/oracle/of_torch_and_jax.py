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
from .torch_parameters import Read, arrays_of, in_order_of_use, load, read_from
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

    A conditional net, y = W z + C u + b, declares `Conventions(context="yes")`. Its module has
    `log_prob(X, U)`, with U (N, c), and a matrix C (D, c) for each layer besides W and b; or one
    matrix (W, C), (D, D + c), where it multiplies (z, u). Its function has the arguments
    (layers, X, U, problem), with layers [(W, b, C), ...].

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
        given = (X, to(problem.U)) if problem.c else (X,)
        if isinstance(made, torch.nn.Module) or _arguments(made) == 1:
            module = made if isinstance(made, torch.nn.Module) else made(problem)
            module = module.to(device=device, dtype=X.dtype)
            call = getattr(module, "log_prob", module)
            order = in_order_of_use(module, call, given, problem, notes)
            read = load(module, problem, to, how, order)
            value = call(*given)
        else:
            parts = [[to(x).requires_grad_() for x in part] for part in arrays_of(problem)]
            read = read_from(parts)
            value = made(list(zip(*parts, strict=True)), *given, problem)
        found = dict(value) if isinstance(value, Mapping) else {"log_prob": value}
        if "log_prob" not in found:
            raise UnusableCandidate("the mapping must hold 'log_prob'")
        Ys = {key: y for key, y in found.items() if key.startswith("Y_") and y.requires_grad}
        total = _objective(found["log_prob"], how)
        read |= {f"Delta_{key[2:]}": Read(y) for key, y in Ys.items()}
        wanted = [one.parameter for one in read.values()]
        grads = torch.autograd.grad(total, wanted, allow_unused=True)
        for (key, one), grad in zip(read.items(), grads, strict=True):
            if key not in found:
                found[key] = one.of(torch.zeros_like(one.parameter) if grad is None else grad)
                by_autodiff.add(split(key)[0])
        return found

    return Candidate(
        name or name_of(made), run=run, conventions=how, notes=notes, by_autodiff=by_autodiff
    )


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
    arrays of the case. float64 is enabled for float64 cases. A conditional net declares
    `Conventions(context="yes")`; its function has the arguments (layers, X, U, problem), with
    layers [(W, b, C), ...], y = W z + C u + b.

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
            to = jax.numpy.asarray
            layers = [tuple(map(to, layer)) for layer in zip(*arrays_of(problem), strict=True)]
            given = (to(problem.X), to(problem.U)) if problem.c else (to(problem.X),)

            def objective(layers: Any) -> Any:
                value = made(layers, *given, problem)
                found = dict(value) if isinstance(value, Mapping) else {"log_prob": value}
                return _objective(found["log_prob"], how), found

            (_, found), grads = jax.value_and_grad(objective, has_aux=True)(layers)
            for k, layer in enumerate(grads):
                for stage, grad in zip(("G_W", "G_b", "G_C"), layer, strict=False):
                    if f"{stage}_{k}" not in found and (how.bias == "yes" or stage != "G_b"):
                        found[f"{stage}_{k}"] = grad
                        by_autodiff.add(stage)
            return {key: np.asarray(x) for key, x in found.items()}

    return Candidate(name or name_of(made), run=run, conventions=how, by_autodiff=by_autodiff)


def _objective(log_prob: Array, how: Conventions) -> Array:
    """Return what the candidate optimises: the mean or sum of log p, or of -log p."""
    total = log_prob.mean() if how.reduction == "mean" else log_prob.sum()
    return total if how.direction == "ascent" else -total


def _arguments(made: Any) -> int:
    return len(inspect.signature(made).parameters)
