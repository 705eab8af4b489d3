"""What `train` prepares: once, and on data whose rank is full in the dtype that is fitted."""

import numpy as np
import pytest

from relgrad_np import training
from relgrad_np.cli import main
from relgrad_np.datasets import load


def test_a_run_is_prepared_once(monkeypatch, tmp_path, capsys):
    calls = []
    make = training.init_layers

    def counted(*args, **options):
        calls.append(options["kind"])
        return make(*args, **options)

    monkeypatch.setattr(training, "init_layers", counted)
    assert main(["train", "toy:sine", "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert calls == ["gaussianize"]


def test_a_column_that_is_constant_in_float32_is_refused_there():
    """As of a set that is not standardised: 1e4 + 1e-5 noise varies in float64 alone."""
    data = load(np.random.default_rng(0).normal(size=(400, 3)))
    data = data._replace(train=data.train * [1, 1, 1e-5] + [0, 0, 1e4])
    training.prepare(training.Settings(layers=1, dtype="float64"), data)
    with pytest.raises(ValueError, match=r"have not full rank: columns that are constant: 2"):
        training.prepare(training.Settings(layers=1, dtype="float32"), data)
