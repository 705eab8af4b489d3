"""Compiling: announced, before the clock starts, only where it pays, and never stale."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

import numba
from numba.core import caching

import relgrad_np as rg
from relgrad_np.fitting import loop
from relgrad_np.kernels import choose as implementations
from relgrad_np.kernels.choose import Workload, choose, prepare, resolve
from relgrad_np.kernels.cpu import adam, natural, ready, stored, whole_step
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.worth import COMPILING, reference_seconds
from relgrad_np.rules.by_name import make_rule

MODEL = rg.activation("smooth_leaky_relu"), rg.density("sech")
PACKAGE = Path(rg.__file__).parent

SWEEP = """
import numpy as np
from relgrad_np.kernels.cpu.elementwise import density_constants, density_sweep
z, out = np.linspace(-3, 3, 7), [np.empty(7), np.empty(7)]
density_sweep(z, *density_constants("logistic", {}, "float64"), *out)
print(out[0].tolist())
"""
LINE = "relgrad-np: compiling kernels once, about 20 s"


def swept(folder, kept):
    """What a process that finds the package in this folder prints on stdout and on stderr."""
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(kept)}
    done = subprocess.run(
        [sys.executable, "-c", SWEEP], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def entries(kept):
    return {path.name for path in Path(kept).rglob("*.nb[ic]")}


def test_a_change_in_another_file_is_compiled_and_what_was_stored_before_is_removed(tmp_path):
    """The planted change is in a helper that LLVM copies into the kernel: a coefficient of its log."""
    shutil.copytree(
        PACKAGE, tmp_path / "relgrad_np", ignore=shutil.ignore_patterns("__pycache__", "suite")
    )
    for wing in ("", "core", "rules"):  # what they collect takes long to import
        (tmp_path / "relgrad_np" / wing / "__init__.py").write_text("")
    kept = tmp_path / "kept"
    first, said = swept(tmp_path, kept)
    assert said == [LINE]  # once, though it compiles more than one function
    before = entries(kept)
    assert len(before) > 0
    again, said = swept(tmp_path, kept)
    assert (again, said) == (first, [])
    helper = tmp_path / "relgrad_np" / "kernels" / "cpu" / "exp_log.py"
    text = helper.read_text()
    assert "6.666666666666735130e-01" in text
    helper.write_text(text.replace("6.666666666666735130e-01", "9e-01"))
    changed, said = swept(tmp_path, kept)
    assert changed != first
    assert said == [LINE]
    assert len(entries(kept)) == len(before)
    assert not entries(kept) & before


def test_what_kernels_are_compiled_from_is_hashed():
    """A file that kernels copy numbers or code from, and that is not hashed, leaves stale code."""
    hashed = {path for pattern in stored.SOURCES for path in PACKAGE.glob(pattern)}
    kernels = [p for p in (PACKAGE / "kernels" / "cpu").glob("*.py") if "@" in p.read_text()]
    kernels = [p for p in kernels if {"compiled", "inlined", "inserted"} & decorators(p)]
    assert len(kernels) >= 9
    for path in kernels:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = path.parents[node.level - 1]
                parts = node.module.split(".") if node.module else []
                for name in [parts] if parts else [[alias.name] for alias in node.names]:
                    assert folder.joinpath(*name).with_suffix(".py") in hashed, (path, name)


def decorators(path):
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    return {d.id for n in nodes for d in n.decorator_list if isinstance(d, ast.Name)}


def doubled(x):
    return x + x


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def test_damaged_files_are_written_anew(kept):
    assert stored.compiled(doubled)(np.ones(2))[0] == 2
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    for content in (b"", b"nonsense", files[0].read_bytes()[:40]):
        for path in files:
            path.write_bytes(content)
        assert stored.compiled(doubled)(np.ones(2))[0] == 2
        again = stored.compiled(doubled)
        assert again(np.ones(2))[0] == 2
        assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("name", ["FunctionCache", "IndexDataCacheFile"])
def test_without_a_folder_or_with_another_numba_nothing_is_stored(kept, monkeypatch, name):
    def missing(*args, **options):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(caching, name, missing)
    function = stored.compiled(doubled)
    assert function(np.ones(2))[0] == 2
    assert function.stats.cache_path is None
    assert entries(kept) == set()
    function.recompile()


def start(rule, dtype="float64", D=3, **options):
    layers = rg.init_layers(np.random.default_rng(0), D, 2, dtype=dtype)
    return rg.init_state(layers, rule, **options)


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=pytest.mark.recompiles)]
)
def test_what_is_prepared_is_what_a_fit_uses(dtype):
    """A second signature of a dtype would be compiled while the clock runs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)).astype(dtype)
    for name in ("recipe", "plain", "exponential", "scalar", "adam", "natural"):
        rule = make_rule(name)
        prepare(cpu.train_step, start(rule, dtype), *MODEL, rule)
        for weights in (None, rng.uniform(1, 2, 60)):
            for width, batch in ((3, 20), (3, 1)):
                rg.fit(
                    start(rule, dtype, width).layers, X, *MODEL, rule=name, rng=rng, epochs=1,
                    batch_size=batch, implementation="numba", sample_weight=weights,
                )  # fmt: skip
    kernels = whole_step.take_steps, adam.take_steps, natural.natural_step
    for kernel, place in ((kernel, 1) for kernel in kernels):
        found = [str(signature[place].dtype) for signature in kernel.overloads]
        assert found.count(dtype) == 1


