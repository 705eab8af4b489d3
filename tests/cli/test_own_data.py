"""A person's own file, from training to new rows: by any name, from any folder, moved, extended."""

import json
import shutil

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.runs import pictures, plots

from .commands import run

pd = pytest.importorskip("pandas", reason="pandas reads text files")
QUICK = ["--epochs", "2", "--layers", "1", "--rule", "plain", "--implementation", "reference"]
QUICK += ["--no-pictures"]
ROWS = np.random.default_rng(0).normal(size=(60, 3)) * [1, 10, 0.1] + [0, 50, 0]
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on DATA.CSV, in one folder; tests copy it."""
    folder = tmp_path_factory.mktemp("own")
    FRAME.to_csv(folder / "DATA.CSV", index=False)
    assert main(["train", str(folder / "DATA.CSV"), *QUICK, "--out", str(folder / "r")]) == 0
    return folder


@pytest.fixture
def own(trained, tmp_path, monkeypatch):
    """The working folder: the run r, but not its data."""
    shutil.copytree(trained / "r", tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def log_p(folder, rows):
    """Log p of rows under the model of a run, in model and in data space."""
    model = rg.load(folder / "model.npz")
    Z, log_det = model.transforms.forward_with_log_det(rows)
    found = rg.log_likelihood(model.layers, Z, model.activation, model.density).per_sample
    return np.stack([found, found + log_det], axis=1)


def test_from_another_folder_and_in_capitals(capsys, own):
    for command in (["evaluate", "r"], ["train", "--resume", "--out", "r", "--no-pictures"]):
        status, out, err = run(capsys, *command)
        assert (status, err) == (0, "")
        assert "6 rows" in out or "6 test rows" in out
    for name, write in (("X.NPY", np.save), ("X.NPZ", lambda path, X: np.savez(path, X=X))):
        with open(name, "wb") as file:
            write(file, ROWS)
        assert run(capsys, "evaluate", "r", name, "--json")[0] == 0


@pytest.mark.parametrize(
    ("write", "rows", "said"),
    [
        (lambda path: FRAME.iloc[20:].to_csv(path), ROWS[20:], ""),
        (lambda path: FRAME.sample(frac=1, random_state=1).sort_index().to_csv(path), ROWS, ""),
        (lambda path: FRAME[["c", "a", "b"]].assign(d="x").to_csv(path, index=False), ROWS, ""),
        (lambda path: FRAME.to_csv(path, index=False, sep=";", decimal=","), ROWS, ""),
        (lambda path: FRAME.to_csv(path, index=False, header=False), ROWS, ""),
    ],
    ids=["index", "shuffled index", "other columns", "other marks", "no header"],
)  # fmt: skip
def test_a_file_is_scored_in_its_order(capsys, own, write, rows, said):
    write("new.csv")
    status, out, err = run(capsys, "evaluate", "r", "new.csv", "--scores", "s.npy", "--json")
    assert status == 0
    assert said in err
    assert json.loads(out)["rows"] == len(rows)
    np.testing.assert_allclose(np.load("s.npy"), log_p(own / "r", rows), rtol=1e-9)


def test_the_runs_own_file_is_scored_in_its_order_too(capsys, trained, tmp_path):
    scores = tmp_path / "s.csv"
    status, _, err = run(
        capsys, "evaluate", trained / "r", trained / "DATA.CSV", "--scores", scores
    )
    assert (status, err.count("\n")) == (0, 1)
    assert "48 of these 60 rows were fitted and 6 chose the epoch, so this is no test" in err
    assert f"relgrad-np evaluate {trained / 'r'} scores the held-out rows alone" in err
    found = pd.read_csv(scores)
    assert list(found) == ["log_p_model_space", "log_p_data_space"]
    np.testing.assert_allclose(found, log_p(trained / "r", ROWS), rtol=1e-9)
    (FRAME + 1e-6).to_csv(tmp_path / "other.csv", index=False)  # as many rows, none of them fitted
    assert run(capsys, "evaluate", trained / "r", tmp_path / "other.csv")[2] == ""


def test_columns_that_are_not_there(capsys, own):
    FRAME.rename(columns={"a": "A "}).to_csv("new.csv", index=False)
    status, _, err = run(capsys, "evaluate", "r", "new.csv")
    assert status == 2
    assert "has no column 'a'; did you mean 'A'?" in err
    assert err.count("\n") == 1


def test_rows_with_missing_values_have_no_score(capsys, own):
    FRAME.mask(FRAME.eq(ROWS[3, 1])).to_csv("new.csv", index=False)
    status, _, err = run(capsys, "evaluate", "r", "new.csv", "--scores", "s.npy")
    assert status == 2
    assert "line 5, column 2 ('b')" in err
    assert "--missing drop scores the others; gaps can't be filled" in err
    assert err.count("\n") == 1
    assert "--drop" not in err.replace("--missing drop", "")  # which `evaluate` does not take
    assert "--missing median" not in err
    _, out, _ = run(capsys, "evaluate", "r", "new.csv", "--missing", "drop", "--sep", ",")
    (line,) = [line for line in out.splitlines() if "score each row" in line]
    assert line.endswith("evaluate r new.csv --sep , --missing drop --scores scores.csv")
    status, _, err = run(capsys, "evaluate", "r", "new.csv", "--scores", "s.npy", "--missing=drop")
    assert status == 0
    assert "1 of 60 rows" in err
    scores, expected = np.load("s.npy"), log_p(own / "r", ROWS)
    expected[3] = np.nan
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    status, _, err = run(capsys, "evaluate", "r", "new.csv", "--missing=median")
    assert (status, err.count("\n")) == (2, 1)


def test_only_flags_of_the_command_at_hand_are_advised(capsys, own):
    FRAME.assign(b="x").to_csv("text.csv", index=False)
    FRAME.assign(b=FRAME["b"].where(FRAME.index != 2, "x")).to_csv("cell.csv", index=False)
    model = rg.load("r/model.npz")
    rg.save("nameless.npz", model._replace(config={}))
    said = {
        "evaluate r text.csv": "'x'; write numbers for its values",
        "evaluate nameless.npz text.csv": "no column names: the file must have its 3 columns alone",
        "evaluate r cell.csv": "'x'; --missing-marks=x if it marks a missing value, or mend it",
        "train text.csv": "'x'; --drop b, or write numbers",
    }
    for arguments, words in said.items():
        status, _, err = run(capsys, *arguments.split())
        assert (status, err.count("\n")) == (2, 1)
        assert words in err
        assert ("--drop" in err) == arguments.startswith("train")
    assert "median" not in " ".join(run(capsys, "evaluate", "--help")[1].split())


def test_columns_whole_numbers_and_missing_marks(capsys, own):
    whole = pd.DataFrame(np.c_[ROWS, np.arange(60) // 7, np.arange(60)], columns=[*"abcde"])
    whole.loc[:9, "b"] = -9999.0
    whole.to_csv("my.csv.gz", index=False)
    for number, more in enumerate(
        (["--missing-marks=-9999", "--missing", "drop", "--drop", "e"],) * 2
    ):
        status, out, err = run(capsys, "train", "my.csv.gz", *more, "--dequantise", *QUICK)
        assert status == 0
        assert "10 of 60 rows have missing values: left out" in err
        assert "noise as wide as their step is added to columns 'd'" in err
        folder = f"runs/my{'-2' * number}"
        assert f"folder   {folder}" in out
        assert f"evaluate {folder} FILE --missing drop --scores scores.csv" in out
        assert "columns  4: a, b, c, d\nspace    the model sees each column standardised" in out
    config = json.loads((own / "runs/my/config.json").read_text())
    assert config["reading"]["missing_marks"] == "-9999"
    assert config["reading"]["dequantise"] is True
    assert run(capsys, "sample", folder, "--out", "s.parquet" if has_arrow() else "s.csv")[0] == 0
    drawn = pd.read_parquet("s.parquet") if has_arrow() else pd.read_csv("s.csv")
    assert list(drawn) == [*"abcd"]
    assert (drawn["d"] == drawn["d"].round()).all()
    assert (drawn["a"] != drawn["a"].round()).all()
    whole.to_csv("new.csv")  # with columns and an index that the model lacks
    status, out, err = run(capsys, "evaluate", folder, "new.csv", "--missing=drop", "--json")
    assert status == 0
    assert json.loads(out)["rows"] == 50
    status, _, err = run(capsys, "train", "my.csv.gz", *QUICK, "--out", "noted")
    assert "column 'b' has -9999 10 times: --missing-marks=-9999 --missing drop" in err
    assert "whole numbers or few values only in columns 'd', 'e'" in err


def has_arrow():
    import importlib.util

    return importlib.util.find_spec("pyarrow") is not None


def test_what_can_not_be_is_one_line_and_leaves_nothing(capsys, own):
    np.save("wide.npy", np.random.default_rng(0).normal(size=(700, 300)))
    for command, text in (
        (["sample", "r", "-n", "1000000000000", "--out", "s.npy"], "draw fewer rows"),
        (["sample", "r", "--out", "none/s.npy"], "the folder 'none' of 's.npy' is not there"),
        (["sample", "r", "--out", "s.txt"], "must end in .npy, .csv, .tsv, .parquet"),
        (["train", "wide.npy", "--rule", "natural", "--out", "w"], "'natural' needs F"),
        (["train", "wide.npy", "--drop", "300", "--out", "w"], "has no column 300"),
    ):
        status, out, err = run(capsys, *command)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert text in err
    assert sorted(path.name for path in own.iterdir()) == ["r", "wide.npy"]


def test_a_full_disk_and_a_folder_that_may_not_be_written(capsys, own, monkeypatch):
    def full(file, rows, **options):
        raise OSError("512 requested and 0 written")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savetxt", full)
        status, _, err = run(capsys, "sample", "r", "--out", "s.csv")
    assert status == 2
    assert "`s.csv` can't be written, is the disk full? 512 requested and 0 written" in err

    def denied(self, *arguments, **options):
        if self.name.startswith(".new"):
            raise PermissionError(13, "Permission denied", str(self))

    FRAME.to_csv("my.csv", index=False)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", denied)
        status, _, err = run(capsys, "train", "my.csv", *QUICK, "--out", "new")
    assert (status, err) == (2, "relgrad-np: error: new: Permission denied\n")
    assert not list(own.glob(".*"))


def test_any_name_is_drawn(capsys, own):
    name = "a$^$b 身長.csv"
    FRAME.to_csv(name, index=False)
    arguments = [*QUICK[:-1], "--pictures", "--out", "new"]
    status, out, err = run(capsys, "train", name, *arguments)
    assert (status, err) == (0, "")
    assert "pictures: curve.png, columns.png, calibration.png" in out


def test_a_picture_that_fails_is_a_note(capsys, own, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no ink")

    monkeypatch.setattr(plots, "learning_curve", fail)
    monkeypatch.setattr(pictures, "PICTURES", {"curve": pictures.draw_curve})
    FRAME.to_csv("my.csv", index=False)
    status, out, err = run(capsys, "train", "my.csv", *QUICK[:-1])
    assert status == 0
    assert "note: the picture curve.png could not be drawn: no ink" in err
    assert "written: runs/my" in out
    assert rg.load("runs/my/model.npz")


def test_a_run_goes_on_beyond_its_end(capsys, trained, tmp_path):
    shutil.copytree(trained / "r", tmp_path / "r")
    status, _, err = run(
        capsys, "train", "--resume", "--out", tmp_path / "r", "--epochs", "5", "--no-pictures"
    )
    assert (status, err) == (0, "")
    history = (tmp_path / "r" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2, 3, 4, 5]
    before = (trained / "r" / "history.jsonl").read_text().splitlines()
    assert history[:2] == before
    assert json.loads((tmp_path / "r" / "config.json").read_text())["settings"]["epochs"] == 5
    again = run(capsys, "train", "--resume", "--out", tmp_path / "r", "--no-pictures")
    assert again[::2] == (0, "")  # nothing was left to do


def test_a_run_that_lost_its_patience_goes_on_with_more(capsys, own):
    FRAME.to_csv("my.csv", index=False)
    arguments = [*QUICK, "--epochs", "30", "--patience", "1", "--rule", "recipe"]
    assert (
        run(capsys, "train", "my.csv", *arguments, "--learning-rate", "2", "--out", "new")[0] == 0
    )
    history = own / "new" / "history.jsonl"
    done = len(history.read_text().splitlines())
    assert done < 30
    more = ["train", "--resume", "--out", "new", "--epochs", "40", "--no-pictures"]
    status, _, err = run(capsys, *more)
    assert (status, err.count("\n")) == (2, 1)
    assert "the patience is 1: --patience none goes on, or one of more than 1" in err
    assert run(capsys, *more, "--patience", "none")[0] == 0
    assert len(history.read_text().splitlines()) == 40


def test_data_that_have_moved_are_named_again(capsys, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "r", "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    (tmp_path / "r" / "config.json").write_text(json.dumps(config | {"data": "/gone/DATA.CSV"}))
    status, _, err = run(capsys, "train", "--resume", "--out", "r")
    assert status == 2
    assert "'/gone/DATA.CSV' is not there; if it has moved: relgrad-np train FILE --resume" in err
    shutil.copy(trained / "DATA.CSV", "here.csv")
    command = ["train", "here.csv", "--resume", "--out", "r", "--no-pictures"]
    assert run(capsys, *command)[::2] == (0, "")
    assert run(capsys, "evaluate", "r")[0] == 0  # found again
    FRAME.iloc[::-1].to_csv("other.csv", index=False)
    status, _, err = run(capsys, "train", "other.csv", "--resume", "--out", "r")
    assert (status, err.count("\n")) == (2, 1)
    assert "are not those the run began with" in err


def test_a_run_that_was_stopped_can_be_used(capsys, own):
    layers = rg.load(own / "r" / "model.npz").layers
    (own / "r" / "model.npz").unlink()
    for command in (["evaluate", "r"], ["sample", "r", "--out", "s.csv"]):
        status, _, err = run(capsys, *command)
        assert status == 0
        assert "the run has not ended: its best model so far" in err
        assert "train --resume --out r" in err
    from relgrad_np.cli.data import data_of_run
    from relgrad_np.runs.folder import read_config
    from relgrad_np.runs.unfinished import model_so_far

    config = read_config(own / "r")
    model, _ = model_so_far(own / "r", config, lambda: data_of_run(config, None))
    np.testing.assert_array_equal(model.layers[0].W, layers[0].W)
    shutil.rmtree(own / "r" / "checkpoints")
    status, _, err = run(capsys, "evaluate", "r")
    assert status == 2
    assert "has neither a model nor a checkpoint yet" in err
