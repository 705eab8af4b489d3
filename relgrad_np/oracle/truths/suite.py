"""The suite as files: `export` writes it, `load` reads and checks it.

    DIR/manifest.json        what is there: cases, tolerances with reasons, checksums
    DIR/schema.json          JSON Schema of the manifest
    DIR/README.md            formats and conventions, for readers without Python
    DIR/cases/<id>.npz       inputs and expected arrays of a case
    DIR/cases/<id>.json      the same with hexadecimal floats, for D <= 8

`export` needs mpmath; the installed package brings a small suite that needs nothing.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..brute import Spec
from . import schema, storage
from .problems import Problem, all_problems
from .stages import STAGES, names, shape

VERSION = 1
JSON_UP_TO = 8
Array = Any


class Tolerance(NamedTuple):
    """A right array is off by at most eps (64 S + inherited); `size` is S without conditions.

    >>> Tolerance(1.0, 0.0, 1.0).allowed(2.0**-52) == 2.0**-46
    True
    """

    S: float
    inherited: float
    size: float

    def allowed(self, eps: float) -> float:
        """Return the largest error of a right result in arithmetic of this precision."""
        return eps * (64 * self.S + self.inherited)


class Case(NamedTuple):
    """A problem, its expected arrays by name in order of propagation, and their tolerances.

    >>> case = small().cases[0]
    >>> case.expected["Y_0"].shape == (case.problem.N, case.problem.D)
    True
    """

    problem: Problem
    expected: dict[str, Array]
    tolerances: dict[str, Tolerance]


class Suite(NamedTuple):
    """Cases, and where they are from.

    >>> small().name
    'the small suite of this package'
    """

    name: str
    cases: tuple[Case, ...]

    def where(self, **choices: Any) -> "Suite":
        """Return the cases whose problem has these properties: a value or a list of values.

        >>> {case.problem.D for case in small().where(D=[2, 3]).cases}
        {2, 3}
        """
        kept = [case for case in self.cases if _matches(case.problem, choices)]
        return self._replace(cases=tuple(kept))


def _matches(problem: Problem, choices: dict[str, Any]) -> bool:
    for key, wanted in choices.items():
        if not hasattr(problem, key):
            raise ValueError(f"unknown property {key!r}; choose from id, family, N, D, L, ...")
        value = getattr(problem, key)
        value = value.name if isinstance(value, Spec) else value
        if value not in (wanted if isinstance(wanted, (list, tuple, set)) else [wanted]):
            return False
    return True


def compute(problem: Problem) -> Case:
    """Compute a case from the definitions; needs mpmath.

    >>> from .problems import optimum
    >>> float(np.max(np.abs(compute(optimum()).expected["R_W_0"]))) < 1e-30  # maximum likelihood
    True
    """
    from . import definitions as truth
    from . import tolerances as scales

    found = truth.truth(problem)
    nearby = problem.X / 2.0 ** max(0, np.frexp(np.max(np.abs(problem.X)))[1] - 1)  # moderate
    latent = np.array(truth.latent(problem, nearby), dtype=object).astype(float)
    Z_back = latent.astype(np.float32).astype(float)
    problem = problem._replace(Z_back=Z_back)
    X_back = truth.preimage(problem, Z_back, nearby)
    tolerances = scales.tolerances(problem, found, X_back)
    for name in [n for n in found if n[:5] in ("W_exp", "b_exp")]:  # |xi| too large to be fair
        if tolerances[name]["S"] > 1e3 * max(1.0, tolerances[name.replace("exp", "plus")]["S"]):
            del found[name], tolerances[name]
    found["X_back"] = X_back
    ordered = [n for n in names(problem.L, problem.last_layer == "activated") if n in found]
    return Case(
        problem,
        {name: np.array(found[name], dtype=object).astype(float) for name in ordered},
        {name: Tolerance(**tolerances[name]) for name in ordered},
    )


def inputs(problem: Problem) -> dict[str, Array]:
    """Return the input arrays of a problem by name: X, W_k, b_k, Z_back."""
    made = {"X": problem.X}
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        made[f"W_{k}"], made[f"b_{k}"] = W, b
    return made | {"Z_back": problem.Z_back}


def export(
    path: Path | str,
    problems: Iterable[Problem] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the suite to a new or empty folder; the same bytes everywhere; about two minutes.

    >>> import tempfile
    >>> from .problems import optimum
    >>> folder = Path(tempfile.mkdtemp())
    >>> export(folder, [optimum()])
    >>> [case.problem.id for case in load(folder).cases]
    ['optimum']
    """
    path = Path(path)
    if importlib.util.find_spec("mpmath") is None:
        raise ImportError("exporting needs mpmath: pip install 'relgrad-np[vectors]'")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"`{path}` exists: name a new or an empty folder")
    (path / "cases").mkdir(parents=True, exist_ok=True)
    cases = []
    for problem in all_problems() if problems is None else problems:
        report(problem.id)
        cases.append(compute(problem))
    write(path, cases)


