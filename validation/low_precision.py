"""Candidates that are right but for their precision, or for an inverse where none is needed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from relgrad_np.oracle.diagnosis.precision import rounded
from relgrad_np.oracle.mistakes import formulas


class Rough(np.ndarray):
    """An array whose matrix products round their operands, as TF32 and bfloat16 units do."""

    bits = 11
    how = staticmethod(np.rint)

    def __matmul__(self, other: Any) -> Any:
        """Round both operands; multiply in the arrays' own dtype."""
        one, two = (
            rounded(np.asarray(x), Rough.bits, Rough.how).astype(x.dtype) for x in (self, other)
        )
        return (one @ two).view(Rough)


def products_of(bits: int, how: Any = np.rint) -> Callable[..., Any]:
    """The algorithm with products of so many bits; float32 or float64 otherwise."""

    def run(p: Any) -> Any:
        Rough.bits, Rough.how = bits, how  # type: ignore[method-assign]
        W, b = (tuple(x.view(Rough) for x in part) for part in (p.W, p.b))
        q = p._replace(X=p.X.view(Rough), W=W, b=b, Z_back=None)
        made = formulas.run(q, wanted={"log_prob", "logdet_plus"})  # and what comes before them
        return {key: np.asarray(x) for key, x in made.items()}

    return run


def cast_to(dtype: str) -> Callable[..., Any]:
    """Everything in a lower precision, returned in the one that was asked for."""
    return lambda p: {k: x.astype(p.dtype) for k, x in formulas.run(p.astype(dtype)).items()}


def stored_as(name: str) -> Callable[..., Any]:
    """The forward pass stored in bfloat16 or float16 by torch."""

    def run(p: Any) -> Any:
        import torch

        def to(x: Any) -> Any:
            return torch.tensor(x).to(getattr(torch, name))

        q = p._replace(X=to(p.X), W=tuple(map(to, p.W)), b=tuple(map(to, p.b)))
        made = formulas.run(q, xp=torch, wanted={"Y", "Z"})
        return {key: x.to(torch.float32).numpy() for key, x in made.items()}

    return run


def accumulated_in_float32(p: Any) -> Any:
    """R_W in float32, everything else in float64."""

    def line(m: Any, k: int) -> Any:
        Delta, Y, W = (x.astype(np.float32) for x in (m.Delta[k], m.Y[k], m.W[k]))
        return (Delta.T @ (Y @ W)).astype(np.float64) + m.W[k]

    return formulas.run(p, {"R_W": line})


def through_an_inverse(Delta: Any, Z: Any, W: Any, b: Any) -> Any:
    """R_W = (G_W W' + G_b b') W: exact on paper, with an inverse inside."""
    G_W = Delta.T @ Z + np.linalg.inv(W).T
    return (G_W @ W.T + np.outer(Delta.sum(axis=0), b)) @ W


def without(Delta: Any, Y: Any, W: Any) -> Any:
    """R_W = Delta' (Y W) + W."""
    return Delta.T @ (Y @ W) + W


def examples() -> Iterator[tuple[str, Any, str, str]]:
    """(what, candidate, dtype claimed, what should be said)."""
    for dtype in ("float64", "float32"):
        yield "products in TF32", products_of(11), dtype, "TF32"
        yield "products in TF32, truncating", products_of(11, np.trunc), dtype, "TF32"
        yield "products in bfloat16", products_of(8), dtype, "bfloat16"
    yield "stored as bfloat16", stored_as("bfloat16"), "float32", "bfloat16"
    yield "stored as float16", stored_as("float16"), "float32", "float16"
    yield "float32 throughout", cast_to("float32"), "float64", "float32"
    yield "R_W accumulated in float32", accumulated_in_float32, "float64", "float32_or_epsilon"
    yield "the right precision", cast_to("float64"), "float64", "right"
    yield "the right precision", cast_to("float32"), "float32", "right"
