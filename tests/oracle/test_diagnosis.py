"""What a failing report claims: every error by its place, nothing false, advice that was tried."""

import numpy as np
import pytest

from relgrad_np import oracle
from relgrad_np.oracle import check, mistakes
from relgrad_np.oracle.diagnosis.bounded import Bounded, inverse
from relgrad_np.oracle.diagnosis.conditions import Entries, of_entries
from relgrad_np.oracle.diagnosis.own import evaluate
from relgrad_np.oracle.diagnosis.reads import READS, reads
from relgrad_np.oracle.diagnosis.roots import hidden_layers
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths.stages import STAGES, split
from relgrad_np.oracle.truths.suite import small
from relgrad_np.oracle.verdict import judge
from validation import diagnosis, planted
from validation.inventions import INVENTIONS

SUITE = small()
FEW = SUITE.where(id=[
    "depth-3-2", "depth-1-3", "generic-leaky_tanh-normal", "generic-softplus-laplace", "one-sample",
    "generic-smooth_leaky_relu-logistic", "no-bias-smooth_leaky_relu", "large-sech",
    "generic-elu-student_t", "middling-softplus",
    "last-activated-leaky_tanh-normal",
])  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")


def all_but(case, *stages):
    return [name for name in case.expected if split(name)[0] not in stages]


@pytest.mark.parametrize("name", ["depth-3-2", "last-activated-leaky_tanh-normal"])
def test_the_table_of_inputs_is_that_of_the_formulas(name):
    """An array is changed: exactly those change whose formula reads it."""
    (case,) = SUITE.where(id=name).cases
    p, wanted = case.problem, all_but(case, "X_back")
    usual = evaluate(p, case.expected, wanted)
    for changed in wanted:
        own = {**case.expected, changed: 1.25 * case.expected[changed] + 0.1}
        made = evaluate(p, own, wanted)
        moved = {n for n in wanted if np.max(np.abs(made[n].value - usual[n].value)) > 1e-9}
        listed = {n for n in wanted if changed in reads(n, p.L, hidden_layers(p))}
        assert moved == listed, changed


def test_every_stage_is_in_the_table():
    assert set(READS) == set(STAGES)


def test_a_formula_brings_its_tolerance():
    """Of the size of the suite's own, which is derived in 60 digits."""
    for case in FEW.cases:
        names = all_but(case, "X_back", "W_exp", "b_exp")
        for name, made in evaluate(case.problem, {}, names).items():
            right, tolerance = case.expected[name], case.tolerances[name]
            assert np.max(np.abs(made.value - right)) <= made.allowed(2.0**-52), name
            assert made.allowed(2.0**-52) <= 30 * tolerance.allowed(2.0**-52), name
    W = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9]])
    assert inverse(W).allowed(2.0**-52) > 1e8 * Bounded(W).allowed(2.0**-52)


@pytest.mark.parametrize("i", range(0, len(INVENTIONS), 7))
def test_what_is_said_of_an_invention_is_true(i):
    row = diagnosis.judged(INVENTIONS[i], FEW, "float64" if i % 2 else "float32", "NumPy")
    assert row.detected
    assert row.placed, row.said
    assert not row.false


def test_an_untrue_claim_is_seen():
    """The checker of claims is no formality: what holds of one mistake is false of another."""
    from validation.claims import false_claims
    from validation.claims import planted as shown

    one, two = (
        i for i in INVENTIONS if i.title in ("I is added to R_W", "weight decay of 0.003 in G_W")
    )
    report = check(planted.numpy_candidate(one.lines), FEW)
    assert not list(false_claims(report, one, shown(one.lines, FEW)))
    assert len(list(false_claims(report, two, shown(two.lines, FEW)))) >= 2


def test_an_untrue_amount_is_seen():
    from validation.claims import false_claims
    from validation.claims import planted as shown

    (decay,) = (i for i in INVENTIONS if i.title == "weight decay of 0.003 in G_W")
    other = {"G_W": lambda m, k: formulas.LINES["G_W"](m, k) - 0.0031 * m.W[k]}
    report = check(planted.numpy_candidate(decay.lines), FEW, dtype="float32")
    assert not list(false_claims(report, decay, shown(decay.lines, FEW)))
    (said,) = false_claims(report, decay, shown(other, FEW))
    assert "'factor': -0.003" in said


