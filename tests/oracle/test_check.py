"""`check`: right candidates pass, wrong ones are named, a run that checked nothing fails."""

import functools
import itertools
import json
import math

import numpy as np
import pytest

from relgrad_np import extend, oracle
from relgrad_np.oracle import check, mistakes
from relgrad_np.oracle.conventions import OF_BIAS, STEP
from relgrad_np.oracle.diagnosis.compare import outcomes
from relgrad_np.oracle.mistakes import formulas, power
from relgrad_np.oracle.truths import problems
from relgrad_np.oracle.truths.records import Suite
from relgrad_np.oracle.truths.stages import STAGES, split
from relgrad_np.oracle.truths.suite import small
from validation import behaviours, low_precision, planted, right
from validation.published import published

SUITE = small()
# one case of each kind: what a test can afford; the whole suite is for validation.oracle_report
IDS = [
    "generic-smooth_leaky_relu-logistic", "generic-leaky_tanh-normal", "generic-softplus-laplace",
    "depth-1-3", "depth-3-2", "one-sample", "many-samples", "optimum", "no-bias-smooth_leaky_relu",
]  # fmt: skip
FEW = SUITE.where(id=IDS)
KNEE = SUITE.where(id=[*IDS, "middling-smooth_leaky_relu"])  # where softplus is cut off, too
# all that is not generic: condition, size, one sample, ...; and the few
BROAD = SUITE.where(
    id=[
        *IDS,
        "depth-4-2",
        "depth-5-3",
        *(
            case.problem.id
            for case in SUITE.cases
            if case.problem.family not in ("generic", "depth", "no bias")
        ),
    ]
)
FLAGGED = SUITE.where(
    id=IDS + [case.problem.id for case in SUITE.where(last_layer="activated").cases]
)
pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")


@functools.cache
def needs(library):
    try:
        __import__({"torch": "torch", "JAX": "jax"}.get(library, "numpy"))
    except ImportError:
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize("name", planted.PLAIN)
def test_a_planted_mistake_is_named(name):
    suite = KNEE if "moderate" in mistakes[name].hidden_at else FEW
    report = check(planted.numpy_candidate(mistakes[name].lines), suite, twice=False)
    assert not report.passed
    assert planted.named_right(report, name), report.text()


@pytest.mark.parametrize(
    ("library", "dtype"),  # JAX compiles each time
    [*itertools.product(["torch", "NumPy"], ["float64", "float32"]), ("JAX", "float32")],
)
@pytest.mark.parametrize("name", ["Y_without_b", "bend_next_layer", "R_b_without_b"])
def test_a_mistake_planted_in_another_library_is_named(library, dtype, name):
    needs(library)
    suite = FEW.where(id="depth-3-2")  # JAX compiles for each size
    made = planted.LIBRARIES[library](mistakes[name].lines)
    report = check(made, suite, dtype=dtype, twice=False)
    assert planted.named_right(report, name), report.text()


@pytest.mark.parametrize("only", [0, 1, 2])
@pytest.mark.parametrize("name", ["Z_alpha_swapped", "R_W_sign", "G_b_mean"])
def test_a_mistake_in_one_layer_is_found_there(name, only):
    suite = SUITE.where(activation="smooth_leaky_relu", L=[3, 4, 5])
    report = check(planted.numpy_candidate(mistakes[name].lines, only), suite, twice=False)
    assert (report.mistake, report.layer) == (name, only), report.text()
    assert "in this layer only" in report.diagnosis


def test_the_catalogue_keeps_its_name():
    """Not that of the sub-package, which importing any of its files would bind."""
    assert oracle.mistakes["R_b_without_b"].stage == "R_b"


def test_all_mistakes_are_told_apart():
    kinds = [
        "generic-leaky_tanh-normal",
        "generic-smooth_leaky_relu-logistic",
        "depth-3-2",
        "one-sample",
    ]
    assert planted.distinguishable(SUITE.where(id=kinds)) == []
    assert len(mistakes) >= 30


