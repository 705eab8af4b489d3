"""The step of Adam in the group as `step` takes it: memory, and what the kernel fills."""

from typing import Any

import numpy as np

from ...core.full_rank import FullRank
from ...core.tracking import Tracked
from ...rules.base import State, StepInfo
from ...rules.group_adam import GroupAdam
from .arguments import shares
from .cache import PreparedStep
from .compile import gemm_address
from .group_adam import take_step

Array = Any


def take_group_adam_step(
    rule: GroupAdam, state: State, layers: Any, X: Array, prepared: PreparedStep, weights: Array
) -> tuple[State, StepInfo, PreparedStep | None]:
    """Take the step in place; third is what is prepared for the next one, None if rejected."""
    workspace, dtype, tracked = prepared.workspace, prepared.dtype, state.tracked
    N, (L, D, wide), t = len(X), prepared.sizes, state.t + 1
    shared = shares(workspace, None if weights is None else weights[None], dtype)
    one, two = rule.beta1, rule.beta2
    c = np.array(
        [one, 1 - one, two, 1 - two, 1 / (1 - one**t), 1 / (1 - two**t), rule.epsilon], dtype
    )
    before = prepared.stacked[0] if prepared.seen is state.rule_state else _flat(state.rule_state)
    after, ds, sizes = (
        np.empty_like(before),
        np.empty((L, D, D + wide), dtype),
        np.empty((2, L), dtype),
    )
    logdet = np.zeros(L) if tracked is None else np.array(tracked.logdet)
    fresh = (*workspace.lender.lend(), np.empty((L, 1, 1), dtype), np.empty((L, N), dtype))
    L_p, L_J1, L_J2, finite = take_step(
        gemm_address(dtype), X, shared, prepared.layers, prepared.formulas, workspace.scratch,
        fresh, (before, after, ds), c,
        (dtype.type(rule.learning_rate), dtype.type(rule.tau)), sizes, logdet,
    )  # fmt: skip
    remembered = state.rule_state
    if finite:
        remembered = tuple([(m, v) for m, v in after.reshape(L, 2, D, D + wide)])
        tracked = None if tracked is None else Tracked(logdet, tracked.sign, None)
        prepared = prepared._replace(seen=remembered, stacked=(after, after))
    else:
        sizes[0], layers = 0, state.layers
    ones, zeros = np.ones(D, dtype), np.zeros(D, dtype)
    eta, norms = (tuple([x[k, ...] for k in range(L)]) for x in sizes)
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None if tracked is None else np.float64(L_J2),
        eta, norms, np.bool_(not finite), tuple([FullRank(d, ones, zeros) for d in ds]),
    )  # fmt: skip
    return State(layers, remembered, tracked, t), info, prepared if finite else None


def _flat(moments: Any) -> Array:
    """Return m and v of each layer, each (D, D + 1), as one array (L, 2, D (D + 1)).

    With context they are (D, D + c + 1).
    """
    return np.stack([np.stack([x.reshape(-1) for x in pair]) for pair in moments])
