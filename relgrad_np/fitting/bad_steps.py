"""Bad steps: how they are recognised, and how they are undone."""

from typing import Any

from ..core.full_rank import FullRank
from ..core.steps import Factors
from ..core.tracking import track
from ..core.undo import undo_step
from ..kernels.plans import Taken
from ..rules.base import State, StepInfo
from ..rules.guard import fell, learned
from .status import Guard, Last, Status

SMALLEST = 1e-3  # caution: a fit that needs still smaller steps has diverged


class BadSteps:
    """Finds bad steps and undoes them; `undo` mean deviations below the mean are bad, None: none.

    `kind`: of the rule's steps; additive ones are never undone.
    """

    def __init__(self, undo: float | None, kind: str) -> None:
        self.undo, self.kind = undo, kind
        self.guard = Guard(0.0, 0.0, 0.0, 1.0)
        self.last: Last | None = None
        self.n_rejected, self.n_undone = 0, 0

    @property
    def caution(self) -> float:
        """By what step sizes are multiplied."""
        return float(self.guard.caution)

    @property
    def learns(self) -> bool:
        """Whether there is a guard at all; without a tracker it has nothing to learn from."""
        return self.undo is not None and self.kind != "additive"

    @property
    def hopeless(self) -> bool:
        """Whether steps would have to be smaller than is of use."""
        return self.caution <= SMALLEST

    def shows_in(self, status: Status) -> bool:
        """Return whether this batch shows that the step before it was bad, and is to be undone.

        Its log-likelihood is not finite, or `undo` mean deviations below the running mean.
        """
        if status.rejected:
            return True
        if self.undo is None or self.last is None:
            return False
        seen, mean, deviation, _ = map(float, self.guard)
        return bool(fell(seen, mean, deviation, self.undo, status.value))

    def take_back(
        self, before: State, after: State, info: StepInfo, rejected: bool
    ) -> State | None:
        """Undo the step of this batch, if it was taken, and the one before; None if it can't."""
        self.n_rejected += int(rejected)
        if self.last is None:
            return None
        layers = after.layers
        if not rejected:
            layers = undo_step(layers, info.directions, info.eta, kind=self.kind)
        layers = undo_step(layers, self.last.directions, self.last.eta, kind=self.kind)
        tracked, inverse = self.last.tracked, before.tracked and before.tracked.inverse
        if tracked is None or inverse is not None:
            tracked = track(layers, inverse=inverse is not None)
        state = State(layers, self.last.rule_state, tracked, before.t)
        self.last = None
        self.guard = self.guard._replace(caution=self.caution / 2)
        self.n_undone += 1
        return None if self.hopeless else state

    def note(self, before: State, info: StepInfo, value: float) -> None:
        """Learn from a step that was not bad, and remember how to undo it."""
        if not self.learns or info.L_J2 is None:
            return
        seen, mean, deviation, caution = map(float, self.guard)
        self.guard = Guard(*learned(seen, mean, deviation, caution, value))
        tracked = before.tracked and before.tracked._replace(inverse=None)
        needed = tuple(map(_needed, info.directions))
        self.last = Last(needed, tuple(info.eta), before.rule_state, tracked)

    def note_many(self, taken: Taken) -> None:
        """Learn as `note` does from many steps that were not bad, whose kernels asked the guard."""
        if not self.learns or taken.before[1] is None:
            return
        self.guard = Guard(*map(float, taken.usual))
        needed = tuple(map(_needed, taken.directions))
        self.last = Last(needed, taken.eta, *taken.before)

    def tracker_was_off(self) -> None:
        """Forget the tracker of the state before the last step: it had drifted."""
        if self.last is not None:
            self.last = self.last._replace(tracked=None)


def _needed(direction: Any) -> Any:
    """Return what undoing needs of a direction."""
    if isinstance(direction, FullRank):
        return direction
    f: Factors = direction
    return Factors(f.Delta, f.Y, None, None, m=f.m, gain=f.gain, one=f.one)
