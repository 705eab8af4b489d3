"""`check_flow`: right flows pass, each law has a mistake that it rejects and names."""

# ruff: noqa: E731
import json

import numpy as np
import pytest
from scipy import special

import relgrad_np as rg
from relgrad_np import oracle
from relgrad_np.cli.main import main
from relgrad_np.oracle.flows import evidence, proposal, stein
from relgrad_np.oracle.flows.calls import FlowCalls
from relgrad_np.oracle.flows.differences import jacobians
from relgrad_np.oracle.flows.evidence import Evidence
from relgrad_np.oracle.flows.flow_report import FlowReport
from relgrad_np.oracle.flows.latent import normal
from relgrad_np.oracle.flows.laws import mass
from relgrad_np.oracle.flows.laws.mass import quadrature
from relgrad_np.oracle.flows.laws.of_samples import samples
from relgrad_np.oracle.flows.proposal import weighted_rows
from relgrad_np.oracle.flows.records import Arithmetic, LawResult

from .doubles import LAYERS, composed, dense, layers, leaky, right_flow, scale

pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
D = 3
RIGHT = composed(layers())


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """What a test can afford; `validation.flows right` has as many as a user."""
    monkeypatch.setattr(proposal, "SECONDS", 0.0)
    monkeypatch.setattr(evidence, "N_SAMPLES", 300)


def claims(*laws, **made):
    """The (law, relation) of every claim, the report; of some laws, or of all."""
    made |= {"laws": laws} if laws else {}
    report = oracle.check_flow(**({"D": D} | made))
    assert contradictions(report) == []
    return [(c["law"], c["relation"]) for c in report.claims], report


def contradictions(report):
    """Rows whose verdict is not what their numbers and words say, or those of another row are."""
    ok = [law for law in report.laws if law.verdict == "ok"]
    some = any(law.verdict == "WRONG" for law in report.laws)
    blames = [law for law in ok if "wrong" in " ".join([law.text, *law.notes]).lower()]
    odd = [law for law in ok if law.units > 1 or law.claims or "wrong at" in law.text]
    return odd + [law for law in blames if not some and law not in odd]


def forward_only(change):
    """The right flow's forward with another log|det J|."""
    f = RIGHT["forward"]
    return lambda x: (f(x)[0], change(f(x)[1], x))


@pytest.mark.parametrize("seed", [3, 12, 20])
def test_random_right_flows_pass(seed):
    made, word = right_flow(seed, most=4)
    report = oracle.check_flow(**made, seed=seed)
    assert report.passed, word + report.text()


def test_every_layer_of_the_right_ones_passes_alone():
    for kind in LAYERS:
        name, f, g = kind(np.random.default_rng(1), 2)
        report = oracle.check_flow(D=2, forward=f, inverse=g, laws=["jacobian", "inverse"])
        assert report.passed, name + report.text()
        assert {"jacobian", "inverse"} <= set(report.judged)


def test_a_right_flow_passes_every_law_that_it_can_be_judged_by():
    found, report = claims(**RIGHT)
    assert found == []
    assert report.passed
    assert "not judged: gradients, precision, modes" in report.verdict
    assert json.loads(report.json())["passed"] is True


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_net_of_the_core_passes(dtype):
    rng = np.random.default_rng(0)
    given = [(rng.standard_normal((D, D)), rng.standard_normal(D)) for _ in range(2)]
    net = [rg.Layer(W.astype(dtype), b.astype(dtype)) for W, b in given]
    f, density = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("normal")

    def forward(x):
        tape = rg.forward(net, x, f)
        log_det = f.log_dsigma(tape.Ys[0]).sum(axis=1)
        return tape.Zs[-1], log_det + sum(np.linalg.slogdet(layer.W)[1] for layer in net)

    def log_prob(x):
        z, log_det = forward(x)
        return density.log_prob(z).sum(axis=1) + log_det

    found, report = claims(forward=forward, log_prob=log_prob, dtype=dtype)
    assert found == [], report.text()
    assert {"jacobian", "density"} <= set(report.judged)


LOG_DET = {
    "sign": lambda r, x: -r,
    "missing": lambda r, x: 0 * r,
    "half": lambda r, x: r / 2,
    "double": lambda r, x: 2 * r,
    "averaged over D": lambda r, x: r / D,
    "constant": lambda r, x: r + 0.1,
    "does not depend on x": lambda r, x: 0 * r + 0.7,
    "factor and constant": lambda r, x: 0.7 - r,
    "steps": lambda r, x: r + 0.7 * np.round(x[:, 0]),
    "no log": lambda r, x: np.exp(r),
    "factor": lambda r, x: 0.9 * r,
    "float32 digits": lambda r, x: r + 1e-7,
    "unnamed": lambda r, x: r + np.sin(x[:, 0]) ** 2,
    "not finite": lambda r, x: np.where(x[:, 1] > 0.5, np.nan, r),
}


