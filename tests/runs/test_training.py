"""What `train` prepares: once, and on data whose rank is full in the dtype that is fitted."""

from dataclasses import replace

import numpy as np
import pytest

from relgrad_np.cli.main import main
from relgrad_np.datasets import load
from relgrad_np.runs import training
from relgrad_np.runs.rows import rows_of
from relgrad_np.runs.settings import Settings


def test_a_run_is_prepared_once(monkeypatch, tmp_path, capsys):
    calls = []
    make = training.init_layers

    def counted(*args, **options):
        calls.append(options["kind"])
        return make(*args, **options)

    monkeypatch.setattr(training, "init_layers", counted)
    arguments = ["--epochs", "1", "--layers", "2", "--rows", "200", "--no-pictures"]
    arguments += ["--out", str(tmp_path / "run")]
    assert main(["train", "toy:sine", *arguments]) == 0
    assert calls == ["principal"]


def test_a_column_that_is_constant_in_float32_is_refused_there():
    """As of a set that is not standardised: 1e4 + 1e-5 noise varies in float64 alone."""
    data = load(np.random.default_rng(0).normal(size=(400, 3)))
    data = data._replace(train=data.train * [1, 1, 1e-5] + [0, 0, 1e4])
    training.prepare(Settings(layers=1, dtype="float64"), data)
    with pytest.raises(ValueError, match=r"have not full rank: columns that are constant: 2"):
        training.prepare(Settings(layers=1, dtype="float32"), data)


def test_fresh_noise_is_drawn_anew_and_hides_nothing_else():
    """Pixels come back exactly; each draw differs, and has the law of the first one."""
    data = load("digits")
    pixels, transform = rows_of(data, "float64", True)
    again = data.transforms.inverse(transform(pixels, np.random.default_rng(5)))
    assert np.array_equal(again, pixels)
    rng = np.random.default_rng(0)
    one, two = transform(pixels[:50], rng), transform(pixels[:50], rng)
    assert (one != two).all()
    assert np.array_equal(data.transforms.inverse(one), pixels[:50])
    assert not np.allclose(one, data.train[:50])
    many = np.mean([transform(pixels[:50], rng) for _ in range(400)], axis=0)
    both = data.train[:50] - many, one - many
    assert abs(both[0].std() / both[1].std() - 1) < 0.05


def test_fresh_noise_reaches_the_fit():
    seen = []

    def watch(epoch, state):
        seen.append(epoch.train)

    settings = Settings(layers=1, epochs=3, learning_rate=1e-9, fresh_noise=True)
    training.train(load("digits"), settings, callbacks=(watch,))
    fixed = list(seen)
    seen.clear()
    training.train(load("digits"), replace(settings, fresh_noise=False), callbacks=(watch,))
    assert np.ptp(seen) < 1e-5  # the layers hardly move: only the noise can
    assert np.ptp(fixed) > 1e-3


def test_fresh_noise_is_for_images():
    with pytest.raises(ValueError, match="`fresh_noise` is for images, and 'toy:moons' is none"):
        training.prepare(Settings(fresh_noise=True), load("toy:moons", n=50))


def test_fresh_noise_differs_from_epoch_to_epoch():
    """Each call draws from the fit's own generator: the same rows are never the same again.

    The two passes before the first step, and one after the last, only measure: they have noise of
    their own.
    """
    data = load("digits")
    prepared = training.prepare(Settings(layers=1, fresh_noise=True, epochs=3), data)
    drawn, transform = [], prepared.options["transform"]

    def watched(rows, rng):
        made = transform(rows, rng)
        drawn.extend((row.tobytes(), z[0]) for row, z in zip(rows, made, strict=True))
        return made

    prepared.options["transform"] = watched
    training.train(data, Settings(layers=1, epochs=3), prepared=prepared)
    pixel = drawn[0][0]
    values = [z for row, z in drawn if row == pixel]
    assert len(values) == 6
    assert len(set(values[1:-1])) == 4
