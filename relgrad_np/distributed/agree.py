"""How ranks agree outside of a step: they compare what they have, and share their errors."""

from typing import Any, NoReturn

import numpy as np

from ..rules.base import State
from .facts import hash_of
from .messages import Messages


class RanksDifferError(ValueError):
    """The ranks can't fit together, or are no longer alike; the same error is raised on all.

    >>> issubclass(RanksDifferError, ValueError)
    True
    """


class Agreement:
    """What ranks tell one another outside of a step, so that they go on, or end, together.

    While `listening` is true, every rank that has met no error comes to the next `gather`, and an
    error on one rank is raised there on all. Between the first step of a fit and its end it is
    false: then the ranks exchange arrays only, and one that fails can't tell the others.
    """

    def __init__(self, messages: Messages) -> None:
        self.messages, self.listening = messages, True

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each rank; RanksDifferError if one of them has met an error."""
        answers = self.messages.objects((None, value))
        _raise_first([error for error, _ in answers])
        return [value for _, value in answers]

    def share(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return self.gather(value if self.messages.rank == 0 else None)[0]

    def numbers(self, values: Any, dtype: Any = np.float64) -> Any:
        """Return a few numbers (m,) of each rank, (n, m)."""
        if self.listening:  # a rank that has met an error is not there to send an array
            return np.array(self.gather(values), dtype)
        mine = np.array([values], dtype)
        return self.messages.gather(mine, (1,) * self.messages.n).result(mine)

    def raise_on_all(self, error: Exception) -> NoReturn:
        """Tell the ranks in `gather` of this error, and raise what they raise.

        If all ranks have met the same error, each raises its own.
        """
        lines = [line for line, _ in self.messages.objects((one_line(error), None))]
        if len(set(lines)) > 1:
            _raise_first(lines)
        raise error

    def stop_listening(self) -> None:
        """Hear for the last time whether all ranks are well, before they exchange arrays only."""
        if self.listening:
            self.gather(None)
            self.listening = False

    def require_same(self, facts: dict[str, str]) -> None:
        """Compare facts by name; RanksDifferError names the first that differs."""
        answers = self.gather(facts)
        for name in dict.fromkeys(key for answer in answers for key in answer):
            for rank, answer in enumerate(answers):
                if answer.get(name) != answers[0].get(name):
                    raise RanksDifferError(
                        f"`{name}` differs between ranks: {answers[0].get(name)} on rank 0, "
                        f"{answer.get(name)} on rank {rank}"
                    )

    def require_same_state(self, state: State) -> None:
        """Compare hashes of the layers, and of the rest of the state; names rank and layer."""
        parts = [*state.layers, (state.rule_state, state.tracked)]
        hashes = self.numbers([hash_of(part) for part in parts], np.uint64)  # (n, L + 1)
        wrong = np.argwhere(hashes != hashes[0])
        if len(wrong):
            rank, k = map(int, wrong[0])
            what = f"layer {k}" if k < len(state.layers) else "the rule's state"
            raise RanksDifferError(
                f"{what} of rank {rank} is not that of rank 0 at step {state.t}: the ranks have "
                "drifted apart, or did not start alike"
            )


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line, or the name of its type if it has none.

    >>> one_line(ValueError("a  b ")), one_line(MemoryError())
    ('a b', 'MemoryError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def _raise_first(errors: list[str | None]) -> None:
    for rank, error in enumerate(errors):
        if error is not None:
            raise RanksDifferError(f"rank {rank}: {error}") from None
