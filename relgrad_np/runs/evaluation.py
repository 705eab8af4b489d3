"""Judge a trained model on rows: its own test rows, another set's, or a file's, in their order."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.context import context_of
from ..core.objective import log_likelihood
from ..datasets import Dataset, bits_per_dim
from ..datasets.files.missing import UNFILLED
from ..datasets.files.own import raw_rows
from ..datasets.files.reading import Reading, asking
from ..datasets.fitted_rows import FittedRows
from ..datasets.record import forward_given
from ..datasets.transforms import Dequantise
from ..fitting.storage.model import Model, given_columns, in_float64
from .report import aligned, floor_of, shown, two_errors
from .rows import baseline

CHUNK = 8192  # rows scored at a time


class Evaluation(NamedTuple):
    """Log-likelihood of rows under a model: nats in model space and in the data's own space."""

    data: str
    rows: int
    model_space: float
    se2: float
    data_space: float
    bits_per_dim: float | None
    gaussian: float | None
    gaussian_data_space: float | None = None
    notes: tuple[str, ...] = ()
    given: int = 0
    space: str = "standardised space"

    def table(self) -> list[tuple[str, ...]]:
        """Return log-likelihoods in model and data space: a header, then a row for each model.

        One column where the model works in data space.
        """
        spread = "" if math.isnan(self.se2) else f" +- {self.se2:.3f}"
        which = "rows" if self.gaussian is None else "test rows"
        head = (f"nats a row, {self.rows:,} {which}", self.space, "data space")
        rows = [head, ("this model", f"{self.model_space:.3f}{spread}", f"{self.data_space:.3f}")]
        if self.gaussian is not None:
            value = f"{self.gaussian:.3f}{' ' * len(spread)}"
            name = f"{floor_of(self.given)} of the training rows"
            rows.append((name, value, f"{self.gaussian_data_space:.3f}"))
        return [row[: 2 if self.space == "data space" else 3] for row in rows]

    def text(self) -> str:
        """Return the evaluation in a few lines.

        >>> print(Evaluation("/data/my.csv", 9, -1.0, 0.1, -4.0, None, None).text())
        my.csv
        nats a row, 9 rows  standardised space  data space
        this model             -1.000 +- 0.100      -4.000
        """
        lines = [shown(self.data), *aligned(self.table())]
        if self.bits_per_dim is not None:
            lines.append(f"pixel space: {self.bits_per_dim:.3f} bits/dim")
        return "\n".join(lines)

    def __str__(self) -> str:
        """Return the text."""
        return self.text()


def evaluate_own(model: Model, data: Dataset) -> tuple[Evaluation, Any, Any]:
    """Judge a model on the test rows of the set it was fitted to; see `evaluate_file`.

    >>> from relgrad_np.datasets import load
    >>> from relgrad_np.runs.settings import Settings
    >>> from relgrad_np.runs.training import train
    >>> data = load("toy:sine", n=200)
    >>> run = train(data, Settings(epochs=2))
    >>> evaluate_own(run.model, data)[0].model_space == run.report.test
    True
    """
    if data.transforms != model.transforms or data.given != given_columns(model):
        raise ValueError("`data` are not prepared as the model's own were: have they changed?")
    gaussian = baseline(data, data.test)
    parts = ((data.test[rows], data.log_det["test"][rows]) for rows in _chunks(len(data.test)))
    return _judge(model, data.name, parts, gaussian)


def evaluate_set(model: Model, data: Dataset) -> tuple[Evaluation, Any, Any]:
    """Judge a model on the test rows of another set.

    >>> from relgrad_np.datasets import load
    >>> from relgrad_np.runs.settings import Settings
    >>> from relgrad_np.runs.training import train
    >>> model = train(load("toy:sine", n=200), Settings(epochs=2)).model
    >>> evaluate_set(model, load("toy:rings", n=200))[0].rows
    40
    """
    x, _ = data.split(data.test)
    return _judge(model, data.name, _raw_parts(model, data.transforms.inverse(x)), None)


