"""The kernels against the reference, against 50 digits, and what they promise about memory."""

import ctypes
import itertools
import math

import mpmath as mp
import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

import relgrad_np as rg
from relgrad_np.core.steps import Factors
from relgrad_np.core.trees import each_array as _each_array
from relgrad_np.fitting.loop import fit
from relgrad_np.kernels import choose as implementations
from relgrad_np.kernels.cpu import cache, determinants, elementwise, passes, stored
from relgrad_np.kernels.cpu import compile as compiling
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.supported import CPU, knows, supports
from relgrad_np.oracle.cases import generic
from relgrad_np.rules.group_adam import GroupAdam

from ..laws.problems import KERNEL_RULES, settled
from .leaves import leaves

RULES = {
    **KERNEL_RULES,
    "group_adam": GroupAdam(),
}  # what the kernels of CUDA leave to the reference

SHAPES = [(5, 11, 3), (23, 7, 2), (4, 9, 1), (40, 50, 2)]  # N, D, L


def grid(dtype):
    """Into the tails, where exp underflows; dense where sigma has its zero."""
    top = 120 if dtype == "float32" else 800
    rng = np.random.default_rng(0)
    parts = [
        np.linspace(-top, top, 61),
        3 * rng.standard_normal(150),
        10.0 ** rng.uniform(-12, 1.5, 60) * rng.choice([-1, 1], 60),
        [0.0, -0.84],
    ]
    return np.concatenate(parts).astype(dtype)


def ulps(x, truth, scale=None):
    """The largest error in units of the last place of the truth, or of what it is a sum of."""
    scale = truth if scale is None else scale
    places = np.spacing(np.array([abs(float(s)) for s in scale], x.dtype))
    errors = (
        abs(mp.mpf(float(a)) - t) / mp.mpf(float(p))
        for a, t, p in zip(x, truth, places, strict=True)
    )
    return float(max(errors))


def empty(y, count):
    return [np.full(y.shape, np.nan, y.dtype) for _ in range(count)]


@stored.compiled
def activation_sweep(y, code, c, sigma, slope, log_slope, bend):
    """The sweep of the forward pass, and log sigma' by itself, of which it returns the sum."""
    elementwise.forward_sweep(y, code, c, sigma, slope, bend)
    c0, c1, c2, c3, c4 = c[0], c[1], c[2], c[3], c[4]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    if code == 0:
        for i in range(y.shape[0]):
            _, _, log_slope[i], _ = elementwise.leaky(y[i], c0, c1, c2, c3, zero, one)
    else:
        for i in range(y.shape[0]):
            _, _, log_slope[i], _ = elementwise.tanh(y[i], c0, c1, c2, c3, c4, zero, one)


def swept(y, name, **params):
    """sigma, sigma', log sigma', (log sigma')' of y as the kernels have them; y stays."""
    out, kept = empty(y, 4), y.copy()
    constants = elementwise.activation_constants(name, params, y.dtype)
    activation_sweep(y, *constants, *out)
    np.testing.assert_array_equal(y, kept)
    return out


@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_activation_is_right_to_4_ulp(dtype, alpha):
    y = grid(dtype)
    sigma, slope, log_slope, bend = swept(y, "smooth_leaky_relu", alpha=alpha)
    with mp.workdps(50):
        a, c, ys = mp.mpf(alpha), 1 - mp.mpf(alpha), [mp.mpf(float(v)) for v in y]
        left, right = ([1 / (1 + mp.exp(s * v)) for v in ys] for s in (1, -1))  # 1 - s, s
        soft = [mp.log1p(mp.exp(-abs(v))) + max(v, mp.mpf(0)) for v in ys]
        terms = [max(abs(a * v), c * s) for v, s in zip(ys, soft, strict=True)]
        slopes = [a + c * r for r in right]
        bends = [c * q * r / s for q, r, s in zip(left, right, slopes, strict=True)]
        assert ulps(sigma, [a * v + c * s for v, s in zip(ys, soft, strict=True)], terms) <= 4
        assert ulps(slope, slopes) <= 4
        assert ulps(log_slope, [mp.log1p(-c * q) for q in left]) <= 4
        assert ulps(bend, bends) <= 4


