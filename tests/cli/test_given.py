"""`--given`: columns that the others are given leave x, are kept in the run, and every command has them."""

import json
import re

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.datasets import Reading, load
from relgrad_np.datasets.transforms import Standardise
from relgrad_np.runs import panels, pictures, rows
from relgrad_np.runs.training import Run

from .commands import run

pd = pytest.importorskip("pandas", reason="pandas reads text files")
QUICK = ["--epochs", "2", "--layers", "2", "--rule", "plain", "--implementation", "reference"]
QUICK += ["--no-pictures"]
RNG = np.random.default_rng(0)
HOUR, PLACE = RNG.integers(0, 24, 120), RNG.uniform(-1, 1, 120)
LOAD = np.exp(0.1 * HOUR + PLACE) * RNG.lognormal(size=120)
COST = 50 + 3 * LOAD + PLACE + RNG.normal(size=120)
NAMES = ["hour", "load", "place", "cost"]
ROWS = np.stack([HOUR, LOAD, PLACE, COST], axis=1)
FRAME = pd.DataFrame(ROWS, columns=NAMES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on the same rows: of a table with names, and of an array whose columns have numbers."""
    folder = tmp_path_factory.mktemp("given")
    FRAME.to_csv(folder / "my.csv", index=False)
    np.save(folder / "my.npy", ROWS)
    given = {"csv": ("hour,place", "load=0:"), "npy": ("0,2", "1=0:")}
    for kind, (names, support) in given.items():
        data, out = folder / f"my.{kind}", folder / f"run_{kind}"
        how = ["--given", names, "--support", support, "--out", str(out), *QUICK]
        assert main(["train", str(data), *how]) == 0
    return folder


def log_p(folder, table=FRAME):
    """Log p of the rows of a table, from the run's arrays and the definitions."""
    model = rg.load(folder / "model.npz")
    about = model.config["context"]
    Z, log_det = model.transforms.forward_with_log_det(table[["load", "cost"]].to_numpy())
    V = (table[["hour", "place"]].to_numpy() - about["mean"]) / about["std"]
    rows = np.concatenate([Z, V], axis=1)
    return (
        rg.log_likelihood(model.layers, rows, model.activation, model.density).per_sample + log_det
    )


def test_the_run_keeps_what_is_given(runs):
    for kind, names in (("csv", ["hour", "place"]), ("npy", ["0", "2"])):
        model = rg.load(runs / f"run_{kind}" / "model.npz")
        assert model.layers[0].b.shape == (2, 3)
        assert model.config["context"]["columns"] == names
        assert len(model.transforms.support.low) == 2
    config = json.loads((runs / "run_csv" / "config.json").read_text())
    assert config["reading"]["given"] == "hour,place"
    report = json.loads((runs / "run_csv" / "report.json").read_text())
    assert (report["given"], report["D"]) == (2, 2)


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_the_rows_of_any_file_are_scored_by_name_or_number(runs, tmp_path, capsys, kind):
    folder = runs / f"run_{kind}"
    expected = log_p(folder)
    data = {"csv": "other.csv", "npy": "other.npy"}[kind]
    if kind == "csv":  # in another order, with more columns
        FRAME[["cost", "hour", "load", "place"]].assign(more=1.0).to_csv(
            tmp_path / data, index=False
        )
    else:
        np.save(tmp_path / data, ROWS)
    scores = tmp_path / "scores.npy"
    status, out, err = run(capsys, "evaluate", folder, tmp_path / data, "--scores", scores)
    assert (status, "96 of these 120 rows were fitted" in err) == (0, kind == "npy")
    np.testing.assert_allclose(np.load(scores)[:, 1], expected, rtol=1e-9)
    assert "120 rows" in out
    mixed = FRAME.assign(hour=FRAME["hour"][::-1].to_numpy())  # planted: another row's context
    assert abs(log_p(folder, mixed) - expected).max() > 0.1
    status, out, _ = run(capsys, "evaluate", folder)
    assert status == 0
    assert "linear regression of the training rows" in out


def test_the_floor_is_linear_regression_with_gaussian_residuals(runs):
    data = load(runs / "my.csv", reading=Reading(given="hour,place", support="load=0:"))
    x, u = data.split(data.train)
    U = np.concatenate([u, np.ones((len(u), 1))], axis=1)
    B = np.linalg.lstsq(U, x, rcond=None)[0]
    C = (x - U @ B).T @ (x - U @ B) / len(x)
    y, v = data.split(data.test)
    E = y - np.concatenate([v, np.ones((len(v), 1))], axis=1) @ B
    floor = (
        -np.einsum("ni,ij,nj->n", E, np.linalg.inv(C), E) / 2
        - np.linalg.slogdet(2 * np.pi * C)[1] / 2
    )
    np.testing.assert_allclose(rows.baseline(data, data.test), floor, rtol=1e-9)


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_rows_are_drawn_for_values_or_for_the_rows_of_a_file(runs, tmp_path, capsys, kind):
    folder, names = runs / f"run_{kind}", {"csv": ("hour", "place"), "npy": ("0", "2")}[kind]
    out = tmp_path / "out.csv"
    values = f"{names[1]}=0.5, {names[0]}=7"
    status, said, err = run(capsys, "sample", folder, "--given", values, "-n", "40", "--out", out)
    assert (status, err) == (0, "")
    assert "40 rows of 2 columns in data space, with the 2 given behind them" in said
    drawn = pd.read_csv(out)
    assert list(drawn.columns) == [*{"csv": ("load", "cost"), "npy": ("1", "3")}[kind], *names]
    assert (drawn.iloc[:, 0] > 0).all()
    assert (drawn[list(names)] == [7, 0.5]).all(axis=None)
    file = tmp_path / f"few.{kind}"
    if kind == "csv":
        FRAME[["place", "hour"]].head(3).to_csv(file, index=False)
    else:
        np.save(file, ROWS[:3, [0, 2]])
    assert (
        run(capsys, "sample", folder, "--given", file, "-n", "2", "--out", tmp_path / "b.npy")[0]
        == 0
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "b.npy")[:, 2:], np.repeat(ROWS[:3, [0, 2]], 2, 0)
    )


