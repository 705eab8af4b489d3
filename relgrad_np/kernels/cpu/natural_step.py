"""What the compiled step of the natural gradient reads and fills, and its records."""

import threading
import weakref
from typing import Any, NamedTuple

import numpy as np

from ...core.full_rank import FullRank
from ...core.tracking import Tracked
from ...rules import base as rules
from ...rules.base import State, StepInfo
from ...rules.natural import DOUBT, Curvature, Natural
from .cache import SHAPES, Lender, PreparedStep
from .compile import gemm_address, subroutine_address
from .natural import BLOCK, natural_step

Array = Any
DOUBLE = np.dtype(np.float64)


class Memory(NamedTuple):
    """Memory for batches of one shape; free after each step, but for what `lender` has lent."""

    scores: Array  # (P, n): a block of samples
    parts: Array  # (2 L, D n), see `natural.natural_step`
    passes: Array  # (2, blocks, L D n)
    equal: tuple[Array, bool]  # weights: 1 each, and that they are all equal


class Solver:
    """The Cholesky factor of F + damping I, and which F that was; and memory for F."""

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
        self.memories: dict[Any, Memory] = {}
        self.solvers: dict[Any, Solver] = {}

    def memory(self, L: int, N: int, D: int, dtype: Any) -> Memory:
        """Return the memory for batches of this shape."""
        key, P = (L, N, D, dtype.char), L * D * (D + 1)
        if (found := self.memories.pop(key, None)) is None:
            while len(self.memories) >= SHAPES:
                del self.memories[next(iter(self.memories))]
            blocks = -(-N // BLOCK)
            n = -(-N // (8 * blocks)) * 8 if blocks > 1 else N  # equal parts, of eights
            found = Memory(
                scores=np.empty((P, n), dtype),
                parts=np.empty((2 * L, D * n), dtype),
                passes=np.empty((2, -(-N // n), L * D * n), dtype),
                equal=(np.ones(N, dtype), True),
            )
        self.memories[key] = found
        return found

    def solver(self, P: int, dtype: Any) -> Solver:
        """Return the solver of this size: one is kept."""
        key = P, dtype.char
        if key not in self.solvers:
            self.solvers = {key: Solver(P, dtype)}
        return self.solvers[key]


CACHE = NaturalCache()


def take_natural_step(
    rule: Natural, state: State, layers: Any, X: Array, prepared: PreparedStep, weights: Array
) -> tuple[State, StepInfo, bool]:
    """Take the step; say whether it was taken. What dpotrf can't solve goes to the reference."""
    dtype, old, (L, D) = prepared.dtype, state.rule_state, prepared.layers[1].shape
    N, P = len(X), L * D * (D + 1)
    memory, solver = CACHE.memory(L, N, D, dtype), CACHE.solver(P, dtype)
    renewed = rule.renews(state.t)
    new, new_F = rule.weight(rule.memory, old.seen), rule.weight(rule.information, old.informed)
    F = solver.lender.lend() if renewed else old.information
    if renewed:
        n = N / new_F
    else:
        n = N / rule.weight(rule.information, old.informed - 1) if old.informed > 0 else 0.0
    moments, d, sizes = np.empty((3, L, D), dtype), np.empty((L, D, D + 1), dtype), np.empty((2, L), dtype)
    logdets, tracked = np.zeros(L), state.tracked
    if tracked is not None:
        logdets[:] = tracked.logdet
    factored = renewed or not solver.knows(F, rule.damping)
    solver.note(None, 0.0)
    numbers = (
        rule.learning_rate, rule.damping, rule.tau, float(new), float(new_F),
        float(n / (n + DOUBT * P)), renewed, factored,
    )
    blas = (
        gemm_address(dtype), subroutine_address("syrk", dtype),
        subroutine_address("potrf", DOUBLE), subroutine_address("potrs", DOUBLE),
    )
    L_p, L_J1, L_J2, outcome = natural_step(
        blas, X, memory.equal if weights is None else (weights, False), prepared.layers,
        prepared.formulas, numbers, (memory.scores, memory.parts), memory.passes,
        (old.mean, old.variance, old.information), (moments[0], moments[1], moments[2], F, d, solver.C),
        sizes, logdets,
    )
    if outcome == 2:
        taken = rules.train_step(
            state, X, activation=prepared.activation, density=prepared.density, rule=rule, weights=weights)
        return *taken, False
    after = old
    if outcome == 1:
        sizes[0] = 0
        layers = state.layers
    else:
        solver.note(F, rule.damping)
        after = Curvature(moments[0], moments[1], F, old.seen + 1, old.informed + renewed)
        tracked = None if tracked is None else Tracked(logdets, tracked.sign, None)
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None if tracked is None else np.float64(L_J2),
        tuple(sizes[0, k, ...] for k in range(L)), tuple(sizes[1, k, ...] for k in range(L)),
        np.bool_(outcome == 1),
        tuple(FullRank(d[k], moments[2, k], moments[0, k]) for k in range(L)),
    )
    return State(layers, after, tracked, state.t + 1), info, outcome == 0
