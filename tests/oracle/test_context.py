"""The oracle with context, y = W z + C u + b: mistakes, conventions, files; and without, as before.

Every mistake, in every library and precision: `python -m validation.oracle_report context`.
"""

import json
import math

import numpy as np
import pytest

from relgrad_np import oracle
from relgrad_np.cli.main import main
from relgrad_np.oracle import check, mistakes
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths import problems, storage
from relgrad_np.oracle.truths.export import compute, write
from relgrad_np.oracle.truths.records import Suite
from relgrad_np.oracle.truths.suite import load, small
from validation import planted, right
from validation.diagnosis import with_convention
from validation.with_context import HOW

pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
SUITE = Suite("", tuple(case for case in small().cases if case.problem.c))
FEW = SUITE.where(id=["context-smooth_leaky_relu-sech", "context-leaky_tanh-logistic"])
ONE = FEW.where(c=3)


def named(library, name, suite=FEW):
    made = planted.LIBRARIES[library](mistakes[name].lines)
    return check(made, suite, conventions=HOW, twice=False)


@pytest.mark.parametrize(
    "name",
    [
        "Y_last_without_context", "Y_context_after", "Y_one_first", "L_p_with_context",
        "G_C_is_G_b", "xi_without_context", "R_C_is_G_C", "C_exp_without_phi1",
        "back_context_added", "R_b_without_b",
    ],
)  # fmt: skip
def test_a_planted_mistake_is_named_with_context(name):
    assert planted.named_right(named("NumPy", name), name)


