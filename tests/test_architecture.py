"""The house: imports point one way, rooms stay small, importing is light, names are documented."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import relgrad_np as rg

PACKAGE = Path(rg.__file__).parent
CORE = [
    "_array", "activations", "densities", "network", "objective", "backprop", "ordinary",
    "relative", "multiplicative", "tracking", "rules",
]  # fmt: skip
# what each module may import of the package: only what stands before it
ORDER = [
    "_arguments", "_array", "_numerics", "activations", "other_activations", "densities", "student_t", "network", "objective",
    "backprop", "ordinary", "relative", "multiplicative", "tracking", "upkeep", "generative", "initial", "rules", "adam", "recipe", "natural", "group_adam",
    "presets", "implementations", "history", "exchange", "wire", "distributed", "ranks", "watch", "staging", "fit", "estimator",
    "datasets", "_store", "checkpoint", "oracle", "extend", "verify", "devices", "training",
    "evaluation", "plots", "runs", "demo", "cli",
]  # fmt: skip
LAZY = {
    ("activations", "other_activations"),
    ("densities", "student_t"),
    ("demo", "plots"),
    ("training", "plots"),
    ("cli", "plots"),
}


def imports(path):
    """Names of the package's modules that a file imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add((node.module or "").split(".")[0])
            if not node.module:
                found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("relgrad_np"):
            found.add([*node.module.split("."), "relgrad_np"][1])
    return found & set(ORDER)


def test_imports_point_one_way():
    for path in PACKAGE.glob("*.py"):
        if path.stem.startswith("__"):
            continue
        assert path.stem in ORDER, f"{path.name} has no place in the order"
        for name in imports(path):
            if (path.stem, name) not in LAZY:
                assert ORDER.index(name) < ORDER.index(path.stem), f"{path.stem} imports {name}"


def test_brute_force_shares_no_code_with_what_it_checks():
    tree = ast.parse((PACKAGE / "oracle" / "brute.py").read_text())
    modules = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert modules <= {"math", "collections.abc", "typing", "numpy"}


ORACLE = [
    "bounds", "brute", "cases", "stages", "problems", "tape", "exact", "truth", "scales", "schema", "storage",
    "vectors", "elementwise", "formulas", "catalogue", "conventions", "compare", "candidate",
    "precision", "hypotheses", "diagnosis", "report", "verdict", "native", "peers", "results", "commands",
]  # fmt: skip
# what truths and predictions rest on may know nothing of the core; `native` alone runs it
KNOWS_THE_CORE = {"cases", "native"}


def test_the_oracle_points_one_way_too_and_only_one_file_of_it_runs_the_core():
    for path in (PACKAGE / "oracle").glob("*.py"):
        if path.stem == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                for name in {(node.module or "").split(".")[0]} - {""} or {
                    a.name for a in node.names
                }:
                    assert ORACLE.index(name) < ORACLE.index(path.stem), (
                        f"{path.stem} imports {name}"
                    )
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert path.stem in KNOWS_THE_CORE, f"{path.stem} imports the core"
        longest = 450 if path.stem == "catalogue" else 350
        assert len(path.read_text().splitlines()) <= longest, path.stem


def calls(path):
    """Attribute names that a file calls or reads."""
    return {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}


def test_only_the_cubic_files_are_cubic():
    """inv: the ordinary gradient alone; slogdet of W: the objective, and the tracker's start."""
    users = {name: calls(PACKAGE / f"{name}.py") for name in CORE}
    assert [name for name in CORE if "inv" in users[name]] == ["ordinary"]
    assert [name for name in CORE if "slogdet" in users[name]] == ["objective", "tracking"]


def test_only_one_core_file_knows_array_libraries():
    for name in CORE[1:]:
        tree = ast.parse((PACKAGE / f"{name}.py").read_text())
        modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        modules |= {
            n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level
        }
        assert not modules & {"array_api_compat", "cupy", "torch", "numba"}
        assert not {"cupy", "torch", "numba"} & {m.split(".")[0] for m in modules if m}


def test_only_the_kernels_know_numba_and_nobody_imports_them():
    """They are handed over by name, see `implementations`."""
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
        if path.parent.name != "kernels":
            assert not {"numba", "llvmlite"} & {name.split(".")[0] for name in names}, path
            assert not any("kernels" in name.split(".") for name in names), path


def test_the_core_is_short():
    lines = {name: len((PACKAGE / f"{name}.py").read_text().splitlines()) for name in CORE}
    assert sum(lines.values()) <= 920, lines
    assert max(lines.values()) <= 200, lines


def test_no_forbidden_words_or_habits_in_the_core():
    for name in CORE:
        text = (PACKAGE / f"{name}.py").read_text().lower()
        for word in ("loss", "nll", "trick"):
            assert word not in text, f"{word!r} in {name}"
        assert "assert " not in text
        assert not any(isinstance(n, ast.Global) for n in ast.walk(ast.parse(text)))


def test_importing_is_light():
    code = (
        "import sys, time; t = time.perf_counter(); import relgrad_np;"
        "heavy = {'numba', 'cupy', 'torch', 'jax', 'mpmath', 'matplotlib', 'sklearn', 'tqdm', 'pandas'};"
        "print(sorted(heavy & {m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PUBLIC = [name for name in rg.__all__ if name != "PRESETS"]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring_with_an_example(name):
    value = getattr(rg, name)
    doc = inspect.getdoc(value)
    assert doc
    if name != "Rule":  # a protocol: there is nothing to run
        assert ">>>" in doc, f"{name} has no example"
