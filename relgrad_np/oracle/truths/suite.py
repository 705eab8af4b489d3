"""The suite in files: `load` reads what `export` has written, and trusts none of it.

    DIR/manifest.json        the cases: inputs' sizes, model, flags, tolerances, checksums
    DIR/schema.json          the JSON Schema of the manifest, for other readers
    DIR/README.md            formats and conventions, for readers without Python
    DIR/cases/<id>.npz       inputs and expected arrays of a case
    DIR/cases/<id>.json      the same with hexadecimal floats, for D <= 8
    DIR/power.json           the mistakes that each array of each case would show

Arrays are compared with their checksums, names, shapes and dtypes. What decides nothing, such as
the meaning of a stage in words, is not looked at. The package contains a small suite, `small`.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from . import storage
from .problems import ACTIVATIONS, DENSITIES, MORE_ACTIVATIONS, MORE_DENSITIES
from .records import Array, Case, Power, Powers, Problem, Spec, Suite, Tolerance
from .stages import names, shape

SCHEMA, POWER = "relgrad-vectors/2", "relgrad-power/1"
KEYS = ("schema", "version", "counts", "power", "stages", "cases")
PACKED = "expected"  # the one array that holds all expected arrays, flat, one after the other
TEXTS = {
    "id": "[a-z0-9][a-z0-9_-]*", "family": ".*", "comment": ".*",
    "last_layer": "affine|activated", "bias": "yes|none",
}  # fmt: skip
MODEL = ("N", "D", "L", "activation", "density", "eta", "signs")
ENTRY = (*TEXTS, *MODEL, "file", "sha256", "tolerances")
OPTIONAL = ("json", "json_sha256", "c")  # a second copy, for other readers; context


def load(path: Path | str) -> Suite:
    """Read a suite; its arrays are read-only.

    ValueError in one line for anything missing, damaged, unknown, or of another version.

    >>> load("no such folder")
    Traceback (most recent call last):
    ValueError: there is no file 'manifest.json' in 'no such folder'
    """
    path, place = Path(path), "manifest.json"
    manifest = storage.parse_json(storage.read_bytes(path / place), place)
    if manifest.get("schema") != SCHEMA:  # another version has other keys: this comes first
        got = _short(manifest.get("schema"))
        raise ValueError(f"{place}: schema must be {SCHEMA!r}, got {got}")
    _require_keys(manifest, KEYS, place)
    if not isinstance(manifest["cases"], list):
        raise ValueError(f"{place}: cases must be a list, got {_short(manifest['cases'])}")
    cases = tuple(
        _case(path, entry, f"{place}: cases[{i}]") for i, entry in enumerate(manifest["cases"])
    )
    if len({case.problem.id for case in cases}) != len(cases):
        raise ValueError(f"{place}: two cases have the same id")
    counts = {"cases": len(cases), "arrays": sum(len(case.expected) for case in cases)}
    if manifest["counts"] != counts:
        raise ValueError(f"{place}: counts are {counts} in the files, not what it says")
    found = _powers(path, manifest["power"])
    return Suite(str(path), tuple(case._replace(powers=found(case)) for case in cases))


@cache
def small() -> Suite:
    """Return the small suite that comes with the package; it needs no mpmath.

    >>> small().name, len(small().cases) > 10
    ('the small suite of this package', True)
    """
    with resources.as_file(resources.files("relgrad_np.oracle").joinpath("suite")) as folder:
        return load(folder)._replace(name="the small suite of this package")


def pack(expected: dict[str, Array]) -> dict[str, Array]:
    """Return arrays as a single flat one.

    >>> pack({"Y_0": np.eye(2), "L_J2": np.array(3.0)})
    {'expected': array([1., 0., 0., 1., 3.])}
    """
    return {PACKED: np.concatenate([x.reshape(-1) for x in expected.values()])}


def _unpack(arrays: dict[str, Array], shapes: dict[str, tuple[int, ...]], name: str) -> None:
    """Replace the flat array by those that it holds, in order."""
    flat = arrays.pop(PACKED)
    sizes = [math.prod(size) for size in shapes.values()]
    if flat.shape != (sum(sizes),):
        raise ValueError(f"{name}: {PACKED!r} must hold {sum(sizes)} numbers, got {flat.shape}")
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    for (key, size), part in zip(shapes.items(), parts, strict=True):
        arrays[key] = part.reshape(size)


def _powers(path: Path, entry: Any) -> Callable[[Case], Powers]:
    """Read power.json; return a function from a case to its powers."""
    name = "power.json"
    _require_keys(entry, ("file", "sha256"), "manifest.json: power")
    raw = storage.read_bytes(path / name)
    if entry["file"] != name or hashlib.sha256(raw).hexdigest() != entry["sha256"]:
        raise ValueError(f"{name}: its checksum is not the one in manifest.json")
    value = storage.parse_json(raw, name)
    _require_keys(value, ("schema", "mistakes", "masks", "cases"), name)
    if value["schema"] != POWER or not isinstance(value["cases"], list):
        raise ValueError(f"{name}: schema must be {POWER!r}, got {_short(value['schema'])}")
    try:
        known, entries = tuple(value["mistakes"]), {e["id"]: e for e in value["cases"]}
        masks = {i: int(text, 16) for i, text in enumerate(value["masks"])}
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"{name}: unusable mistakes, masks or cases") from None

    def of(case: Case) -> Powers:
        try:
            by_dtype = {}
            for dtype in ("float64", "float32"):
                entry = entries[case.problem.id][dtype]
                shows = zip(case.expected, entry["shows"], strict=True)
                by_dtype[dtype] = Power(
                    {key: masks[i] for key, i in shows},
                    {key: masks[i] for key, i in entry["exists"].items()},
                )
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError(f"{name}: unusable powers of case {case.problem.id!r}") from None
        return Powers(known, by_dtype)

    return of


def _case(path: Path, entry: Any, place: str) -> Case:
    """Return the case of an entry of the manifest, whose arrays must be what it says they are."""
    _require_keys(entry, ENTRY, place, OPTIONAL)
    for key, pattern in TEXTS.items():
        if not isinstance(entry[key], str) or not re.fullmatch(pattern, entry[key]):
            raise ValueError(f"{place}: unusable {key} {_short(entry[key])}")
    name, L = f"cases/{entry['id']}.npz", entry["L"]
    if type(L) is not int or not 1 <= L <= 1000:
        raise ValueError(f"{place}: L must be an integer from 1 to 1000, got {_short(L)}")
    c = entry.get("c", 0)
    if type(c) is not int or not 0 <= c <= 10_000 or ("c" in entry and not c):
        raise ValueError(f"{place}: c must be an integer from 1 to 10000, got {_short(c)}")
    if entry["file"] != name:
        raise ValueError(f"{place}: file must be {name!r}, got {_short(entry['file'])}")
    tolerances = _tolerances(entry, place)
    arrays = _arrays(path / name, name, entry)
    problem = Problem(
        entry["id"], entry["family"], entry["comment"], arrays["X"],
        tuple(arrays[f"W_{k}"] for k in range(L)), tuple(arrays[f"b_{k}"] for k in range(L)),
        _spec(entry, "activation", (*ACTIVATIONS, *MORE_ACTIVATIONS), place),
        _spec(entry, "density", (*DENSITIES, *MORE_DENSITIES), place),
        _number(entry["eta"], f"{place}: eta"), arrays["Z_back"],
        entry["last_layer"], entry["bias"],
        arrays.get("U"), tuple(arrays[f"C_{k}"] for k in range(L if c else 0)),
    )  # fmt: skip
    if entry["signs"] != signs(problem):
        raise ValueError(f"{place}: signs are not those of the determinants")
    return Case(problem, {key: arrays[key] for key in tolerances}, tolerances)


def _arrays(path: Path, name: str, entry: dict[str, Any]) -> dict[str, Array]:
    """Read a case's file: the inputs, and each array that has a tolerance; no other, none less."""
    N, D, L, c = entry["N"], entry["D"], entry["L"], entry.get("c", 0)
    raw = storage.read_bytes(path)
    if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
        raise ValueError(f"{name}: its checksum is not the one in manifest.json")
    arrays = storage.parse_npz(raw, name)
    expected = {key: shape(key, N, D, c) for key in entry["tolerances"]}
    if PACKED in arrays:
        _unpack(arrays, expected, name)
    shapes: dict[str, tuple[int, ...]] = {"X": (N, D), "Z_back": (N, D)}
    shapes |= {f"W_{k}": (D, D) for k in range(L)} | {f"b_{k}": (D,) for k in range(L)}
    if c:
        shapes |= {"U": (N, c)} | {f"C_{k}": (D, c) for k in range(L)}
    shapes |= expected
    for extra in sorted(arrays.keys() - shapes.keys()):
        raise ValueError(f"{name}: unknown array {extra[:60]!r}")
    for key, right in shapes.items():
        if key not in arrays:
            raise ValueError(f"{name}: there is no array {key!r}")
        x = arrays[key]
        if x.shape != right or x.dtype != np.float64:
            raise ValueError(f"{name}: {key} must be float64 {right}, got {x.dtype} {x.shape}")
        if not np.all(np.isfinite(x)):
            raise ValueError(f"{name}: {key} holds NaN or infinity")
        x.flags.writeable = False
    return arrays