@pytest.mark.parametrize("layers", [{}, {"R_b": (1,)}, {"R_b": (0, 1)}])
def test_a_layer_that_is_not_right_before_is_seen(layers):
    from validation.claims import false_claims
    from validation.claims import planted as shown

    (one,) = (i for i in INVENTIONS if i.title == "R_b is negated above the first layer")
    cases = SUITE.where(id=["depth-3-2", "depth-1-3"])
    report = check(planted.numpy_candidate(one.lines), cases, twice=False)
    made = shown(one.lines, cases)
    assert not list(false_claims(report, one, made))
    untrue = report._replace(roots=(report.roots[0]._replace(right_in=layers),))
    (said,) = false_claims(untrue, one, made)
    assert "right before" in said


def test_a_factor_that_is_eta_is_called_that():
    for line, words in (
        (lambda m, k: m.eta * formulas.LINES["R_W"](m, k), "it is eta times the right one"),
        (lambda m, k: m.W[k] + m.eta / 2 * m.R_W[k], "minus eta/2 times R_W"),
    ):
        stage = "R_W" if "right one" in words else "W_plus"
        report = check(planted.numpy_candidate({stage: line}), FEW)
        assert words in report.diagnosis


def test_two_errors_are_both_named():
    both = {**mistakes["score_negative"].lines, **mistakes["R_b_without_b"].lines}
    report = check(planted.numpy_candidate(both), FEW)
    assert [root.mistake for root in report.roots] == ["score_negative", "R_b_without_b"]
    assert "also wrong: layer 0, R_b: the term of log|det W| (+ b) is missing" in report.verdict
    assert report.follows["R_W"] == ("Delta",)
    assert set(report.follows["b_plus"]) == {"Delta", "R_b"}


def test_an_error_of_the_last_layer_is_placed_there():
    lines = {"R_b": lambda m, k: formulas.LINES["R_b"](m, k) * (2 if k == m.L - 1 else 1)}
    report = check(planted.numpy_candidate(lines), FEW)
    assert report.layer == report.layers - 1 > 0
    assert "(in the last layer only): it is 2 times the right one" in report.diagnosis
    assert report.diagnosis.endswith(", xi, R_W, R_b of layer 0")
    (said,) = (claim for claim in report.claims if claim["claim"] == "right before")
    assert said["layers"] == {"R_b": [0]}


@pytest.mark.parametrize(
    ("stage", "wrong_in", "before"),
    [
        ("Delta", 0, "L_J2, log_prob, Delta of layers 1 and 2"),  # they go from the last layer back
        ("Delta", 1, "L_J2, log_prob, Delta of layer 2"),
        ("G_W", 0, "L_J2, log_prob, Delta"),
        ("G_W", 1, "log_prob, Delta, G_W of layer 0"),
        ("Y", 1, "right before it: Y of layer 0, Z of layer 0"),  # Z of layer 1 follows
        ("Y", 0, "nothing before it was supplied"),
        ("Z", 0, "right before it: Y of layer 0"),
        ("R_W", 2, "G_b, xi, R_W of layers 0 and 1"),
    ],
)
def test_of_a_stage_that_is_wrong_elsewhere_the_right_layers_are_named(stage, wrong_in, before):
    def line(m, k, *more):
        right = formulas.LINES[stage](m, k, *more)
        return 1.5 * right if k == wrong_in else right

    report = check(planted.numpy_candidate({stage: line}), SUITE.where(id="depth-3-2"), twice=False)
    assert report.roots[0].where == f"layer {wrong_in}, {stage}"
    assert report.diagnosis.endswith(before)


def test_a_multiple_of_the_transpose_is_called_that():
    report = check({"R_W": lambda R_W: -1000 * R_W.T}, FEW)
    assert "it is -1000 times the transpose of the right one" in report.verdict


def test_a_factor_that_is_nearly_one_is_not_called_one():
    report = check({"R_W": lambda R_W: (1 + 1e-9) * R_W}, FEW)
    assert "it is 1.000000001 times the right one" in report.verdict