def test_easy_inputs_hide_what_the_catalogue_says():
    problems = planted.easy_problems(FEW)[1:3]  # of two and of three layers
    for name in planted.PLAIN:
        assert set(planted.hidden_at(name, problems)) == set(mistakes[name].hidden_at), name


def test_of_two_mistakes_the_first_is_named():
    kinds = ["generic-leaky_tanh-normal", "generic-softplus-laplace", "depth-3-2", "one-sample"]
    rows = planted.pair_table(8, SUITE.where(id=kinds))
    assert not any(row["passed"] for row in rows)
    kept = [row for row in rows if not row["cancels"] and len(row["firsts"]) == 1]
    assert len(kept) >= 6
    assert all(row["named"] for row in kept), rows


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in right.candidates() if "kernels" not in name])
def test_right_candidates_pass(name, dtype):
    if "torch" in name or "JAX" in name:
        needs(name.split()[0] if "JAX" in name else "torch")
    suite = FEW.where(id="depth-3-2") if "JAX" in name else BROAD
    suite = FEW if "strict" in name else suite  # of every kind one: it checks each call, slowly
    suite = SUITE if (name, dtype) == ("relgrad_np", "float64") else suite
    _, arrays, alarms, worst, which = right.alarms(name, suite, dtype, twice=suite is not BROAD)
    assert arrays > 10
    assert alarms == 0, which
    assert worst < 0.1


def test_undeclared_conventions_are_recognised_and_the_mistake_behind_them():
    report = check(published, FEW)
    assert report.undeclared == {"weights": "transposed", "direction": "descent"}
    assert report.mistake == "R_b_without_b"
    declared = check(published, FEW, conventions=oracle.Conventions(**report.undeclared))
    assert declared.diagnosis.startswith("layer 0, R_b: the term of log|det W| (+ b) is missing")
    assert declared.undeclared == {}


def change(key):
    """A right candidate with another convention, and what it returns."""
    left_out = {"bias": OF_BIAS, "reduction": STEP, "variant": STEP[:3]}.get(key, ())

    def run(p):
        p = p._replace(W=tuple(W.T for W in p.W)) if key == "weights" else p
        p = p._replace(last_layer="activated") if key == "last_layer" else p
        p = p._replace(b=tuple(0 * b for b in p.b)) if key == "bias" else p
        made = formulas.run(p)
        for name, x in list(made.items()):
            stage, k = split(name)
            traits = STAGES[stage]
            if stage in left_out:
                del made[name]
            elif key == "weights" and traits.square:
                made[name] = x.T
            elif key == "direction" and traits.signed:
                made[name] = -x
            elif key == "reduction" and traits.summed:
                made[name] = x * p.N
            elif key == "variant" and stage in ("R_W", "R_b"):
                made[name] = made[f"R_W_separate_{k}" if stage == "R_W" else f"G_b_{k}"]
        return made

    return run


CONVENTIONS = [
    ("weights", "transposed"), ("direction", "descent"), ("reduction", "sum"),
    ("last_layer", "activated"), ("bias", "none"), ("variant", "output separate"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), CONVENTIONS)
def test_a_convention_is_diagnosed_and_passes_once_declared(key, value):
    report = check(change(key), FLAGGED)
    assert not report.passed
    assert report.kind == "convention", report.text()
    assert report.undeclared == {key: value}
    assert json.dumps({key: value}) in report.text()
    declared = check(change(key), FLAGGED, conventions=oracle.Conventions(**{key: value}))
    assert declared.passed, declared.text()


EXAMPLES = list(low_precision.examples())


@pytest.mark.parametrize(
    ("what", "run", "dtype", "said"), EXAMPLES, ids=[f"{e[0]}, {e[2]}" for e in EXAMPLES]
)
def test_precisions_are_told_apart(what, run, dtype, said):
    if "stored" in what:
        needs("torch")
    report = check(run, BROAD, dtype=dtype, twice=False)
    assert ("right" if report.passed else report.mistake) == said


