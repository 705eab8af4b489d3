"""Make the suite: expected values from the definitions, written as files (see `suite`).

`export` needs mpmath. The same bytes come out on every machine.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from . import storage
from .problems import all_problems
from .records import Array, Case, Problem
from .stages import STAGES, names
from .suite import SCHEMA, signs

VERSION = 1
JSON_UP_TO = 8  # the largest D of a case that is written in hexadecimal, too


def export(
    path: Path | str,
    problems: Iterable[Problem] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the suite to a new or empty folder; the same bytes everywhere; about two minutes.

    >>> import tempfile
    >>> from relgrad_np.oracle.truths.problems import optimum
    >>> from relgrad_np.oracle.truths.suite import load
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
    cases = []
    for problem in all_problems() if problems is None else problems:
        report(problem.id)
        cases.append(compute(problem))
    write(path, cases)


def compute(problem: Problem) -> Case:
    """Compute a case from the definitions; needs mpmath.

    >>> from relgrad_np.oracle.truths.problems import optimum
    >>> float(np.max(np.abs(compute(optimum()).expected["R_W_0"]))) < 1e-30  # maximum likelihood
    True
    """
    from .definitions import true_arrays
    from .exact import matrix
    from .net import Net
    from .tolerances import tolerances

    net, found = Net(problem), true_arrays(problem)
    # Z_back is the latent, exact in float32, of the samples scaled down to moderate size
    nearby = matrix(problem.X / 2.0 ** max(0, np.frexp(np.max(np.abs(problem.X)))[1] - 1))
    latent = np.array([net.latent(x) for x in nearby], dtype=object).astype(float)
    Z_back = latent.astype(np.float32).astype(float)
    problem = problem._replace(Z_back=Z_back)
    X_back = net.preimage(matrix(Z_back), nearby)
    allowed = tolerances(problem, found, X_back)
    for name in [n for n in found if n[:5] in ("W_exp", "b_exp")]:  # |xi| too large to be fair
        if 1e3 * max(1.0, allowed[name.replace("exp", "plus")].S) < allowed[name].S:
            del found[name]
    found["X_back"] = X_back
    ordered = [n for n in names(problem.L, problem.last_layer == "activated") if n in found]
    return Case(
        problem,
        {name: np.array(found[name], dtype=object).astype(float) for name in ordered},
        {name: allowed[name] for name in ordered},
    )


def inputs(problem: Problem) -> dict[str, Array]:
    """Return the input arrays of a problem by name: X, W_k, b_k, Z_back."""
    made = {"X": problem.X}
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        made[f"W_{k}"], made[f"b_{k}"] = W, b
    return made | {"Z_back": problem.Z_back}


def write(path: Path, cases: Iterable[Case], json_up_to: int = JSON_UP_TO) -> None:
    """Write cases as a suite: arrays, manifest, schema and README."""
    from .tolerances import REASONS

    (path / "cases").mkdir(parents=True, exist_ok=True)
    entries = [_write_case(path, case, json_up_to >= case.problem.D) for case in cases]
    manifest = {
        "schema": SCHEMA,
        "version": VERSION,
        "counts": {"cases": len(entries), "arrays": sum(len(e["tolerances"]) for e in entries)},
        "stages": [
            {"name": s.name, "shape": s.shape, "meaning": s.meaning, "S": REASONS[s.name]}
            for s in STAGES.values()
        ],
        "cases": entries,
    }
    (path / "manifest.json").write_bytes((json.dumps(manifest, indent=1) + "\n").encode())
    package = resources.files("relgrad_np.oracle")
    for source, name in (("schema.json", "schema.json"), ("vectors.md", "README.md")):
        (path / name).write_bytes(package.joinpath(source).read_bytes())


def _write_case(path: Path, case: Case, hexadecimal: bool) -> dict[str, Any]:
    """Write a case's arrays, as .npz and perhaps as JSON; return its entry of the manifest."""
    p = case.problem
    said: dict[str, Any] = {
        "id": p.id, "family": p.family, "comment": p.comment, "N": p.N, "D": p.D, "L": p.L,
        "activation": {"name": p.activation.name, **p.activation.params},
        "density": {"name": p.density.name, **p.density.params},
        "eta": p.eta, "last_layer": p.last_layer, "bias": p.bias, "signs": signs(p),
    }  # fmt: skip
    tolerances = {name: list(tolerance) for name, tolerance in case.tolerances.items()}
    raw = storage.npz_bytes(inputs(p) | case.expected)
    entry = {**said, "file": f"cases/{p.id}.npz", "sha256": hashlib.sha256(raw).hexdigest()}
    (path / entry["file"]).write_bytes(raw)
    if hexadecimal:
        both = {"inputs": inputs(p), "expected": case.expected}
        arrays = {
            key: {name: storage.hexadecimal(x) for name, x in part.items()}
            for key, part in both.items()
        }
        text = {"schema": SCHEMA, **said, **arrays, "tolerances": tolerances}
        raw = (json.dumps(text) + "\n").encode()
        entry |= {"json": f"cases/{p.id}.json", "json_sha256": hashlib.sha256(raw).hexdigest()}
        (path / entry["json"]).write_bytes(raw)
    return entry | {"tolerances": tolerances}
