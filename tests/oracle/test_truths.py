"""The truths: definitions against each other, the core and the tape; files to the byte."""

import json
from pathlib import Path

import numpy as np
import pytest

from relgrad_np import oracle
from relgrad_np.oracle import brute
from relgrad_np.oracle.truths import problems, reverse_mode, storage
from relgrad_np.oracle.truths.export import compute, inputs, write
from relgrad_np.oracle.truths.stages import names, order
from relgrad_np.oracle.truths.suite import load, small
from tests.programs import import_graph

mpmath = pytest.importorskip("mpmath", reason="the truths are computed with mpmath")
definitions = pytest.importorskip("relgrad_np.oracle.truths.definitions")
gradients = pytest.importorskip("relgrad_np.oracle.truths.gradients")
FOLDER = Path(oracle.__file__).parent
FULL = Path(__file__).parents[2] / "validation" / "vectors"
ALL = {p.id: p for p in problems.all_problems()}


def as_float(x):
    return np.array(x, dtype=object).astype(float)


def test_truths_and_predictions_share_no_code_with_the_core_or_with_each_other():
    arrows, home = import_graph.graph(), "relgrad_np.oracle."

    def reached(*names):
        found = [home + name for name in names]
        for name in found:
            found += arrows[name] - set(found)
        return {name.removeprefix(home) for name in found}

    truths = reached("truths.definitions", "truths.tolerances", "truths.problems")
    assert all(name.startswith("truths.") for name in truths)
    predictions = reached("mistakes.formulas") - {"mistakes.formulas", "mistakes.elementwise"}
    assert predictions == {"truths.records", "truths.stages"}


@pytest.mark.parametrize(
    "name", ["generic-smooth_leaky_relu-laplace", "last-activated-leaky_tanh-normal"]
)
def test_the_tape_agrees_with_differencing(name):
    problem = ALL[name]
    net, X = gradients.Net(problem), definitions.matrix(problem.X)
    ways = gradients.by_differences, gradients.by_reverse_mode
    for one, two in zip(*(way(net, X, net.outputs(X)) for way in ways), strict=True):
        for a, b in zip(one, two, strict=True):
            for x, y in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
                gaps = np.abs(np.array(x, dtype=object) - np.array(y, dtype=object))
                gap = np.max(gaps, initial=0)  # without context its gradients are empty
                assert gap < 1e-28


def test_a_wrong_derivative_on_the_tape_shows():
    x = reverse_mode.Node(2.0)
    assert reverse_mode.backward(reverse_mode.apply(lambda t: t * t, lambda t: 2 * t, x))[x] == 4.0
    assert reverse_mode.backward(reverse_mode.apply(lambda t: t * t, lambda t: 3 * t, x))[x] != 4.0


def test_the_truth_agrees_with_brute_force_in_long_double():
    problem = ALL["generic-leaky_tanh-student_t"]
    found = definitions.true_arrays(problem)
    layers = [
        (W.astype(np.longdouble), b.astype(np.longdouble))
        for W, b in zip(problem.W, problem.b, strict=True)
    ]
    model = problem.activation, problem.density
    log_p = brute.log_likelihood(layers, problem.X, *model)
    assert np.allclose(log_p.astype(float), as_float(found["log_prob"]), 1e-14)
    G = brute.gradient(lambda ls: np.mean(brute.log_likelihood(ls, problem.X, *model)), layers)
    for k, (G_W, G_b) in enumerate(G):
        assert np.allclose(G_W.astype(float), as_float(found[f"G_W_{k}"]), 1e-13, 1e-14)
        R = brute.relative(*layers[k], G_W, G_b)
        for part, r in zip("Wb", R, strict=True):
            assert np.allclose(r.astype(float), as_float(found[f"R_{part}_{k}"]), 1e-13, 1e-14)


@pytest.mark.parametrize("name", ["depth-1-3", "generic-1-elu-laplace", "optimum", "tiny-softplus"])
def test_regenerating_a_case_gives_the_same_bytes(name, tmp_path):
    kept = next(case for case in load(FULL).cases if case.problem.id == name)
    write(tmp_path, [compute(ALL[name])._replace(powers=kept.powers)])
    for path in (tmp_path / "cases").iterdir():
        assert path.read_bytes() == (FULL / "cases" / path.name).read_bytes()
    entry = json.loads((tmp_path / "manifest.json").read_text())["cases"][0]
    kept = json.loads((FULL / "manifest.json").read_text())["cases"]
    assert entry in kept


def test_the_small_suite_is_part_of_the_full_one_and_small():
    folder = FOLDER / "suite"
    paths = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in paths) < 1 << 20
    kept = {case.problem.id: case for case in load(FULL).cases}
    for case in small().cases:  # in another layout, that of the package
        other = kept[case.problem.id]
        assert (case.powers, case.tolerances) == (other.powers, other.tolerances)
        assert inputs(case.problem).keys() == inputs(other.problem).keys()
        for one, two in (
            (inputs(case.problem), inputs(other.problem)),
            (case.expected, other.expected),
        ):
            assert all(np.array_equal(x, two[key]) for key, x in one.items())
    assert {c.problem.id for c in small().cases} == {
        p.id for p in ALL.values() if problems.is_small(p)
    }
    assert [c.problem.id for c in load(FULL).cases] == list(ALL)
    assert (FULL / "README.md").read_text() == (FOLDER / "vectors.md").read_text()
    assert (FULL / "schema.json").read_text() == (FOLDER / "schema.json").read_text()


def test_inputs_are_generic_and_exact_in_float32():
    suite = load(FULL)
    signs, sizes = set(), set()
    for case in suite.cases:
        p = case.problem
        for x in inputs(p).values():
            assert np.array_equal(x.astype(np.float32).astype(float), x)
        signs |= {float(np.sign(np.linalg.det(W))) for W in p.W}
        sizes.add((p.N > p.D, p.N == 1, p.L))
        if p.family not in ("no bias", "optimum", "wide"):
            assert p.N != p.D
            assert all(np.all(b != 0) for b in p.b)
        for W in p.W:
            assert np.max(np.abs(W.T @ W - np.eye(p.D))) > 0.01
    assert signs == {-1.0, 1.0}
    assert {(True, False, 1), (True, False, 2), (True, False, 3), (False, True, 2)} <= sizes


def test_names_are_in_order_of_propagation():
    ordered = list(names(3))
    assert ordered == sorted(ordered, key=lambda name: order(name, 3))
    assert ordered[:5] == ["Y_0", "Z_1", "Y_1", "Z_2", "Y_2"]
    assert [n for n in ordered if n.startswith("Delta")] == ["Delta_2", "Delta_1", "Delta_0"]


def test_npy_and_npz_are_what_numpy_reads(tmp_path):
    x = np.arange(6.0).reshape(2, 3)
    (tmp_path / "x.npz").write_bytes(storage.npz_bytes({"x": x, "y": np.float64(2.0)}))
    with np.load(tmp_path / "x.npz") as file:
        assert np.array_equal(file["x"], x)
        assert file["y"].shape == ()
    np.savez_compressed(tmp_path / "z.npz", x=np.asfortranarray(x))
    assert np.array_equal(storage.parse_npz((tmp_path / "z.npz").read_bytes(), "z")["x"], x)
