"""The steps of a fit: as many in one compiled call as kernels can take, else one.

A call of many steps takes about `CALL` seconds: between calls come signals, snapshots, the bar, and
the audits that were asked for. How many steps that are depends on the clock, and the results do
not: they are bitwise those of one step at a time.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..kernels.choose import several
from ..kernels.plans import Plan, most_steps
from ..rules.base import Rule, State, StepInfo
from .batches import Batches, Upcoming
from .options import Options
from .progress import Progress
from .schedule import all_sized, sized

CALL = 0.03  # seconds that a call of many steps takes, about
STACK = 2**18  # numbers in the batches of a call at most: they are copied, and stay in the cache
GROWTH = 4  # a call takes at most so many times the steps of the one before


class Steps:
    """What takes the steps of a fit: a `train_step`, with the rule, the model and the options."""

    def __init__(
        self,
        step: Callable[..., tuple[State, StepInfo]],
        batches: Batches,
        rule: Rule,
        model: dict[str, Any],
        asked: Options,
    ) -> None:
        self.one, self.many = partial(batches.team.step, step), several(step)
        self.rule, self.model, self.asked = rule, model, asked
        self.total, self.lasting = asked.passes * batches.each, batches.lasting
        self.call = 1  # steps of the next call, by the clock

    def rate(self, t: int) -> float:
        """Return the learning rate of step t, by schedule and warmup."""
        return sized(self.rule.learning_rate, self.asked, t, self.total)

    def advance(self, course: Progress, upcoming: Upcoming, until: int = sys.maxsize) -> float:
        """Take steps on batches that are upcoming, one at least; not beyond step t = `until`.

        Return the log-likelihood of the last batch, NaN where it is not known. FitDivergedError
        where a step is bad and there is nothing to undo.
        """
        begun, before = time.perf_counter(), course.state.t
        most = min(self.call, until - before, self._alike(course))
        value = self._many(course, upcoming, most) if most > 1 and upcoming.stacks else None
        if value is None:
            value = self._one(course, upcoming)
        each = (time.perf_counter() - begun) / (course.state.t - before)
        self.call = max(1, min(int(CALL / max(each, 1e-9)), GROWTH * self.call))
        return value

    def _alike(self, course: Progress) -> int:
        """Return how many steps may be taken before the rule or an audit wants something else."""
        if self.many is None:
            return 1
        most, t = most_steps(self.rule, course.state), course.state.t
        return most if course.refresh is None else min(most, course.refresh - t % course.refresh)

    def _many(self, course: Progress, upcoming: Upcoming, most: int) -> float | None:
        """Take up to so many steps in one call; None where the first of them is to be taken alone.

        That is where its batch is bad, or the kernels leave such steps to the reference.
        """
        state, bad = course.state, course.bad_steps
        stack = upcoming.stack(max(2, min(most, STACK // upcoming.numbers)))
        steps = range(state.t, state.t + len(stack.shares))
        rates = all_sized(self.rule.learning_rate, self.asked, steps, self.total)
        guarded = bad.learns and state.tracked is not None
        plan = Plan(
            np.array(rates) * stack.shares,
            stack.weights,
            usual=tuple(map(float, bad.guard)) if guarded else None,  # type: ignore[arg-type]
            undo=bad.undo or 0.0,
            judged=bad.last is not None,
            rate=course.best_yet.rate,
            joining=course.average.joining(),
        )
        taken = self.many and self.many(state, stack.X, plan, **self.model, rule=self.rule)
        if taken is None:
            self.many = None
            return None
        if taken.n == 0:
            return None
        course.note_many(taken, [share * stack.X.shape[1] for share in stack.shares])
        upcoming.skip(taken.n)
        return course.seen[-1][0]

    def _one(self, course: Progress, upcoming: Upcoming) -> float:
        """Take a step on the next batch; where it shows the one before to be bad, undo that first.

        Undone steps are tried again, smaller.
        """
        batch = next(upcoming)
        eta = self.rate(course.state.t) * batch.share
        while True:
            size = eta * course.bad_steps.caution * course.best_yet.rate
            now = replace(self.rule, learning_rate=size)  # type: ignore[type-var]
            after, info = self.one(
                course.state, batch.X, batch.counts, **self.model, rule=now, **batch.extra
            )
            upcoming.ahead()  # while the device is at work
            if not course.is_bad(info):
                weight = batch.share * sum(batch.counts)
                course.note(after, info, weight, batch.X if self.lasting else None)
                return np.nan if info.log_likelihood is None else info.log_likelihood
            if not course.take_back(after, info):
                raise course.diverged(batch.X)
