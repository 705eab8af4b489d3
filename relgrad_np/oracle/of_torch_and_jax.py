"""PyTorch modules and JAX functions as candidates: log-likelihood, and gradients by autodiff.

With a size D each returns the arguments of `check_flow` instead, for an invertible model of any
kind; `flows/adapters` makes them.

Judged are `log_prob`, `G_W_k`, `G_b_k`, and whatever other arrays of the case the function returns
by name. In torch, if `Y_k` is among them, `Delta_k` is taken by autodiff too. Gradients that the
function returns are judged in place of those by autodiff, which need no log_prob then.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack, overload

from .candidate import Candidate, NoGradient, name_of, place_of, to_numpy
from .conventions import Conventions
from .flows.adapters.face import OfJaxFlow, OfTorchFlow
from .torch_autograd import Untaken, gradients
from .torch_parameters import Read, arrays_of, in_order_of_use, load, read_from
from .truths.records import Array, Problem
from .truths.stages import split

FORWARD = ("Y", "Z", "log_dsigma", "dlog_dsigma", "L_p", "L_J1", "L_J2", "log_prob", "X_back")
BY_JAX = "compute it from the given W and b by jax.numpy"


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
    with layers [(W, b), ...]. Instead of log_prob any of them may return a mapping of arrays of the
    case by name. From a "log_prob" in it the gradients that are not in it are taken by autograd, so
    that one must be attached to the given W and b, by a graph that is not freed.

    A conditional net, y = W z + C u + b, declares `Conventions(context="yes")`. Its module has
    `log_prob(X, U)`, with U (N, c), and a matrix C (D, c) for each layer besides W and b; or one
    matrix (W, C), (D, D + c), where it multiplies (z, u). Its function has the arguments
    (layers, X, U, problem), with layers [(W, b, C), ...].

    With D, `made` is any invertible model with rows of D numbers: a module or function that returns
    (z, log|det J|), or log p alone, (N,); a mapping of such functions by name (forward, inverse,
    log_prob, sample, base),
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
            method = getattr(module, "log_prob", module)
            order = in_order_of_use(module, method, given, problem, notes)
            read = load(module, problem, to, how, order)
            call = partial(method, *given)
        else:
            parts = [[to(x).requires_grad_() for x in part] for part in arrays_of(problem)]
            read = read_from(parts)
            call = partial(made, list(zip(*parts, strict=True)), *given, problem)
        found = _mapping(_of_graph(call))
        Ys = {key: y for key, y in found.items() if key.startswith("Y_")}
        Ys = {key: y for key, y in Ys.items() if getattr(y, "requires_grad", False)}
        read |= {f"Delta_{key[2:]}": Read(y) for key, y in Ys.items()}
        wanted = {key: one for key, one in read.items() if key not in found}
        if not wanted or "log_prob" not in found:
            return found
        log_prob = found["log_prob"]
        try:
            if not isinstance(log_prob, torch.Tensor):
                raise Untaken(f"its log_prob is no tensor but {type(log_prob).__name__}")
            grads = gradients(log_prob, _objective(log_prob, how), wanted)
        except Untaken as error:
            copies = {key: to_numpy(x, key).copy() for key, x in found.items()}
            return _without_gradients(copies, error.explained(call), notes)
        _note_unused([key for key, grad in grads.items() if grad is None], how, notes)
        for key, grad in grads.items():
            one = wanted[key]
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

    layers is [(W, b), ...]; instead of log_prob it may return a mapping of arrays of the case by
    name. Gradients that are not in it are those of its "log_prob" by jax.grad. float64 is enabled
    for float64 cases. A conditional net declares `Conventions(context="yes")`; its function has the
    arguments (layers, X, U, problem), with layers [(W, b, C), ...], y = W z + C u + b.

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
    how, notes, by_autodiff = conventions or Conventions(), list[str](), set[str]()

    def run(problem: Problem) -> dict[str, Array]:
        import jax
        import numpy as np

        with jax.enable_x64(problem.dtype == "float64"):
            to = jax.numpy.asarray
            layers = [tuple(map(to, layer)) for layer in zip(*arrays_of(problem), strict=True)]
            given = (to(problem.X), to(problem.U)) if problem.c else (to(problem.X),)

            def call(layers: Any) -> dict[str, Any]:
                return _mapping(made(layers, *given, problem))

            def objective(layers: Any) -> Any:
                found = call(layers)
                return _objective(found["log_prob"], how), found

            grads: list[Any] = []
            why = ""
            try:
                (_, found), grads = jax.value_and_grad(objective, has_aux=True)(layers)
            except NotImplementedError:
                raise
            except Exception as error:  # without gradients it may work
                why = f"JAX can't differentiate its log_prob: {_traced(error, place=True)}"
                found = _plainly(call, layers)
            made_by_it = {key: to_numpy(x, key) for key, x in found.items()}
            wanted = [key for key in _gradients(layers, how) if key not in found]
            if not wanted or "log_prob" not in found:
                return made_by_it
            if not (why or any(bool(x.any()) for layer in grads for x in layer)):
                why = "its log_prob does not depend on the given W and b (stop_gradient?)"
            if why:
                return _without_gradients(made_by_it, f"{why}: {BY_JAX}", notes)
            for key in wanted:
                stage, k = key[:3], int(key[4:])
                made_by_it[key] = np.asarray(grads[k]["WbC".index(stage[2])])
                by_autodiff.add(stage)
            return made_by_it

    return Candidate(
        name or name_of(made), run=run, conventions=how, notes=notes, by_autodiff=by_autodiff
    )


def _mapping(value: Any) -> dict[str, Any]:
    """Return arrays by name, of a mapping or of log_prob alone."""
    return dict(value) if isinstance(value, Mapping) else {"log_prob": value}


def _of_graph(call: Callable[[], Any]) -> Any:
    """Return what a candidate returns; say what to do where it takes a tensor to NumPy."""
    try:
        return call()
    except RuntimeError as error:
        if "numpy() on Tensor that requires grad" not in str(error):
            raise
        text = "NumPy has no graph: use torch's functions, or detach() and return G_W_k and G_b_k"
        raise RuntimeError(text).with_traceback(error.__traceback__) from None


def _without_gradients(found: dict[str, Array], why: str, notes: list[str]) -> dict[str, Array]:
    """Return what a candidate returned, if gradients are in it; else NoGradient, which fails."""
    if {split(key)[0] for key in found} <= set(FORWARD):
        raise NoGradient(f"has no gradients: {why}, or return G_W_k and G_b_k", found)
    text = f"gradients that it does not return are not judged: {why}"
    notes += [] if text in notes else [text]
    return found


def _note_unused(names: list[str], how: Conventions, notes: list[str]) -> None:
    """Note by which of the arrays that were given or returned log_prob has no gradient."""
    start = "autograd finds no path from log_prob to "
    shown = [f"Y_{x[6:]}" if x.startswith("Delta") else x[2:] for x in names]
    shown = [x for x in shown if how.bias == "yes" or x[0] != "b"]
    if shown and not any(note.startswith(start) for note in notes):
        notes.append(f"{start}{', '.join(shown)}: it uses a copy, or not that array")


def _gradients(layers: list[Any], how: Conventions) -> list[str]:
    """Return the names of the gradients by W, b and C of these layers."""
    return [
        f"G_{letter}_{k}"
        for k, layer in enumerate(layers)
        for letter, _ in zip("WbC", layer, strict=False)
        if letter != "b" or how.bias == "yes"
    ]


def _plainly(call: Callable[[Any], dict[str, Any]], layers: list[Any]) -> dict[str, Any]:
    """Return what a JAX candidate returns if nothing is differentiated."""
    import jax

    try:
        return call(layers)
    except jax.errors.JAXTypeError as error:
        raise TypeError(_traced(error)).with_traceback(error.__traceback__) from None


def _traced(error: Exception, place: bool = False) -> str:
    """Return in words why JAX can't trace or differentiate, with the place in the candidate."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if "TracerArrayConversionError" in kinds:
        text = "NumPy is used inside, on a traced array"
    if "ConcretizationTypeError" in kinds:
        text = "a traced array is made a Python number or shape"
    at = place_of(reversed(traceback.extract_tb(error.__traceback__))) if place else ""
    return f"{text} ({at})" if at else text


def _objective(log_prob: Array, how: Conventions) -> Array:
    """Return what the candidate optimises: the mean or sum of log p, or of -log p."""
    total = log_prob.mean() if how.reduction == "mean" else log_prob.sum()
    return total if how.direction == "ascent" else -total


def _arguments(made: Any) -> float:
    """Return how many arguments a function takes; infinity for one of *args."""
    given = inspect.signature(made).parameters.values()
    return math.inf if any(p.kind is p.VAR_POSITIONAL for p in given) else len(given)
