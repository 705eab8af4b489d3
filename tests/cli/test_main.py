"""The command line as a whole: exit status, one line for what can't be used, help."""

import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main

from .commands import run

BAD = [
    (["train", "mnist2"], "unknown data 'mnist2'; choose from digits, toy:8gaussians"),
    (["train", "toy:spirals"], "unknown data 'toy:spirals'"),
    (
        ["train", "digits", "--activation", "relu"],
        "unknown activation 'relu'; choose from smooth_leaky_relu",
    ),
    (["train", "digits", "--activation", "softplus"], "softplus is not onto R"),
    (["train", "digits", "--activation", "elu"], "elu is not onto R"),
    (["train", "digits", "--density", "uniform"], "unknown density 'uniform'"),
    (["train", "digits", "--rule", "sgd"], "unknown rule 'sgd'"),
    (["train", "digits", "--schedule", "step"], "unknown schedule 'step'"),
    (["train", "digits", "--init", "zeros"], "unknown kind 'zeros'"),
    (["train", "digits", "--preset", "mine"], "unknown preset 'mine'"),
    (["train", "digits", "--implementation", "gpu"], "unknown implementation 'gpu'"),
    (["train", "digits", "--dtype", "float16"], "unknown dtype 'float16'"),
    (["train", "digits", "--alpha", "0"], "`--alpha` must be in (0, 1], got 0.0"),
    (["train", "digits", "--alpha", "2"], "`--alpha` must be in (0, 1], got 2.0"),
    (["train", "digits", "--learning-rate", "0"], "`--learning-rate` must be positive, got 0.0"),
    (["train", "digits", "--learning-rate", "-1"], "`--learning-rate` must be positive, got -1.0"),
    (["train", "digits", "--learning-rate", "nan"], "`--learning-rate` must be positive, got nan"),
    (["train", "digits", "--layers", "0"], "`--layers` must be a positive integer, got 0"),
    (["train", "digits", "--epochs", "0"], "`--epochs` must be a positive integer, got 0"),
    (["train", "digits", "--batch-size", "0"], "`--batch-size` must be a positive integer, got 0"),
    (["train", "digits", "--layers", "two"], "argument --layers: invalid int value: 'two'"),
    (["train", "digits", "--seed", "-1"], "argument --seed: must be 0 or more"),
    (["train"], "`DATA` is required: a name or a file"),
    (["train", "--resume"], "`--resume` needs --out RUN"),
    (
        ["train", "--resume", "--out", "nowhere"],
        "'nowhere' is not a run folder: it has no config.json",
    ),
    (["train", "none.npy"], "none.npy"),
    (["train", "none.csv"], "none.csv"),
    (["train", "digits", "--rows", "0"], "argument --rows: must be 1 or more"),
    (["train", "digits", "--rows", "9"], "`n` must be None for digits"),
    (["train", "mnist", "--data-dir", "nowhere"], "mnist"),
    (["train", "digits", "--warmup", "-1"], "`--warmup` must be a number of steps, 0 or more"),
    (["train", "digits", "--patience", "0"], "`--patience` must be a positive integer"),
    (["train", "digits", "--average", "2"], "`--average` must be in (0, 1), or none, got 2.0"),
    (["train", "toy:moons", "--rows", "50", "--fresh-noise"], "`--fresh-noise` is for images"),
    (["train", "digits", "--beta", "1"], "beta"),
    (
        ["train", "digits", "--density", "student_t", "--alpha", "x"],
        "argument --alpha: invalid float value: 'x'",
    ),
    (["evaluate", "nowhere"], "'nowhere' is not a run folder"),
    (["sample", "nowhere", "--out", "x.npy"], "'nowhere' is not a run folder"),
    (["sample", "nowhere"], "the following arguments are required: --out"),
    (["sample", "nowhere", "-n", "0", "--out", "x.npy"], "argument -n: must be 1 or more"),
    (["train", "moons"], "did you mean 'toy:moons'?"),
    (["train", "digit"], "did you mean 'digits'?"),
    (["train", "digits", "--density", "student-t"], "did you mean 'student_t'?"),
    (["train", "digits", "--lr", "3"], "unknown option --lr; did you mean --learning-rate?"),
    (["train", "digits", "--epoch", "3", "--batch_size=7"], "did you mean --batch-size?"),
    (["train", "digits", "more"], "unexpected argument 'more'"),
    (["evalute"], "did you mean 'evaluate'?"),
    (["train", "digits", "--average", "0"], "`--average` must be in (0, 1), or none, got 0.0"),
    (
        ["train", "digits", "--activation", "identity", "--alpha", ".1"],
        "activation 'identity' has no parameter 'alpha'",
    ),
    (["train", "digits", "--drop", "3"], "`--drop`: for data of your own; 'digits' is read as"),
    (["train", "my.csv", "--missing", "keep"], "unknown missing 'keep'; choose from error, drop"),
    (["train", "toy:moons", "--rule", "natural", "--layers", "9000"], "'natural' needs F"),
    (["sample", "nowhere", "--out", "x.txt"], "'nowhere' is not a run folder"),
    (["fly"], "unknown command 'fly'; choose from train"),
    ([], "the following arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a) or "nothing" for a, _ in BAD])
def test_bad_input_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert text in err
    assert err.count("\n") == 1
    assert err.startswith("relgrad-np: error: ")
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="unknown data"):
        main(["train", "nothing", "--debug"])


def test_version(capsys):
    assert run(capsys, "--version")[1].strip() == rg.__version__
