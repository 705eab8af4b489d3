"""A JAX model as the keyword arguments of `check_flow`: functions of NumPy arrays.

A model is a pytree: its floating leaves become NumPy arrays that `check_flow` may change, and each
call rebuilds it of them. It is judged in float64; copies in float32 serve the law of precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...candidate import said
from ...truths.records import Array
from .face import halved, kinds, outside

ROWS = 8
AHEAD = ("transform_and_log_det", "forward_and_log_det")
FIXED = ("NonTrainable",)  # paramax's mark of leaves that aren't trained


def jax_flow(
    made: Any,
    *,
    D: int,
    parameters: Any = None,
    context: Any = None,
    X: Array | None = None,
    base: Any = None,
    name: str | None = None,
    born: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what `check_flow` is to know of a JAX model; see `oracle.from_jax`."""
    import jax

    tree = made if parameters is None else parameters
    if isinstance(made, Mapping) and parameters is None:
        tree = None
    leaves, rebuild, trained = _leaves(tree)
    arrays = [np.array(x, np.float64) for x in leaves]
    rows = np.random.default_rng(seed).normal(0.2, 1.3, (ROWS, D)) if X is None else X[:ROWS]

    def at(given: list[Any]) -> dict[str, Callable[..., Any]]:
        return _functions(made, rebuild(given), D, context, parameters is not None)

    with jax.enable_x64(True):
        try:
            kinds_of = _try(at(arrays), np.array(rows, np.float64))
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"it can't be called at rows of D = {D}: {said(error)}") from None
    calls = {key: _Call(at, arrays, key, batched, True) for key, batched in kinds_of.items()}
    found: dict[str, Any] = {"D": D, "name": name or _name(made), "X": X, "notes": (), **calls}
    if "sample" in at(arrays):
        found["sample"] = _Sample(at, arrays, seed)
    if base is not None:
        found["base"] = base
    if names := [key for key, on in trained if on]:
        which = [k for k, (_, on) in enumerate(trained) if on]
        found["parameters"] = dict(zip(names, (arrays[k] for k in which), strict=True))
        found["gradient"] = _gradient(calls, arrays, which, names)
    if "forward" in calls:
        found["vjp"] = calls["forward"].vjp
        found["parts"] = _parts(made, D, context, arrays, rebuild) if parameters is None else ()
    singles = {
        key: _Call(at, arrays, key, batched, False)
        for key, batched in kinds_of.items()
        if key in ("forward", "inverse", "log_prob")
    }
    wide = any(np.asarray(x).dtype == np.float64 for x in leaves)
    found["born"] = born or ("float64" if wide else "float32")
    if singles:
        found["in_float32"] = singles
    from .dense import dense_of

    found["dense"] = dense_of(found, np.array(rows, np.float64))
    return {key: value for key, value in found.items() if value is not None}


class _Call:
    """One function of the model for NumPy rows, at the arrays as they are now; compiled once."""

    def __init__(self, at: Any, arrays: list[Array], key: str, batched: bool, double: bool) -> None:
        import jax

        self.arrays, self.double, self.batched = arrays, double, batched
        self.returns = {"log_prob": 0, "base": 0}.get(key, 2)

        def run(given: list[Any], x: Any) -> Any:
            one = at(given)[key]
            return one(x) if batched else jax.vmap(one)(x)

        self.run, self.compiled = run, jax.jit(run)

    def __call__(self, x: Array) -> Any:
        try:
            return self._at(x)
        except Exception as error:  # equinox's error_if, of a row outside the domain
            if "EquinoxRuntimeError" not in f"{type(error).__name__} {error}":
                raise
            return halved(self, x) if len(x) > 1 else outside(self.returns, x)

    def _at(self, x: Array) -> Any:
        import jax

        dtype = np.float64 if self.double else np.float32
        with jax.enable_x64(self.double):
            given = [np.asarray(a, dtype) for a in self.arrays]
            pieces = _pieces(np.asarray(x, dtype), self.batched)
            pieces = [self.compiled(given, rows) for rows in pieces]
            joined = jax.tree_util.tree_map(lambda *outs: np.concatenate(outs)[: len(x)], *pieces)
        self.returns = 2 if isinstance(joined, tuple) else joined.ndim - 1
        return joined

    def vjp(self, x: Array, u: Array) -> Array:
        """Return J'u of each row, (N, D)."""
        import jax

        with jax.enable_x64(True):
            _, back = jax.vjp(lambda x: self.run(self.arrays, x)[0], jax.numpy.asarray(x))
            return np.asarray(back(jax.numpy.asarray(u))[0])


