"""Read what a foreign implementation wrote: any subset of cases and arrays.

    RESULTS/<id>.npz            arrays by name
    RESULTS/<id>/<array>.npy    one file for each array
    RESULTS/<id>.json           {"dtype": "float64", "arrays": {"Y_0": {"shape": .., "data": ..}}}
    RESULTS/conventions.json    optional: {"weights": "transposed", "direction": "descent"}

Bad input is a ValueError in one line, never a pass.
"""

from pathlib import Path

from .candidate import Arrays, checked
from .conventions import FILE, Conventions, applies, asked, conventions
from .truths import storage
from .truths.records import Case, Suite


def read(folder: Path, suite: Suite) -> tuple[list[tuple[Case, Arrays, str]], Conventions]:
    """Return (case, arrays, dtype) of each case, and the conventions that are declared.

    The arrays are in the default conventions. Each claims to be right to its own dtype, so a case
    with arrays of both is returned twice, with those of each.

    >>> read(Path("no such folder"), Suite("", ()))
    Traceback (most recent call last):
    ValueError: there is no folder 'no such folder'
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    how = Conventions()
    if (folder / FILE).exists():
        how = conventions(storage.parse_json(storage.read_bytes(folder / FILE), FILE))
    known = {case.problem.id: case for case in suite.cases}
    places: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name == FILE or path.name.startswith("."):
            continue
        key = path.name if path.is_dir() else path.stem
        if not path.is_dir() and path.suffix not in (".npz", ".json"):
            raise ValueError(f"{path.name}: results are <id>.npz, <id>.json or a folder of .npy")
        if key not in known:
            raise ValueError(f"{path.name}: the suite has no case {key[:60]!r}")
        if key in places:
            raise ValueError(f"{path.name}: the case has two results, see {places[key].name}")
        dropped = known[key].problem.c and how.context == "none"  # said, not judged
        if not dropped and not applies(known[key].problem, how, supplied=True):
            raise ValueError(f"{path.name}: no case for the conventions in {FILE}")
        places[key] = path
    if not places:
        raise ValueError(f"{str(folder)!r} holds no results")
    found: list[tuple[Case, Arrays, str]] = []
    for case in suite.cases:
        place = places.get(case.problem.id)
        if place is None and not asked(case.problem, how):
            continue
        arrays = _arrays(place) if place is not None else {}
        if place is not None and not arrays:
            raise ValueError(f"{place.name} holds no arrays")
        made = checked(arrays, case, how)
        by_dtype = {
            dtype: {name: x for name, x in made.items() if x.dtype == dtype}
            for dtype in ("float64", "float32")
        }
        parts = [(case, part, dtype) for dtype, part in by_dtype.items() if part]
        found += parts or [(case, made, "float64")]
    return found, how


def _arrays(path: Path) -> Arrays:
    if path.is_dir():
        found = {}
        for part in sorted(path.iterdir()):
            name = f"{path.name}/{part.name}"
            if part.suffix != ".npy":
                raise ValueError(f"{name}: a folder of results holds .npy files only")
            found[part.stem] = storage.parse_npy(storage.read_bytes(part), name)
        return found
    raw = storage.read_bytes(path)
    return storage.parse_npz(raw, path.name) if path.suffix == ".npz" else _json(raw, path.name)


def _json(raw: bytes, name: str) -> Arrays:
    text = storage.parse_json(raw, name)
    if extra := set(text) - {"dtype", "arrays"}:
        raise ValueError(f"{name}: unknown key {min(extra)[:60]!r}; it holds 'dtype' and 'arrays'")
    dtype = text.get("dtype", "float64")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{name}: dtype must be float32 or float64, got {str(dtype)[:60]}")
    if not isinstance(text.get("arrays"), dict):
        raise ValueError(f"{name}: 'arrays' must be an object of arrays by name")
    return {
        key: storage.parse_hexadecimal(value, f"{name}: {key[:60]}", dtype)
        for key, value in text["arrays"].items()
    }
