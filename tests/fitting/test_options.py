"""The options of `fit`: one declaration each, from which the signature and every check come."""

import inspect
import re
from dataclasses import dataclass, fields

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arguments import whole
from relgrad_np.fitting import options
from relgrad_np.fitting.declared import check_settings, declared, setting, shared
from relgrad_np.fitting.options import Options

BAD = [
    ({"rule": "sgd"}, ValueError, "unknown rule 'sgd'; choose from recipe, natural"),
    ({"learning_rate": 0}, ValueError, "`learning_rate` must be positive, got 0"),
    ({"learning_rate": np.nan}, ValueError, "`learning_rate` must be positive, got nan"),
    ({"learning_rate": "1"}, TypeError, "`learning_rate` must be a number, got str"),
    ({"schedule": "step"}, ValueError, "unknown schedule 'step'; choose from linear, constant"),
    ({"warmup": -1}, ValueError, "`warmup` must be a number of steps, 0 or more, got -1"),
    ({"warmup": 1.5}, ValueError, "`warmup` must be a number of steps, 0 or more, got 1.5"),
    ({"warmup": True}, ValueError, "`warmup` must be a number of steps, 0 or more, got True"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer, got 0"),
    ({"batch_size": 2.5}, ValueError, "`batch_size` must be a positive integer, got 2.5"),
    ({"epochs": 10**13}, ValueError, "`epochs` must be at most 10^12, got 10000000000000"),
    ({"epochs": "9"}, TypeError, "`epochs` must be a number, got str"),
    ({"patience": 0}, ValueError, "`patience` must be a positive integer, got 0"),
    ({"implementation": "gpu"}, ValueError, "unknown implementation 'gpu'; choose from reference"),
    ({"average": 1.0}, ValueError, "`average` must be in (0, 1), or None, got 1.0"),
    ({"average": 0}, ValueError, "`average` must be in (0, 1), or None, got 0"),
    ({"undo": -1}, ValueError, "`undo` must be positive, or None, got -1"),
    ({"refresh": 2.5}, ValueError, "`refresh` must be a positive integer, got 2.5"),
]


@pytest.mark.parametrize(("given", "error", "message"), BAD, ids=[str(b[0]) for b in BAD])
def test_each_option_is_refused_by_name(given, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Options(**given)


def test_numbers_are_kept_as_pythons_own():
    made = Options(
        warmup=np.int64(2), batch_size=np.float64(10), epochs=np.int8(3), undo=np.float32(2),
        patience=np.int64(1), learning_rate=1, refresh=np.uint8(7), track_inverse=np.True_,
    )  # fmt: skip
    kept = {field.name: type(getattr(made, field.name)) for field in fields(made)}
    whole_numbers = ("warmup", "batch_size", "epochs", "patience", "refresh")
    assert {kept[name] for name in whole_numbers} == {int}
    assert {kept[name] for name in ("learning_rate", "average", "undo")} == {float}
    assert kept["track_inverse"] is bool


def test_fit_shows_every_option_with_its_default_and_takes_no_other():
    shown = inspect.signature(rg.fit).parameters
    assert "options" not in shown
    for name, option in declared(Options).items():
        assert shown[name].default == option.default
        assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
    layers = (rg.Layer(np.eye(2), np.ones(2)),)
    model = rg.activation("identity"), rg.density("normal")
    with pytest.raises(TypeError, match=r"no option `lr`\. It has rule, learning_rate, schedule"):
        rg.fit(layers, np.ones((3, 2)), *model, rng=np.random.default_rng(0), lr=1)
    with pytest.raises(TypeError, match=r"no option `batchsize`, did you mean `batch_size`\?"):
        rg.fit(layers, np.ones((3, 2)), *model, rng=np.random.default_rng(0), batchsize=1)


def test_a_shared_setting_has_the_check_and_words_of_the_first():
    @dataclass(frozen=True)
    class Long:
        epochs: int = shared(Options, "epochs", default=1000)
        batch_size: int = shared(Options, "batch_size")
        rows: int = setting(3, "rows", check=whole)

        def __post_init__(self):
            check_settings(self)

    assert Long() == Long(1000, 100, 3)
    assert declared(Long)["epochs"].help == declared(Options)["epochs"].help
    with pytest.raises(ValueError, match="`epochs` must be a positive integer, got 0"):
        Long(epochs=0)
    with pytest.raises(ValueError, match="`rows` must be a positive integer, got 0"):
        Long(rows=0)


def test_every_schedule_begins_at_the_whole_rate():
    assert {factor(0.0) for factor in options.SCHEDULES.values()} == {1.0}
