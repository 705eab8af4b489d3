"""Directions of full rank: step, determinant, inverse and undo are those of exp(eta d~), densely."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.oracle import brute

from ..laws.problems import LIBRARIES, assert_close, generic

SHAPES = [(9, 4, 3), (5, 2, 4), (4, 7, 2)]
ETA = 0.25


def setting(seed, shape, library="numpy", dtype="float64"):
    """Layers, and directions in charts that are not their own; in NumPy, and in the library."""
    problem, D, rng = generic(seed, *shape, dtype=dtype), shape[1], np.random.default_rng(seed)
    fs = tuple(
        rg.FullRank(
            (rng.standard_normal((D, D + 1)) / D).astype(dtype),
            (2.0 ** rng.uniform(-1, 1, D)).astype(dtype),
            rng.uniform(-2, 2, D).astype(dtype),
        )
        for _ in problem.layers
    )
    to = LIBRARIES[library]
    moved = tuple(rg.Layer(*map(to, layer)) for layer in problem.layers)
    return problem.layers, fs, moved, tuple(rg.FullRank(*map(to, f)) for f in fs)


def dense(layer, f, eta):
    """The definition: to the chart, exp(eta d~) of the layer there in long double, and back."""
    W, b, d, S, m = (np.asarray(x, dtype=np.longdouble) for x in (*layer, *f))
    W_u, b_u = S[:, None] * W, S * (b - m)
    R_W, R_b = d[:, :-1] @ W_u, d[:, :-1] @ b_u + d[:, -1]
    W_u, b_u = brute.step(W_u, b_u, R_W, R_b, eta, "exponential")
    return W_u / S[:, None], b_u / S + m


def is_the_dense_group_step(
    seed=0,
    shape=SHAPES[0],
    library="numpy",
    dtype="float64",
    apply_step=rg.apply_step,
    track_step=rg.track_step,
    undo_step=rg.undo_step,
):
    """64 eps D of each part, times the condition of the step, of the chart and, for V, of W."""
    plain, fs, layers, moved = setting(seed, shape, library, dtype)
    new = apply_step(layers, moved, ETA, kind="exponential")
    before = rg.track(layers, inverse=True)
    tracked = track_step(before, moved, ETA, kind="exponential")
    back = undo_step(new, moved, ETA, kind="exponential")
    for k, (layer, f) in enumerate(zip(plain, fs, strict=True)):
        true_W, true_b = dense(layer, f, ETA)
        eps, D, d = float(np.finfo(dtype).eps), len(f.m), f.d.astype(float)
        spread = float(f.S.max() / f.S.min()) ** 2
        slack = 64 * eps * D * np.exp(2 * ETA * np.linalg.norm(d)) * spread
        largest = 1 + max(float(np.abs(x).max()) for x in (true_W, true_b, *layer, f.m))
        assert_close(new[k].W, true_W, 16 * slack * largest, f"W+ of layer {k}")
        assert_close(new[k].b, true_b, 16 * slack * largest, f"b+ of layer {k}")
        assert_close(back[k].W, layer.W, 16 * slack * largest, f"W of layer {k}, undone")
        assert_close(back[k].b, layer.b, 16 * slack * largest, f"b of layer {k}, undone")
        shift = to_numpy(tracked.logdet[k]) - to_numpy(before.logdet[k])
        slack_J = 64 * eps * D * spread * (1 + np.abs(d).sum())
        assert_close(shift, ETA * np.trace(d), slack_J, f"log|det W+| of layer {k}")
        sign = np.linalg.slogdet(true_W.astype(float))[0]
        assert_close(tracked.sign[k], sign, 0.0, f"sign of layer {k}")
        V = brute.inverse_matrix(true_W)
        slack_V = slack * np.linalg.cond(layer.W.astype(float)) * float(np.abs(V).max())
        assert_close(tracked.inverse[k], V, slack_V, f"inv(W+) of layer {k}")
        assert np.abs(true_W - layer.W).max() > 1e-3  # there was something to do
        for x in (new[k].W, new[k].b, tracked.inverse[k], back[k].b):
            assert (type(x), x.dtype) == (type(layers[k].W), layers[k].W.dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("library", ["numpy", "strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_tracking_and_undo_are_those_of_the_dense_exponential(shape, library, dtype):
    is_the_dense_group_step(sum(shape), shape, library, dtype)


@pytest.mark.parametrize("seed", range(3))
def test_for_other_directions_too(seed):
    is_the_dense_group_step(seed, SHAPES[0])


def of_other_directions(function, change):
    """The step along directions that are not the ones it was given."""

    def wrong(state, fs, eta, *, kind):
        return function(state, tuple(change(f) for f in fs), eta, kind=kind)

    return wrong


def along_the_tangent(layers, fs, eta, *, kind):
    """(I + eta d~) W~ for exp(eta d~) W~."""
    moved = []
    for (W, b), (d, S, m) in zip(layers, fs, strict=True):
        M = d[:, :-1]
        b_u = S * (b - m)
        moved.append(
            rg.Layer(
                W + eta * (M @ (S[:, None] * W)) / S[:, None], b + eta * (M @ b_u + d[:, -1]) / S
            )
        )
    return tuple(moved)


CHANGES = {
    "translation forgotten": lambda f: f._replace(d=f.d * (np.arange(f.d.shape[1]) < len(f.m))),
    "M transposed": lambda f: f._replace(d=np.column_stack([f.d[:, :-1].T, f.d[:, -1]])),
    "chart inverted": lambda f: f._replace(S=1 / f.S),
    "no chart": lambda f: f._replace(S=np.ones_like(f.S)),
    "mean of the wrong sign": lambda f: f._replace(m=-f.m),
    "descent": lambda f: f._replace(d=-f.d),
    "off by 1e-10": lambda f: f._replace(d=f.d * (1 + 1e-10)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_wrong_step_is_rejected(what):
    with pytest.raises(AssertionError, match=r"[Wb]\+ of layer 0"):
        is_the_dense_group_step(apply_step=of_other_directions(rg.apply_step, CHANGES[what]))


def test_a_step_along_the_tangent_is_rejected():
    with pytest.raises(AssertionError, match=r"W\+ of layer 0"):
        is_the_dense_group_step(apply_step=along_the_tangent)


@pytest.mark.parametrize("what", CHANGES)
def test_a_wrong_undo_is_rejected(what):
    with pytest.raises(AssertionError, match="undone"):
        is_the_dense_group_step(undo_step=of_other_directions(rg.undo_step, CHANGES[what]))


# neither the determinant nor the inverse of W knows a translation
UNSEEN = ("translation forgotten", "mean of the wrong sign")


@pytest.mark.parametrize("what", [what for what in CHANGES if what not in UNSEEN])
def test_a_wrong_tracker_is_rejected(what):
    with pytest.raises(AssertionError, match=r"log\|det W\+\||inv\(W\+\)"):
        is_the_dense_group_step(track_step=of_other_directions(rg.track_step, CHANGES[what]))


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("log", lambda t: t._replace(logdet=t.logdet + 1e-11)),
        ("sign", lambda t: t._replace(sign=-t.sign)),
        ("inv", lambda t: t._replace(inverse=tuple(V.T for V in t.inverse))),
        ("inv", lambda t: t._replace(inverse=tuple(V * (1 + 1e-10) for V in t.inverse))),
    ],
)
def test_a_tracker_that_is_a_little_off_is_rejected(part, wrong):
    def track_step(*args, **options):
        return wrong(rg.track_step(*args, **options))

    with pytest.raises(AssertionError, match=part):
        is_the_dense_group_step(track_step=track_step)


def test_a_direction_of_another_shape_is_refused():
    layers, fs, _, _ = setting(0, SHAPES[0])
    wrong = (fs[0]._replace(d=fs[0].d[:, :-1]), *fs[1:])
    with pytest.raises(ValueError, match=r"`d` of layer 0 must have shape \(4, 5\), got \(4, 4\)"):
        rg.apply_step(layers, wrong, ETA, kind="exponential")
    with pytest.raises(ValueError, match=r"'plain'.*a FullRank, whose kind is 'exponential'"):
        rg.apply_step(layers, fs, ETA)
