"""One format of models for the estimator and the command line; whatever is in a file, no traceback."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.datasets import load
from relgrad_np.estimator import RelativeGradientFlow
from tests.estimator.test_support import FEW, SUPPORT

NAMES = ["age", "income", "x"]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return np.stack([120 * rng.beta(2, 3, 200), rng.exponential(size=200), rng.normal(size=200)], 1)


PARAMS = {
    "names": {},
    "bounds": {"support": SUPPORT},
    "numbers": {"n_layers": np.int64(1), "learning_rate": np.float64(0.1), "tol": 1e-3},
    "parts": {
        "rule": rg.Plain(0.02),
        "activation": rg.activation("leaky_tanh", alpha=0.7, beta=0.2),
    },
    "density": {"density": rg.density("student_t", nu=4.0), "validation_fraction": 0.2},
    "chosen": dict.fromkeys(
        ["n_layers", "rule", "activation", "density", "init", "batch_size", "patience"], "auto"
    ),
}


@pytest.mark.parametrize(("kind", "dtype"), [*((kind, "f8") for kind in PARAMS), ("bounds", "f4")])
def test_what_is_saved_comes_back(X, tmp_path, kind, dtype):
    X, path = X.astype(dtype), tmp_path / "flow.npz"
    flow = RelativeGradientFlow(**FEW | PARAMS[kind]).fit(X)
    flow.save(path)
    again = RelativeGradientFlow.load(path)
    for one, other in zip(flow.get_params().items(), again.get_params().items(), strict=True):
        same = [getattr(value, "params", value) for value in (one[1], other[1])]
        assert same[0] == same[1], one
    np.testing.assert_array_equal(again.score_samples(X), flow.score_samples(X))
    np.testing.assert_array_equal(again.sample(9), flow.sample(9))
    assert again.transform(X).dtype == dtype
    assert again.history_ == flow.history_
    assert again.settings_.words == flow.settings_.words
    for name in ("n_iter_", "best_epoch_", "stop_reason_", "xi_", "n_features_in_"):
        assert getattr(again, name) == getattr(flow, name)
    np.testing.assert_array_equal(again.get_feature_names_out(), flow.get_feature_names_out())
    assert b"pickle" not in path.read_bytes()
    again.partial_fit(X)
    assert (again.layers_[0].W != flow.layers_[0].W).any()


def test_names_of_columns_are_kept(X, tmp_path):
    pd = pytest.importorskip("pandas")
    frame, path = pd.DataFrame(X, columns=NAMES), tmp_path / "flow.npz"
    RelativeGradientFlow(**FEW, support={"age": (0, 120)}).fit(frame).save(path)
    again = RelativeGradientFlow.load(path)
    assert list(again.feature_names_in_) == NAMES
    assert again.support == {"age": (0, 120)}
    with pytest.raises(ValueError, match="feature names"):
        again.score(frame[NAMES[::-1]])


def test_the_command_line_and_the_estimator_read_each_other(X, tmp_path, capsys):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=NAMES)
    data, out = tmp_path / "my.csv", tmp_path / "run"
    frame.to_csv(data, index=False)
    few = [
        "--layers",
        "1",
        "--rule",
        "plain",
        "--epochs",
        "1",
        "--no-pictures",
        "--dtype",
        "float32",
    ]
    assert main(["train", str(data), "--out", str(out), "--support", "age=0:120", *few]) == 0
    flow = RelativeGradientFlow.load(out / "model.npz")
    assert (flow.n_layers, flow.rule, flow.epochs) == (1, "plain", 1)
    assert flow.support == {"age": (0.0, 120.0)}
    capsys.readouterr()

    def mean(model):
        scores = tmp_path / f"{model.name}.scores.npy"
        assert main(["evaluate", str(model), str(data), "--scores", str(scores)]) == 0
        return np.load(scores)[:, 1]

    np.testing.assert_allclose(flow.score_samples(frame), mean(out), rtol=1e-12)
    again = RelativeGradientFlow.load(out)  # the folder itself
    np.testing.assert_array_equal(again.score_samples(frame), flow.score_samples(frame))
    flow.fit(frame)  # with the parameters of the run
    saved = tmp_path / "flow.npz"
    flow.save(saved)
    np.testing.assert_allclose(mean(saved), flow.score_samples(frame), rtol=1e-12)
    drawn = tmp_path / "drawn.csv"
    assert main(["sample", str(saved), "-n", "50", "--out", str(drawn)]) == 0
    table = pd.read_csv(drawn)
    assert list(table.columns) == NAMES
    assert table["age"].between(0, 120, inclusive="neither").all()
    assert main(["evaluate", str(saved)]) == 2
    assert "a model's file has no test rows beside it" in capsys.readouterr().err


def test_images_of_the_command_line(tmp_path):
    """A chain with noise in it: scores of the pixels, and samples that are pixels."""
    layers = (rg.Layer(np.eye(64), np.zeros(64)),)
    parts = rg.activation("identity"), rg.density("normal"), load("digits").transforms
    rg.save(tmp_path / "model.npz", rg.Model(layers, *parts, {"layers": 1}))
    flow, pixels = RelativeGradientFlow.load(tmp_path), rg.datasets.digits()[:20]
    assert flow.score(pixels) == flow.score(pixels)
    Z, log_det = parts[2].forward_with_log_det(pixels, np.random.default_rng(0))
    assert flow.score(pixels) == pytest.approx((parts[1].log_prob(Z).sum(1) + log_det).mean())
    assert set(flow.sample(3).ravel()) <= set(range(17))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"random_state": np.random.RandomState(0)}, "`random_state` is a RandomState"),
        ({"implementation": rg.train_step}, "`implementation` is a function"),
    ],
)
def test_what_a_file_cannot_hold_is_named(X, tmp_path, params, message):
    flow = RelativeGradientFlow(**FEW).fit(X).set_params(**params)
    with pytest.raises(ValueError, match=message + ", which a model file can't hold"):
        flow.save(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="not fitted"):
        RelativeGradientFlow(**FEW).save(tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_damaged_and_other_files_are_refused_in_one_line(X, tmp_path):
    path, bad = tmp_path / "flow.npz", tmp_path / "bad.npz"
    RelativeGradientFlow(**FEW, support=SUPPORT).fit(X).save(path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    unharmed = 0
    for k in range(80):
        some = bytearray(data)
        if k % 2:
            some = some[: rng.integers(len(some))]
        else:
            some[rng.integers(len(some))] ^= 1 << rng.integers(8)
        bad.write_bytes(some)
        try:
            RelativeGradientFlow.load(bad)
            unharmed += 1
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "bad.npz" in str(error)  # noqa: PT017
    assert unharmed < 8  # bits of the archive that nobody reads
    bad.write_bytes(pickle.dumps(X))
    with pytest.raises(ValueError, match=r"bad.npz` is not a relgrad_np model"):
        RelativeGradientFlow.load(bad)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RelativeGradientFlow.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    "config",
    [
        {"estimator": 3}, {"estimator": {"params": {"foo": 1}}}, {"columns": ["a"]},
        {"estimator": {"params": {"rule": {"rule": "os", "fields": {}}}}},
        {"estimator": {"params": {"support": {"support": 3}}}},
        {"estimator": {"params": {}, "history_": [{"a": 1}]}},
    ],
)  # fmt: skip
def test_a_model_whose_config_is_no_flow_is_refused_in_one_line(tmp_path, config):
    path = tmp_path / "flow.npz"
    layers = (rg.Layer(np.eye(3), np.zeros(3)),)
    parts = rg.activation("identity"), rg.density("normal"), rg.Chain(())
    rg.save(path, rg.Model(layers, *parts, config))
    with pytest.raises(
        ValueError, match=r"flow.npz` is no model of RelativeGradientFlow: "
    ) as error:
        RelativeGradientFlow.load(path)
    assert "\n" not in str(error.value)


def test_any_model_of_the_package_is_a_flow(X, tmp_path):
    path, flow = tmp_path / "flow.npz", RelativeGradientFlow(**FEW).fit(X)
    flow.save(path)
    rg.save(path, rg.load(path)._replace(config={"seed": 3}))
    again = RelativeGradientFlow.load(path)
    assert again.score(X) == flow.score(X)
    assert (again.random_state, again.n_layers) == (3, 2)