def test_an_inverse_is_noticed_and_does_not_fail_within_tolerance():
    part = {"R_W": low_precision.through_an_inverse}
    report = check(part, BROAD)
    assert report.mistake == "R_W_through_inverse"
    mild = check(
        part,
        BROAD.where(id=[c.problem.id for c in BROAD.cases if "condition-20" not in c.problem.id]),
    )
    assert mild.passed
    assert "forms an inverse" in mild.text()
    assert not check({"R_W": low_precision.without}, BROAD).notes


def test_parts_are_judged_each_on_its_own():
    wrong = {
        "R_b": lambda Delta, Y, b: Delta.T @ (Y @ b + 1),
        "R_W": lambda Delta, Y, W: Delta.T @ (Y @ W) - W,
    }
    report = check(wrong, FEW)
    assert report.mistake == "R_W_negative_term"
    assert "also wrong: layer 0, R_b: the term of log|det W| (+ b) is missing" in report.text()


def test_a_run_that_checked_nothing_fails():
    for made in (lambda p: {}, {}):
        report = check(made, FEW)
        assert not report.passed
        assert report.verdict == (
            f"FAIL: nothing was checked: it returned no array for any of {len(FEW.cases)} cases"
        )
        assert "not supplied" not in report.text()


@pytest.mark.parametrize(("where", "how", "words"), [
    ({"activation": "leaky_relu"}, {}, "activation must be one of smooth_leaky_relu, leaky_tanh,"),
    ({"activation": "elu", "L": [4]}, {}, "L must be one of 1, 2, 3 where activation is 'elu', got"),
    ({"L": 5}, {"bias": "none"}, 'conventions {"bias": "none"} fits `where`: L must be one of 1, 2'),
    ({"c": 2}, {}, 'candidates that serve context declare {"context": "yes"}'),
    ({"l": 1}, {}, "`where` has an unknown property 'l'; choose from id, family, N, D, L, c"),
])  # fmt: skip
def test_where_that_fits_no_case_says_what_there_is(where, how, words):
    with pytest.raises(ValueError, match="`where`") as raised:
        check(lambda p: {}, SUITE, where=where, conventions=oracle.Conventions(**how))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_report_lists_what_was_not_supplied():
    text = check({"R_b": lambda Delta, Y, b: Delta.T @ (Y @ b + 1) + b}, FEW).text()
    assert "not supplied: Y, Z," in text
    assert text.splitlines()[-1].startswith("PASS: ")
    assert "can't show there: they are in arrays that were not supplied" in text
    found = json.loads(check(lambda p: {"Y_0": p.X}, FEW).json())
    assert (found["passed"], found["stage"], found["layer"]) == (False, "Y", 0)

    def first(p):  # of the first layer only, and more where that is all
        Y = p.X @ p.W[0].T + p.b[0]
        return {"Y_0": Y, "Z_1": Y} if p.L == 1 else {"Y_0": Y}

    _, layers, cases = check(first, FEW).not_checked
    assert layers == "not supplied, though those of other layers were: Y_1, Z_2, Y_2 and 1 more"
    assert cases.startswith(
        "not supplied in generic-smooth_leaky_relu-logistic, generic-leaky_tanh"
    )
    assert cases.endswith(" and 4 more, though in other cases: Z_1")
    assert len(check({"Y": lambda Z, W, b: Z @ W.T + b}, FEW).not_checked) == 1  # all of Y

    def without_the_last_Z(p):  # it is the last Y, which is supplied
        found = formulas.run(p)
        return {n: found[n] for n in found if n[:2] in ("Y_", "Z_") and n != f"Z_{p.L}"}

    (missing,) = check(without_the_last_Z, FEW).not_checked
    assert missing.startswith("not supplied: log_dsigma,")