@pytest.mark.parametrize("relation", list(LOG_DET))
def test_a_wrong_log_det_is_named(relation):
    found, report = claims("jacobian", forward=forward_only(LOG_DET[relation]))
    assert found == [("jacobian", relation)], report.text()
    assert WORDS.get(relation, "") in report.verdict


WORDS = {
    "not finite": "only where x_1 > 0.5",
    "constant": "off by the constant +0.1: a term that does not depend on x",
    "does not depend on x": "is 0.7 at every row and does not depend on x: a term that depends",
    "factor and constant": "is minus the right one, plus 0.7: perhaps only the terms that depend",
    "steps": "off by whole multiples of 0.7 = log 2.01375, which differ from row to row",
}


def test_a_model_that_was_made_in_float32_is_right_to_its_digits():
    """What is allowed, and what came out, stand in the row; more is wrong all the same."""
    f, g = RIGHT["forward"], RIGHT["inverse"]

    def judged(size):
        def forward(x):
            z, log_det = f(x)
            return z, log_det + size * (1 + np.abs(log_det))

        made = {"forward": forward, "inverse": lambda z: g(z)[0] * (1 + size)}
        made["log_prob"] = lambda x: normal(f(x)[0]) + forward(x)[1] - size  # by a constant
        return claims("behaviour", "rows", "jacobian", "inverse", "density", **made, born="float32")

    found, report = judged(2e-7)
    assert (found, report.passed) == ([], True), report.text()
    (law,) = (law for law in report.laws if law.law == "jacobian")
    assert "is right to 2e-07 only: float32 digits" in law.text
    assert "; 2e-06 of 1 + |value| is allowed: the model was made in float32" in law.text
    assert law.units == pytest.approx(0.1, rel=0.01)
    assert {name for name, _ in judged(2e-5)[0]} == {"jacobian", "inverse", "density"}
    planted = report._replace(
        laws=(law._replace(units=200.0), law._replace(text="wrong at 1 of 2"))
    )
    assert len(contradictions(planted)) == 2

    def born_in_float32(x):  # its log_prob has the log|det J| of forward
        z, log_det = f(x)
        return z, log_det + 2e-7 * (1 + np.abs(log_det))

    made = {"forward": born_in_float32, "born": "float32"}
    made["log_prob"] = lambda x: normal(f(x)[0]) + born_in_float32(x)[1]
    found, report = claims("jacobian", "density", **made)
    assert (found, report.passed) == ([], True), report.text()
    follows = LawResult("density", "ok", "with the log|det J| of forward, which is WRONG")
    assert contradictions(report._replace(laws=(*report.laws, follows))) == [follows]


def test_a_log_det_that_is_wrong_on_one_side_only():
    found, report = claims(
        "jacobian", forward=forward_only(lambda r, x: np.where(x[:, 0] > 0.2, r / 2, r))
    )
    assert found == [("jacobian", "half")]
    assert "only where x_0 > 0.2" in report.verdict


def test_a_log_det_that_is_wrong_where_det_is_negative_only():
    def forward(x):  # two sheets: x_1 -> -x_1 where x_0 < 0 is no flow, but a rule has a branch
        sign = np.where(x[:, 0] < 0, -1.0, 1.0)
        return np.stack([2 * x[:, 0], sign * x[:, 1]], axis=1), np.log(2) * (sign > 0)

    report = oracle.check_flow(D=2, forward=forward, laws=["jacobian"])
    assert "only where det J < 0" in report.verdict


def test_a_dimension_that_is_left_out_is_named():
    s = np.array([0.3, -1.2, 0.8])
    z = lambda x: np.sinh(x) * np.exp(s)
    terms = lambda x: np.log(np.cosh(x)) + s
    found, _ = claims("jacobian", forward=lambda x: (z(x), terms(x)[:, :-1].sum(axis=1)))
    assert found == [("jacobian", "misses dimension 2")]
    found, _ = claims("jacobian", forward=lambda x: (z(x), terms(x).sum(axis=1)))
    assert found == []


def test_a_map_that_is_not_one_to_one():
    found, _ = claims("jacobian", forward=lambda x: (np.abs(x), np.zeros(len(x))))
    assert found == [("one-to-one", "sign changes")]


def test_a_singular_map_at_given_rows():
    X = np.random.default_rng(0).standard_normal((20, D))
    found, _ = claims("jacobian", forward=lambda x: (x[:, [0, 0, 1]], np.zeros(len(x))), X=X)
    assert found == [("jacobian", "singular")]


def test_a_wrong_shape_is_said():
    f = RIGHT["forward"]
    found, _ = claims(
        "jacobian", forward=lambda x: (f(x)[0], np.repeat(f(x)[1][:, None], D, axis=1))
    )
    assert ("jacobian", "last axis not reduced") in found
    found, _ = claims("density", log_prob=lambda x: RIGHT["log_prob"](x).mean(), forward=f)
    assert ("density", "batch axis reduced") in found