def write(path: Path, cases: Iterable[Case], json_up_to: int = JSON_UP_TO) -> None:
    """Write cases as a suite: arrays, manifest, schema and README."""
    (path / "cases").mkdir(parents=True, exist_ok=True)
    entries = []
    for case in cases:
        entry = _describe(case.problem)
        tolerances = {name: list(t) for name, t in case.tolerances.items()}
        arrays = inputs(case.problem) | case.expected
        raw = storage.npz_bytes(arrays)
        entry |= {"file": f"cases/{case.problem.id}.npz", "sha256": hashlib.sha256(raw).hexdigest()}
        (path / entry["file"]).write_bytes(raw)
        if json_up_to >= case.problem.D:
            both = (inputs(case.problem), case.expected)
            given, right = ({n: storage.hexadecimal(x) for n, x in part.items()} for part in both)
            text = {"schema": "relgrad-vectors/1", **_describe(case.problem)}
            text |= {"inputs": given, "expected": right, "tolerances": tolerances}
            raw = (json.dumps(text) + "\n").encode()
            entry["json"] = f"cases/{case.problem.id}.json"
            entry["json_sha256"] = hashlib.sha256(raw).hexdigest()
            (path / entry["json"]).write_bytes(raw)
        entries.append(entry | {"tolerances": tolerances})
    manifest = {
        "schema": "relgrad-vectors/1",
        "version": VERSION,
        "counts": {"cases": len(entries), "arrays": sum(len(e["tolerances"]) for e in entries)},
        "stages": [
            {"name": s.name, "shape": s.shape, "meaning": s.meaning, "S": _reason(s.name)}
            for s in STAGES.values()
        ],
        "cases": entries,
    }
    schema.require(manifest)
    (path / "manifest.json").write_bytes((json.dumps(manifest, indent=1) + "\n").encode())
    (path / "schema.json").write_bytes(schema.text().encode())
    readme = resources.files("relgrad_np.oracle").joinpath("vectors.md").read_text(encoding="utf-8")
    (path / "README.md").write_bytes(readme.encode())


def _reason(stage: str) -> str:
    from .tolerances import REASONS

    return REASONS[stage]


def _describe(p: Problem) -> dict[str, Any]:
    signs = [int(np.linalg.slogdet(W)[0]) for W in p.W]
    return {
        "id": p.id, "family": p.family, "comment": p.comment, "N": p.N, "D": p.D, "L": p.L,
        "activation": {"name": p.activation.name, **p.activation.params},
        "density": {"name": p.density.name, **p.density.params},
        "eta": p.eta, "last_layer": p.last_layer, "bias": p.bias, "signs": signs,
    }  # fmt: skip


def load(path: Path | str) -> Suite:
    """Read a suite; every file is compared with its checksum, every array with its shape.

    ValueError in one line for anything missing, damaged, extra or of an unknown version.

    >>> load("no such folder")
    Traceback (most recent call last):
    ValueError: there is no file 'manifest.json' in 'no such folder'
    """
    path = Path(path)
    manifest = storage.parse_json(storage.read_bytes(path / "manifest.json"), "manifest.json")
    schema.require(manifest)
    cases = tuple(_read(path, entry) for entry in manifest["cases"])
    if len({case.problem.id for case in cases}) != len(cases):
        raise ValueError("manifest.json: two cases have the same id")
    counts = {"cases": len(cases), "arrays": sum(len(case.expected) for case in cases)}
    if manifest["counts"] != counts:
        raise ValueError(f"manifest.json: counts are {counts}, not {manifest['counts']}")
    return Suite(str(path), cases)


def small() -> Suite:
    """Return the small suite that comes with the package; needs no mpmath.

    >>> len(small().cases) > 10
    True
    """
    with resources.as_file(resources.files("relgrad_np.oracle").joinpath("suite")) as folder:
        return load(folder)._replace(name="the small suite of this package")


def _read(path: Path, entry: dict[str, Any]) -> Case:
    name, N, D, L = entry["file"], entry["N"], entry["D"], entry["L"]
    raw = storage.read_bytes(path / name)
    if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
        raise ValueError(f"{name}: its checksum is not the one in manifest.json")
    arrays = storage.parse_npz(raw, name)
    given = ["X", *(f"{part}_{k}" for k in range(L) for part in "Wb"), "Z_back"]
    possible = list(names(L, entry["last_layer"] == "activated"))
    wanted = [n for n in possible if n in entry["tolerances"]]
    for extra in [*entry["tolerances"].keys() - set(possible), *arrays.keys() - {*given, *wanted}]:
        raise ValueError(f"{name}: unknown array {extra[:60]!r}")
    sizes = {"X": (N, D), "Z_back": (N, D)}
    for key in [*given, *wanted]:
        if key not in arrays:
            raise ValueError(f"{name}: there is no array {key!r}")
        part = {"W": (D, D), "b": (D,)}.get(key[0]) if key in given else None
        right = sizes.get(key) or part or shape(key, N, D)
        x = arrays[key]
        if x.shape != right or x.dtype != np.float64:
            raise ValueError(f"{name}: {key} must be float64 {right}, got {x.dtype} {x.shape}")
        if not np.all(np.isfinite(x)):
            raise ValueError(f"{name}: {key} holds NaN or infinity")
    problem = Problem(
        entry["id"], entry["family"], entry["comment"], arrays["X"],
        tuple(arrays[f"W_{k}"] for k in range(L)), tuple(arrays[f"b_{k}"] for k in range(L)),
        _spec(entry["activation"]), _spec(entry["density"]), entry["eta"], arrays["Z_back"],
        entry["last_layer"], entry["bias"],
    )  # fmt: skip
    tolerances = {key: Tolerance(*entry["tolerances"][key]) for key in wanted}
    return Case(problem, {key: arrays[key] for key in wanted}, tolerances)


def _spec(entry: dict[str, Any]) -> Spec:
    return Spec(entry["name"], {key: float(v) for key, v in entry.items() if key != "name"})