def _pieces(x: Array, batched: bool) -> list[Array]:
    """Return rows in pieces of 64 or of 1,024, the last filled with its first row.

    That is for a function of one row, which can't see the others, so that it is compiled for two
    sizes only. A function of a batch gets its batch.
    """
    if batched or not len(x):
        return [x]
    size = 64 if len(x) <= 64 else 1024
    short = -len(x) % size
    whole = np.concatenate([x, np.repeat(x[-1:], short, 0)])
    return [whole[k : k + size] for k in range(0, len(whole), size)]


class _Sample:
    """Draws with a new key at each call."""

    def __init__(self, at: Any, arrays: list[Array], seed: int) -> None:
        import jax

        self.arrays, self.seed = arrays, seed
        self.compiled = jax.jit(lambda given, key, n: at(given)["sample"](key, n), static_argnums=2)

    def __call__(self, n: int) -> Any:
        import jax

        with jax.enable_x64(True):
            self.seed += 1
            size = -(-n // 1000) * 1000  # few sizes to compile for
            found = self.compiled(list(self.arrays), jax.random.key(self.seed), size)
            return jax.tree_util.tree_map(lambda out: np.asarray(out)[:n], found)


def _leaves(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any], list[tuple[str, bool]]]:
    """Return a tree's floating leaves, how to rebuild it, and (name, trained) of each leaf."""
    import jax

    def fixed(x: Any) -> bool:
        return bool(kinds(x) & set(FIXED))

    paths, definition = jax.tree_util.tree_flatten_with_path(tree)
    frozen = jax.tree_util.tree_map(
        lambda x: [fixed(x)] * len(jax.tree_util.tree_leaves(x)), tree, is_leaf=fixed
    )
    flags = [flag for flag in jax.tree_util.tree_leaves(frozen) if isinstance(flag, bool)]
    values = [x for _, x in paths]
    which = [k for k, x in enumerate(values) if _floating(x)]

    def rebuild(given: list[Any]) -> Any:
        new = list(values)
        for k, x in zip(which, given, strict=True):
            new[k] = x
        return jax.tree_util.tree_unflatten(definition, new)

    names = [jax.tree_util.keystr(paths[k][0]).lstrip(".") or "parameters" for k in which]
    trained = [(name, not flags[k]) for name, k in zip(names, which, strict=True)]
    return [values[k] for k in which], rebuild, trained


