"""Generic inputs, in every library: what a test draws so that its agreement is evidence.

The cases of `relgrad_np.oracle.cases`, with N, D, L drawn pairwise distinct, N < D and N > D.
`test_laws.test_drawn_problems_are_generic` proves that this is what is drawn.
"""

from dataclasses import dataclass

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np.core.arrays import from_numpy, to_numpy
from relgrad_np.oracle import bounds
from relgrad_np.oracle.cases import PARAMS, generic
from relgrad_np.rules.recipe import Record

EPS = 2.0**-52
SMOOTH = ("smooth_leaky_relu", "leaky_tanh", "identity", "softplus")
DENSITIES = ("normal", "logistic", "laplace", "sech", "quartic", "student_t")
SMOOTH_DENSITIES = tuple(name for name in DENSITIES if name != "laplace")
# every rule, and every part of the recipe, that kernels have to know
KERNEL_RULES = {
    "plain": rg.Plain(0.05),
    "exponential": rg.Exponential(0.05),
    "recipe": rg.Recipe(),
    "recipe-plain": rg.Recipe(kind="plain"),
    "recipe-window": rg.Recipe(window=2, gains=False),
    "recipe-constant": rg.Recipe(charts=False, size="constant", learning_rate=0.05),
    "scalar": rg.Scalar(0.05),
    "adam": rg.Adam(1e-3),
    "adam-published": rg.Adam(1e-3, bias="published", clock=3),
}


@st.composite
def problems(draw, activations=tuple(PARAMS), densities=DENSITIES, max_N=9, max_D=7):
    """A generic problem: N < D and N > D, L = 1 .. 5, every activation with every density."""
    L = draw(st.integers(1, 5))
    D = draw(st.sampled_from([D for D in range(2, max_D + 1) if D != L]))
    N = draw(st.sampled_from([N for N in range(2, max_N + 1) if N not in (D, L)]))
    return generic(
        draw(st.integers(0, 2**16)),
        N,
        D,
        L,
        draw(st.sampled_from(activations)),
        draw(st.sampled_from(densities)),
    )


def readonly(x):
    x = np.array(x)
    x.setflags(write=False)
    return x


def strict_on(name):
    """array-api-strict on one of its devices; two of them have no float64."""

    def to(x):
        return array_api_strict.asarray(np.array(x), device=array_api_strict.Device(name))

    return to


def torch_on(device):
    def to(x):
        return pytest.importorskip("torch").asarray(np.array(x), device=device)

    return to


def cupy_array(x):
    return pytest.importorskip("cupy").asarray(x)


LIBRARIES = {
    "numpy": np.asarray,
    "readonly": readonly,
    "strict": strict_on("CPU_DEVICE"),
    "torch": torch_on("cpu"),
}
STRICT = {name: strict_on(name) for name in ("device1", "no_float64", "no_x64")}
NARROW = ("no_float64", "no_x64")  # float32 is the widest there
DEVICES = {"cupy": cupy_array, "torch-cuda": torch_on("cuda")}  # with the marker gpu
EVERYWHERE = LIBRARIES | STRICT | DEVICES
EVERY = [pytest.param(name, id=name) for name in (*LIBRARIES, "no_float64")]
EVERY += [pytest.param(name, id=name, marks=pytest.mark.gpu) for name in DEVICES]


def in_every_library(examples=None, libraries=EVERY, **drawn):
    """Give a law drawn problems: in NumPy as many as usual, in every other library 6.

    The formulas are the same there; other functions, dtypes and devices run them.
    """

    def decorate(law):
        @pytest.mark.parametrize("library", libraries)
        def test(library):
            many = examples or settings.default.max_examples
            many = settings(max_examples=many if library == "numpy" else min(many, 6))
            many(given(library=st.just(library), **drawn)(law))()

        test.__name__, test.__doc__ = law.__name__, law.__doc__
        return test

    return decorate


def suited(problem, library):
    """The problem in a dtype that the library's device has, in NumPy: what a law starts from."""
    if library not in NARROW:
        return problem
    layers = tuple(rg.Layer(W.astype("f4"), b.astype("f4")) for W, b in problem.layers)
    return problem._replace(layers=layers, X=problem.X.astype("f4"))


def eps_of(problem):
    return float(np.finfo(problem.X.dtype).eps)


def convert(problem, library):
    """The same problem in another library."""
    to = EVERYWHERE[library]
    layers = tuple(rg.Layer(to(W), to(b)) for W, b in problem.layers)
    return problem._replace(layers=layers, X=to(problem.X))


def tolerances(problem, eps=None):
    eps = eps_of(problem) if eps is None else eps
    layers = [rg.Layer(W.astype("f8"), b.astype("f8")) for W, b in problem.layers]
    return bounds.tolerances(layers, problem.X.astype("f8"), *problem.model, eps)


def assert_close(actual, expected, tolerance, what):
    """|actual - expected| <= tolerance everywhere; NaN never is."""
    actual, expected = to_numpy(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape} for {expected.shape}"
    error = np.max(np.abs(actual - expected), initial=0.0)
    assert error <= tolerance, f"{what}: error {float(error):.3g} above {tolerance:.3g}"


def assert_same_numbers(actual, expected, library):
    """The very same numbers, but torch has an exp, a log and a tanh of its own."""
    eps = 0 if library != "torch" else 16 * float(np.finfo(expected.dtype).eps)
    np.testing.assert_allclose(actual, expected, rtol=eps, atol=eps)


@dataclass(frozen=True)
class Stumble(rg.Plain):
    """Plain steps, but the one at t = `at` goes far astray; its factors say so truthfully."""

    at: int = 40

    def propose(self, state, tape, deltas):
        if state.t != self.at:
            return super().propose(state, tape, deltas)
        fs = rg.factors(state.layers, tape, tuple(-Delta for Delta in deltas))
        etas = tuple(from_numpy(np.asarray(3.0), f.Y) for f in fs)
        return rg.Move(fs, etas, etas)


def with_context(p, c, seed=0):
    """A generic problem whose biases know c variables."""
    rng = np.random.default_rng(seed)
    layers = tuple(
        rg.Layer(W, np.concatenate([rng.standard_normal((len(b), c)) / 2, b[:, None]], axis=1))
        for W, b in p.layers
    )
    X = np.concatenate([p.X, rng.standard_normal((len(p.X), c))], axis=1)
    return p._replace(layers=layers, X=X)


def settled(state):
    """The state as if a window had been seen: a recipe's constants are known, and generic."""
    if isinstance(state.rule_state, Record):
        use, seen = state.rule_state
        use = use._replace(
            mean=use.mean + 0.1,
            variance=use.variance + 1.5,
            information=use.information + 1.2,
            x=use.x + 1.3,
            signal=use.signal + 1.1,
            norm=use.norm + 0.5,
            calm=use.calm + 1,
            known=use.known + 1,
        )
        state = state._replace(rule_state=Record(use, seen))
    return state._replace(t=20)


def afterwards(change):
    """The reference's `train_step`, and then `change` the state that it returns: (before, after)."""

    def train_step(state, X, **options):
        after, info = rg.train_step(state, X, **options)
        return change(state, after), info

    return train_step