@pytest.mark.parametrize(
    ("change", "relation"),
    [
        (lambda z, r: (z - z.mean(axis=0), r), "batch statistics"),
        (lambda z, r: (z, 0 * r + r.sum()), "batch sum"),
        (lambda z, r: (z, 0 * r + r.mean()), "batch mean"),
        (lambda z, r: (z + 0.1 * z[:1], r), "rows mix"),
    ],
)
def test_rows_that_are_not_judged_by_themselves(change, relation):
    found, report = claims("rows", forward=lambda x: change(*RIGHT["forward"](x)))
    assert ("rows", relation) in found, report.text()


INVERSES = {
    "forward again": lambda z: RIGHT["forward"](z)[0],
    "identity": lambda z: z,
    "not undone": lambda z: RIGHT["inverse"](z)[0] * 1.5,
    "some columns": lambda z: RIGHT["inverse"](z)[0] + np.array([0, 0.1, 0]),
    "accuracy": lambda z: RIGHT["inverse"](z)[0] + 1e-7,
    "inverse: sign": lambda z: (RIGHT["inverse"](z)[0], -RIGHT["inverse"](z)[1]),
    "inverse: missing": lambda z: (RIGHT["inverse"](z)[0], 0 * RIGHT["inverse"](z)[1]),
}


@pytest.mark.parametrize("relation", list(INVERSES))
def test_a_wrong_inverse_is_named(relation):
    found, report = claims("inverse", forward=RIGHT["forward"], inverse=INVERSES[relation])
    assert found == [("inverse", relation)], report.text()


def test_an_inverse_that_iterates_is_declared():
    found, report = claims(
        "inverse",
        forward=RIGHT["forward"],
        inverse=INVERSES["accuracy"],
        inverse_accuracy=1e-6,
    )
    assert found == [], report.text()


def test_an_inverse_may_iterate_until_forward_makes_z_of_its_x():
    """Where forward is flat, x is less exact than z; a residual beyond what was declared is not."""
    forward = lambda x: (x / 100, np.full(len(x), -D * np.log(100)))
    for off, relation in ((0.9, []), (9, ["not undone"])):
        inverse = lambda z, off=off: 100 * (z + 1e-6 * off * np.sin(1e6 * z))
        found, report = claims("inverse", forward=forward, inverse=inverse, inverse_accuracy=1e-6)
        assert [name for _, name in found] == relation, report.text()


def _truncated(z):
    """A right inverse, but for the draws of the base that it doesn't search for."""
    x, log_det = RIGHT["inverse"](z)
    return np.clip(x, -9, 9), log_det


def _short(x, c=0.98):
    """A map whose z stays short of |z| = 2.3."""
    z = special.erfinv(c * special.erf(x / 2**0.5)) * 2**0.5
    return z, (np.log(c) + (z**2 - x**2) / 2).sum(axis=1)


def _undo_short(z, c=0.98):
    return special.erfinv(np.clip(special.erf(z / 2**0.5) / c, -1 + 1e-9, 1 - 1e-9)) * 2**0.5


def test_draws_of_the_base_have_an_x():
    """Else samples made of them are wrong, and p has less mass where forward is to blame."""
    X = np.random.default_rng(0).standard_normal((40, D)) / 4
    given = RIGHT | {"inverse": _truncated, "X": X}
    found, report = claims("inverse", **given)
    assert found == [("inverse", "no x for draws")], report.text()
    given = {
        "forward": _short, "inverse": _undo_short,
        "log_prob": lambda x: normal(_short(x)[0]) + _short(x)[1],
    }  # fmt: skip
    found, report = claims("inverse", "density", "mass", **(given | {"D": 1}))
    assert found == [("inverse", "no x for draws"), ("mass", "not onto")], report.text()
    assert claims("inverse", **RIGHT)[0] == []


DENSITIES = {
    "log det missing": lambda b, r: b,
    "log det subtracted": lambda b, r: b - r,
    "half log det": lambda b, r: b + r / 2,
    "log det does not depend on x": lambda b, r: b + 0.7,
    "constant of the base": lambda b, r: b + r + D / 2 * np.log(2 * np.pi),
    "log det summed over the batch": lambda b, r: b + r.sum(),
    "negative": lambda b, r: -b - r,
    "averaged over D": lambda b, r: (b + r) / D,
    "constant": lambda b, r: b + r + 0.25,
    "log2": lambda b, r: (b + r) / np.log(2),
    "factor": lambda b, r: 0.8 * (b + r),
    "clipped": lambda b, r: np.maximum(b + r, -12.0),
}


@pytest.mark.parametrize("relation", list(DENSITIES))
def test_a_wrong_log_prob_is_named(relation):
    def log_prob(x):
        z, log_det = RIGHT["forward"](x)
        base = -0.5 * (z**2).sum(axis=1) - D / 2 * np.log(2 * np.pi)
        return DENSITIES[relation](base, log_det)

    found, report = claims("density", forward=RIGHT["forward"], log_prob=log_prob)
    assert ("density", relation) in found, report.text()


