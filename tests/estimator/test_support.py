"""Bounds, callbacks and history of the estimator: everything in the units of X."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone

from relgrad_np.datasets import Reading, load
from relgrad_np.datasets.transforms import Support
from relgrad_np.estimator import RelativeGradientFlow

KIND = {"activation": "smooth_leaky_relu", "density": "normal", "init": "gaussianize"}
FEW = {
    **KIND, "n_layers": 2, "rule": "recipe", "batch_size": 100, "epochs": 2, "random_state": 0,
    "implementation": "reference", "patience": None, "validation_fraction": None,
}  # fmt: skip
SUPPORT = {0: (0, 120), 1: "positive"}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    t = rng.beta(2, 3, 300)
    return np.stack([120 * t, rng.exponential(size=300) + t, rng.normal(size=300) + 2 * t], 1)


def integral(flow):
    """The mass of a density of one column on (0, 12), by Simpson's rule in u = logit(x / 12)."""
    u = np.linspace(-30, 30, 4001)
    s = 1 / (1 + np.exp(-u))
    inside = (s > 0) & (s < 1)
    p = np.zeros_like(u)
    p[inside] = np.exp(flow.score_samples(12 * s[inside, None])) * 12 * (s * (1 - s))[inside]
    return (p[:-1:2] + 4 * p[1::2] + p[2::2][: len(p) // 2]).sum() * (u[1] - u[0]) / 3


def test_a_density_with_bounds_has_mass_one_and_one_without_its_log_det_has_not(X, monkeypatch):
    x = X[:, :1] / 10
    flow = RelativeGradientFlow(**FEW, support={0: (0, 12)}).fit(x)
    assert integral(flow) == pytest.approx(1, abs=1e-6)
    assert 0.9 < integral(RelativeGradientFlow(**FEW).fit(x)) < 1 - 1e-4  # some of it is outside
    monkeypatch.setattr(Support, "log_det", lambda self, X: np.zeros(len(X)))
    assert abs(integral(flow) - 1) > 0.1


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_latents_and_samples(X, dtype):
    X = X.astype(dtype)
    flow = RelativeGradientFlow(**FEW, support=SUPPORT).fit(X)
    np.testing.assert_allclose(
        flow.inverse_transform(flow.transform(X)), X, rtol=1e-9 if dtype == "f8" else 1e-3
    )
    for drawn in (flow.sample(2000), flow.inverse_transform(30 * flow.transform(X))):
        assert drawn.dtype == dtype
        assert (drawn[:, :2] > 0).all()
        assert (drawn[:, 0] < 120).all()


def test_the_estimator_and_a_file_have_the_same_transform(X, tmp_path):
    """One implementation: up to its centre, which is that of other rows, and no number sees it."""
    flow = RelativeGradientFlow(**FEW, support="0=0:120,1=0:").fit(X)
    of_file = load(X, reading=Reading(support=SUPPORT)).transforms.support
    mine = flow.transforms_.support
    assert type(mine) is type(of_file) is Support
    assert (mine.low, mine.high) == (of_file.low, of_file.high)
    np.testing.assert_allclose(mine.log_det(X), of_file.log_det(X))
    by_hand = RelativeGradientFlow(**FEW).fit(mine.forward(X))
    assert flow.score(X) == pytest.approx(by_hand.score(mine.forward(X)) + mine.log_det(X).mean())


def test_history_and_callbacks_are_in_the_units_of_x(X):
    """Without a step the training mean is the score of X; so is that of rows in other units."""
    seen = []
    options = FEW | {
        "rule": "plain",
        "learning_rate": 1e-9,
        "validation_fraction": 0.3,
        "init": "whiten",
    }
    flow = RelativeGradientFlow(**options, support=SUPPORT)
    flow.fit(X, callbacks=[lambda epoch, state: seen.append((epoch, len(state.layers)))])
    assert [epoch for epoch, _ in seen] == list(flow.history_)
    assert {L for _, L in seen} == {2}
    mean = 0.7 * flow.history_[0].train + 0.3 * flow.history_[0].validation
    assert mean == pytest.approx(flow.score(X), abs=1e-6)
    units = np.array([10.0, 0.1, 1.0])
    other = RelativeGradientFlow(**options, support={0: (0, 1200), 1: (0, None)}).fit(units * X)
    for name in ("train", "validation"):
        values = [getattr(one.history_[0], name) for one in (flow, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_a_callback_stops_the_fit(X):
    flow = RelativeGradientFlow(**FEW | {"epochs": 9})
    flow.fit(X, callbacks=[lambda epoch, state: epoch.epoch == 3])
    assert (flow.n_iter_, flow.stop_reason_) == (3, "callback")


def test_a_stream_with_bounds_and_a_warm_start_keep_their_way_to_model_space(X):
    flow = RelativeGradientFlow(**FEW, support=SUPPORT).partial_fit(X[:150])
    kept = flow.transforms_
    flow.partial_fit(X[150:])
    assert flow.transforms_ is kept
    assert flow.score(X) > RelativeGradientFlow(**FEW).partial_fit(X).score(X) - 1
    warm = RelativeGradientFlow(**FEW, support=SUPPORT, warm_start=True).fit(X)
    kept = warm.transforms_
    assert warm.fit(X[:200]).transforms_ is kept
    assert warm.set_params(support={0: (0, 130), 1: "positive"}).fit(X).transforms_ is not kept


def test_names_of_columns(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["age", "income", "x"])
    by_name = RelativeGradientFlow(**FEW, support={"age": (0, 120), 1: (0, None)}).fit(frame)
    by_number = RelativeGradientFlow(**FEW, support=SUPPORT).fit(X)
    assert by_name.score(frame) == by_number.score(X)
    for asked, message in [
        ({"agge": (0, 120)}, "has no column 'agge'; did you mean 'age'?"),
        ({7: (0, 120)}, "`X` has no column 7"),
        ({"age": (0, 1), 0: (0, 1)}, "column 0 twice"),
        (
            {"age": (0, 50)},
            r"1\d\d of 300 rows on or beyond the bounds of column 'age' \(in \(0, 50\)\)",
        ),
        ({"x": "circle"}, "a circle is not R"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            RelativeGradientFlow(**FEW, support=asked).fit(frame)
        assert "\n" not in str(error.value)
    for use in ("score_samples", "transform"):
        with pytest.raises(
            ValueError, match=r"1 of 1 rows on or beyond .* column 'age'.*first 121"
        ):
            getattr(by_name, use)(frame[:1].assign(age=121.0))


def test_clone_keeps_the_bounds(X):
    flow = RelativeGradientFlow(**FEW, support=SUPPORT)
    again = clone(flow.fit(X))
    assert again.get_params() == flow.get_params()
    np.testing.assert_array_equal(again.fit(X).score_samples(X), flow.score_samples(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_history_is_a_table(X, library):
    module = pytest.importorskip(library)
    flow = RelativeGradientFlow(**FEW | {"validation_fraction": 0.2}).fit(X)
    table = module.DataFrame(flow.history_)
    assert list(table.columns)[:5] == ["epoch", "t", "learning_rate", "eta", "train"]
    assert list(table["validation"]) == [entry.validation for entry in flow.history_]


def test_the_history_as_a_picture(X, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    flow = RelativeGradientFlow(**FEW | {"validation_fraction": 0.2}).fit(X)
    figure, ax = plt.subplots()
    assert flow.plot_history(ax) is ax
    drawn = {line.get_label(): line for line in ax.lines}
    assert {"training rows", "validation rows"} <= drawn.keys()
    np.testing.assert_array_equal(
        drawn["training rows"].get_xydata(), [(e.epoch, e.train) for e in flow.history_]
    )
    plt.close(figure)
    own = flow.plot_history()
    plt.close(own.figure)
    with pytest.raises(ValueError, match="there is no history"):
        RelativeGradientFlow(**FEW).partial_fit(X).plot_history()
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match="needs Matplotlib: pip install matplotlib"):
        flow.plot_history()
