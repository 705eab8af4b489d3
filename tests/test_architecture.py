"""The house: wings in order, no circle, small rooms, a light import, documented names."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import relgrad_np as rg
from tests.programs import import_graph

PACKAGE = Path(rg.__file__).parent
CORE = sorted(path.stem for path in (PACKAGE / "core").glob("*.py") if path.stem != "__init__")
# what each room of the top level may import of the package: only rooms that stand before it
ORDER = [
    "core", "rules", "kernels", "oracle", "datasets", "fitting", "extend", "distributed",
    "estimator", "runs", "cli", "__main__",
]  # fmt: skip
FILES = {"__init__.py", "__main__.py", "extend.py", "py.typed"}


def room(module):
    """The wing, or the file of the top level, that a module is part of."""
    return module.split(".")[1]


def test_wings_import_one_way_counting_what_is_imported_inside_functions():
    for module, targets in import_graph.graph(PACKAGE).items():
        if module == "relgrad_np":  # it collects the public names
            continue
        for target in targets - {"relgrad_np"}:
            assert ORDER.index(room(target)) <= ORDER.index(room(module)), (
                f"{module} imports {target}"
            )
        assert "relgrad_np" not in targets, f"{module} imports the package's front door"


def test_no_circle_at_any_scale_and_few_floors():
    arrows = import_graph.graph(PACKAGE)
    assert import_graph.circles({k: v for k, v in arrows.items() if k != "relgrad_np"}) == []
    house = import_graph.house(PACKAGE)
    assert import_graph.circles(house) == []
    assert len(house) <= 16
    assert max(import_graph.floors(house).values()) <= 9
    for wing in import_graph.wings(PACKAGE):
        inside = import_graph.grouped(arrows, 9, wing)
        assert max(import_graph.floors(inside).values()) <= 7, wing


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a": "from . import b", "b": "def f():\n    from .a import x"}, [["p.a", "p.b"]]),
        (
            {"a": "from .b import y", "b": "import p.c", "c": "from p import a"},
            [["p.a", "p.b", "p.c"]],
        ),
        ({"a": "from .b import y", "b": "import os"}, []),
    ],
)
def test_a_planted_circle_is_seen(tmp_path, files, found):
    for name, text in ({"__init__": ""} | files).items():
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / f"{name}.py").write_text(text)
    arrows = import_graph.graph(tmp_path / "p")
    assert import_graph.circles({k: v for k, v in arrows.items() if k != "p"}) == found


def test_the_listing_is_the_table_of_contents():
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert names == FILES | {name for name in ORDER if (PACKAGE / name).is_dir()}
    for wing in import_graph.wings(PACKAGE):
        doc = ast.get_docstring(
            ast.parse((PACKAGE.parent / wing.replace(".", "/") / "__init__.py").read_text())
        )
        assert doc, f"{wing} does not say which question it answers"


def test_brute_force_shares_no_code_with_what_it_checks():
    tree = ast.parse((PACKAGE / "oracle" / "brute.py").read_text())
    modules = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert modules <= {"math", "collections.abc", "typing", "numpy"}


# what truths and predictions rest on may know nothing of the core; the others run or build on it
KNOWS_THE_CORE = {"relgrad_np.oracle.cases", "relgrad_np.oracle.of_this_package"}


def test_only_two_files_of_the_oracle_know_the_core():
    for module, targets in import_graph.graph(PACKAGE).items():
        if room(module + ".") == "oracle" and module not in KNOWS_THE_CORE:
            assert {room(t) for t in targets} <= {"oracle"}, module


def calls(path):
    """Attribute names that a file calls or reads."""
    return {n.attr for n in import_graph.nodes(path) if isinstance(n, ast.Attribute)}


def test_only_the_cubic_files_are_cubic():
    """inv: the ordinary gradient alone; slogdet of W: the objective, and the tracker's start."""
    users = {name: calls(PACKAGE / "core" / f"{name}.py") for name in CORE}
    assert [name for name in CORE if "inv" in users[name]] == ["ordinary"]
    assert [name for name in CORE if "slogdet" in users[name]] == ["objective", "tracking"]


def test_only_one_core_file_knows_array_libraries():
    for name in set(CORE) - {"arrays"}:
        nodes = import_graph.nodes(PACKAGE / "core" / f"{name}.py")
        modules = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        modules |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
        assert not modules & {"array_api_compat", "cupy", "torch", "numba"}, name
        assert not {"cupy", "torch", "numba"} & {m.split(".")[0] for m in modules if m}, name


def test_only_the_kernels_know_numba_and_nobody_imports_them():
    """They are handed over by name, see `kernels.choose`."""
    paths = import_graph.modules(PACKAGE)
    for module, targets in import_graph.graph(PACKAGE).items():
        path = paths[module]
        nodes = import_graph.nodes(path)
        names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
        if not module.startswith("relgrad_np.kernels.cpu"):
            assert not {"numba", "llvmlite"} & {name.split(".")[0] for name in names}, path
        if not module.startswith("relgrad_np.kernels"):
            plain = {"relgrad_np.kernels.choose", "relgrad_np.kernels.plans"}
            assert {t for t in targets if room(t) == "kernels"} <= plain, path


def functions(path):
    """Name and number of lines of code of every function: no docstring, comment or empty line."""
    lines = path.read_text().splitlines()
    for node in import_graph.nodes(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                body = range(first.end_lineno, node.end_lineno)
            else:
                body = range(first.lineno - 1, node.end_lineno)
            code = [i for i in body if lines[i].strip() and not lines[i].strip().startswith("#")]
            yield node.name, len(code)


def test_files_of_the_core_are_short_and_functions_can_be_read():
    for name in CORE:
        assert len((PACKAGE / "core" / f"{name}.py").read_text().splitlines()) <= 200, name
    for path in PACKAGE.rglob("*.py"):
        if "kernels" not in path.parts:
            for name, length in functions(path):
                assert length <= 80, f"{path.name}: {name} has {length} lines of code"


def test_no_forbidden_words_or_habits_in_the_core():
    for name in CORE:
        path = PACKAGE / "core" / f"{name}.py"
        text = path.read_text().lower()
        for word in ("loss", "nll", "trick"):
            assert word not in text, f"{word!r} in {name}"
        assert "assert " not in text
        assert not any(isinstance(n, ast.Global) for n in import_graph.nodes(path))


def test_no_two_records_share_a_name():
    """Records: classes that hold data, named tuples and dataclasses."""
    seen = {}
    for path in PACKAGE.rglob("*.py"):
        for node in import_graph.nodes(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in seen, f"{node.name} in {path.name} and in {seen[node.name]}"
                seen[node.name] = path.name


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
