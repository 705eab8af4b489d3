"""Files: right results pass in every format, bad input is one line and exit status 2."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from relgrad_np import oracle
from relgrad_np.cli.main import main
from relgrad_np.oracle.truths import storage, suite
from validation import fuzz_check

ROOT = Path(__file__).parents[2]
SCHEMA = Path(oracle.__file__).parent / "schema.json"
pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with np.errstate(all="ignore"):
        fuzz_check.prepare(folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A suite and right results in every format, to be damaged."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def check(folder, capsys, *more):
    status = main(["check", str(folder / "suite"), str(folder / "results"), *more])
    return status, *capsys.readouterr()


def test_right_results_pass_in_every_format(folder, capsys):
    status, out, err = check(folder, capsys)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("PASS: ")
    assert " of 3 cases are right" in out


def test_the_report_as_json(folder, capsys):
    status, out, _ = check(folder, capsys, "--json")
    assert status == 0
    assert json.loads(out)["passed"] is True


def npz(folder):
    return next((folder / "results").glob("*.npz"))


def change(folder, **arrays):
    path = npz(folder)
    found = storage.parse_npz(path.read_bytes(), "x")
    path.write_bytes(storage.npz_bytes(found | arrays))


def test_a_wrong_result_fails_and_is_named(tmp_path, capsys):
    fuzz_check.prepare(tmp_path, {"R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1)})
    status, out, err = check(tmp_path, capsys)
    assert (status, err) == (1, "")
    assert "layer 0, R_b: the term of log|det W| (+ b) is missing" in out.splitlines()[-1]


def test_nan_is_a_wrong_result(folder, capsys):
    change(folder, L_J2=np.array(np.nan))
    status, out, _ = check(folder, capsys)
    assert status == 1
    assert "L_J2" in out.splitlines()[-1]


def manifest(folder, edit):
    path = folder / "suite" / "manifest.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def entry(folder, **changes):
    manifest(folder, lambda m: m["cases"][0].update(changes))


def first_case(folder):
    return next((folder / "suite" / "cases").glob("*.npz"))


def conventions(folder, text):
    (folder / "results" / "conventions.json").write_text(text)


def json_results(folder):
    return next(p for p in (folder / "results").glob("*.json") if p.stem != "conventions")


def no_arrays(folder):
    json_results(folder).write_text('{"arrays": {}}')


BAD = {
    "no suite": (lambda f: shutil.rmtree(f / "suite"), "there is no file 'manifest.json'"),
    "no results": (lambda f: shutil.rmtree(f / "results"), "there is no folder"),
    "empty results": (lambda f: [shutil.rmtree(f / "results"), (f / "results").mkdir()], "holds no results"),
    "no arrays": (no_arrays, "holds no arrays"),
    "missing case file": (lambda f: first_case(f).unlink(), "there is no file"),
    "truncated case": (lambda f: first_case(f).write_bytes(first_case(f).read_bytes()[:99]), "its checksum is not"),
    "truncated manifest": (lambda f: (f / "suite/manifest.json").write_text('{"schema"'), "is not valid JSON"),
    "unknown schema": (lambda f: manifest(f, lambda m: m.update(schema="relgrad-vectors/1")), "schema must be 'relgrad-vectors/2'"),
    "extra key": (lambda f: manifest(f, lambda m: m.update(foo=1)), "unknown key 'foo'"),
    "missing key": (lambda f: manifest(f, lambda m: m.pop("counts")), "has no 'counts'"),
    "wrong count": (lambda f: manifest(f, lambda m: m["counts"].update(cases=7)), "counts are"),
    "wrong sizes": (lambda f: manifest(f, lambda m: m["cases"][0].update(N=9)), "must be float64"),
    "no cases": (lambda f: manifest(f, lambda m: m.update(cases=3)), "cases must be a list"),
    "a case no object": (lambda f: manifest(f, lambda m: m.update(cases=[3])), "cases[0] must be an object"),
    "a path for an id": (lambda f: entry(f, id="../x"), "unusable id '../x'"),
    "unknown flag": (lambda f: entry(f, bias="maybe"), "unusable bias 'maybe'"),
    "another file": (lambda f: entry(f, file="../x.npz"), "file must be 'cases/"),
    "no number of layers": (lambda f: entry(f, L="2"), "L must be an integer"),
    "many layers": (lambda f: entry(f, L=10**9), "L must be an integer"),
    "unknown activation": (lambda f: entry(f, activation={"name": "relu"}), "unknown activation; choose from smooth_leaky_relu alpha"),
    "a parameter missing": (lambda f: entry(f, density={"name": "student_t"}), "unknown density"),
    "infinite step": (lambda f: entry(f, eta=float("inf")), "eta must be a finite number"),
    "wrong signs": (lambda f: entry(f, signs=[0]), "signs are not those"),
    "no tolerances": (lambda f: entry(f, tolerances=[]), "tolerances must be an object"),
    "two numbers": (lambda f: entry(f, tolerances={"Y_0": [1, 2]}), "the tolerance of Y_0 must be three numbers"),
    "no number": (lambda f: entry(f, tolerances={"Y_0": [1, 2, None]}), "the tolerance of Y_0 must be a finite number"),
    "NaN for a tolerance": (lambda f: entry(f, tolerances={"Y_0": [1, 2, float("nan")]}), "must be a finite number"),
    "a case twice": (lambda f: manifest(f, lambda m: m["cases"].append(m["cases"][0])), "two cases have the same id"),
    "wrong shape": (lambda f: change(f, Y_0=np.zeros((1, 1))), "`Y_0` must have shape"),
    "wrong dtype": (lambda f: change(f, Y_0=np.zeros((5, 2), dtype=int)), "must be float32 or float64, got int64"),
    "float16": (lambda f: change(f, Y_0=np.zeros((5, 2), dtype=np.float16)), "must be float32 or float64, got float16"),
    "extra array": (lambda f: change(f, foo=np.zeros(1)), "unknown array 'foo'"),
    "no such layer": (lambda f: change(f, Y_7=np.zeros((5, 2))), "counted from 0"),
    "truncated results": (lambda f: npz(f).write_bytes(npz(f).read_bytes()[:500]), "damaged or truncated"),
    "not a zip": (lambda f: npz(f).write_bytes(b"hello"), "damaged or truncated"),
    "foreign file": (lambda f: (f / "results" / "notes.txt").write_text(""), "results are <id>.npz"),
    "unknown case": (lambda f: npz(f).rename(f / "results" / "foo.npz"), "the suite has no case 'foo'"),
    "two results": (lambda f: (f / "results" / npz(f).stem).mkdir(), "has two results"),
    "unknown convention": (lambda f: conventions(f, '{"foo": 1}'), "unknown convention 'foo'"),
    "unknown choice": (lambda f: conventions(f, '{"weights": "up"}'), "choose from rows, transposed"),
    "conventions no JSON": (lambda f: conventions(f, "weights"), "is not valid JSON"),
    "deep JSON": (lambda f: conventions(f, "[" * 100_000), "nested too deeply"),
    "JSON of text": (lambda f: json_results(f).write_text('{"arrays": {"Y_0": {"shape": [1], "data": ["x"]}}}'), "hexadecimal floats"),
    "JSON of decimals": (lambda f: json_results(f).write_text('{"arrays": {"Y_0": {"shape": [1], "data": ["1.5"]}}}'), "hexadecimal floats"),
    "no powers": (lambda f: (f / "suite/power.json").unlink(), "there is no file 'power.json'"),
    "other powers": (lambda f: (f / "suite/power.json").write_text("{}"), "power.json: its checksum"),
    "JSON shape": (lambda f: json_results(f).write_text('{"arrays": {"Y_0": {"shape": [2], "data": [1]}}}'), "product"),
    "JSON key": (lambda f: json_results(f).write_text('{"array": {}}'), "unknown key 'array'"),
    "pickle": (lambda f: np.savez(npz(f), Y_0=np.array([None])), "must be float32 or float64, got object"),
}  # fmt: skip


def rebuild(folder, edit):
    """A suite whose arrays changed and whose checksum was made to match."""
    import hashlib

    path = first_case(folder)
    arrays = storage.parse_npz(path.read_bytes(), "x")
    edit(arrays)
    path.write_bytes(storage.npz_bytes(arrays))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest(
        folder, lambda m: next(c for c in m["cases"] if path.stem == c["id"]).update(sha256=digest)
    )


BAD |= {
    "NaN in the suite": (
        lambda f: rebuild(f, lambda a: a["Y_0"].__setitem__((0, 0), np.nan)),
        "holds NaN",
    ),
    "array missing in the suite": (
        lambda f: rebuild(f, lambda a: a.pop("Y_0")),
        "there is no array 'Y_0'",
    ),
    "array too many in the suite": (
        lambda f: rebuild(f, lambda a: a.update(foo=np.zeros(1))),
        "unknown array 'foo'",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_is_one_line_and_exit_status_2(name, folder, capsys):
    spoil, words = BAD[name]
    spoil(folder)
    status, out, err = check(folder, capsys)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err


def test_mutated_files_never_crash(monkeypatch, capsys):
    """A hundred here; `.ci/run` takes a thousand."""
    monkeypatch.setattr("sys.argv", ["fuzz_check", "--count", "100", "--seed", "1"])
    assert fuzz_check.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no crash, no hang"


def test_the_manifest_is_valid():
    jsonschema = pytest.importorskip(
        "jsonschema", reason="compares with jsonschema where it is installed"
    )
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((ROOT / "validation/vectors/manifest.json").read_text()), schema)


def test_the_schema_requires_what_load_requires():
    schema = json.loads(SCHEMA.read_text())
    assert schema["properties"]["schema"]["const"] == suite.SCHEMA
    assert set(schema["properties"]) == set(schema["required"]) == set(suite.KEYS)
    entry = schema["properties"]["cases"]["items"]
    assert set(entry["required"]) == set(suite.ENTRY)
    assert set(entry["properties"]) == {*suite.ENTRY, *suite.OPTIONAL}


def test_vectors_export_refuses_a_folder_with_files(tmp_path, capsys):
    (tmp_path / "x").write_text("")
    assert main(["vectors", "export", str(tmp_path)]) == 2
    assert "name a new or an empty folder" in capsys.readouterr().err


def test_vectors_export_without_mpmath_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["vectors", "export", str(tmp_path / "new")]) == 2
    assert "pip install mpmath" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_one_float32_array_relaxes_only_itself(folder, capsys):
    path = npz(folder)
    arrays = storage.parse_npz(path.read_bytes(), "x")
    change(folder, Y_0=arrays["Y_0"].astype("f4"))
    status, out, _ = check(folder, capsys)
    assert status == 0, out
    assert "missing" not in out
    change(folder, R_W_0=arrays["R_W_0"].astype("f4").astype("f8"))
    status, out, _ = check(folder, capsys)
    assert status == 1, out
    assert "R_W" in out.splitlines()[-1]


def test_vectors_export_of_your_own_model(tmp_path, capsys):
    pytest.importorskip("mpmath", reason="truths are computed with mpmath")
    made = ["--density", "sech", "--layers", "1", "--dim", "2", "--no-bias"]
    assert main(["vectors", "export", str(tmp_path / "new"), *made]) == 0
    cases = oracle.load(tmp_path / "new").cases
    assert {(case.problem.density.name, case.problem.bias) for case in cases} == {("sech", "none")}
    assert main(["vectors", "export", str(tmp_path / "other"), "--alpha", "0.5"]) == 2
    assert "needs --density" in capsys.readouterr().err