@pytest.mark.parametrize("name", ["Y_context_moved", "G_C_scaled", "R_C_without_YC"])
def test_a_mistake_planted_in_torch_is_named(name):
    pytest.importorskip("torch", reason="needs PyTorch")
    assert planted.named_right(named("torch", name, ONE), name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_core_is_right_with_context(dtype):
    suite = SUITE if dtype == "float64" else FEW
    _, arrays, alarms, worst, which = right.alarms("relgrad_np", suite, dtype, False, HOW)
    assert arrays > 100
    assert not alarms, which
    assert worst < 0.1


def test_autodiff_of_a_conditional_net_is_right():
    pytest.importorskip("torch", reason="needs PyTorch")
    _, _, alarms, _, which = right.alarms("torch autograd", FEW, "float64", False, HOW)
    assert not alarms, which


def test_a_conditional_net_in_jax_and_its_mistake():
    jnp = pytest.importorskip("jax", reason="needs JAX").numpy

    def log_prob(layers, X, U, problem, sign=1):
        ((W, b, C),) = layers
        y = X @ W.T + sign * (U @ C.T) + b
        return -(jnp.abs(y) + jnp.log(2)).sum(1) + jnp.linalg.slogdet(W)[1]

    suite = SUITE.where(density="laplace", L=1)
    assert check(oracle.from_jax(log_prob, conventions=HOW), suite).passed
    wrong = oracle.from_jax(lambda *given: log_prob(*given, sign=-1), conventions=HOW)
    assert check(wrong, suite, twice=False).mistake == "Y_context_negative"


@pytest.mark.parametrize(("key", "value"), [("weights", "transposed"), ("reduction", "sum")])
def test_conventions_are_recognised_with_context(key, value):
    """C is (c, D) where W is stored (in, out): such code can't run before that is declared."""
    made = with_convention(key, value, {})
    report = check(made, ONE, conventions=HOW, twice=False)
    assert (report.kind, report.undeclared) == ("convention", {key: value}), report.text()
    assert check(made, ONE, conventions=HOW._replace(**{key: value}), twice=False).passed
    wrong = with_convention(key, value, dict(mistakes["G_C_negative"].lines))
    report = check(wrong, ONE, conventions=HOW, twice=False)
    roots = [root.stage for root in report.roots]
    assert (report.undeclared, roots[:1]) == ({key: value}, ["G_C"]), report.text()


def test_easy_inputs_hide_what_the_catalogue_says():
    for name in ("Y_context_reversed", "Y_context_first_only", "R_b_without_context", "G_C_moved"):
        hidden = planted.hidden_at(name, planted.easy_problems(ONE))
        assert set(hidden) == set(mistakes[name].hidden_at), name


def test_a_formula_may_ask_for_the_context():
    part = {"R_C": lambda Delta, Y, C, U: Delta.T @ (Y @ C + U) + C}
    assert check(part, ONE).passed
    part = {"R_C": lambda Delta, Y, C, U: Delta.T @ (Y @ C) + C}
    assert check(part, ONE, twice=False).mistake == "R_C_without_U"


def test_who_does_not_declare_context_is_not_asked_for_it():
    asked = []

    def run(problem):
        asked.append(problem.c)
        return formulas.run(problem)

    mixed = Suite("", (*FEW.cases, *small().where(id=["depth-3-2"]).cases))
    report = check(run, mixed, twice=False)
    assert (report.passed, asked) == (True, [0])
    assert "of 117 mistakes" in report.text()
    check(run, mixed, conventions=HOW, twice=False)
    assert asked == [0, 1, 3]
    with pytest.raises(ValueError, match="`G_C_0`: the case has no context"):
        check(lambda p: {"G_C_0": p.X}, mixed)


def test_a_suite_without_context_is_written_as_before(tmp_path):
    write(tmp_path, small().where(id=["depth-1-2"]).cases)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert not any("C" in stage["name"] for stage in manifest["stages"])
    assert "c" not in manifest["cases"][0]
    assert json.loads((tmp_path / "power.json").read_text())["mistakes"] == planted.PLAIN
    report = check(oracle.from_core(), load(tmp_path))
    assert report.power.value > 0.98


def test_results_in_files_are_judged_once_context_is_declared(tmp_path, capsys):
    cases = [*FEW.cases[:1], *small().where(id=["depth-1-2"]).cases]
    write(tmp_path / "suite", cases)
    (tmp_path / "results").mkdir()
    for case in cases:  # without context: what who knows none of it would write
        made = formulas.run(case.problem, mistakes["Y_without_context"].lines)
        raw = storage.npz_bytes(made)
        (tmp_path / "results" / f"{case.problem.id}.npz").write_bytes(raw)
    words = ["check", str(tmp_path / "suite"), str(tmp_path / "results")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "1 cases are right" in out
    assert 'which have context: declare {"context": "yes"} to have them judged' in out
    (tmp_path / "results" / "conventions.json").write_text('{"context": "yes"}')
    assert main(words) == 1
    assert "of 2 cases are wrong; layer 0, Y: the context is dropped" in capsys.readouterr().out
    path = tmp_path / "suite" / "manifest.json"
    path.write_text(path.read_text().replace('"c": 1', '"c": 0'))
    assert main(words) == 2
    assert "c must be an integer from 1" in capsys.readouterr().err


def test_the_tape_gives_the_truths_that_were_differenced():
    pytest.importorskip("mpmath", reason="truths are computed with mpmath")
    (kept,) = SUITE.where(id="context-elu-student_t").cases
    problem = next(p for p in problems.all_problems() if p.id == kept.problem.id)
    made = compute(problem, differenced=0)
    assert made.tolerances == kept.tolerances
    for name, x in kept.expected.items():
        np.testing.assert_array_equal(made.expected[name], x)


def test_parameters_of_a_conditional_module_are_told_apart():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    class Flow(torch.nn.Module):
        def __init__(self, D, c, bias=False, joint=False):
            super().__init__()
            self.context = None if joint else torch.nn.Linear(c, D, bias=bias)
            self.layer, self.D = torch.nn.Linear(D + c if joint else D, D), D

        def log_prob(self, X, U):
            given = [X] if self.context else [X, U]
            y = self.layer(torch.cat(given, 1)) + (self.context(U) if self.context else 0)
            c = math.lgamma(3) - math.lgamma(2.5) - 0.5 * math.log(5 * math.pi)
            log_p = c - 3 * torch.log1p(y * y / 5)
            return log_p.sum(1) + torch.linalg.slogdet(self.layer.weight[:, : self.D])[1]

    def maker(**how):
        return lambda p: Flow(p.D, p.c, **how)

    where = {"density": "student_t", "L": 1}
    for joint in (False, True):
        made = oracle.from_torch(maker(joint=joint), conventions=HOW)
        report = check(made, SUITE, where=where)
        assert report.passed, report.text()
    with pytest.raises(ValueError, match="a bias beside C is one too many"):
        check(oracle.from_torch(maker(bias=True), conventions=HOW), SUITE, where=where)
    with pytest.raises(ValueError, match="a conditional net declares"):
        check(oracle.from_torch(lambda p: Flow(p.D, 5)), where=where)