def test_the_clock_starts_when_everything_is_compiled(monkeypatch):
    order = []

    class Started(loop.Progress):
        def __init__(self, *args, **options):
            order.append("clock")
            super().__init__(*args, **options)

    def see(step, state, activation, density, rule):
        order.append(implementations.name_of(step))
        prepare(step, state, activation, density, rule)
        assert ready.is_ready(state, activation, density, rule)

    monkeypatch.setattr(loop, "Progress", Started)
    monkeypatch.setattr(loop, "prepare", see)
    result = fit(implementation="numba")
    assert order == ["numba", "clock"]
    assert result.seconds >= result.history[-1].seconds > 0


def test_what_the_kernels_leave_to_the_reference_is_not_compiled():
    for rule, model, options in (
        (rg.Plain(), MODEL, {"inverse": True}),
        (rg.Plain(), (rg.activation("elu"), rg.density("sech")), {}),
        (rg.Adam(side="input"), MODEL, {}),
    ):
        assert ready.tiny(start(rule, **options), *model, rule) is None
        assert ready.is_ready(start(rule, **options), *model, rule)


@pytest.fixture
def cold(monkeypatch):
    """As if nothing had been compiled, ever; compiling is counted."""
    calls = []
    monkeypatch.setattr(ready, "DONE", set())
    monkeypatch.setattr(ready, "has_code", lambda *args: False)

    def train_step(*args, **options):
        calls.append(args)

    train_step.__module__ = cpu.__name__
    monkeypatch.setattr(cpu, "train_step", train_step)
    return calls


def fit(layers=None, epochs=3, **options):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((90, 3)) * [1, 2, 3]
    layers = start(rg.Plain()).layers if layers is None else layers
    return rg.fit(layers, X, *MODEL, rng=rng, epochs=epochs, batch_size=30, **options)


def same(one, two):
    return all(np.array_equal(a.W, b.W) for a, b in zip(one, two, strict=True))


def test_long_work_is_compiled_and_short_work_is_not(monkeypatch):
    rule = rg.Plain()
    few, many = Workload(10, 30), Workload(10**6, 30)
    assert reference_seconds(10, 30, 3, 2) < COMPILING < reference_seconds(10**6, 30, 3, 2)

    def chosen(work):
        return implementations.name_of(choose(resolve("numba"), start(rule), *MODEL, rule, work))

    monkeypatch.setattr(ready, "is_ready", lambda *args: False)
    assert [chosen(few), chosen(many)] == ["reference", "numba"]
    assert chosen(few._replace(began="numba")) == "numba"
    monkeypatch.setattr(ready, "is_ready", lambda *args: True)
    assert [chosen(few), chosen(many)] == ["numba", "numba"]
    assert chosen(many._replace(began="reference")) == "reference"
    own = lambda *args, **options: None  # noqa: E731
    assert choose(own, start(rule), *MODEL, rule, few) is own


def test_a_short_fit_does_not_compile(cold):
    assert same(fit().layers, fit(implementation="reference").layers)
    assert cold == []


def test_a_row_by_partial_fit_does_not_compile(cold):
    estimator = pytest.importorskip("relgrad_np.estimator", reason="scikit-learn is not installed")
    X = np.random.default_rng(0).standard_normal((90, 3))
    flows = [
        estimator.RelativeGradientFlow(random_state=0, implementation=name).partial_fit(X)
        for name in (None, "reference")
    ]
    for flow in flows:
        flow.partial_fit(X[:1])
    assert same(*(flow.layers_ for flow in flows))
    assert cold == []


class Snapshots(list):
    stop = None

    def due(self, t, end):
        return True

    write = list.append


@pytest.mark.parametrize("began", ["reference", "numba"])
def test_a_resumed_fit_goes_on_with_what_it_began_with(monkeypatch, began):
    """Cold at first and warm on resume, or the other way round: a switch would show in the bits."""
    ways = {"reference": False, "numba": True}
    monkeypatch.setattr(ready, "is_ready", lambda *args: ways[began])
    kept = Snapshots()
    whole = fit(keeper=kept)
    assert same(whole.layers, fit(implementation=began).layers)
    monkeypatch.setattr(ready, "is_ready", lambda *args: not ways[began])
    other = fit()
    assert not same(whole.layers, other.layers)  # so that a switch would be seen
    for snapshot in kept[:-1:3]:
        assert same(whole.layers, fit(resume=snapshot).layers)
    other = next(name for name in ways if name != began)
    assert not same(whole.layers, fit(resume=kept[0], implementation=other).layers)  # asked for
