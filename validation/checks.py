"""A check: what was looked at, what is right, what came, and whether that is right."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from .judge import judged


class Check(NamedTuple):
    """What was looked at, what is right, what came, and whether that is right; None: skipped.

    >>> Check("a score", "-4.2", "-4.1", False).line()
    'FAILS   a score: right: -4.2; came: -4.1'
    """

    what: str
    right: str
    came: str
    ok: bool | None

    def line(self) -> str:
        """Return the check as one line."""
        said = "skipped" if self.ok is None else "holds" if self.ok else "FAILS"
        return f"{said:7} {self.what}: right: {self.right}; came: {self.came}"


def close(what: str, right: float, came: float, tolerance: float) -> Check:
    """Check a number.

    >>> close("pi", 3.14, 3.1416, 0.01).ok, close("pi", 3.14, float("nan"), 0.01).ok
    (True, False)
    """
    ok = bool(abs(came - right) <= tolerance)
    return Check(what, f"{right:.4g} +- {tolerance:g}", f"{came:.6g}", ok)


def found(what: str, right: str, find: Callable[[], tuple[str, bool]]) -> Check:
    """Check what a function finds; an exception is what came, and is wrong.

    >>> found("a quotient", "a number", lambda: (str(1 / 0), True)).came
    'ZeroDivisionError: division by zero'
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            came, ok = find()
        except Exception as error:  # which one is the finding
            return Check(what, right, f"{type(error).__name__}: {str(error)[:90]}", False)
    return Check(what, right, came, bool(ok))


def fits(what: str, X: Any, model: Any) -> Check:
    """Fit X (N, D), and check that the score is above start and Gaussian, or that a warning came.

    One layer of X must come near the Gaussian, and a refusal is wrong.
    """
    verdict = judged(X, model)
    right = "not below start and Gaussian, or warned"
    if verdict.faults:
        return Check(what, right, "; ".join(verdict.faults), False)
    if verdict.refused or verdict.gaussian is None:
        return Check(what, right, "refused", False)
    if model.get_params()["n_layers"] == 1 and not (verdict.near or verdict.warned):
        return Check(what, "the Gaussian's", f"{verdict.gaussian:+.4g}", False)
    return Check(what, right, f"{verdict.gaussian:+.4g} nats{', warned' * verdict.warned}", True)
