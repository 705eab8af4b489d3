"""The judgement of a fit on the test rows, beside the Gaussian of the training rows."""

import math
from typing import Any, NamedTuple

from ..core.objective import log_likelihood
from ..datasets import Dataset, bits_per_dim
from ..fitting.records import FitResult
from ..rules.by_name import NEWTON
from .model import in_float64


class RunReport(NamedTuple):
    """The result of a run, in nats per sample and in model space unless named otherwise.

    `test_se2` is two standard errors of the mean over test rows; bits/dim are of pixel space, None
    where the data are not images; `fell`: how far below its best the validation ended, if more
    than a tenth of a nat and a tenth of what the model gained over the Gaussian (None with the
    rule "newton", which passes the best on its way); `xi`: the largest
    |xi| / sqrt(D) of a layer, 0 at a stationary point.

    >>> RunReport("digits", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 10).test
    -1.0
    """

    data: str
    test: float
    test_se2: float
    gaussian: float
    test_bits_per_dim: float | None
    gaussian_bits_per_dim: float | None
    best_epoch: int
    stop_reason: str
    n_rejected: int
    seconds: float
    D: int
    n_test: int
    fell: float | None = None
    space: str = "standardised space"
    n_undone: int = 0
    xi: float | None = None

    def text(self) -> str:
        """Return the report in a few lines.

        >>> print(RunReport("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9).text())
        toy: test log-likelihood -1.000 +- 0.100 nats (2 s.e., 9 rows, standardised space, D = 2)
        Gaussian of the same training rows: -2.000 nats; the model is 1.000 nats above it
        best epoch 3; 1.0 s of fitting
        """
        gap = self.test - self.gaussian
        lines = [
            f"{self.data}: test log-likelihood {self.test:.3f} +- {self.test_se2:.3f} nats "
            f"(2 s.e., {self.n_test} rows, {self.space}, D = {self.D})",
            f"Gaussian of the same training rows: {self.gaussian:.3f} nats; the model is "
            f"{abs(gap):.3f} nats {'above' if gap > 0 else 'BELOW'} it",
        ]
        if self.test_bits_per_dim is not None:
            lines.append(
                f"pixel space: {self.test_bits_per_dim:.3f} bits/dim, Gaussian "
                f"{self.gaussian_bits_per_dim:.3f}"
            )
        if self.fell:
            lines.append(
                f"validation fell by {self.fell:.3f} nats from the best epoch to the last: "
                "a smaller learning rate may go further"
            )
        if self.n_undone:
            lines.append(f"{self.n_undone} steps were undone: a smaller learning rate is calmer")
        best = f"best epoch {self.best_epoch}" if self.best_epoch else "no epoch beat the start"
        if self.xi is not None:
            best += f"; |xi| / sqrt(D) {self.xi:.2g}, 0 at an optimum"
        return "\n".join([*lines, f"{best}; {self.seconds:.1f} s of fitting"])


def judge(
    data: Dataset, result: FitResult, options: dict[str, Any], gaussian: Any, seconds: float
) -> RunReport:
    """Return the report of a fit, evaluated in float64 whatever dtype it was fitted in.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> import numpy as np
    >>> from relgrad_np.runs.settings import Settings
    >>> from relgrad_np.runs.training import prepare
    >>> layers, options, _ = prepare(Settings(init="identity"), data)
    >>> result = FitResult(layers, layers, 0, (), None, "epochs", 0)
    >>> judge(data, result, options, np.full(10, -2.8), 0.0).gaussian
    -2.8
    """
    layers = in_float64(result.best_layers)
    terms = log_likelihood(layers, data.test, options["activation"], options["density"])
    per_sample, D = terms.per_sample, data.test.shape[1]
    image = data.image_shape is not None
    bits = (
        [bits_per_dim(p, data.log_det["test"], D) for p in (per_sample, gaussian)]
        if image
        else None
    )
    return RunReport(
        data=data.name,
        test=float(per_sample.mean()),
        test_se2=two_errors(per_sample),
        gaussian=float(gaussian.mean()),
        test_bits_per_dim=float(bits[0].mean()) if bits else None,
        gaussian_bits_per_dim=float(bits[1].mean()) if bits else None,
        best_epoch=result.best_epoch,
        stop_reason=result.stop_reason,
        n_rejected=result.n_rejected,
        seconds=seconds,
        D=D,
        n_test=len(per_sample),
        fell=None
        if options["rule"] == NEWTON
        else _fell(result, float(per_sample.mean() - gaussian.mean())),
        space=space_of(data),
        n_undone=result.n_undone,
        xi=max(result.xi) / math.sqrt(D) if result.xi else None,
    )


def two_errors(values: Any) -> float:
    """Return two standard errors of a mean, NaN for one value.

    >>> import numpy as np
    >>> two_errors(np.array([1.0, 3.0]))
    2.0
    """
    return 2 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def space_of(data: Dataset) -> str:
    """Name the space of a set's log-likelihoods by its transforms.

    >>> from relgrad_np.datasets import load
    >>> space_of(load("digits"))
    'standardised logit space'
    """
    names = [type(transform).__name__ for transform in data.transforms.transforms]
    words = ["standardised"] * ("Standardise" in names) + ["logit"] * ("Logit" in names)
    return " ".join([*(words or ["data"]), "space"])


def _fell(result: FitResult, gain: float) -> float | None:
    """Return how far the validation ended below its best, None where that is little."""
    values = [e.validation for e in result.history if e.validation is not None]
    if not values:
        return None
    fall = max(values) - values[-1]
    return min(fall, 1e300) if fall > max(0.1, 0.1 * abs(gain)) else None
