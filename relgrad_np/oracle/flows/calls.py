"""The callables of a flow, called with care: copies go in, shapes are checked, errors are caught.

Whatever a callable does besides returning arrays is noted here: an exception, a changed input,
another dtype, a shape that can't be read. The laws see float64 arrays of the right shape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .progress import RowsBar
from .records import EPS, MOST, Arithmetic, Array, FlowRaised


@dataclass(kw_only=True)
class FlowCalls(Arithmetic):
    """What is judged: the arguments of `check_flow`, and what was noted when they were called."""

    D: int
    forward: Callable[[Array], Any] | None = None
    inverse: Callable[[Array], Any] | None = None
    log_prob: Callable[[Array], Any] | None = None
    sample: Callable[[int], Any] | None = None
    base: Callable[[Array], Any] | None = None
    gradient: Callable[[Array], Mapping[str, Any]] | None = None
    vjp: Callable[[Array, Array], Any] | None = None
    modes: Callable[[bool], Any] | None = None
    parameters: Mapping[str, Array] = field(default_factory=dict)
    parts: Sequence[tuple[Any, ...]] = ()
    in_float32: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    dense: Mapping[str, Any] = field(default_factory=dict)
    born: str = "float64"
    level: float = 1e-3
    onto: bool = False
    inverse_accuracy: float = 0.0
    changed: dict[str, None] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0
    bar: RowsBar = field(default_factory=lambda: RowsBar(False))

    def z(self, x: Array) -> tuple[Array, Array]:
        """Return z (N, D) and log|det J| (N,)."""
        return self.pair(self.forward, x, "forward")

    def x(self, z: Array) -> tuple[Array, Array | None]:
        """Return x (N, D) of the inverse, and its log|det| if it returns one."""
        return self.maybe_pair(self.inverse, z, "inverse")

    def log_p(self, x: Array) -> Array:
        """Return log p (N,)."""
        return self.numbers(self.log_prob, x, "log_prob")

    def log_base(self, z: Array) -> Array:
        """Return the base's log density (N,)."""
        return self.numbers(self.base, z, "base")

    def pair(self, f: Any, x: Array, name: str) -> tuple[Array, Array]:
        """Call what returns (z, log|det J|), in pieces of a bounded size."""
        z, log_det = self.maybe_pair(f, x, name)
        if log_det is None:
            raise FlowRaised(f"{name} must return (z, log|det J|), it returned one array")
        return z, log_det

    def maybe_pair(self, f: Any, x: Array, name: str) -> tuple[Array, Array | None]:
        """Call what returns z, or (z, log|det J|)."""
        zs, log_dets = [], []
        for piece in _pieces(x):
            made = self._called(f, piece, name)
            z, log_det = made if isinstance(made, tuple | list) and len(made) == 2 else (made, None)
            zs.append(self._shaped(z, piece.shape, name, "z" if name != "inverse" else "x"))
            if log_det is not None:
                log_dets.append(self._shaped(log_det, (len(piece),), name, "log|det J|"))
        return np.concatenate(zs), np.concatenate(log_dets) if log_dets else None

    def numbers(self, f: Any, x: Array, name: str) -> Array:
        """Call what returns one number a row."""
        return np.concatenate(
            [
                self._shaped(self._called(f, piece, name), (len(piece),), name, "log p")
                for piece in _pieces(x)
            ]
        )

    def _called(self, f: Any, x: Array, name: str) -> Any:
        given = np.array(x, dtype=self.dtype)  # a copy: it may be changed in place
        before, start = given.copy(), time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                made = f(given)
        except NotImplementedError as error:
            raise FlowRaised(f"{name} is not implemented {error}".strip(), True) from error
        except Exception as error:  # whatever a candidate raises is a finding, not the end
            text = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise FlowRaised(f"{name} raises {text}") from error
        self.seconds += time.perf_counter() - start
        self.rows += len(x)
        if not np.array_equal(given, before, equal_nan=True):
            self.changed[name] = None
        self.bar.tick(len(x))
        return made

    def _shaped(self, made: Any, shape: tuple[int, ...], name: str, what: str) -> Array:
        """Return an array of float64 of this shape; FlowRaised says which shape came instead."""
        try:
            array = np.asarray(made)
            kind, found = str(array.dtype), np.array(array, dtype=float)
        except (TypeError, ValueError) as error:
            raise FlowRaised(f"{name} returned {type(made).__name__} as {what}") from error
        if kind in EPS and kind != self.dtype:
            self.dtypes[f"{what} of {name}"] = kind
        if found.shape == shape or (len(shape) == 1 and found.shape == (*shape, 1)):
            return found.reshape(shape)
        if found.shape == () and len(shape) == 1 and what == "log|det J|":
            return np.full(shape, float(found))  # one number for all rows: judged as such
        relation = {0: "batch axis reduced", 2: "last axis not reduced"}.get(found.ndim, "shape")
        more = {
            "batch axis reduced": ": the batch axis is summed or averaged",
            "last axis not reduced": ": the last axis is not summed",
        }
        shown = more.get(relation, "") if len(shape) == 1 else ""
        raise FlowRaised(
            f"{what} of {name} has shape {found.shape}, it must be {shape}{shown}",
            relation=relation if shown else "shape",
        )


def _pieces(x: Array) -> list[Array]:
    """Cut rows into calls of a bounded size."""
    size = max(1, MOST // max(1, x.shape[1]))
    return [x[i : i + size] for i in range(0, max(1, len(x)), size)]