FAR = {  # log p beside log normal(z) + half of log|det J|, and whether the mass is claimed
    "the same": (lambda p, x: p, False),
    "a factor": (lambda p, x: p + 0.2, True),
    "another far out": (lambda p, x: np.where(np.abs(x[:, 0] - 2.7) < 0.1, 0.0, p), True),
}


@pytest.mark.parametrize("kind", list(FAR))
def test_a_mass_follows_from_log_det_where_nothing_else_makes_it_wrong(kind):
    change, claimed = FAR[kind]
    forward = lambda x: (2 * np.sinh(x), np.log(2 * np.cosh(x[:, 0])) / 2)
    log_prob = lambda x: change(normal(forward(x)[0]) + forward(x)[1], x)
    given = {"D": 1, "forward": forward, "log_prob": log_prob, "X": np.linspace(-2, 2, 40)[:, None]}
    laws = ("jacobian", "inverse", "density", "mass")
    found, report = claims(*laws, inverse=lambda z: np.arcsinh(z / 2), **given)
    assert (("jacobian", "half") in found, ("mass", "mass") in found) == (True, claimed), found
    assert ("; it follows from log|det J|" in report.text()) is not claimed
    assert ("mass", "mass") in claims(*laws, **given)[0]  # without inverse it is not known
    lines = [line for line in report.text().splitlines() if line.startswith("wrong: ")]
    assert "jacobian" in lines[0]


def test_an_inverse_of_the_parts_in_another_order_is_named():
    parts = layers()
    wrong = {"order": parts, "misses part leaky2": [parts[3], parts[1], parts[0]]}
    for relation, order in wrong.items():

        def inverse(z, order=order):
            for _, _, undo in order:
                z, _ = undo(z)
            return z

        found, _ = claims("inverse", **(RIGHT | {"inverse": inverse}))
        assert found == [("inverse", relation)]


def test_the_first_part_whose_law_fails_is_named():
    made = layers()
    name, f, g = made[1]
    made[1] = (name, lambda x: (f(x)[0], -f(x)[1]), g)
    _, report = claims("jacobian", "inverse", "parts", **composed(made))
    assert [c["part"] for c in report.claims if c["law"] == "jacobian"] == [name]
    assert report.verdict.startswith(f"FAIL: part {name!r}: log|det J| has the wrong sign")
    name, f, g = (made := layers())[2]
    made[2] = (name, f, lambda z: (g(z)[0] + 1, g(z)[1]))
    _, report = claims("jacobian", "inverse", "parts", **composed(made))
    assert report.verdict.startswith(f"FAIL: part {name!r}: inverse(forward(x)) is not x")


def test_a_part_that_is_left_out_of_the_sum_is_named():
    for missed in ("coupling1", "dense3"):
        found, _ = claims("jacobian", "parts", **composed(layers(), missed=(missed,)))
        assert found[0] == ("jacobian", f"misses part {missed}")


def test_two_errors_that_cancel_are_found_in_the_parts():
    made = layers()
    made[1] = ("a", lambda x, f=made[1][1]: (f(x)[0], f(x)[1] + 1), made[1][2])
    made[2] = ("b", lambda x, f=made[2][1]: (f(x)[0], f(x)[1] - 1), made[2][2])
    _, report = claims("jacobian", "inverse", "parts", **composed(made))
    assert {c["part"] for c in report.claims if c["law"] == "jacobian"} == {"a", "b"}


def test_mass_that_is_not_one():
    for size in (1, 3):
        log_p = lambda x: -0.5 * (x**2).sum(axis=1)
        found, report = claims("mass", D=size, log_prob=log_p)
        assert found == [("mass", "constant of the base")], report.text()
        right = lambda x: -0.5 * (x**2).sum(axis=1) - x.shape[1] / 2 * np.log(2 * np.pi)
    found, report = claims("mass", D=1, log_prob=right)
    assert found == []
    assert report.passed
    given = {key: RIGHT[key] for key in ("forward", "log_prob")}
    for made, more in (
        (given, "inverse"),
        ({"log_prob": RIGHT["log_prob"]}, "forward and inverse"),
    ):
        _, report = claims("mass", **made)
        assert f"say too little: give {more}, and rows are drawn" in report.laws[0].text


def test_what_several_laws_say_is_said_once():
    found, report = claims(forward=lambda x: 2 * x)
    assert len(found) > 2
    assert report.verdict == "FAIL: forward must return (z, log|det J|), it returned one array"
    lines = [line for line in report.text().splitlines() if line.startswith("wrong: ")]
    assert lines == [f"wrong: behaviour, rows, jacobian, tails: {report.verdict[6:]}"]