@pytest.mark.parametrize(("made", "words"), [
    (lambda p: {"Q_0": p.X}, "unknown array 'Q_0'"),
    (lambda p: {"Y": p.X}, "unknown array 'Y'; each layer has its own: Y_0, Y_1, ..."),
    (lambda p: {"R_w_0": p.X}, "unknown array 'R_w_0'; did you mean 'R_W_0'?"),
    (lambda p: {"Y_9": p.X}, "`Y_9`: the case has"),
    (lambda p: {"Y_0": p.X[0]}, "`Y_0` must have shape"),
    (lambda p: {"Y_0": p.X.astype(int)}, "must be float32 or float64"),
    ({"R_W": lambda foo: foo}, "asks for 'foo'"),
    ({"Q": lambda W: W}, "unknown stage 'Q'"),
    (lambda p: {"Y_0": None}, "must be float32 or float64"),
])  # fmt: skip
def test_bad_candidates_are_told_so(made, words):
    with pytest.raises((ValueError, TypeError), match=words):
        check(made, FEW)


def test_a_torch_module_is_a_candidate():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    class Flow(torch.nn.Module):
        def __init__(self, D, transposed=False):
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(D, D) for _ in range(2))

        def log_prob(self, X):
            first, second = self.layers
            Y = first(X)
            a = 0.3125
            Z = second(a * Y + (1 - a) * torch.logaddexp(Y, torch.zeros_like(Y)))
            slope = a + (1 - a) * torch.sigmoid(Y)
            log_p = -torch.logaddexp(Z, -Z) - float(np.log(np.pi / 2))
            J2 = sum(torch.linalg.slogdet(layer.weight)[1] for layer in self.layers)
            return log_p.sum(1) + slope.log().sum(1) + J2

    where = {"activation": "smooth_leaky_relu", "density": "sech", "last_layer": "affine"}
    report = oracle.check(oracle.from_torch(Flow(3)), where=where)
    assert report.passed, report.text()
    assert "no results for" in report.text()  # nets of another size
    report = oracle.check(
        oracle.from_torch(lambda p: Flow(p.D)), where=where | {"L": 2}, dtype="float32"
    )
    assert report.passed, report.text()


ONE = SUITE.where(id="depth-1-3")  # one layer, sech
OF_TORCH = {  # what a candidate does with its W, its b and their log_prob; what the report says
    "no_grad": "its log_prob has no graph (no_grad, test_check.py, line ",
    "copies": "its log_prob has no graph (detach, test_check.py, line ",
    "leaves": "does not lead to the given W and b (detach, test_check.py, line ",
    "data": "its log_prob has no graph (.data, test_check.py, line ",
    "other": "its log_prob has no graph (it is made of other numbers)",
    "NumPy": "its log_prob is no tensor but ndarray (detach, test_check.py, line ",
    "freed": "is freed (backward, test_check.py, line ",
    "taken": "is freed (grad, test_check.py, line ",
}


def torch_net(torch, how, own=()):
    """One layer whose log_prob autograd can't follow; it may return gradients of its own."""

    def log_prob(W, b, X):
        z = X @ W.T + b
        return (-torch.logaddexp(z, -z) - math.log(math.pi / 2)).sum(1) + torch.slogdet(W)[1]

    def net(layers, X, problem):
        ((W, b),) = layers
        made = log_prob(W, b, X)
        kept = None if how == "taken" else True
        grads = torch.autograd.grad(made.mean(), (W, b), retain_graph=kept)
        found = dict(zip(("G_W_0", "G_b_0"), grads, strict=True))
        if how == "no_grad":
            with torch.no_grad():
                made = log_prob(W, b, X)
        elif how == "copies":
            made = log_prob(W.clone().detach(), b.clone().detach(), X)
        elif how == "leaves":
            made = log_prob(*(x.detach().clone().requires_grad_() for x in (W, b)), X)
        elif how == "data":
            made = log_prob(W.data, b.data, X)
        elif how == "other":
            made = log_prob(*(torch.tensor(x[0]) for x in (problem.W, problem.b)), X)
        elif how == "NumPy":
            made = log_prob(W.detach(), b.detach(), X).numpy()
        elif how == "freed":
            made.mean().backward()
        found = {"log_prob": made} | {name: found[name] for name in own}
        if how == "freed" and own:  # what a second call of it would add to
            found["G_W_0"] = W.grad
        return found

    return oracle.from_torch(net)