def test_what_was_not_supplied_is_not_called_right():
    def only(*stages):
        lines = {"R_W": lambda m, k: formulas.LINES["R_W"](m, k) + m.eye()}
        made = planted.numpy_candidate(lines)
        return lambda p: {n: x for n, x in made.run(p).items() if split(n)[0] in stages}

    alone = check(only("R_W"), FEW).diagnosis
    assert "nothing before it was supplied" in alone
    assert "Delta were not supplied: the error may lie there; to locate it, return" in alone
    assert "right before it: Y, Delta" in check(only("Y", "Delta", "R_W"), FEW).diagnosis


def test_relative_gradients_made_of_wrong_ordinary_ones_follow():
    def run(p):
        made = formulas.run(p, {"G_W": lambda m, k: formulas.LINES["G_W"](m, k).T})
        return made | {f"R_W_separate_{k}": made[f"G_W_{k}"] @ W.T @ W for k, W in enumerate(p.W)}

    report = check(run, FEW)
    assert [root.stage for root in report.roots] == ["G_W"]
    assert report.follows["R_W_separate"] == ("G_W",)


def test_what_is_made_of_a_wrong_xi_follows_from_it():
    lines = {
        "xi": lambda m, k: formulas.LINES["xi"](m, k) + 0.25 * m.W[k],
        "R_W": lambda m, k: m.xi[k] @ m.W[k],
        "W_plus": lambda m, k: m.W[k] + m.eta * (m.xi[k] @ m.W[k]),
    }
    report = check(planted.numpy_candidate(lines), FEW)
    assert [root.stage for root in report.roots] == ["xi"]
    assert (report.roots[0].relation.detail, report.follows["R_W"]) == ("W", ("xi",))


def test_results_of_two_dtypes_are_explained_together():
    """R_W reads Delta, which is of the other dtype."""

    def run(p):
        made = formulas.run(p, {"dZ": lambda m, k: formulas.LINES["dZ"](m, k) * 1.5})
        return made

    found = []
    for case in FEW.where(last_layer="affine").cases:
        made = run(case.problem)
        coarse = {n: x.astype("float32") for n, x in made.items() if split(n)[0] == "Delta"}
        fine = {n: x for n, x in made.items() if n not in coarse}
        found += [(case, fine, "float64"), (case, coarse, "float32")]
    report = judge("files", found, oracle.Conventions())
    assert [root.stage for root in report.roots] == ["Delta"]
    assert report.dtype == "float32 and float64"


def test_advice_that_fails_when_tried_is_not_given():
    """It reads W in rows and returns R_W transposed: no convention makes that right."""

    def run(p):
        made = formulas.run(p)
        return {name: made[name].T for name in made if split(name)[0] == "R_W"}

    report = check(run, FEW)
    assert report.undeclared == {}
    assert report.mistake == "R_W_transposed"


def test_advice_says_what_remains():
    run = diagnosis.with_convention("direction", "descent", mistakes["R_b_without_b"].lines)
    report = check(run, FEW)
    assert report.undeclared == {"direction": "descent"}
    after = check(run, FEW, conventions=oracle.Conventions(direction="descent"))
    wrong = sum(entry.wrong for entry in after.entries)
    assert f"with that declared, {wrong} of " in report.diagnosis
    assert report.mistake == after.mistake == "R_b_without_b"


def test_a_convention_is_tried_beside_a_mistake_that_makes_two_stages_wrong():
    lines = mistakes["G_reversed"].lines  # G_W and G_b
    report = check(diagnosis.with_convention("base", "unnormalised", lines), FEW)
    assert (report.undeclared, report.mistake) == ({"base": "unnormalised"}, "G_reversed")