def test_a_uniform_base_is_no_missing_one():
    """Where it is not given: log_prob is log|det J| alone, as it should be."""

    def forward(x):
        return special.expit(x), -np.logaddexp(0, x).sum(axis=1) - np.logaddexp(0, -x).sum(axis=1)

    found, report = claims("jacobian", "density", D=2, forward=forward,
                           log_prob=lambda x: forward(x)[1])  # fmt: skip
    assert (found, "density" in report.judged) == ([], False), report.text()
    wide = lambda x: (4 * forward(x)[0], forward(x)[1] + 2 * np.log(4))
    found, _ = claims("jacobian", "density", D=2, forward=wide, log_prob=lambda x: wide(x)[1])
    assert found == [("density", "base missing")]


def test_mass_of_a_net_whose_density_jumps(monkeypatch):
    """The grids do not agree where p jumps; random points in their cells say enough."""
    monkeypatch.setitem(mass.POINTS, 2, (64, 128))
    W, V = np.array([[1.0, 0.4], [-0.6, 0.9]]), np.array([[0.8, -0.3], [0.5, 1.2]])
    constant = np.linalg.slogdet(W @ V)[1] - np.log(2 * np.pi)

    def log_prob(x, columns=2):
        y = x @ W.T
        z = np.where(y > 0, y, 0.1 * y) @ V.T
        slopes = np.where(y > 0, 0.0, np.log(0.1))[:, :columns].sum(axis=1)
        return constant - 0.5 * (z**2).sum(axis=1) + slopes

    found, report = claims("mass", D=2, log_prob=log_prob)
    assert found == [], report.text()
    assert "two random points in each of 320^2 cells" in report.laws[0].text
    found, report = claims("mass", D=2, log_prob=lambda x: log_prob(x, 1))  # forgets a column
    assert found == [("mass", "mass")], report.text()


def test_the_error_of_an_integral_covers_jumps():
    """By chance three grids agree on a value that is off."""
    rng = np.random.default_rng(0)
    for _ in range(240):  # in one of forty they do
        low, high = np.sort(rng.uniform(-2, 2, 2))
        p = lambda x, a=low, b=high: np.where(
            (x[:, 0] > a) & (x[:, 0] < b), -np.log(b - a), -np.inf
        )
        value, error, _ = quadrature(p, rng.uniform(low, high, (50, 1)), 2**12)
        assert abs(value - 1) <= 16 * error


def test_a_density_that_jumps_and_one_with_a_spike_are_no_alarm():
    """Grids can agree on an integral that they all miss."""
    rng = np.random.default_rng(0)
    uniform = lambda x: np.where(np.abs(x[:, 0]) < 1, -np.log(2), -np.inf)
    made = {"D": 1, "log_prob": uniform, "sample": lambda n: rng.uniform(-1, 1, (n, 1))}
    found, report = claims("mass", "samples", **made)
    assert found == [], report.text()

    def log_p(x):  # one part in fifty of a width of 1e-4
        wide = np.log(0.98) - 0.5 * x[:, 0] ** 2
        narrow = np.log(0.02) - 0.5 * ((x[:, 0] - 3) / 1e-4) ** 2 + np.log(1e4)
        return np.logaddexp(wide, narrow) - 0.5 * np.log(2 * np.pi)

    def sample(n):
        z = rng.standard_normal((n, 1))
        return np.where(rng.random((n, 1)) < 0.02, 3 + 1e-4 * z, z)

    found, report = claims("mass", D=1, log_prob=log_p, sample=sample)
    assert found == [], report.text()


def test_peaks_narrower_than_a_cell_are_said_or_seen_in_the_latent():
    """Nor are they an alarm where random points in cells miss them."""
    rng = np.random.default_rng(0)
    narrow = [(np.log(0.5), 1.0), (np.log(0.5), 1e-4)]

    def log_p(x):  # a half of a width of 1e-4
        parts = [w - 0.5 * ((x / s) ** 2).sum(axis=1) - 2 * np.log(s) for w, s in narrow]
        return np.logaddexp(*parts) - np.log(2 * np.pi)

    def sample(n):
        return rng.standard_normal((n, 2)) * np.where(rng.random((n, 1)) < 0.5, 1e-4, 1.0)

    found, report = claims("mass", D=2, log_prob=log_p, sample=sample)
    assert found == [], report.text()
    assert "the grid is too coarse: 0." in report.laws[0].text
    assert "give forward and inverse" in report.laws[0].text

    def forward(x):  # a slope of 1e6 where z is in (1, 2)
        y = x - 1
        z = np.where(y < 0, x, np.where(y < 1e-6, 1 + 1e6 * y, x + 1 - 1e-6))
        return z, np.where((y >= 0) & (y < 1e-6), np.log(1e6), 0.0)[:, 0]

    def inverse(z):
        y = z - 1
        return np.where(y < 0, z, np.where(y < 1, 1 + 1e-6 * y, z - 1 + 1e-6))

    def log_prob(x, slopes=1.0):
        z, log_det = forward(x)
        return -0.5 * z[:, 0] ** 2 - 0.5 * np.log(2 * np.pi) + slopes * log_det

    given = {"D": 1, "forward": forward, "inverse": inverse}
    found, report = claims("mass", log_prob=log_prob, **given)
    assert found == [], report.text()
    assert "by importance sampling in the latent" in report.laws[0].text
    found, report = claims("mass", log_prob=lambda x: log_prob(x, 0.9), **given)
    assert found == [("mass", "mass")], report.text()