def evaluate_file(
    model: Model, path: Path, reading: Reading | None = None
) -> tuple[Evaluation, Any, Any]:
    """Judge a model on all rows of a file, in the file's order.

    Returns the evaluation, log p (N,) of each row in model space, in nats, and what to add to it in
    data space: the log|det| (N,) of the transforms. Both are NaN for a row with a missing value,
    which `reading.missing` "drop" leaves out of the means. The file holds rows as the model's data
    did, raw; what is random in the way to model space is drawn from seed 0. Of a file that names
    its columns those of the model are taken, in the model's order. ValueError for a column that is
    not there. Scored 8,192 rows at a time.

    >>> from relgrad_np.datasets import load
    >>> from relgrad_np.runs.settings import Settings
    >>> from relgrad_np.runs.training import train
    >>> import tempfile
    >>> model = train(load("toy:sine", n=200), Settings(epochs=2)).model
    >>> path = Path(tempfile.mkdtemp()) / "x.npy"
    >>> np.save(path, np.zeros((3, 2)))
    >>> found, scores, _ = evaluate_file(model, path)
    >>> found.rows, scores.shape
    (3, (3,))
    """
    reading = reading or Reading()
    if reading.missing == "median":
        raise ValueError(
            f"a row with a missing value has no density: {asking(missing='drop')} scores the"
            f" others; {UNFILLED}"
        )
    columns = names_of(model)
    rows, notes = raw_rows(path, reading, columns)
    if reading.missing != "drop":
        require_inside(model, path, rows)
        found, *terms = _judge(model, str(path), _raw_parts(model, rows), None)
        return found._replace(notes=(*notes, *found.notes)), *terms
    whole = ~np.isnan(rows).any(axis=1)
    if not whole.any():
        raise ValueError(f"`{path}` has no row without missing values")
    require_inside(model, path, rows[whole])
    found, *terms = _judge(model, str(path), _raw_parts(model, rows[whole]), None)
    scores = np.full((2, len(rows)), np.nan)
    scores[:, whole] = terms
    if not whole.all():
        notes = (*notes, f"{int((~whole).sum())} of {len(rows)} rows have missing values: no score")
    return found._replace(notes=(*notes, *found.notes)), *scores


def names_of(model: Model) -> tuple[str, ...] | None:
    """Return the names of a model's columns, and then of those that are given; None without names.

    >>> import relgrad_np as rg
    >>> layers = (rg.Layer(np.eye(1), np.zeros((1, 2))),)
    >>> config = {"columns": ["a"], "context": {"columns": ["u"], "mean": [0.0], "std": [1.0]}}
    >>> names_of(Model(layers, None, None, None, config))
    ('a', 'u')
    """
    columns, given = model.config.get("columns"), given_columns(model)
    others = () if given is None else given.columns
    return None if columns is None or others is None else (*columns, *others)


def fitted_rows(model: Model) -> FittedRows | None:
    """Return what a model knows of the rows of its fit; None where it knows nothing that fits.

    >>> import relgrad_np as rg
    >>> fitted_rows(Model((rg.Layer(np.eye(1), np.zeros(1)),), None, None, rg.Chain(()), {}))
    """
    c = context_of(model.layers)
    kept = FittedRows.from_dict(model.config.get("fitted_rows"))
    known = FittedRows.of_chain(model.transforms, c) if kept is None else kept
    width = model.layers[0].b.shape[0] + c
    return known if known is not None and len(known.mean) == width == len(known.std) else None


def require_inside(model: Model, path: Path, rows: Any) -> None:
    """Refuse rows (x, u) of a file whose x is on a bound or beyond it."""
    if model.transforms.support is not None:
        D, columns = model.layers[0].b.shape[0], model.config.get("columns")
        x = rows if rows.shape[1] <= D else np.asarray(rows[:])[:, :D]
        model.transforms.require_inside(str(path), x, columns and tuple(columns))


def _raw_parts(model: Model, raw: Any) -> Iterator[tuple[Any, Any]]:
    """Bring raw rows to the model's space, part by part: rows and log|det|."""
    D, rng, given = model.layers[0].b.shape[0], np.random.default_rng(0), given_columns(model)
    c = 0 if given is None else given.c
    if raw.shape[1] != D + c:
        more = f" and {c} that are given" * bool(c)
        raise ValueError(f"`data` has {raw.shape[1]} columns, the model {D}{more}")
    for rows in _chunks(len(raw)):
        yield forward_given(model.transforms, given, np.asarray(raw[rows]), rng)


def _chunks(N: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, N, CHUNK))


def _judge(
    model: Model, name: str, parts: Iterator[tuple[Any, Any]], gaussian: Any
) -> tuple[Evaluation, Any, Any]:
    layers, scores, log_dets = in_float64(model.layers), [], []
    fitted, far = fitted_rows(model), 0
    for X, log_det in parts:
        if fitted is not None:
            far = far + fitted.far(X)
        terms = log_likelihood(layers, X, model.activation, model.density)
        scores.append(terms.per_sample)
        log_dets.append(log_det)
    log_p, log_det = np.concatenate(scores), np.concatenate(log_dets)
    N, D = len(log_p), layers[0].b.shape[0]
    image = any(isinstance(step, Dequantise) for step in model.transforms.transforms)
    found = Evaluation(
        data=name,
        rows=N,
        model_space=float(log_p.mean()),
        se2=two_errors(log_p),
        data_space=float((log_p + log_det).mean()),
        bits_per_dim=float(bits_per_dim(log_p, log_det, D).mean()) if image else None,
        gaussian=None if gaussian is None else float(gaussian.mean()),
        gaussian_data_space=None if gaussian is None else float((gaussian + log_det).mean()),
        given=context_of(layers),
        space=model.transforms.space,
    )
    unlike = "" if fitted is None else fitted.note(far, log_p, names_of(model))
    if unlike:
        found = found._replace(notes=(unlike,))
    return found, log_p, log_det