def test_files_are_converted_again_and_where_W_was_misread_this_is_said():
    run = diagnosis.with_convention("weights", "transposed", mistakes["R_b_without_b"].lines)
    found = [(case, run(case.problem), "float64") for case in FEW.where(last_layer="affine").cases]
    report = judge("files", found, oracle.Conventions())
    assert (report.undeclared, report.mistake) == ({"weights": "transposed"}, "R_b_without_b")
    assert not report.advice.tried
    assert "arrays would still be wrong, as far as files can tell: layer 0, R_b" in report.diagnosis
    turned = [
        (case, {n: x.T if STAGES[split(n)[0]].square else x for n, x in made.items()}, dtype)
        for case, made, dtype in [(c, formulas.run(c.problem), d) for c, _, d in found]
    ]
    report = judge("files", turned, oracle.Conventions())
    assert report.advice.tried
    assert "with that declared, everything supplied is right" in report.diagnosis


def test_on_ties_the_convention_comes_first():
    report = check({"R_b": lambda G_b: G_b}, FEW)
    assert report.undeclared == {"variant": "output separate"}
    assert (
        "if that is not what was meant, it is a mistake: layer 0, R_b: R_b is G_b" in report.text()
    )


def test_a_small_epsilon_is_not_called_float32():
    def run(p):
        lines = {"V": lambda m, k: np.linalg.inv(m.W[k] + 1e-9 * np.diag(np.arange(m.D) + 1.0)).T}
        return formulas.run(p, lines)

    report = check(run, SUITE.where(family="generic", L=2))
    assert report.mistake == "float32_or_epsilon"
    assert "float32-sized errors, or a small epsilon" in report.diagnosis
    scaled = {"R_b": lambda m, k: formulas.LINES["R_b"](m, k) * (1 - 1e-8)}
    report = check(planted.numpy_candidate(scaled), FEW)
    assert report.roots[0].relation.detail == "0.99999999"


def test_a_constant_in_float32_is_suspected():
    """Also where it is wrong in a few cases only, and whatever constant it is."""
    rounded = float(np.float32(np.log(2 * np.pi) / 2)) - np.log(2 * np.pi) / 2

    few = FEW.where(id=["generic-smooth_leaky_relu-logistic", "generic-leaky_tanh-normal",
                        "depth-3-2", "one-sample"])  # fmt: skip

    def said(by, density, *stages):
        def run(p):
            made, off = formulas.run(p, wanted={"L_p", "log_prob"}), p.D * by
            return {n: made[n] + off * (p.density.name == density) for n in stages}

        return check(run, few, twice=False).diagnosis

    for stages in (("L_p", "log_prob"), ("log_prob",)):
        right = "it is the right one with 1/2 log 2 pi kept in float32"
        assert right in said(-rounded, "normal", *stages)
        suspected = "as float32 makes them: a constant or a step may be in single precision"
        assert suspected in said(1e-7, "logistic", *stages)
        assert "float32" not in said(1e-3, "logistic", *stages)

    def slopes(by):  # log sigma' of a leaky ReLU: log alpha is a constant, too
        def run(p):
            made = formulas.run(p, wanted={"L_J1", "log_prob"})
            return {"log_prob": made["log_prob"] + by * made["L_J1"]}

        return check(run, few, twice=False)

    noise = slopes(1.38868e-8)
    assert (noise.mistake, noise.roots) == ("float32_or_epsilon", ())
    assert "1.38868e-08" not in noise.diagnosis
    assert "it is the right one plus 0.001 times L_J1" in slopes(1e-3).diagnosis


def test_autodiff_of_a_wrong_log_prob_is_one_error():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    def log_prob(layers, X, problem):
        ((W, b),) = layers
        z = X @ W.T + b
        log_p = (-torch.logaddexp(z, -z) - float(np.log(np.pi / 2))).sum(1)
        return {"log_prob": log_p + 2 * torch.linalg.slogdet(W)[1], "L_p": log_p}

    where = {"L": 1, "density": "sech"}
    report = check(oracle.from_torch(log_prob), where=where)
    assert [(root.first.stage, root.mistake) for root in report.roots] == [
        ("log_prob", "L_J2_twice")
    ]
    assert report.follows["G_W"] == ("log_prob",)


def test_a_condition_by_chance_is_none():
    assert of_entries([Entries("R_W", np.eye(5, dtype=bool))] * 3).value == "diagonal"
    rng = np.random.default_rng(0)
    assert of_entries([Entries("R_W", rng.random((5, 5)) < 0.3) for _ in range(3)]) is None