@pytest.mark.parametrize("how", OF_TORCH)
def test_torch_code_without_a_graph_is_told_why(how):
    """What it returns is judged all the same; with gradients of its own nothing fails."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    report = check(torch_net(torch, how), ONE)
    assert (report.kind, report.mistake) == ("behaviour", "detached"), report.text()
    assert "1 arrays of 1 cases are right, but it has no gradients: " in report.verdict
    assert OF_TORCH[how] in report.verdict
    assert report.verdict.endswith("or return G_W_k and G_b_k")
    assert check(torch_net(torch, how, ("G_W_0", "G_b_0")), ONE).passed
    report = check(torch_net(torch, how, ("G_W_0",)), ONE)
    assert report.passed, report.text()
    assert "gradients that it does not return are not judged: " in report.text()


def test_gradients_are_judged_without_log_prob():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    def alone(layers, X, problem, factor=1.0):
        ((W, b),) = layers
        Y = X @ W.T + b
        Delta = -torch.tanh(Y) / len(X)
        return {"R_W_0": Delta.T @ (Y @ W) + factor * W}

    report = check(oracle.from_torch(alone), ONE)
    assert report.passed, report.text()
    report = check(oracle.from_torch(lambda *given: alone(*given, factor=0.0)), ONE)
    assert report.stage == "R_W", report.text()

    class Backward(torch.nn.Linear):
        """A module that takes its gradients itself; they must not add up over calls."""

        def log_prob(self, X):
            z = self(X)
            log_p = (-torch.logaddexp(z, -z) - math.log(math.pi / 2)).sum(1)
            (log_p + torch.slogdet(self.weight)[1]).mean().backward()
            return {"G_W_0": self.weight.grad, "G_b_0": self.bias.grad}

    report = check(oracle.from_torch(lambda p: Backward(p.D, p.D)), ONE)
    assert report.passed, report.text()
    report = check(oracle.from_torch(Backward(3, 3)), ONE)  # the same one at each call
    assert report.mistake == "accumulates", report.text()
    jax = pytest.importorskip("jax", reason="needs JAX")

    def in_jax(layers, X, problem):
        ((W, b),) = layers
        Y = X @ W.T + b
        return {"R_W_0": (-jax.numpy.tanh(Y) / len(X)).T @ (Y @ W) + W}

    assert check(oracle.from_jax(in_jax), ONE, twice=False).passed


def test_torch_code_that_cuts_one_parameter_is_told_which():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    def half(layers, X, problem):
        ((W, b),) = layers
        z = X @ W.T + b.detach()
        return (-torch.logaddexp(z, -z) - math.log(math.pi / 2)).sum(1) + torch.slogdet(W)[1]

    report = check(oracle.from_torch(half), ONE)
    assert "G_b: it is zero" in report.diagnosis
    assert "autograd finds no path from log_prob to b_0" in report.text()


def test_jax_code_that_can_not_be_differentiated_is_told_why():
    jax = pytest.importorskip("jax", reason="needs JAX")

    def in_numpy(layers, X, problem):
        X, W, b = map(np.asarray, (X, *layers[0]))
        z = X @ W.T + b
        return (-np.logaddexp(z, -z) - math.log(math.pi / 2)).sum(1) + np.linalg.slogdet(W)[1]

    def a_number(layers, X, problem):
        return X.sum(1) * float(layers[0][0].sum())

    def stopped(layers, X, problem):
        return X @ jax.lax.stop_gradient(layers[0][1])

    for made, words in (
        (in_numpy, "NumPy is used inside, on a traced array (test_check.py, line "),
        (a_number, "a traced array is made a Python number or shape (test_check.py, line "),
        (stopped, "its log_prob does not depend on the given W and b"),
    ):
        report = check(oracle.from_jax(made), ONE, twice=False)
        assert not report.passed
        assert "note: it has no gradients: " in report.text()
        assert words in report.text()
    report = check(oracle.from_jax(in_numpy), ONE)
    assert (report.kind, report.mistake) == ("behaviour", "detached"), report.text()

    def own(layers, X, problem):
        X, W, b = map(np.asarray, (X, *layers[0]))
        Delta = -np.tanh(X @ W.T + b) / len(X)
        grads = {"G_W_0": Delta.T @ X + np.linalg.inv(W).T, "G_b_0": Delta.sum(0)}
        return {"log_prob": in_numpy(layers, X, problem)} | grads

    assert check(oracle.from_jax(own), ONE).passed


def wrong_sign(R_W):
    return -1000 * R_W.T


def test_a_pass_says_what_it_excludes_and_too_little_is_none():
    """The optimum, where R = 0, is no witness of anything."""
    report = check({"R_W": wrong_sign}, SUITE.where(id="optimum"))
    assert (report.kind, report.passed) == ("too little", False)
    assert "a case away from the optimum" in report.verdict
    assert not check({"R_W": wrong_sign}, SUITE.where(L=1, density="normal")).passed
    report = check(oracle.from_core(), SUITE.where(id="generic-1-identity-normal"))
    assert report.passed, report.text()
    assert report.power.value == 1
    assert json.loads(report.json())["power"]["share"] == 1
    report = check(oracle.from_core(), SUITE.where(family="one sample"))
    assert report.kind == "too little"
    assert "cases with N > 1" in report.verdict


def test_the_powers_in_the_suite_are_those_of_the_catalogue():
    for case in SUITE.where(id=["depth-1-2", "generic-2-elu-sech"]).cases:
        assert case.powers == power.powers(case._replace(powers=None))
    stale = FEW.cases[0]._replace(powers=FEW.cases[0].powers._replace(mistakes=("another",)))
    assert check(oracle.from_core(), Suite("", (stale,))).passed


def test_every_kind_of_net_in_the_suite_excludes_95_percent():
    for act in problems.ACTIVATIONS:
        for dens in problems.DENSITIES:
            for L in (1, 2, 3):
                kept = SUITE.where(activation=act.name, density=dens.name, L=L).where(
                    last_layer="affine"
                )
                for dtype in ("float64", "float32"):
                    found = [(case, case.expected, dtype) for case in kept.cases]
                    how = oracle.Conventions()
                    assert power.share(outcomes(found, how), how).value >= 0.95


@pytest.mark.parametrize("kind", behaviours.KINDS)
def test_a_behaviour_is_named(kind):
    suite = FEW if kind in ("raises", "remembers") else FEW.where(id="depth-3-2")
    report = check(behaviours.candidate("NumPy", kind), suite)
    assert (report.kind, report.mistake, report.passed) == ("behaviour", kind, False), report.text()


def test_an_exception_names_its_cases_and_the_others_are_judged():
    report = check(behaviours.candidate("NumPy", "raises"), FEW)
    assert "raises RuntimeError: the variance of one sample is not defined" in report.verdict
    assert "in 1 of 9 cases: one-sample" in report.verdict

    def raising(p):
        return behaviours.planted("raises", published)(p)

    report = check(raising, FEW)
    assert report.mistake == "R_b_without_b"
    assert any("it raises RuntimeError" in note for note in report.notes)


@pytest.mark.parametrize("name", behaviours.OVERFLOWS)
def test_a_naive_form_that_overflows_is_caught_in_float64(name):
    large = SUITE.where(family="large")
    assert not check(planted.numpy_candidate(behaviours.OVERFLOWS[name]), large).passed


def test_an_unnormalised_base_is_a_convention_once_declared():
    def unnormalised(p):
        return formulas.run(p, mistakes["L_p_without_constant"].lines)

    assert check(unnormalised, FEW).undeclared == {"base": "unnormalised"}
    how = oracle.Conventions(base="unnormalised")
    assert check(unnormalised, FEW, conventions=how).passed
    assert check(planted.numpy_candidate(), FEW, conventions=how).first.stage == "L_p"


def test_a_convention_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="unknown direction 'Descent'"):
        check(published, FEW, conventions=oracle.Conventions(direction="Descent"))


def test_a_suite_made_to_order_has_the_parameters_asked_for():
    pytest.importorskip("mpmath", reason="truths are computed with mpmath")
    made = oracle.suite(density="generalized_gaussian", rho=1.75, L=1, D=2)
    assert made.cases[0].problem.density.params == {"rho": 1.75}
    assert check(planted.numpy_candidate(), made).passed
    wrong = check(planted.numpy_candidate(mistakes["R_W_from_left"].lines), made)
    assert wrong.mistake == "R_W_from_left"
    for given, words in (
        ({"density": "sech", "rho": 2.0}, "neither identity nor sech has 'rho'"),
        ({"density": "gauss"}, "unknown density 'gauss'; choose from sech,"),
        ({"activation": "elu", "density": "sech", "alpha": -1}, "`alpha` of activation elu"),
    ):
        with pytest.raises(ValueError, match=words):
            oracle.suite(**given)


def test_a_suite_for_a_part_of_ones_own():
    """Where its score overflows, at z = -900, there is no case."""
    pytest.importorskip("mpmath", reason="truths are computed with mpmath")
    gumbel = extend.density(
        "gumbel",
        log_prob=lambda xp, z: -z - xp.exp(-z),
        score=lambda xp, z: xp.exp(-z) - 1,
        sample=lambda rng, shape: rng.gumbel(size=shape),
    )
    made = oracle.suite(density=gumbel, L=1, D=2)
    assert "made-1-2-large" not in {case.problem.id for case in made.cases}
    assert check(oracle.from_core(), made).passed
    wrong = planted.numpy_candidate(mistakes["score_negative"].lines)
    assert check(wrong, made).mistake == "score_negative"
    lines = {"R_b": lambda m, k: 3 * formulas.LINES["R_b"](m, k), "dZ_last": lambda m: 0 * m.Z[-1]}
    report = check(planted.numpy_candidate(lines), made)
    assert [root.stage for root in report.roots] == ["Delta", "R_b"]
    squared = extend.density(
        "squared",
        log_prob=lambda xp, z: -0.5 * xp.square(z) - 0.9189385332046727,
        score=lambda xp, z: -z,
        sample=lambda rng, shape: rng.normal(size=shape),
    )
    with pytest.raises(ValueError, match=r"`xp\.square` can't be run in 60 digits; these can: abs"):
        oracle.suite(density=squared, L=1, D=2)


def test_torch_layers_are_taken_in_the_order_of_use_and_ties_are_refused():
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    class Flow(torch.nn.Module):
        def __init__(self, D, tied=False):
            super().__init__()
            self.last = torch.nn.Linear(D, D)
            self.first = torch.nn.Linear(D, D)
            if tied:
                self.first.weight = self.last.weight

        def log_prob(self, X):
            z = self.last(self.first(X))
            J2 = sum(torch.linalg.slogdet(m.weight)[1] for m in (self.first, self.last))
            return (-z * z / 2 - math.log(2 * math.pi) / 2).sum(1) + J2

    where = {"activation": "identity", "density": "normal", "L": 2}
    report = check(oracle.from_torch(lambda p: Flow(p.D)), where=where)
    assert report.passed, report.text()
    assert "used in another order than they are registered: first, last" in report.text()
    with pytest.raises(ValueError, match=r"last\.weight and first\.weight are tied"):
        check(oracle.from_torch(lambda p: Flow(p.D, True)), where=where)
