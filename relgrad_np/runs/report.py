"""The judgement of a fit on the test rows, beside the Gaussian of the training rows."""

import math
from pathlib import PurePath
from typing import Any, NamedTuple

from ..core.objective import log_likelihood
from ..datasets import Dataset, bits_per_dim
from ..fitting.records import FitResult
from ..fitting.storage.model import in_float64
from ..rules.by_name import NEWTON


class RunReport(NamedTuple):
    """The result of a run, in nats per sample and in model space unless named otherwise.

    `test_se2` is two standard errors of the mean over test rows, and `gain_se2` of the mean of what
    the model has more than the Gaussian, row by row; `test_data_space` and
    `gaussian_data_space` are the same means in the data's own units; bits/dim are of pixel space,
    None where the data are not images; `fell`: how far below its best the validation ended, if more
    than a tenth of a nat and a tenth of what the model gained over the Gaussian (None with the rule
    "newton", which passes the best on its way); `overfits`: the training rows gained meanwhile;
    `others`: mean test log-likelihoods of other models, by name, `others_se2`: two standard errors
    of the mean of what the model has more, row by row; `epochs`: how many there were; `xi`: the
    largest |xi| / sqrt(D) of a layer, 0 at a stationary point; `given`: how many columns the others
    are given. If there are any, `gaussian` and `gaussian_data_space` are those of linear regression
    on them.

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
    test_data_space: float | None = None
    gaussian_data_space: float | None = None
    overfits: bool = False
    others: dict[str, float] | None = None
    epochs: int | None = None
    given: int = 0
    gain_se2: float | None = None
    others_se2: dict[str, float | None] | None = None

    def table(self) -> list[tuple[str, ...]]:
        """Return log-likelihoods in model and data space: a header, then a row for each model.

        One column where the model works in data space.

        >>> about = ("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9)
        >>> RunReport(*about, test_data_space=-4.0, gaussian_data_space=-5.0).table()[1]
        ('this model', '-1.000 +- 0.100', '-4.000')
        """
        rows = [
            ("this model", self.test),
            (self.floor, self.gaussian),
            *(self.others or {}).items(),
        ]
        own = None if self.space == "data space" else self.test_data_space
        shift = None if own is None else own - self.test
        spread = "" if math.isnan(self.test_se2) else f" +- {self.test_se2:.3f}"
        cells = []
        for name, value in rows:
            pad = spread if name == "this model" else " " * len(spread)
            moved = "" if shift is None else f"{value + shift:.3f}"
            cells.append((name, f"{value:.3f}{pad}", moved))
        head = (f"nats a row, {self.n_test:,} test rows", self.space, "data space")
        return [row[: 2 if shift is None else 3] for row in (head, *cells)]

    def text(self) -> str:
        """Return the report in a few lines.

        >>> about = ("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9)
        >>> spaces = {"test_data_space": -4.0, "gaussian_data_space": -5.0}
        >>> print(RunReport(*about, **spaces, gain_se2=0.05).text())
        nats a row, 9 test rows  standardised space  data space
        this model                  -1.000 +- 0.100      -4.000
        Gaussian                    -2.000               -5.000
        1.000 +- 0.050 nats above the Gaussian of the training rows (2 standard errors)
        epoch 3 was the best in validation and is kept; 1.0 s of fitting
        """
        gap = self.test - self.gaussian
        lines = aligned(self.table())
        if abs(gap) < 5e-4:
            lines.append(f"the model is the {self.floor} of the training rows")
        else:
            line = above(gap, self.gain_se2, f"{self.floor} of the training rows")
            lines.append(f"{line} (2 standard errors)" if "+-" in line else line)
        for name, value in (self.others or {}).items():
            error = (self.others_se2 or {}).get(name)
            lines.append(above(self.test - value, error, name))
        if self.test_bits_per_dim is not None:
            lines.append(
                f"pixel space: {self.test_bits_per_dim:.3f} bits/dim, Gaussian "
                f"{self.gaussian_bits_per_dim:.3f}"
            )
        lines.append(f"{self._kept()}; {self.seconds:.1f} s of fitting")
        return "\n".join([*lines, *self.advice()])

    @property
    def floor(self) -> str:
        """What the closed form beside the model is."""
        return floor_of(self.given)

    def _kept(self) -> str:
        """Say which layers are kept, and how many epochs there were."""
        if not self.best_epoch:
            return "no epoch was better in validation than the start, which is kept"
        of = "" if self.epochs is None else f" of {self.epochs}"
        return f"epoch {self.best_epoch}{of} was the best in validation and is kept"

    def advice(self) -> list[str]:
        """Return what may go better another time, by what was seen in this one.

        >>> about = ("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9)
        >>> RunReport(*about, fell=0.5, overfits=True).advice()[0].split(":")[1]
        ' --patience stops there, and fewer --layers or more rows overfit less'
        """
        found = []
        if self.fell and (self.overfits or self.stop_reason != "patience"):
            words = "a smaller --learning-rate may go further"
            if self.overfits:
                stops = "" if self.stop_reason == "patience" else "--patience stops there, and "
                words = f"{stops}fewer --layers or more rows overfit less"
            found.append(
                f"validation fell by {self.fell:.3f} nats from the best epoch to the last: {words}"
            )
        if self.n_undone:
            found.append(f"{self.n_undone} steps were undone: a smaller --learning-rate is calmer")
        return found

    def __str__(self) -> str:
        """Return the text."""
        return self.text()


def above(gap: float, error: float | None, name: str) -> str:
    """Return by how many nats the model is above another, and two standard errors where known.

    >>> above(0.5, 0.1, "Gaussian"), above(-0.5, None, "kernel density")
    ('0.500 +- 0.100 nats above the Gaussian', '0.500 nats BELOW the kernel density')
    """
    spread = "" if error is None or math.isnan(error) else f" +- {error:.3f}"
    return f"{abs(gap):.3f}{spread} nats {'above' if gap > 0 else 'BELOW'} the {name}"


def floor_of(given: int) -> str:
    """Return what the closed form of the training rows is called, with so many columns given.

    >>> floor_of(0), floor_of(2)
    ('Gaussian', 'linear regression')
    """
    return "linear regression" if given else "Gaussian"


def aligned(table: list[tuple[str, ...]]) -> list[str]:
    """Return the rows of a table as lines, the first column to the left, the others to the right.

    >>> aligned([("", "one"), ("two", "3")])
    ['     one', 'two    3']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def shown(data: str) -> str:
    """Return what data are called in a text or a title: a file by its name alone.

    >>> shown("/home/me/my.csv"), shown("toy:moons")
    ('my.csv', 'toy:moons')
    """
    return PurePath(data).name or data


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
    per_sample, D, log_det = terms.per_sample, data.D, data.log_det["test"]
    image = data.image_shape is not None
    bits = [bits_per_dim(p, log_det, D) for p in (per_sample, gaussian)] if image else None
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
        space=data.transforms.space,
        n_undone=result.n_undone,
        xi=max(result.xi) / math.sqrt(D) if result.xi else None,
        test_data_space=float((per_sample + log_det).mean()),
        gaussian_data_space=float((gaussian + log_det).mean()),
        overfits=_overfits(result),
        epochs=len(result.history),
        given=data.c,
        gain_se2=two_errors(per_sample - gaussian),
    )


def two_errors(values: Any) -> float:
    """Return two standard errors of a mean, NaN for one value.

    >>> import numpy as np
    >>> two_errors(np.array([1.0, 3.0]))
    2.0
    """
    return 2 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _fell(result: FitResult, gain: float) -> float | None:
    """Return how far the validation ended below its best, None where that is little."""
    values = [e.validation for e in result.history if e.validation is not None]
    if not values:
        return None
    fall = max(values) - values[-1]
    return min(fall, 1e300) if fall > max(0.1, 0.1 * abs(gain)) else None


def _overfits(result: FitResult) -> bool:
    """Say whether the training rows gained after the best epoch of validation."""
    train = {entry.epoch: entry.train for entry in result.history}
    best, last = train.get(max(result.best_epoch, 1)), train.get(len(result.history))
    return best is not None and last is not None and last > best
