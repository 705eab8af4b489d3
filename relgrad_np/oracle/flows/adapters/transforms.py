"""torch.distributions: transforms and distributions, those of zuko and of the user among them.

They are asked for anew at each call (`get`), for a model that makes them of its parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .face import Face, Part

ROWS = 64


def of_transform(get: Callable[[], Any], D: int) -> Face:
    """Return the face of a Transform: x in its domain -> y."""
    t = get()
    if not getattr(t, "bijective", True):
        raise ValueError(f"{type(t).__name__} is not bijective: it has no log|det J| to judge")
    _same_size(t, D)
    return Face(
        forward=lambda x: called(get(), x),
        inverse=lambda z: called(get().inv, z),
        parts=tuple(parts_of_transform(get)),
        X=rows_of(getattr(t, "domain", None), D),
    )


def called(t: Any, x: Any) -> tuple[Any, Any]:
    """Return (y, log|det dy/dx| (N,)) of a Transform."""
    if hasattr(t, "call_and_ladj"):  # zuko's
        y, ladj = t.call_and_ladj(x)
    else:
        y = t(x)
        ladj = t.log_abs_det_jacobian(x, y)
    return y, summed(ladj, t)


def summed(ladj: Any, t: Any) -> Any:
    """Return the log|det| of a transform that acts on each entry by itself, summed over a row."""
    domain = getattr(t, "domain", None)
    alone = ladj.ndim > 1 and getattr(domain, "event_dim", 1) == 0
    return ladj.reshape(ladj.shape[0], -1).sum(1) if alone else ladj


def parts_of_transform(get: Callable[[], Any], name: str = "") -> list[Part]:
    """Return (name, forward, inverse) of each part of a composed Transform, else []."""
    t = get()
    inner = _inner(t)
    if inner is None:
        return []
    found: list[Part] = []
    for k, part in enumerate(inner):
        here = f"{name}transforms.{k} ({type(part).__name__})"

        def one(k: int = k) -> Any:
            return (_inner(get()) or [])[k]

        deeper = parts_of_transform(one, f"{name}transforms.{k}.")
        found += deeper or [_part(here, one)]
    return found


def _part(name: str, one: Callable[[], Any]) -> Part:
    return name, (lambda x: called(one(), x)), (lambda z: called(one().inv, z))


def _inner(t: Any) -> list[Any] | None:
    """Return the transforms that a composed one applies, in order; None for another."""
    import torch.distributions as td

    if isinstance(t, td.transforms._InverseTransform):
        inner = _inner(t.inv)
        return None if inner is None else [part.inv for part in reversed(inner)]
    if isinstance(t, td.IndependentTransform):
        return _inner(t.base_transform)
    inner = getattr(t, "parts", None) or getattr(t, "transforms", None)
    return list(inner) if inner is not None and len(inner) else None


def of_distribution(get: Callable[[], Any], D: int) -> Face:
    """Return the face of a Distribution; data to latent is what a transformed one has inside."""
    p = get()
    if _has_support(p) and getattr(p.support, "is_discrete", False):
        raise ValueError(f"{type(p).__name__} is discrete: it has no density to judge")
    shape = tuple(p.event_shape) or tuple(p.batch_shape)
    if _size(shape) != D:
        raise ValueError(f"{type(p).__name__} has rows of shape {shape}, not of D = {D} numbers")
    face = Face(
        log_prob=lambda x: _log_prob(get(), x),
        sample=lambda n: _sampled(get(), n),
        X=rows_of(p.support, D) if _has_support(p) else None,
    )
    if hasattr(p, "transform") and hasattr(p, "base"):  # zuko's: data to latent
        inside = of_transform(lambda: get().transform, D)
        return face._replace(
            forward=inside.forward, inverse=inside.inverse, parts=inside.parts,
            base=lambda z: rows(get().base.log_prob(z)), X=inside.X,
        )  # fmt: skip
    if hasattr(p, "transforms") and hasattr(p, "base_dist"):  # torch's: latent to data
        for t in p.transforms:
            if not t.bijective:
                return face._replace(notes=(f"{type(t).__name__} inside is not bijective",))
            _same_size(t, D)
        return face._replace(
            forward=lambda x: _through([t.inv for t in reversed(get().transforms)], x),
            inverse=lambda z: _through(get().transforms, z),
            base=lambda z: rows(get().base_dist.log_prob(z)),
            parts=tuple(_inverted(get)),
        )
    return face


def _log_prob(p: Any, x: Any) -> Any:
    """Return log p of each row: -inf outside the support, where a Distribution raises."""
    if not _has_support(p):
        return rows(p.log_prob(x))
    inside = p.support.check(x)
    inside = inside.reshape(len(x), -1).all(1)
    if inside.all():
        return rows(p.log_prob(x))
    found = x.new_full((len(x),), -float("inf"))
    if inside.any():
        found[inside] = rows(p.log_prob(x[inside]))
    return found


def _inverted(get: Callable[[], Any]) -> list[Part]:
    """Return the parts of a TransformedDistribution from data to latent: inverses, last first."""
    found: list[Part] = []
    for k in reversed(range(len(get().transforms))):

        def one(k: int = k) -> Any:
            return get().transforms[k].inv

        name = f"transforms.{k}"
        alone = _part(f"{name} ({type(one().inv).__name__}, inverted)", one)
        found += parts_of_transform(one, f"{name}.inv.") or [alone]
    return found


def _through(transforms: list[Any], x: Any) -> tuple[Any, Any]:
    total = 0.0
    for t in transforms:
        x, ladj = called(t, x)
        total = total + ladj
    return x, total if transforms else x.new_zeros(len(x))


def _sampled(p: Any, n: int) -> Any:
    if hasattr(p, "rsample_and_log_prob"):
        x, log_p = p.rsample_and_log_prob((n,))
        return x, rows(log_p)
    return p.sample((n,))


def rows(log_p: Any) -> Any:
    """Return (N,) of the log density of D independent variables, (N, D)."""
    return log_p.reshape(len(log_p), -1).sum(1) if log_p.ndim > 1 else log_p


def rows_of(support: Any, D: int) -> Any:
    """Return rows of a constraint's set (ROWS, D), or None for R^D and what torch has no map to."""
    import torch
    from torch.distributions import constraints, transform_to

    inner = getattr(support, "base_constraint", support)
    if (
        inner is None
        or inner is constraints.real
        or type(inner).__name__ in ("_Real", "_RealVector")
    ):
        return None
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(ROWS, D, generator=generator, dtype=torch.float64)
    try:
        rows = transform_to(support)(normal)
        fits = tuple(rows.shape) == (ROWS, D) and bool(support.check(rows).all())
    except Exception:  # a constraint of the user's own, say
        return None
    return rows.numpy() if fits else None


def _has_support(p: Any) -> bool:
    try:
        return p.support is not None
    except (NotImplementedError, AttributeError):
        return False


def _same_size(t: Any, D: int) -> None:
    """ValueError for a transform whose rows change their size."""
    if not hasattr(t, "forward_shape"):
        return
    try:
        after = _size(tuple(t.forward_shape((D,))))
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{type(t).__name__} doesn't take rows of D = {D}: {error}") from None
    if after != D:
        raise ValueError(f"{type(t).__name__} makes {after} numbers of {D}: it has no square J")


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
