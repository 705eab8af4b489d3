"""The step of the natural gradient as `step` takes it: memory, what the kernel fills, records."""

import threading
import weakref
from typing import Any, NamedTuple

import numpy as np

from ...core.full_rank import FullRank
from ...core.tracking import Tracked
from ...rules import base as rules
from ...rules.base import State, StepInfo
from ...rules.natural import DOUBT, Curvature, Natural
from .cache import SHAPES, Lender, PreparedStep, changeable
from .compile import gemm_address, subroutine_address
from .natural import BLOCK, natural_step

Array = Any
DOUBLE = np.dtype(np.float64)


class BlockMemory(NamedTuple):
    """Memory for batches of one shape, free after each step."""

    scores: Array  # (P, n): a block of n samples
    parts: Array  # (2 L, D n), see `natural.natural_step`
    passes: Array  # (2, blocks, L D n)
    equal: tuple[Array, bool]  # weights of 1, (N,), and that they are all equal


class Solver:
    """The Cholesky factor C (P, P) of F + damping I, and which F that was; memory for F itself."""

    def __init__(self, P: int, dtype: Any) -> None:
        self.C, self.lender = np.empty((P, P)), Lender((P, P), dtype)
        self.of: Any = None
        self.damping = 0.0

    def knows(self, F: Array, damping: float) -> bool:
        """Say whether C is that of this F."""
        return self.of is not None and self.of() is F and self.damping == damping

    def note(self, F: Array | None, damping: float) -> None:
        """Note which F the factor is made of; None: it is good for nothing."""
        self.of, self.damping = None if F is None else weakref.ref(F), damping


class NaturalCache(threading.local):
    """The memory of one thread."""

    def __init__(self) -> None:
        self.memories: dict[Any, BlockMemory] = {}
        self.solvers: dict[Any, Solver] = {}

    def memory(self, N: int, L: int, D: int, wide: int, dtype: Any) -> BlockMemory:
        """Return the memory for batches of this shape, and biases of `wide` numbers a unit."""
        key = N, L, D, wide, dtype.char
        if (found := self.memories.pop(key, None)) is None:
            while len(self.memories) >= SHAPES:
                del self.memories[next(iter(self.memories))]
            parts = -(-N // BLOCK)
            n = N if parts == 1 else -(-N // (8 * parts)) * 8  # about equal, of eights
            found = BlockMemory(
                scores=np.empty((L * D * (D + wide), n), dtype),
                parts=np.empty((2 * L, D * n), dtype),
                passes=np.empty((2, -(-N // n), L * D * n), dtype),
                equal=(np.ones(N, dtype), True),
            )
        self.memories[key] = found
        return found

    def solver(self, P: int, dtype: Any) -> Solver:
        """Return the solver of this size; one is kept."""
        key = P, dtype.char
        if key not in self.solvers:
            self.solvers = {key: Solver(P, dtype)}
        return self.solvers[key]


CACHE = NaturalCache()


def take_natural_step(
    rule: Natural, state: State, layers: Any, X: Array, prepared: PreparedStep, weights: Array
) -> tuple[State, StepInfo, PreparedStep | None]:
    """Take the step; third is what is prepared for the next one, None where it was not taken here.

    What Cholesky does not solve goes to the reference, whose elimination may.
    """
    dtype, old, tracked = prepared.dtype, state.rule_state, state.tracked
    N, (L, D, wide) = len(X), prepared.sizes
    memory, solver = CACHE.memory(N, L, D, wide, dtype), CACHE.solver(L * D * (D + wide), dtype)
    before = changeable(old.information)
    renewed = rule.renews(state.t, len(before))
    F = solver.lender.lend() if renewed else before
    factored = renewed or not solver.knows(F, rule.damping)
    solver.note(None, 0.0)
    moments, d = np.empty((3, L, D), dtype), np.full((L, D, D + wide), np.nan, dtype)
    sizes, logdets = np.full((2, L), np.nan, dtype), np.zeros(L)
    if tracked is not None:
        logdets[:] = tracked.logdet
    L_p, L_J1, L_J2, outcome = natural_step(
        _addresses(dtype), X, memory.equal if weights is None else (changeable(weights), False),
        prepared.layers, prepared.formulas, (*_numbers(rule, old, N, renewed), renewed, factored),
        (memory.scores, memory.parts), memory.passes,
        (changeable(old.mean), changeable(old.variance), before), (*moments, F, d, solver.C),
        sizes, logdets,
    )  # fmt: skip
    if outcome == 2:
        model = {"activation": prepared.activation, "density": prepared.density}
        return *rules.train_step(state, X, **model, rule=rule, weights=weights), None
    if outcome == 1:
        sizes[0], layers, after = 0, state.layers, old
    else:
        solver.note(F, rule.damping)
        after = Curvature(moments[0], moments[1], F, old.seen + 1, old.informed + renewed)
        tracked = None if tracked is None else Tracked(logdets, tracked.sign, None)
    each = range(L)
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None if tracked is None else np.float64(L_J2),
        tuple([sizes[0, k, ...] for k in each]), tuple([sizes[1, k, ...] for k in each]),
        np.bool_(outcome == 1),
        tuple([FullRank(d[k], moments[2, k], moments[0, k]) for k in each]),
    )  # fmt: skip
    return State(layers, after, tracked, state.t + 1), info, prepared if outcome == 0 else None


def _numbers(rule: Natural, old: Curvature, N: int, renewed: bool) -> tuple[float, ...]:
    """Return the options of the rule, the weights of the batch, and by how much F is trusted."""
    informed, P = float(old.informed) + renewed, len(old.information)
    new_F = float(rule.weight(np, rule.information, informed - 1))
    n = N * min(informed, 1 / new_F)
    new = float(rule.weight(np, rule.memory, old.seen))
    return rule.learning_rate, rule.damping, rule.tau, new, new_F, n / (n + DOUBT * P)


def _addresses(dtype: Any) -> tuple[int, int, int, int]:
    """Return the addresses of ?gemm, ?syrk, dpotrf and dpotrs."""
    factor, solve = (subroutine_address(name, DOUBLE) for name in ("potrf", "potrs"))
    return gemm_address(dtype), subroutine_address("syrk", dtype), factor, solve