def _tolerances(entry: dict[str, Any], place: str) -> dict[str, Tolerance]:
    """Return the tolerances by array, in order of propagation."""
    given = entry["tolerances"]
    if not isinstance(given, dict):
        raise ValueError(f"{place}: tolerances must be an object, got {_short(given)}")
    possible = list(names(entry["L"], entry["last_layer"] == "activated", "c" in entry))
    for extra in sorted(given.keys() - set(possible)):
        raise ValueError(f"{place}: unknown array {extra[:60]!r}")
    found = {}
    for name in possible:
        if name in given:
            value, here = given[name], f"{place}: the tolerance of {name}"
            if not isinstance(value, list) or len(value) != len(Tolerance._fields):
                raise ValueError(f"{here} must be three numbers, got {_short(value)}")
            found[name] = Tolerance(*(_number(x, here) for x in value))
    return found


def signs(problem: Problem) -> list[int]:
    """Return the sign of each layer's determinant."""
    return [int(np.linalg.slogdet(W)[0]) for W in problem.W]


def _spec(entry: dict[str, Any], key: str, known: Iterable[Spec], place: str) -> Spec:
    given = entry[key] if isinstance(entry[key], dict) else {}
    for spec in known:
        if given.keys() == {"name", *spec.params} and given["name"] == spec.name:
            params = {name: _number(given[name], f"{place}: {name}") for name in spec.params}
            return Spec(spec.name, params)
    choices = ", ".join(" ".join((spec.name, *spec.params)) for spec in known)
    raise ValueError(f"{place}: unknown {key}; choose from {choices}")


def _number(value: Any, place: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1e300:
        raise ValueError(f"{place} must be a finite number of 0 or more, got {_short(value)}")
    return float(value)


def _require_keys(value: Any, keys: Iterable[str], place: str, more: Iterable[str] = ()) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object, got {_short(value)}")
    for key in keys:
        if key not in value:
            raise ValueError(f"{place} has no {key!r}")
    for key in sorted(value.keys() - {*keys, *more}):
        raise ValueError(f"{place} has an unknown key {_short(key)}")


def _short(value: Any) -> str:
    """Return what is shown of a value in a message of one line."""
    shown = repr(value) if isinstance(value, (str, int, float)) else type(value).__name__
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