def _floating(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape") and "float" in str(x.dtype)


def _functions(
    made: Any, tree: Any, D: int, context: Any, with_parameters: bool
) -> dict[str, Callable[..., Any]]:
    """Return the functions of a model that was rebuilt of its leaves, from data to latent."""
    given = () if context is None else (np.asarray(context, float),)
    if with_parameters:
        return {"forward": lambda x: made(tree, x, *given)}
    if isinstance(made, Mapping):
        return {key: (lambda x, f=f: f(x, *given)) for key, f in made.items()}
    if hasattr(tree, "log_prob") and hasattr(tree, "sample"):
        return _of_distribution(tree, given)
    for key in AHEAD:
        if hasattr(tree, key):
            return _of_bijection(tree, key, given)
    if callable(made):
        return {"forward": lambda x: made(x, *given)}
    raise ValueError(f"{type(made).__name__} has neither (z, log|det J|) nor log_prob")


def _of_bijection(b: Any, key: str, given: tuple[Any, ...]) -> dict[str, Callable[..., Any]]:
    found = {"forward": lambda x: getattr(b, key)(x, *given)}
    if hasattr(b, "inverse_and_log_det"):
        found["inverse"] = lambda z: b.inverse_and_log_det(z, *given)
    return found


def _of_distribution(p: Any, given: tuple[Any, ...]) -> dict[str, Callable[..., Any]]:
    """Return log_prob and sample; of a transformed one the maps too. Bijectors go to the data."""

    def sample(key: Any, n: int) -> Any:
        if "flowjax" in type(p).__module__ or hasattr(p, "cond_shape"):
            return p.sample_and_log_prob(key, (n,), *given)
        return p.sample(seed=key, sample_shape=(n,))  # distrax's

    found: dict[str, Callable[..., Any]] = {
        "log_prob": lambda x: p.log_prob(x, *given), "sample": sample,
    }  # fmt: skip
    b: Any = getattr(p, "bijection", None) or getattr(p, "bijector", None)
    q: Any = getattr(p, "base_dist", None) or getattr(p, "distribution", None)
    if b is not None and q is not None:
        ahead = next(key for key in AHEAD if hasattr(b, key))
        found["forward"] = lambda x: b.inverse_and_log_det(x, *given)
        found["inverse"] = lambda z: getattr(b, ahead)(z, *given)
        one = given if getattr(q, "cond_shape", None) is not None else ()
        found["base"] = lambda z: q.log_prob(z, *one)
    return found


def _try(functions: Mapping[str, Callable[..., Any]], x: Array) -> dict[str, bool]:
    """Return which functions there are, and whether each takes rows (N, D) or one row (D,).

    A function of x that returns one array, (N,) or () of one row, is a log p.
    """
    import jax

    found: dict[str, bool] = {}
    for key, f in functions.items():
        if key == "sample":
            continue
        try:
            found[key] = _fits(f(x), x)
            if found[key]:
                continue
        except NotImplementedError:
            continue
        except Exception:  # it takes one row, or is wrong; the next line shows which
            pass
        try:
            jax.vmap(f)(x)
        except NotImplementedError:
            found.pop(key, None)
            continue
        found[key] = False
    if not found:
        raise ValueError("it has neither (z, log|det J|) nor log_prob")
    if "forward" in found:
        out = functions["forward"](x if found["forward"] else x[0])
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise ValueError("the function must return (z, log|det J|): name others in a mapping")
    return found


def _fits(out: Any, x: Array) -> bool:
    """Return whether results are those of N rows."""
    last = out[1] if isinstance(out, (tuple, list)) else out
    rows = getattr(last, "shape", ())[:1] == (len(x),)
    first = not isinstance(out, (tuple, list)) or out[0].shape == x.shape
    return rows and first


def _gradient(
    calls: Mapping[str, _Call], arrays: list[Array], which: list[int], names: list[str]
) -> Callable[[Array], dict[str, Array]]:
    """Return the gradient of the mean of log p, or of log|det J|, by the trained leaves."""
    import jax

    call = calls.get("log_prob") or calls["forward"]

    def value(given: list[Any], x: Any) -> Any:
        out = call.run(given, x)
        return (out[1] if isinstance(out, (tuple, list)) else out).mean()

    compiled = jax.jit(jax.grad(value))

    def run(x: Array) -> dict[str, Array]:
        with jax.enable_x64(True):
            found = compiled(list(arrays), np.asarray(x, np.float64))
            return {name: np.asarray(found[k]) for name, k in zip(names, which, strict=True)}

    return run


def _parts(
    made: Any, D: int, context: Any, arrays: list[Array], rebuild: Callable[[list[Any]], Any]
) -> list[tuple[str, Any, Any]]:
    """Return the parts of a chain of bijections, from data to latent."""

    def bijection(tree: Any) -> tuple[Any, bool, str]:
        for key in ("bijection", "bijector"):
            if hasattr(tree, key) and hasattr(tree, "log_prob"):
                return getattr(tree, key), True, key + "."
        return tree, False, ""

    def chain(tree: Any, back: bool) -> tuple[list[Any] | None, bool, str]:
        b, prefix = tree, ""
        while "Invert" in kinds(b) and hasattr(b, "bijection"):
            b, back, prefix = b.bijection, not back, prefix + "bijection."
        for key in ("bijections", "bijectors"):
            inner = getattr(b, key, None)
            if isinstance(inner, (list, tuple)) and "Chain" in kinds(b):
                ordered = list(inner) if key == "bijections" else list(inner)[::-1]
                return ordered, back, f"{prefix}{key}."
        return None, back, prefix

    b, back, prefix = bijection(made)
    inner, back, more = chain(b, back)
    if inner is None:
        return []
    found = []
    for k in reversed(range(len(inner))) if back else range(len(inner)):

        def at(given: list[Any], k: int = k) -> dict[str, Callable[..., Any]]:
            b, back, _ = bijection(rebuild(given))
            ordered, back, _ = chain(b, back)
            assert ordered is not None
            part = ordered[k]
            ahead = next(key for key in AHEAD if hasattr(part, key))
            c = (np.asarray(context, float),)
            one = () if context is None or getattr(part, "cond_shape", 0) is None else c
            both = [
                lambda x: getattr(part, ahead)(x, *one),
                lambda x: part.inverse_and_log_det(x, *one),
            ]
            return dict(zip(("forward", "inverse"), both[::-1] if back else both, strict=True))

        title = f"{prefix}{more}{k} ({type(inner[k]).__name__}{', inverted' if back else ''})"
        batched = "distrax" in type(inner[k]).__module__
        found.append((
            title, _Call(at, arrays, "forward", batched, True),
            _Call(at, arrays, "inverse", batched, True),
        ))  # fmt: skip
    return found


def _name(made: Any) -> str:
    return str(getattr(made, "__name__", type(made).__name__))