def test_what_is_drawn_depends_on_what_is_given(runs):
    from relgrad_np.cli.given import given_rows
    from relgrad_np.cli.use import draws

    model = rg.load(runs / "run_csv" / "model.npz")
    means = [
        np.concatenate(
            [
                *draws(
                    model,
                    400,
                    np.random.default_rng(0),
                    given_rows(model, {}, f"hour={hour},place=0"),
                )
            ]
        )
        for hour in (0, 23)
    ]
    assert np.median(means[1][:, 0]) > 2 * np.median(means[0][:, 0])  # its own is e^2.3 as large


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train my.csv --given huor", "no column 'huor'; did you mean 'hour'?"),
        ("train my.csv --given hour,load,place,cost", "all are given, and none is there to be modelled"),
        ("train my.csv --given hour,hour", "`--given` names a column of `my.csv` twice"),
        ("train my.csv --given hour --drop hour", "column 'hour' is both given and dropped"),
        ("train my.csv --given hour --support hour=0:", "`--support` bounds column 'hour', which is given"),
        ("train my.npy --given 9", "`my.npy` has no column 9"),
        ("train my.csv --given hour --compare", "`--compare` knows of no conditional densities"),
        ("train toy:moons --given 1", "`--given`: for data of your own"),
        ("train same.csv --given hour", "given 'hour', columns 'twice' have no density"),
        ("train text.csv --given day", "not a number: 'mon'"),
        ("train --resume --out run_csv --given hour", "`--given` can't change on --resume: it is hour,place"),
        ("sample run_csv", "`--given` is needed: hour=...,place=..., or a FILE of rows"),
        ("sample run_csv --given hour=3", "`--given` lacks place; given are: hour, place"),
        ("sample run_csv --given hour=3,place=x", "`--given`: place must be a finite number, got 'x'"),
        ("sample run_csv --given hour=3,plaec=1", "no column 'plaec'; did you mean 'place'?"),
        ("sample run_csv --given hour=3,hour=4", "`--given` has 'hour' twice"),
        ("sample run_csv --given 0=3,hour=4", "`--given` has 'hour' twice"),
        ("sample run_csv --given 2=3", "`--given` has no column '2'; given are: hour, place"),
        ("sample run_csv --given gone.csv", "the data file 'gone.csv' is not there"),
        ("sample run_csv --given my.npy", "`my.npy` has 4 columns, and 2 are given: hour, place"),
        ("evaluate odd.npz my.csv", "its `context` is no record of columns: 'int' object is not"),
        ("sample flow.npz --given hour=3", "`--given`: the model has no given columns"),
        ("evaluate run_csv wide.npy", "`wide.npy` has no column hour: its 5 columns have numbers"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(runs, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(runs)
    FRAME[["hour"]].assign(twice=FRAME["hour"] * 2).to_csv("same.csv", index=False)
    FRAME[["load"]].assign(day=["mon", "tue"] * 60).to_csv("text.csv", index=False)
    np.save("wide.npy", np.ones((3, 5)))
    parts = rg.activation("identity"), rg.density("normal"), rg.Chain(())
    odd = (rg.Layer(np.eye(2), np.ones((2, 2))),)
    rg.save("odd.npz", rg.Model(odd, *parts, {"context": 3}))
    rg.save("flow.npz", rg.Model((rg.Layer(np.eye(2), np.ones(2)),), *parts, {}))
    command = arguments.split()
    command += ["--out", "new.csv"] if command[0] == "sample" else []
    command += QUICK if command[0] == "train" and "--resume" not in command else []
    status, _, err = run(capsys, *command)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_resumed_beyond_its_end_and_from_a_checkpoint_alone(runs, tmp_path, capsys):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(runs / "run_csv", folder)
    more = ["train", "--resume", "--out", folder, "--epochs", "3", "--no-pictures"]
    status, out, _ = run(capsys, *more)
    assert status == 0
    assert "of 3 was the best" in out
    (values,) = re.findall(r"--given hour=(\S+),place=(\S+) ", out)
    assert abs(FRAME[["hour", "place"]] - list(map(float, values))).max(axis=1).min() < 1e-6
    (folder / "model.npz").unlink()  # as if it had not ended
    assert run(capsys, "evaluate", folder, runs / "my.csv")[0] == 0


def test_a_rule_that_the_data_choose_is_named_kept_and_gone_on_with(runs, tmp_path, capsys):
    folder, rest = tmp_path / "run", ["--no-pictures", "--epochs"]
    small = ["--given", "hour,place", "--layers", "2", "--implementation", "reference"]
    status, out, _ = run(capsys, "train", runs / "my.csv", *small, "--out", folder, *rest, "1")
    assert status == 0
    assert "fit      rule natural (damping 0.1), batches of 96" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["rule"] == {"name": "natural", "damping": 0.1}
    resumed = ["train", "--resume", "--out", folder, *rest]
    assert run(capsys, *resumed, "2")[0] == 0
    config["settings"]["rule"] = vars(rg.Natural(damping=0.1))  # as runs once kept it
    (folder / "config.json").write_text(json.dumps(config))
    assert run(capsys, *resumed, "3")[0] == 0
    status, _, err = run(capsys, *resumed, "4", "--rule", "natural")
    assert (status, "`--rule` can't change on --resume: it is natural (damping" in err) == (2, True)
    config["settings"]["rule"] = vars(rg.Natural(damping=0.2))  # planted: another rule
    (folder / "config.json").write_text(json.dumps(config))
    assert "`rule` can't change on resume" in run(capsys, *resumed, "4")[2]


def test_estimator_and_command_line_read_each_other(runs, tmp_path, capsys):
    pytest.importorskip("sklearn")
    from relgrad_np.estimator import ConditionalFlow, RelativeGradientFlow

    model = ConditionalFlow.load(runs / "run_csv")
    x, u = FRAME[["load", "cost"]], FRAME[["hour", "place"]]
    np.testing.assert_allclose(
        model.score_samples(x, context=u), log_p(runs / "run_csv"), rtol=1e-9
    )
    assert model.flow.support == {"load": (0.0, None)}
    saved, scores = tmp_path / "saved.npz", tmp_path / "scores.npy"
    model.save(saved)
    assert run(capsys, "evaluate", saved, runs / "my.csv", "--scores", scores)[0] == 0
    np.testing.assert_allclose(np.load(scores)[:, 1], log_p(runs / "run_csv"), rtol=1e-9)
    assert (
        run(
            capsys,
            "sample",
            saved,
            "--given",
            "hour=1,place=0",
            "-n",
            "2",
            "--out",
            tmp_path / "n.csv",
        )[0]
        == 0
    )
    with pytest.raises(ValueError, match="it is conditional: ConditionalFlow"):
        RelativeGradientFlow.load(runs / "run_csv")


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_a_file_that_stays_on_disk_has_given_columns_too(tmp_path, kind):
    path, asked = tmp_path / f"my.{kind}", Reading(given="2,0" if kind == "npy" else "place,hour")
    if kind == "npy":
        np.save(path, ROWS)
    else:
        pytest.importorskip("pyarrow")
        FRAME.to_parquet(path)
    data = load(path, lazy_above=100, reading=asked)
    assert data.lazy
    assert (data.D, data.c) == (2, 2)
    raw = data.train[:]
    Z = rows.to_model(data, raw, "float64")
    whole = Standardise.fit(raw)
    np.testing.assert_allclose(Z, whole.forward(raw))
    assert set(raw[:, 3]) <= set(HOUR)  # the last column, in the order that was asked for
    np.testing.assert_allclose(
        rows.baseline(data, data.test),
        rows.baseline(data._replace(lazy=False, train=Z), data.test),
        rtol=1e-9,
    )
    assert data.log_det["test"][0] == pytest.approx(-np.log(whole.std[:2]).sum())  # of x alone


def test_pictures_are_of_columns_given_what_is_given(runs, tmp_path, monkeypatch):
    data = load(runs / "my.csv", reading=Reading(given="hour,place"))
    seen = []
    monkeypatch.setattr(panels, "pairs", lambda path, *rest: seen.append(rest))
    model = rg.load(runs / "run_csv" / "model.npz")._replace(transforms=data.transforms)
    assert pictures.draw_samples(tmp_path / "a.png", data, Run(None, None, model)) == []
    pictures.draw_columns(tmp_path / "b.png", data, Run(None, None, model))
    ((held, drawn, names, title),) = seen
    assert names == ["load", "cost", "hour", "place"]
    assert title.endswith("samples given hour, place")
    np.testing.assert_allclose(held[:, 2:], drawn[:, 2:])
    assert set(held[:, 2].round(9)) <= set(HOUR)
    assert (held[:, :2] != drawn[:, :2]).all()
    monkeypatch.setattr(panels, "calibration", lambda path, *rest: seen.append(rest))
    pictures.draw_calibration(tmp_path / "c.png", data, Run(None, None, model))
    uniforms, log_p_held, log_p_drawn, latents, _ = seen[1]
    assert uniforms.shape == latents.shape == (len(data.test), 2)
    assert np.isfinite(log_p_held).all()
    assert np.isfinite(log_p_drawn).all()
