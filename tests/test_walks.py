"""ARCHITECTURE.md is true: its walks are walked, its diagram is made, what it names is there."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.datasets import load

from .programs import import_graph
from .test_architecture import ORDER, PACKAGE

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"


def place(file):
    """Where a file of the page is: the package may be installed elsewhere."""
    return (import_graph.ROOT.parent if file.startswith("relgrad_np") else ROOT) / file


pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="no pages beside an installed package")
STEP = re.compile(r"^\d+\. `(relgrad_np/[\w/]+\.py): (\w+)`", re.M)
MOST = 8  # files of a walk


def walks(text):
    """The walks of a page, by title: a (file, function) for each numbered line."""
    sections = text.split("\n### Walk: ")[1:]
    return {s.splitlines()[0]: STEP.findall(s.split("\n#")[0]) for s in sections}


def run_step():
    """One step of the reference on one batch."""
    X = load("toy:moons", n=20).train
    layers = rg.init_layers(rg_rng(), 2, 2)
    model = rg.activation("smooth_leaky_relu"), rg.density("normal")
    options = {"rule": "plain", "implementation": "reference", "epochs": 1, "batch_size": 20}
    rg.fit(layers, X, *model, rng=rg_rng(), **options)


def rg_rng():
    import numpy as np

    return np.random.default_rng(0)


def run_command(folder):
    """The command `train`: one step of the compiled kernels, at a learning rate that is given."""
    choices = "--rows 20 --layers 2 --epochs 1 --batch-size 20 --rule plain --learning-rate 0.05"
    command = f"train toy:moons {choices} --implementation numba --init whiten --no-pictures --out"
    assert main([*command.split(), str(folder)]) == 0


def entered(run):
    """The functions of the package that a run enters, in order: (file, name)."""
    seen, inside = [], str(PACKAGE) + os.sep

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(inside):
            path = Path("relgrad_np", frame.f_code.co_filename.removeprefix(inside))
            seen.append((path.as_posix(), frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return seen


def wrong(walk, seen):
    """What is wrong with a walk, in words, or None; `seen`: what its run entered, in order."""
    files = {file for file, _ in walk}
    if not walk or len(files) > MOST:
        return f"{len(files)} files"
    for file, name in walk:
        if not place(file).exists():
            return f"no {file}"
        nodes = import_graph.nodes(place(file))
        if not any(isinstance(n, ast.FunctionDef) and n.name == name for n in nodes):
            return f"no {name} in {file}"
    rest = iter(seen)
    for step in walk:
        if step not in rest:  # goes on behind the step before
            return f"{step} is not entered then"
    return None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What was entered on each walk; the kernels are compiled before, which takes long if watched."""
    pytest.importorskip("numba", reason="two walks end in the compiled kernels")
    folder = tmp_path_factory.mktemp("walk")
    run_command(folder / "before")
    command = entered(lambda: run_command(folder / "run"))
    return {"Delta": entered(run_step), "X": command, "eta": command}


@pytest.mark.parametrize("what", ["Delta", "X", "eta"])
def test_a_walk_of_the_page_is_walked(what, runs):
    (walk,) = (steps for title, steps in walks(PAGE.read_text()).items() if title.startswith(what))
    assert wrong(walk, runs[what]) is None


def test_a_wrong_line_of_a_walk_is_seen(runs):
    text = PAGE.read_text()
    for title, walk in walks(text).items():
        seen = runs[title.split(",")[0]]
        assert wrong(walk[::-1], seen)
        assert wrong([*walk, ("relgrad_np/core/undo.py", "undo_step")], seen)  # not entered
        assert wrong([*walk[:-1], (walk[-1][0], "no_such_function")], seen)
        assert wrong([("relgrad_np/core/no_such_file.py", "f"), *walk], seen)
        many = [(f"relgrad_np/{i}.py", "f") for i in range(MOST + 1)]
        assert wrong(many, seen) == f"{MOST + 1} files"
        for i in range(len(walk) - 1):
            assert wrong([*walk[:i], walk[i + 1], walk[i], *walk[i + 2 :]], seen), walk[i]


def missing(text):
    """Paths that a page names and that are not there."""
    paths = set(re.findall(r"\b(?:relgrad_np|tests|docs|benchmarks|validation)/[\w/.-]*\w", text))
    return {path for path in paths if not place(path).exists()}


def test_every_path_of_the_page_exists_and_every_wing_is_named():
    text = PAGE.read_text()
    assert not missing(text)
    assert missing("see `relgrad_np/core/relatives.py`, `tests/law/`")
    for wing in import_graph.wings():
        assert f"`relgrad_np/{wing.split('.')[1]}/`" in text, wing


def test_the_diagram_and_the_table_are_those_of_the_imports():
    text = PAGE.read_text()
    assert f"```mermaid\n{import_graph.mermaid()}\n```" in text
    rows = re.findall(r"^\| `relgrad_np/(\w+)(?:/|\.py)` \|.*\| ([^|]*) \| `[^|]*` \|$", text, re.M)
    assert [name for name, _ in rows] == ORDER
    house = {
        k.split(".")[1]: {w.split(".")[1] for w in ws} for k, ws in import_graph.house().items()
    }
    for name, imported in rows:
        assert set(re.findall(r"\w+", imported.replace("nothing", ""))) == house[name], name


def test_the_page_can_be_read_in_one_sitting():
    assert len(PAGE.read_text().splitlines()) <= 250