@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.6), (1.0, 0.1), (0.01, 1.0), (3.7, 0.9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leaky_tanh_is_right_to_4_ulp(dtype, alpha, beta):
    """Into its own tails, where 2 alpha |y| passes what exp can tell from 0.

    log sigma' is counted in places of its terms log beta and log1p(tanh' / beta): it has a zero.
    """
    y = (grid(dtype) / alpha).astype(dtype)
    sigma, slope, log_slope, bend = swept(y, "leaky_tanh", alpha=alpha, beta=beta)
    with mp.workdps(400):
        a, b, ys = mp.mpf(alpha), mp.mpf(beta), [mp.mpf(float(v)) for v in y]
        tanhs = [mp.tanh(a * v) for v in ys]
        bends = [a / mp.cosh(a * v) ** 2 for v in ys]
        logs = [mp.log1p(s / b) for s in bends]
        terms = [max(abs(mp.log(b)), x) for x in logs]
        falls = [-2 * a * t * s / (s + b) for t, s in zip(tanhs, bends, strict=True)]
        assert ulps(sigma, [t + b * v for t, v in zip(tanhs, ys, strict=True)]) <= 4
        assert ulps(slope, [s + b for s in bends]) <= 4
        assert ulps(log_slope, [mp.log(b) + x for x in logs], terms) <= 4
        assert ulps(bend, falls) <= 4


def log_t(z, nu):
    c = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2
    return c - (nu + 1) / 2 * mp.log1p(z * z / nu)


def log_quartic_mass():
    inner = mp.gammainc(mp.mpf(1) / 4, 0, 4) / mp.sqrt(8)
    tail = mp.exp(-mp.mpf(4) / 3) * mp.sqrt(mp.pi / 24) * mp.erfc(mp.sqrt(mp.mpf(8) / 3))
    return mp.log(2 * (inner + tail))


TRUE = {  # log p(|z|) and the score
    "normal": (lambda z: -z * z / 2 - mp.log(2 * mp.pi) / 2, lambda z: -z),
    "logistic": (lambda z: -z - 2 * mp.log1p(mp.exp(-z)), lambda z: -mp.tanh(z / 2)),
    "laplace": (lambda z: -z - mp.log(2), lambda z: -mp.sign(z)),
    "sech": (lambda z: mp.log(2 / mp.pi) - z - mp.log1p(mp.exp(-2 * z)), lambda z: -mp.tanh(z)),
    "quartic": (
        lambda z: -(z**4 / 4 if z < 2 else 4 + 8 * (z - 2) + 6 * (z - 2) ** 2) - log_quartic_mass(),
        lambda z: -(z**3) if abs(z) < 2 else -mp.sign(z) * (8 + 12 * (abs(z) - 2)),
    ),
    "student_t": (lambda z: log_t(z, mp.mpf(5)), lambda z: -6 * z / (5 + z * z)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_densities_are_right_to_4_ulp(dtype):
    z, kept = grid(dtype), grid(dtype)
    for name, (log_p, score) in TRUE.items():
        made = empty(z, 2)
        constants = elementwise.density_constants(name, {"nu": 5.0}, dtype)
        elementwise.density_sweep(z, *constants, *made)
        np.testing.assert_array_equal(z, kept)
        with mp.workdps(50):
            zs = [mp.mpf(float(v)) for v in z]
            assert ulps(made[0], [log_p(abs(v)) for v in zs]) <= 4, name
            assert ulps(made[1], [score(v) for v in zs]) <= 4, name


@stored.compiled
def multivariate_sweep(z, c, log_p, score):
    for n in range(z.shape[0]):
        elementwise.multivariate_t(z[n], c, log_p[n], score[n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("D", [1, 3, 23])
def test_the_multivariate_t_is_right_to_8_ulp(dtype, D):
    """From radii of 1e-12 to 1e12, and at 0; log p in places of what it is a sum of."""
    rng, nu = np.random.default_rng(D), 2.5
    z = (rng.standard_normal((40, D)) * np.logspace(-12, 12, 40)[:, None]).astype(dtype)
    z[0] = 0
    log_p, score = empty(z, 2)
    _, c = elementwise.density_constants("multivariate_t", {"nu": nu}, dtype, D)
    multivariate_sweep(z, c, log_p, score)
    with mp.workdps(50):
        squares = [sum(mp.mpf(float(x)) ** 2 for x in row) for row in z]
        half = (mp.mpf(nu) + D) / 2
        top = mp.loggamma(half) - mp.loggamma(mp.mpf(nu) / 2) - D * mp.log(mp.mpf(nu) * mp.pi) / 2
        falls = [half * mp.log1p(s / nu) for s in squares]
        wanted = [top - fall for fall in falls]
        terms = [abs(top) + fall for fall in falls]
        assert ulps(log_p.sum(1), wanted, terms) <= 8
        scores = [
            -2 * half * mp.mpf(float(x)) / (nu + s)
            for row, s in zip(z, squares, strict=True)
            for x in row
        ]
        assert ulps(score.reshape(-1), scores) <= 8 + D / 2


def test_what_is_not_finite_stays_so():
    y = np.array([np.nan, np.inf, -np.inf])
    for act in (rg.activation("smooth_leaky_relu"), rg.activation("leaky_tanh")):
        out = swept(y, act.name, **act.params)
        for f, x in zip((act.sigma, act.dsigma, act.log_dsigma, act.dlog_dsigma), out, strict=True):
            np.testing.assert_allclose(x, f(y), atol=1e-300)
    for name in TRUE:
        log_p, _ = made = empty(y, 2)
        constants = elementwise.density_constants(name, {"nu": 5.0}, "float64")
        elementwise.density_sweep(y, *constants, *made)
        assert not np.isfinite(log_p).any(), name


def copy(state):
    """The state with layers of its own."""
    return state._replace(layers=tuple(rg.Layer(W.copy(), b.copy()) for W, b in state.layers))


def poison():
    """Overwrite all scratch memory with NaN, and what is lent again."""
    for workspace in cpu.CACHE.workspaces.values():
        workspace.scratch.fill(np.nan)
        for loan in [workspace.lender.lend() for _ in range(cache.LOANS)]:
            loan.fill(np.nan)


def assert_same(got, want, tolerance):
    """The same tree; arrays of one shape and dtype, close in the max-norm of what is wanted."""
    for (path, a), (_, c) in zip(leaves(got), leaves(want), strict=True):
        assert (a is None) == (c is None), path
        if c is None:
            continue
        a, c = np.asarray(a), np.asarray(c)
        assert (a.shape, a.dtype) == (c.shape, c.dtype), path
        a, c = a.astype(float), c.astype(float)
        scale = np.abs(c).max() + any(part in path for part in ("logdet", "L_J2", "Delta"))
        assert np.abs(a - c).max() <= tolerance * scale, path


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=pytest.mark.recompiles)]
)
@pytest.mark.parametrize("rule", RULES)
def test_the_step_is_the_reference_step(rule, dtype):
    """Four steps, one with weights, of every rule at every shape; scratch memory full of NaN."""
    rule = RULES[rule]
    models = [("smooth_leaky_relu", "normal"), ("identity", "student_t")]
    models += [("smooth_leaky_relu", name) for name in ("sech", "logistic", "laplace", "quartic")]
    models += [("leaky_tanh", "normal"), ("leaky_tanh", "multivariate_t")]
    for (N, D, L), (act, dens) in itertools.product(SHAPES, models):
        p = generic(3, 4 * N, D, L, act, dens, dtype=dtype)
        model = {"activation": p.activation, "density": p.density, "rule": rule}
        reference = settled(rg.init_state(p.layers, rule))  # for charts that are not young
        state = copy(reference)
        for i, X in enumerate(np.split(p.X, 4)):
            weights = np.random.default_rng(i).uniform(0.5, 1.5, N).astype(dtype)
            weights = weights if i == 2 else None
            assert supports(CPU, state, X, p.activation, p.density, rule, weights)
            reference, wanted = rg.train_step(reference, X, weights=weights, **model)
            poison()
            state, info = cpu.train_step(state, X, weights=weights, **model)
        tolerance = 1e-11 if dtype == "float64" else 2e-4
        assert_same(state, reference, tolerance)
        if D <= N and any(isinstance(f, Factors) for f in wanted.directions):  # no A then
            assert all(f.A is None for f in info.directions)
            bare = tuple(f._replace(A=None) for f in wanted.directions)
            wanted = wanted._replace(directions=bare)
        assert_same(info, wanted, tolerance)
        assert not info.rejected


@pytest.mark.parametrize(
    ("N", "D", "dtype"),
    [
        pytest.param(7, 515, "float32", marks=pytest.mark.recompiles),
        (7, 515, "float64"),
        (12, 131, "float64"),
        (3, 513, "float64"),
    ],
)
@pytest.mark.parametrize("rule", ["plain", "recipe", "adam"])
def test_a_few_samples_at_a_larger_D(rule, N, D, dtype):
    """N <= 12: products that the BLAS does not make; odd D, and a number of samples off 5 and 8.

    After a first step: Adam's first has the length of the sign, whatever rounding makes of a 0.
    """
    p = generic(5, 2 * N, D, 2, "smooth_leaky_relu", "normal", dtype=dtype)
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    reference = settled(rg.init_state(p.layers, RULES[rule]))
    reference, _ = rg.train_step(reference, p.X[:N], **model)
    state, _ = cpu.train_step(_each_array(np.array, reference), p.X[N:], **model)
    reference, _ = rg.train_step(reference, p.X[N:], **model)
    assert_same(state, reference, 1e-11 if dtype == "float64" else 2e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_determinant_of_the_small_matrix(dtype):
    """Elimination and series against slogdet, from no terms to all: |c K| from 1e-9 to 0.69."""
    eps = np.finfo(dtype).eps
    for n, size in itertools.product(
        (3, 17, 40, 82), (0.69, 0.3, 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9)
    ):
        K = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
        norm = passes.norm_bound(K)
        assert norm >= np.linalg.norm(K.astype("float64"), 2) * (1 - 1e-6)
        c = K.dtype.type(size) / norm
        sign, truth = np.linalg.slogdet(np.eye(n) + np.float64(c) * K.astype("float64"))
        blas, norm = compiling.gemm_address(K.dtype), K.dtype.type(norm)
        for got in (determinants.log_det(blas, K, c), determinants.log_det_near(blas, K, c, norm)):
            assert got[1] == sign == 1
            assert abs(got[0] - truth) <= 8 * eps * size * n + n * 2.0**-52  # slogdet's own


def stepped(rule, steps, implementation="numba", shift=0.0, **options):
    """A fit of so many steps; `shift`: by how much, relatively, it begins elsewhere."""
    rng, act = np.random.default_rng(0), rg.activation("smooth_leaky_relu")
    X = rng.standard_normal((200, 16)) @ rng.standard_normal((16, 16)) + 1.0
    own = np.random.default_rng(1)
    (W, b), *others = rg.init_layers(own, 16, 2, kind="whiten", X=X, activation=act)
    result = fit(
        (rg.Layer(W * (1 + shift), b), *others), X, act, rg.density("logistic"), rule=rule,
        batch_size=10, epochs=steps // 20, rng=own, implementation=implementation, compare=False, **options,
    )  # fmt: skip
    assert result.history[-1].t == steps
    return result


def apart(one, other):
    """By how much the layers of two fits differ, relative to the largest element of each W."""
    pairs = zip(one.layers, other.layers, strict=True)
    return max(np.abs(a.W - c.W).max() / np.abs(c.W).max() for a, c in pairs)


CALM = {"plain": 0.03, "exponential": 0.03, "recipe": 0.4, "adam": 1e-3}  # the rules' own rates


@pytest.mark.parametrize("rule", CALM)
def test_four_hundred_steps_agree_to_1e_9(rule):
    """Kernels with the reference, at rates at which a start 1e-12 away stays as near."""
    ours = stepped(rule, 400, learning_rate=CALM[rule])
    assert apart(stepped(rule, 400, shift=1e-12, learning_rate=CALM[rule]), ours) < 1e-10
    reference = stepped(rule, 400, "reference", learning_rate=CALM[rule])
    assert reference.n_undone == ours.n_undone
    assert_same(ours.layers, reference.layers, 1e-9)
    assert_same(ours.tracked, reference.tracked, 1e-9)


@pytest.mark.parametrize(("rule", "rate"), [("plain", 0.2), ("adam", 0.1)])
def test_at_large_constant_rates_steps_are_chaotic(rule, rate):
    """There no two implementations can agree: the same one does not, from starts 1e-12 apart."""
    options = {"learning_rate": rate, "schedule": "constant", "undo": None, "average": None}
    assert apart(stepped(rule, 1000, shift=1e-12, **options), stepped(rule, 1000, **options)) > 1e-2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_rejected_step_changes_nothing(rule, bad):
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state, _ = cpu.train_step(copy(rg.init_state(p.layers, RULES[rule])), p.X, **model)
    kept = [(path, np.array(x)) for path, x in leaves(state) if x is not None]
    X = p.X.copy()
    X[2, 3] = bad
    with np.errstate(all="ignore"):
        after, info = cpu.train_step(state, X, **model)
    assert info.rejected
    assert after.t == state.t + 1
    for (path, x), (_, y) in zip(kept, (z for z in leaves(after) if z[1] is not None), strict=True):
        if path != ".t":
            np.testing.assert_array_equal(x, y, err_msg=path)
    assert all(not np.asarray(e).any() for e in info.eta)


@pytest.mark.parametrize("rule", RULES)
def test_whatever_comes_between_two_steps(rule):
    """A rejected batch, another size of batch, other layers, a copy: each step is the reference's.

    What the last step found out must not be used for another: W, b, charts, density, rule.
    """
    p = generic(1, 60, 11, 2, "smooth_leaky_relu", "normal")
    other = rg.density("sech")
    state, reference = (copy(settled(rg.init_state(p.layers, RULES[rule]))) for _ in range(2))
    bad = p.X[:20].copy()
    bad[3, 2] = np.nan
    kept = None
    events = [
        p.X[:20],
        p.X[20:40],
        bad,
        p.X[:20],
        p.X[:7],
        p.X[:20],
        "keep",
        p.X[20:40],
        "back",
        p.X[40:],
    ]
    for event in [*events, other, p.X[:20]]:
        if isinstance(event, str):
            if event == "keep":
                kept = _each_array(np.array, (state, reference))  # Adam's moments, too
            else:
                state, reference = kept
            continue
        if not isinstance(event, np.ndarray):
            p = p._replace(density=event)
            continue
        model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
        with np.errstate(all="ignore"):
            reference, wanted = rg.train_step(reference, event, **model)
            state, info = cpu.train_step(state, event, **model)
        assert info.rejected == wanted.rejected
        assert_same(state, reference, 1e-9)


@pytest.mark.parametrize("rule", ["plain", "recipe", "adam"])
def test_layers_changed_between_two_steps(rule):
    """Another b beside the same W counts; a W that may not be written any more is left alone."""
    p = generic(1, 20, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state, reference = (copy(settled(rg.init_state(p.layers, RULES[rule]))) for _ in range(2))
    state, reference = (
        f(s, p.X, **model)[0] for f, s in ((cpu.train_step, state), (rg.train_step, reference))
    )
    state, reference = (
        s._replace(layers=tuple(rg.Layer(W, b + 0.5) for W, b in s.layers))
        for s in (state, reference)
    )
    state, reference = (
        f(s, p.X, **model)[0] for f, s in ((cpu.train_step, state), (rg.train_step, reference))
    )
    assert_same(state, reference, 1e-9)
    W, before = state.layers[0].W, state.layers[0].W.copy()
    W.setflags(write=False)
    state, reference = (
        f(s, p.X, **model)[0] for f, s in ((cpu.train_step, state), (rg.train_step, reference))
    )
    assert_same(state, reference, 1e-9)
    np.testing.assert_array_equal(W, before)


def test_inputs_that_are_read_only_are_copied():
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    for x in (p.X, *(x for layer in p.layers for x in layer)):
        x.setflags(write=False)
    rule = rg.Plain(0.05)
    model = {"activation": p.activation, "density": p.density, "rule": rule}
    before = [x.copy() for layer in p.layers for x in layer]
    reference, _ = rg.train_step(rg.init_state(p.layers, rule), p.X, **model)
    state, _ = cpu.train_step(rg.init_state(p.layers, rule), p.X, **model)
    assert_same(state, reference, 1e-12)
    for x, y in zip([x for layer in p.layers for x in layer], before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_layers_that_share_one_array_part():
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)}
    reference = rg.init_state((p.layers[0], p.layers[0]), rg.Plain(0.05))
    state, _ = cpu.train_step(reference, p.X, **model)
    reference, _ = rg.train_step(reference, p.X, **model)
    assert_same(state, reference, 1e-12)


def test_W_is_updated_in_place():
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    for rule in (rg.Plain(0.05), rg.Exponential(0.05), rg.Adam(1e-3)):
        model = {"activation": p.activation, "density": p.density, "rule": rule}
        state = copy(rg.init_state(p.layers, rule))
        after, _ = cpu.train_step(state, p.X, **model)
        assert all(a.W is c.W for a, c in zip(after.layers, state.layers, strict=True))


def hold_factors(rule):
    """Take steps, hold the factors of all and parts of some, and compare them with copies."""
    p = generic(1, 35, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state, held = copy(settled(rg.init_state(p.layers, RULES[rule]))), []
    for i, X in enumerate(np.split(p.X, 7)):
        state, info = cpu.train_step(state, X, **model)
        factors = info.directions if i % 2 else [info.directions[1].A[1:, 3]]  # a view of a view
        held.append([(x, np.array(x)) for f in factors for _, x in leaves(f)])
    for step in held:
        for x, kept in step:
            np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("rule", ["plain", "recipe"])
def test_factors_stay_as_they_are(rule):
    """The factors of a step can be undone as long as they are held, however many come after."""
    hold_factors(rule)


def test_a_lender_that_forgets_who_holds_its_memory_is_seen(monkeypatch):
    def lend(self):
        return vars(self).setdefault("only", np.empty(self.shape, self.dtype))

    monkeypatch.setattr(cache.Lender, "lend", lend)
    with pytest.raises(AssertionError):
        hold_factors("plain")


def test_memory_that_nobody_holds_is_lent_again():
    p = generic(1, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)}
    state, addresses = copy(rg.init_state(p.layers, rg.Plain(0.05))), []
    for _ in range(6):
        state, info = cpu.train_step(state, p.X, **model)  # holds the factors of the step before
        addresses.append(info.directions[0].Y.ctypes.data)
    assert addresses == addresses[:2] * 3
    assert addresses[0] != addresses[1]


@pytest.mark.parametrize("rule", ["plain", "exponential", "recipe", "adam"])
def test_products(rule, monkeypatch):
    """4 L - 1 products of the size N D^2, Y and Delta stacked; none of (D, D) matrices, no LAPACK."""
    N, D, L = 5, 23, 3
    p = generic(1, N, D, L, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": RULES[rule]}
    state = copy(settled(rg.init_state(p.layers, RULES[rule])))
    state, _ = cpu.train_step(state, p.X, **model)
    log, integer, real = [], ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_double)
    kinds = [ctypes.c_char_p] * 2 + [integer] * 3
    kinds += [
        real,
        ctypes.c_void_p,
        integer,
        ctypes.c_void_p,
        integer,
        real,
        ctypes.c_void_p,
        integer,
    ]
    signature = ctypes.CFUNCTYPE(None, *kinds)
    real_gemm = signature(compiling.gemm_address(np.dtype("float64")))

    def recorder(ta, tb, m, n, k, *rest):
        log.append((m[0], n[0], k[0]))
        real_gemm(ta, tb, m, n, k, *rest)

    recording = signature(recorder)
    address = ctypes.cast(recording, ctypes.c_void_p).value
    monkeypatch.setitem(compiling.GEMM, "d", address)

    def refuse(*args, **kwargs):
        raise AssertionError("LAPACK on the hot path")

    for name in ("inv", "slogdet", "det", "solve"):
        monkeypatch.setattr(np.linalg, name, refuse)
    state, info = cpu.train_step(state, p.X, **model)
    assert not info.rejected
    large = [s for s in log if math.prod(s) >= N * D * D]
    assert sum(round(math.prod(s) / (N * D * D)) for s in large) == 4 * L - 1
    assert len(large) == 3 * L  # forward, [Y; Delta] @ W, update
    assert max(math.prod(s) for s in log) == 2 * N * D * D


def test_what_it_does_not_know_goes_to_the_reference():
    p = generic(2, 5, 11, 2, "smooth_leaky_relu", "normal")
    others = [
        {"activation": rg.activation("softplus")},
        {"rule": rg.Adam(1e-3, side="input", bias="separate")},
    ]
    for other in others:
        model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)} | other
        state = rg.init_state(p.layers, model["rule"])
        assert not supports(CPU, state, p.X, *model.values(), None)
        got, _ = cpu.train_step(state, p.X, **model)
        want, _ = rg.train_step(rg.init_state(p.layers, model["rule"]), p.X, **model)
        assert_same(got, want, 0.0)


def test_a_name_alone_is_not_trusted():
    from dataclasses import replace

    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    for other in (replace(act, dlog_dsigma=act.sigma), replace(act, log_dsigma=act.dlog_dsigma)):
        assert not knows(other)
    assert not knows(replace(act, params={"alpha": 0.2}))
    assert not knows(replace(act, params={}))
    assert not knows(replace(act, params={"slope": 0.3}))
    assert not knows(replace(dens, score=dens.log_prob))
    assert not knows(replace(rg.density("student_t"), params={}))
    assert knows(replace(act, sigma=lambda y: act.sigma(y)))


def test_errors_are_the_references():
    p = generic(2, 5, 11, 2, "smooth_leaky_relu", "normal")
    model = {"activation": p.activation, "density": p.density, "rule": rg.Plain(0.05)}
    state = rg.init_state(p.layers, rg.Plain(0.05))
    with pytest.raises(ValueError, match="`X` must have shape"):
        cpu.train_step(state, p.X[:, :-1], **model)
    with pytest.raises(ValueError, match="float32"):
        cpu.train_step(state, p.X.astype("float32"), **model)


class Collector:
    """Keeps every snapshot in memory."""

    stop = None

    def __init__(self):
        self.snapshots = []

    def due(self, t, end):
        return True

    def write(self, snapshot):
        self.snapshots.append(
            (snapshot, [np.array(x) for _, x in leaves(snapshot.state) if x is not None])
        )


@pytest.mark.parametrize("rule", ["recipe", "plain", "adam"])
def test_what_fit_keeps_is_not_changed_by_later_steps(rule):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)) * [1, 2, 3, 1, 2]
    act, dens, seen = rg.activation("smooth_leaky_relu"), rg.density("logistic"), []

    def see(record, state):
        seen.append((state, [np.array(x) for _, x in leaves(state.layers)]))

    def run(keeper=None, resume=None):
        own = np.random.default_rng(2)
        start = rg.init_layers(own, 5, 2)
        return fit(
            start, X, act, dens, rule=rule, batch_size=20, epochs=4, rng=own, X_val=X,
            keeper=keeper, resume=resume, callbacks=[see], implementation="numba",
        )  # fmt: skip

    keeper = Collector()
    result = run(keeper)
    assert len(seen) == 4
    for state, copies in seen:
        for (_, x), y in zip(leaves(state.layers), copies, strict=True):
            np.testing.assert_array_equal(x, y)
    for snapshot, copies in keeper.snapshots:
        parts = [x for _, x in leaves(snapshot.state) if x is not None]
        for x, y in zip(parts, copies, strict=True):
            np.testing.assert_array_equal(x, y)
    assert result.best_layers[0].W is not result.layers[0].W
    for snapshot, _ in keeper.snapshots[1::3]:  # bitwise, and the snapshot may be used again
        for _ in range(2):
            assert_same(run(resume=snapshot).layers, result.layers, 0.0)


def test_without_numba_the_reference_steps(monkeypatch):
    assert implementations.resolve(None, np.ones(2)) is cpu.train_step
    assert implementations.resolve(None) is rg.train_step
    monkeypatch.setattr(implementations.importlib.util, "find_spec", lambda name: None)
    assert implementations.resolve(None, np.ones(2)) is rg.train_step
    with pytest.raises(ModuleNotFoundError, match="needs Numba: pip install numba"):
        implementations.resolve("numba")
