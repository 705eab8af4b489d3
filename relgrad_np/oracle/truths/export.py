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

from ..mistakes.catalogue import mistakes
from ..mistakes.power import powers
from . import storage
from .problems import all_problems, made_to_order, specs
from .records import Array, Case, Problem, Suite
from .stages import STAGES, names
from .suite import POWER, SCHEMA, pack, signs

VERSION = 3
HUGE = 1e30  # beyond it float32 is about to overflow
JSON_UP_TO = 8  # the largest D of a case that is written in hexadecimal, too


def export(
    path: Path | str,
    problems: Iterable[Problem] | Suite | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Write a suite to a new or empty folder; the same bytes everywhere; about five minutes.

    `problems`: those of the package by default; or a suite made to order, in seconds.

    >>> import tempfile
    >>> from relgrad_np.oracle.truths.problems import optimum
    >>> from relgrad_np.oracle.truths.suite import load
    >>> folder = Path(tempfile.mkdtemp())
    >>> export(folder, [optimum()])
    >>> [case.problem.id for case in load(folder).cases]
    ['optimum']
    """
    path = Path(path)
    _require_mpmath()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"`{path}` exists: name a new or an empty folder")
    if isinstance(problems, Suite):
        cases = list(problems.cases)
    else:
        cases = []
        for problem in all_problems() if problems is None else problems:
            report(problem.id)
            cases.append(compute(problem))
    if any(spec.part for c in cases for spec in (c.problem.activation, c.problem.density)):
        raise ValueError("a part of your own can't be written to files: check in Python")
    write(path, cases)


def suite(
    *,
    activation: Any = "identity",
    density: Any,
    L: int | Iterable[int] = (1, 2),
    D: int | Iterable[int] = 3,
    bias: bool = True,
    last_layer: str = "affine",
    context: int = 0,
    report: Callable[[str], None] = lambda line: None,
    **params: float,
) -> Suite:
    """Make a suite for one model of your own: truths in 60 digits, in seconds.

    Parameters
    ----------
    activation, density : names, or parts made with `relgrad_np.extend`
        A part's formulas are run on one number at a time, with mpmath's functions as `xp`: + - * /
        ** and comparisons; abs, acos, acosh, asin, asinh, atan, atan2, atanh, ceil, cos, cosh, exp,
        expm1, floor, hypot, log, log10, log1p, logaddexp, maximum, minimum, sign, sin, sinh, sqrt,
        tan, tanh; where, asarray, ones_like, zeros_like, full_like.
    L, D : numbers of layers and of dimensions, one or several
    bias : False for code without biases (then declare `bias="none"`)
    last_layer : "affine" or "activated"
    context : number of variables of context (then declare `context="yes"`)
    params : numbers by name, as alpha, beta, nu, rho, w, m, s

    Five cases for each L and D: generic, N > D, N = 1, |y| up to 30, |y| beyond 710. A case with a
    right value beyond 1e30 is left out. On an idle core the five of two layers took 4 s for D = 2,
    6 s for D = 3 and 19 s for D = 8; a layer takes about half of that.

    Raises
    ------
    ValueError
        An unknown name or parameter, a parameter out of its range, another function of `xp`.

    >>> made = suite(activation="smooth_leaky_relu", density="sech", alpha=0.01, L=1, D=2)
    >>> [case.problem.N for case in made.cases], made.cases[0].problem.activation.params
    ([3, 6, 1, 9, 3], {'alpha': 0.01})
    """
    _require_mpmath()
    if last_layer not in ("affine", "activated"):
        raise ValueError(f"`last_layer` must be affine or activated, got {last_layer!r}")
    if context < 0:
        raise ValueError(f"`context` must be 0 or more, got {context}")
    act, dens = specs(activation, density, params)
    cases = []
    for layers in [L] if isinstance(L, int) else L:
        for dim in [D] if isinstance(D, int) else D:
            how = "yes" if bias else "none"
            for problem in made_to_order(act, dens, layers, dim, last_layer, how, context):
                report(problem.id)
                case = compute(problem, differenced=0)
                if all(np.all(np.abs(x) < HUGE) for x in case.expected.values()):
                    cases.append(case._replace(powers=powers(case)))
    return Suite(f"made for {act.name} and {dens.name}", tuple(cases))


def _require_mpmath() -> None:
    if importlib.util.find_spec("mpmath") is None:
        raise ImportError("truths need mpmath: pip install mpmath")


def compute(problem: Problem, differenced: int | None = None) -> Case:
    """Compute a case from the definitions; needs mpmath. `differenced`: see `true_arrays`.

    >>> from relgrad_np.oracle.truths.problems import optimum
    >>> float(np.max(np.abs(compute(optimum()).expected["R_W_0"]))) < 1e-30  # maximum likelihood
    True
    """
    from .definitions import true_arrays
    from .exact import matrix
    from .net import Net
    from .tolerances import tolerances

    net, found = Net(problem), true_arrays(problem, differenced)
    # Z_back is the latent, exact in float32, of the samples scaled down to moderate size
    nearby = matrix(problem.X / 2.0 ** max(0, np.frexp(np.max(np.abs(problem.X)))[1] - 1))
    pairs = zip(nearby, net.U, strict=True)
    latent = np.array([net.latent(x, u) for x, u in pairs], dtype=object).astype(float)
    Z_back = latent.astype(np.float32).astype(float)
    problem = problem._replace(Z_back=Z_back)
    X_back = net.preimage(matrix(Z_back), nearby)
    allowed = tolerances(problem, found, X_back)
    for name in [n for n in found if n[1:5] == "_exp"]:  # |xi| is too large to be fair
        if 1e3 * max(1.0, allowed[name.replace("exp", "plus")].S) < allowed[name].S:
            del found[name]
    found["X_back"] = X_back
    possible = names(problem.L, problem.last_layer == "activated", problem.c > 0)
    ordered = [name for name in possible if name in found]
    return Case(
        problem,
        {name: np.array(found[name], dtype=object).astype(float) for name in ordered},
        {name: allowed[name] for name in ordered},
    )


def inputs(problem: Problem) -> dict[str, Array]:
    """Return the input arrays of a problem by name: X, W_k, b_k, Z_back; U and C_k if it has."""
    made = {"X": problem.X}
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        made[f"W_{k}"], made[f"b_{k}"] = W, b
    made["Z_back"] = problem.Z_back
    if problem.c:
        made |= {"U": problem.U} | {f"C_{k}": C for k, C in enumerate(problem.C)}
    return made


def write(
    path: Path, cases: Iterable[Case], json_up_to: int = JSON_UP_TO, packed: bool = False
) -> None:
    """Write cases as a suite: arrays, manifest, powers, schema and README.

    `packed`: the expected arrays of a case as one, which takes a third of the space.
    """
    from .tolerances import REASONS

    (path / "cases").mkdir(parents=True, exist_ok=True)
    cases = tuple(case if case.powers else case._replace(powers=powers(case)) for case in cases)
    entries = [_write_case(path, case, json_up_to >= case.problem.D, packed) for case in cases]
    masks: dict[int, int] = {}  # the number of each distinct one
    found = [_powers(case, masks) for case in cases]
    context = any(case.problem.c for case in cases)
    known = [name for name in mistakes if context or not mistakes[name].of_context]
    head = {"schema": POWER, "mistakes": known, "masks": [f"{mask:x}" for mask in masks]}
    raw = _lines(head, "cases", found)
    (path / "power.json").write_bytes(raw)
    manifest = {
        "schema": SCHEMA,
        "version": VERSION,
        "counts": {"cases": len(entries), "arrays": sum(len(e["tolerances"]) for e in entries)},
        "power": {"file": "power.json", "sha256": hashlib.sha256(raw).hexdigest()},
        "stages": [
            {"name": s.name, "shape": s.shape, "meaning": s.meaning, "S": REASONS[s.name]}
            for s in STAGES.values()
            if context or not s.of_context
        ],
    }
    (path / "manifest.json").write_bytes(_lines(manifest, "cases", entries))
    package = resources.files("relgrad_np.oracle")
    for source, name in (("schema.json", "schema.json"), ("vectors.md", "README.md")):
        (path / name).write_bytes(package.joinpath(source).read_bytes())


def _lines(head: dict[str, Any], key: str, entries: list[Any]) -> bytes:
    """Return an object as JSON whose list `key`, the last one, has an entry on each line."""
    text = json.dumps({**head, key: []}).removesuffix("]}")
    return (text + "\n" + ",\n".join(json.dumps(e) for e in entries) + "]}\n").encode()


def _powers(case: Case, masks: dict[int, int]) -> dict[str, Any]:
    """Return what is kept of a case's powers, where a mask is its number among distinct ones."""
    assert case.powers is not None
    found: dict[str, Any] = {"id": case.problem.id}
    for dtype, power in case.powers.by_dtype.items():
        shows = [masks.setdefault(power.shows[name], len(masks)) for name in case.expected]
        exists = {key: masks.setdefault(x, len(masks)) for key, x in power.exists.items()}
        found[dtype] = {"shows": shows, "exists": exists}
    return found


def _write_case(path: Path, case: Case, hexadecimal: bool, packed: bool) -> dict[str, Any]:
    """Write a case's arrays, as .npz and perhaps as JSON; return its entry of the manifest."""
    p = case.problem
    said: dict[str, Any] = {
        "id": p.id, "family": p.family, "comment": p.comment, "N": p.N, "D": p.D, "L": p.L,
        "activation": {"name": p.activation.name, **p.activation.params},
        "density": {"name": p.density.name, **p.density.params},
        "eta": p.eta, "last_layer": p.last_layer, "bias": p.bias, "signs": signs(p),
    }  # fmt: skip
    said |= {"c": p.c} if p.c else {}
    tolerances = {name: list(tolerance) for name, tolerance in case.tolerances.items()}
    raw = storage.npz_bytes(inputs(p) | (pack(case.expected) if packed else case.expected))
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