def drawn(change, seed=0):
    rng = np.random.default_rng(seed)
    return lambda n: change(rng.standard_normal((n, D)))


SAMPLES = {
    "base draws": drawn(lambda z: z),
    "scaled": drawn(lambda z: RIGHT["inverse"](1.2 * z)[0]),
    "forward for inverse": drawn(lambda z: RIGHT["forward"](z)[0]),
    "succession": drawn(lambda z: RIGHT["inverse"](np.repeat(z[: len(z) // 2], 2, axis=0))[0]),
    "truncated": drawn(lambda z: RIGHT["inverse"](np.clip(z, -2, 2))[0]),
    "half": drawn(lambda z: RIGHT["inverse"](np.abs(z))[0]),
    "all the same": drawn(lambda z: np.repeat(z[:1], len(z), axis=0)),
    "own: log det missing": drawn(
        lambda z: (
            (x := RIGHT["inverse"](z)[0]),
            RIGHT["log_prob"](x) - RIGHT["forward"](x)[1],
        )
    ),
}


@pytest.mark.parametrize("relation", list(SAMPLES))
def test_wrong_samples_are_named(relation):
    made = Evidence(FlowCalls(**(_plain() | {"sample": SAMPLES[relation]})))
    found = samples(made)
    assert [c.relation for c in found.claims] == [relation], found


def test_log_p_of_samples_is_right_as_far_as_the_inverse_is():
    """What the inverse is off by is not claimed again; what is more is."""
    inverse = lambda z: RIGHT["inverse"](z + 1e-5 * np.sin(1e6 * z))

    def sample(n, more=0.0, rng=np.random.default_rng(5)):  # noqa: B008
        x, log_det = inverse(z := rng.standard_normal((n, D)))
        return x, normal(z) - log_det + more

    for more, relation in ((0.0, []), (0.1, ["log p of the samples"])):
        draw = lambda n, more=more: sample(n, more)
        found, report = claims("inverse", "samples", **(
            _plain() | {"inverse": inverse, "sample": draw}
        ))  # fmt: skip
        assert found[0][0] == "inverse"
        assert [name for law, name in found if law == "samples"] == relation, report.text()


def _plain():
    return {key: RIGHT[key] for key in ("D", "forward", "inverse", "log_prob")}


def test_samples_beside_a_density_alone():
    rng = np.random.default_rng(0)
    for size, wide in ((1, 1.0), (1, 1.3), (2, 1.3)):
        calls = FlowCalls(
            D=size,
            log_prob=lambda x: -0.5 * (x**2).sum(axis=1) - x.shape[1] / 2 * np.log(2 * np.pi),
            sample=lambda n, size=size, wide=wide: wide * rng.standard_normal((n, size)),
        )
        assert bool(samples(Evidence(calls)).claims) == (wide > 1)


def _linear_model(gradient=None):
    """log p of a scale and a shift; its parameters, its gradient."""
    rng = np.random.default_rng(3)
    p = {"s": rng.standard_normal(D), "b": rng.standard_normal(D), "idle": np.ones(2)}

    def log_prob(x):
        z = x * np.exp(p["s"]) + p["b"]
        return -0.5 * (z**2).sum(axis=1) - D / 2 * np.log(2 * np.pi) + p["s"].sum()

    def right(x):
        z = x * np.exp(p["s"]) + p["b"]
        return {"s": 1 - (z * x).mean(axis=0) * np.exp(p["s"]), "b": -z.mean(axis=0)}

    return {
        "log_prob": log_prob,
        "parameters": p,
        "gradient": gradient(right) if gradient else right,
    }


GRADIENTS = {
    "": None,
    "sign": lambda f: lambda x: {k: -g for k, g in f(x).items()},
    "batch sum": lambda f: lambda x: {k: len(x) * g for k, g in f(x).items()},
    "no gradient": lambda f: lambda x: {"s": f(x)["s"]},
    "unnamed": lambda f: lambda x: {"s": f(x)["s"] - 1, "b": f(x)["b"]},
}


def test_a_gradient_without_that_of_the_log_det():
    made = _linear_model()
    p, right = made["parameters"], made["gradient"]
    made["forward"] = lambda x: (x * np.exp(p["s"]) + p["b"], np.full(len(x), p["s"].sum()))
    made["gradient"] = lambda x: right(x) | {"s": right(x)["s"] - 1}
    assert claims("gradients", **made)[0] == [("gradients", "detached")]


@pytest.mark.parametrize("relation", list(GRADIENTS))
def test_the_gradient_of_the_parameters(relation):
    made = _linear_model(GRADIENTS[relation])
    before = {k: p.copy() for k, p in made["parameters"].items()}
    found, report = claims("gradients", **made)
    assert [f for f in found if f[0] == "gradients"] == (
        [("gradients", relation)] if relation else []
    )
    assert "nothing depends on idle at these rows" in report.text()
    assert all(np.array_equal(before[k], p) for k, p in made["parameters"].items())


def test_tails_are_judged_where_onto_is_claimed():
    def steep(x):  # right, but exp overflows far out
        z = np.where(x > 50, np.inf - np.inf * (x > 50), x)
        return z, np.zeros(len(x))

    found, report = claims("jacobian", "tails", forward=steep)
    assert found == []
    assert "z of forward is NaN at |x| = 100" in report.text()
    assert ("tails", "NaN") in claims("tails", forward=steep, onto=True)[0]
    flat = lambda x: (np.tanh(x), np.log1p(-(np.tanh(x) ** 2)).sum(axis=1))
    assert ("tails", "not onto") in claims("tails", forward=flat, onto=True)[0]
    assert claims("tails", **RIGHT, onto=True)[0] == []


def test_float32_beside_float64():
    f = RIGHT["forward"]
    single = lambda x: tuple(v.astype(np.float32) for v in f(x.astype(np.float32)))
    found, report = claims("precision", forward=f, in_float32={"forward": single})
    assert found == [], report.text()
    assert "precision" in report.judged
    lost = lambda x: (f(x)[0].astype(np.float32), np.where(x[:, 0] > 1, np.nan, f(x)[1]))
    assert claims("precision", forward=f, in_float32={"forward": lost})[0] == [
        ("precision", "NaN in float32")
    ]
    coarse = lambda x: (np.round(f(x)[0], 1), f(x)[1])
    found, _ = claims("precision", forward=f, in_float32={"forward": coarse})
    assert found == [("precision", "float32 loses digits")]


def test_float32_of_an_inverse_that_iterates():
    """It stops at another x, of which forward makes z as well; where it doesn't, digits are lost."""
    forward = lambda x: (x / 1e4, np.full(len(x), -D * np.log(1e4)))
    for off, relation in ((1, []), (1e3, ["float32 loses digits"])):
        single = lambda z, off=off: 1e4 * (z + 5e-6 * off)
        found, report = claims(
            "inverse", "precision", forward=forward, inverse=lambda z: 1e4 * z,
            in_float32={"inverse": single}, inverse_accuracy=1e-5, parameters={"b": np.zeros(1)},
        )  # fmt: skip
        assert [name for _, name in found] == relation, report.text()


def test_behaviour_that_a_function_does_not_have():
    f, rng = RIGHT["forward"], np.random.default_rng(0)

    def changes(x):
        made = f(x)
        x += 1
        return made

    noisy = lambda x: (f(x)[0] + 1e-3 * rng.standard_normal(x.shape), f(x)[1])
    single = lambda x: (np.float32(f(x)[0]), f(x)[1])
    assert ("behaviour", "changes its input") in claims("behaviour", forward=changes)[0]
    assert ("behaviour", "random") in claims("behaviour", forward=noisy)[0]
    assert ("behaviour", "dtype") in claims("behaviour", forward=single)[0]


def test_modes_are_noted():
    state = {"train": False}
    f = RIGHT["forward"]

    def forward(x):
        z, log_det = f(x)
        return (z - z.mean(axis=0) if state["train"] else z), log_det

    _, report = claims(
        "jacobian", "modes", forward=forward, modes=lambda train: state.update(train=train)
    )
    assert report.passed
    assert "in training mode results are others" in report.text()
    assert state == {"train": False}


def test_a_callable_that_raises_does_not_end_the_other_laws():
    def fails(z):
        raise RuntimeError("torch.solve is gone")

    found, report = claims("jacobian", "inverse", forward=RIGHT["forward"], inverse=fails)
    assert found[0] == ("inverse", "raises")
    assert "jacobian" in report.judged

    def lacks(z):
        raise NotImplementedError

    found, report = claims("jacobian", "inverse", forward=RIGHT["forward"], inverse=lacks)
    assert found == []
    assert "inverse" not in report.judged


def test_a_domain_is_asked_for():
    logit = lambda x: (np.log(x / (1 - x)), -np.log(x * (1 - x)).sum(axis=1))
    _, report = claims("jacobian", forward=logit)
    assert not report.passed
    assert "of 64 drawn rows: give X, rows inside its domain" in report.text()
    X = np.random.default_rng(0).uniform(size=(40, D))
    assert claims("jacobian", forward=logit, X=X)[1].passed


def test_nothing_judged_is_not_a_pass():
    _, report = claims(log_prob=lambda x: -0.5 * (x**2).sum(axis=1) + np.nan)
    assert not report.passed
    with pytest.raises(ValueError, match="needs forward or log_prob"):
        oracle.check_flow(D=2)
    with pytest.raises(ValueError, match="must have shape"):
        claims(forward=RIGHT["forward"], X=np.zeros((3, 2)))


def test_differences_say_how_far_they_are_off():
    """A kink at a row is set aside; elsewhere the estimate holds, and is not idle."""
    f = lambda x: (np.where(x < 0, 0.1 * x, x) + np.sin(3 * x), np.zeros(len(x)))
    x = np.array([[0.0], [0.7], [-1.3]])
    made = jacobians(Arithmetic(), f, x, np.ones(1))
    right = np.log(np.abs(np.where(x < 0, 0.1, 1) + 3 * np.cos(3 * x)))[:, 0]
    assert made.usable.tolist() == [False, True, True]
    off = np.abs(made.log_det - right)[1:]
    assert (off <= made.allowed[1:]).all()
    assert (made.allowed[1:] < 1e-8).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_large_flows_are_judged_by_projections(sign):
    size = 1001
    s = np.linspace(0.5, 1.5, size)

    def forward(x):
        return s * np.sinh(x), sign * (np.log(np.cosh(x)) + np.log(s)).sum(axis=1)

    made = {
        "D": size, "forward": forward, "inverse": lambda z: np.arcsinh(z / s), "seconds": 0.0,
        "vjp": lambda x, u: u * s * np.cosh(x), "X": np.random.default_rng(0).standard_normal((1, size)),
    }  # fmt: skip
    found, report = claims("jacobian", **made)
    assert found == ([] if sign > 0 else [("jacobian", "sign")])
    assert "by random projections" in report.text()


def test_the_stein_test_leaves_densities_that_jump_alone():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    jump = lambda v: -0.5 * (v**2).sum(axis=1) + (v[:, 0] > 0)
    assert stein.stein(jump, x, rng) is None
    kernel = proposal.KernelMixture(x[:50])
    at = kernel.draw(20_000, rng)
    assert (
        abs(np.mean(np.exp(-0.5 * (at**2).sum(axis=1) - kernel.log_q(at))) / (2 * np.pi) - 1) < 0.05
    )


MODULE = """
import numpy as np
def right():
    return {"D": 2, "forward": lambda x: (2 * x, np.full(len(x), 2 * np.log(2)))}
def wrong():
    return {"forward": lambda x: (2 * x, np.full(len(x), np.log(2)))}
def fails():
    raise RuntimeError("no weights")
"""


def test_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "flows_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["check-flow", "flows_of_mine:right"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASS: ")
    assert main(["check-flow", "flows_of_mine:wrong", "--dim", "2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["claims"][0]["relation"] == "half"
    for place in (
        "flows_of_mine:wrong",
        "flows_of_mine:none",
        "flows_of_mine",
        "flows_of_mine:fails",
    ):
        assert main(["check-flow", place]) == 2
        assert capsys.readouterr().err.startswith("relgrad-np: error: ")


def test_scales_and_dense_matrices_are_reported():
    W, G = 2 * np.eye(2), np.ones((2, 2))
    made = oracle.check_flow(
        D=1, forward=scale(np.random.default_rng(0), 1)[1], dense={"W": (W, G)}, laws=["rows"]
    )
    assert made.relative[0]["R_W"] == 8.0
    assert "dense: W (2 x 2): log|det W| and the inverse for its gradient take" in made.text()
    assert "the norm of its gradient is 2, of its relative gradient 8" in made.text()


def test_the_noise_of_float32_inside_is_no_mistake():
    _, f, _ = dense(np.random.default_rng(2), D)
    _, k, _ = leaky(np.random.default_rng(2), D)

    def noisy(x):
        z, log_det = f(x)
        z, more = k(z.astype(np.float32).astype(float))
        return z, log_det + more

    found, report = claims("jacobian", forward=noisy)
    assert found == [], report.text()
    assert "noise" in report.text()


def test_kernels_that_have_moved_do_not_leave_an_arm_of_p():
    """A right density alone, of several arms: its mass is 1, or too few rows count to say so.

    A proposal of the moved kernels only finds .934 +- .008 and .955 +- .007 here, and is sure.
    """
    made, _ = right_flow(1867)
    rows = made["sample"](500)[0]
    for seed in range(3):
        found = weighted_rows(made["log_prob"], rows, 8000, np.random.default_rng(seed))
        mass, error = found.mass
        assert not found.says_something or abs(mass - 1) < 4.5 * error


def test_derivatives_and_digits_that_agree_are_no_pass():
    """They agree with any density, right or wrong; planted: they count as laws of values."""
    laws = ("gradients", "precision", "rows", "behaviour", "tails", "modes")
    held = [LawResult(law, "ok", "") for law in laws]
    unknown = [LawResult(law, "not judged", "") for law in ("jacobian", "mass")]
    report = FlowReport("mine", 3, "float64", (*held, *unknown), "")
    assert not report.passed
    assert report.verdict == "TOO LITTLE: none of its values could be judged"
    mass = LawResult("mass", "ok", "")
    assert FlowReport("mine", 3, "float64", (*held, mass), "").passed
