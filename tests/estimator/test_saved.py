"""One format of models for the estimator and the command line; whatever is in a file, no traceback."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.preprocessing import PolynomialFeatures

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.datasets import Reading, load
from relgrad_np.datasets.record import forward_given
from relgrad_np.datasets.transforms import Support
from relgrad_np.estimator import ConditionalFlow, FlowEnsemble, RelativeGradientFlow, RelativeICA
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
    "chosen": {"epochs": 1}
    | dict.fromkeys(
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


def test_a_flow_of_rows_of_load_is_saved_with_their_way_to_model_space(tmp_path, capsys):
    pd = pytest.importorskip("pandas")
    rng, path, scores = np.random.default_rng(0), tmp_path / "flow.npz", tmp_path / "scores.npy"
    u = rng.uniform(20, 30, 300)
    table = pd.DataFrame({"n": rng.poisson(40, 300), "x": 9 * rng.normal(size=300) + u, "u": u})
    table[["u", "x", "n"]].to_csv(tmp_path / "turned.csv", index=False)
    data = load(table, reading=Reading(dequantise=True))
    flow = RelativeGradientFlow(**FEW).fit(data.train)
    flow.save(path)  # it knows neither names nor units
    assert main(["evaluate", str(path), str(tmp_path / "turned.csv")]) == 0
    said = capsys.readouterr().err
    assert "no names of columns: those of the file go by position, u, x, n" in said
    assert "columns 0, 1, 2 are more than 10 standard deviations from the rows" in said
    flow.save(path, data)
    loaded = RelativeGradientFlow.load(path)
    Z, log_det = data.transforms.forward_with_log_det(table, np.random.default_rng(0))
    log_p = flow.score_samples(Z) + log_det
    np.testing.assert_allclose(loaded.score_samples(table), log_p, rtol=1e-9)
    assert (loaded.sample(9)[:, 0] % 1 == 0).all()
    assert main(["evaluate", str(path), str(tmp_path / "turned.csv"), "--scores", str(scores)]) == 0
    assert "note" not in capsys.readouterr().err
    np.testing.assert_allclose(np.load(scores)[:, 1], log_p, rtol=1e-9)
    given = load(table, reading=Reading(dequantise=True, given="u"))
    x, v = given.split(given.train)
    two = ConditionalFlow(RelativeGradientFlow(**FEW)).fit(x, context=v)
    two.save(path, given)
    some = table[:30]
    Z, log_det = forward_given(given.transforms, given.given, some, np.random.default_rng(0))
    np.testing.assert_allclose(
        ConditionalFlow.load(path).score_samples(some[["n", "x"]], context=some[["u"]]),
        two.score_samples(Z[:, :2], context=Z[:, 2:]) + log_det,
        rtol=1e-9,
    )
    with pytest.raises(ValueError, match="3 columns and 0 given ones, and the flow 2 and 1"):
        two.save(path, data)
    with pytest.raises(TypeError, match="`data` must be what load returned, got ndarray"):
        flow.save(path, data.train)
    with pytest.raises(ValueError, match="give the bounds to load alone"):
        RelativeGradientFlow(**FEW, support={0: (-99, None)}).fit(data.train).save(path, data)


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


def test_a_flow_of_a_rule_of_your_own_is_saved_as_the_message_says(X, tmp_path):
    class Mine(rg.Plain):
        pass

    own = RelativeGradientFlow(**FEW | {"rule": Mine()}).fit(X)
    with pytest.raises(ValueError, match=r"Mine, .* set_params\(rule=...\) to the name of a rule"):
        own.save(tmp_path / "own.npz")
    for name in ("plain", "auto"):
        own.set_params(rule=name).save(tmp_path / "own.npz")
        again = RelativeGradientFlow.load(tmp_path / "own.npz")
        np.testing.assert_array_equal(again.score_samples(X), own.score_samples(X))
        again.partial_fit(X)
    pair = ConditionalFlow(RelativeGradientFlow(**FEW | {"rule": Mine()})).fit(
        X[:, :1], context=X[:, 1:]
    )
    with pytest.raises(ValueError, match=r"flow_.set_params\(rule=...\)"):
        pair.save(tmp_path / "pair.npz")
    pair.flow_.set_params(rule="recipe")
    pair.save(tmp_path / "pair.npz")


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
        {"estimator": {"params": {}, "history_": [{"a": 1}]}}, Support((0.0,), (1.0,), (0.0,)),
    ],
)  # fmt: skip
def test_a_model_whose_config_is_no_flow_is_refused_in_one_line(tmp_path, config):
    path = tmp_path / "flow.npz"
    layers = (rg.Layer(np.eye(3), np.zeros(3)),)
    chain = (config,) if isinstance(config, Support) else ()
    parts = rg.activation("identity"), rg.density("normal"), rg.Chain(chain)
    rg.save(path, rg.Model(layers, *parts, {} if chain else config))
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


def sources(n=400):
    rng = np.random.default_rng(0)
    S = np.c_[rng.laplace(size=n), rng.uniform(-1, 1, n), rng.standard_normal(n)]
    return S @ rng.standard_normal((3, 3)) + 5


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ({}, "f4"), ({}, "f8"), ({"density": "extended", "n_components": 2}, "f8"),
        ({"density": rg.density("student_t", nu=4.0), "w_init": np.eye(3)}, "f8"),
    ],
)  # fmt: skip
def test_an_unmixing_that_is_saved_comes_back(tmp_path, kind, dtype):
    X, path = sources().astype(dtype), tmp_path / "ica.npz"
    for stream in (False, True):
        if stream and "n_components" in kind:
            continue
        ica = RelativeICA(random_state=0, **kind)
        ica = ica.partial_fit(X) if stream else ica.fit(X)
        ica.save(path)
        again = RelativeICA.load(path)
        np.testing.assert_array_equal(again.transform(X), ica.transform(X))
        np.testing.assert_array_equal(again.score_samples(X), ica.score_samples(X))
        S = ica.transform(X)
        np.testing.assert_array_equal(again.inverse_transform(S), ica.inverse_transform(S))
        for name in ("densities_", "n_iter_", "converged_", "log_likelihood_", "n_features_in_"):
            assert getattr(again, name) == getattr(ica, name)
        for name, values in ica.diagnostics_.items():
            np.testing.assert_array_equal(again.diagnostics_[name], values)
        for (name, one), other in zip(
            ica.get_params().items(), again.get_params().values(), strict=True
        ):
            assert str(getattr(one, "params", one)) == str(getattr(other, "params", other)), name
        if not stream and "n_components" not in kind:  # a stream goes on as after the fit itself
            parts = [one.partial_fit(X).components_ for one in (ica, again)]
            np.testing.assert_array_equal(*parts)


def test_files_of_one_kind_are_not_taken_for_the_other(X, tmp_path):
    pd = pytest.importorskip("pandas")
    flow, ica = tmp_path / "flow.npz", tmp_path / "ica.npz"
    RelativeGradientFlow(**FEW).fit(X).save(flow)
    fitted = RelativeICA().fit(pd.DataFrame(sources(), columns=NAMES))
    fitted.save(ica)
    assert list(RelativeICA.load(ica).feature_names_in_) == NAMES
    with pytest.raises(
        ValueError, match=r"`.*ica.npz` is not a .* model: it is a linear ICA, not a model"
    ):
        RelativeGradientFlow.load(ica)
    with pytest.raises(
        ValueError, match=r"`.*flow.npz` is no model of RelativeICA: it is a model, not a linear"
    ):
        RelativeICA.load(flow)
    ica.write_bytes(ica.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ica.npz` is no model of RelativeICA") as error:
        RelativeICA.load(ica)
    assert "\n" not in str(error.value)
    with pytest.raises(
        ValueError, match="`random_state` is a RandomState, which a model file can't"
    ):
        fitted.set_params(random_state=np.random.RandomState(0)).save(ica)


def test_an_ensemble_has_bounds_and_comes_back(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "ensemble.npz"
    X = rng.beta(0.7, 2, size=(160, 1)) * 4
    model = FlowEnsemble(seconds=1e-3, random_state=0, support={0: (0, 4)}).fit(X)
    u = np.linspace(-25, 25, 3001)
    s = 1 / (1 + np.exp(-u))
    log_p = model.score_samples(4 * s[:, None])
    assert (np.exp(log_p) * 4 * s * (1 - s)).sum() * (u[1] - u[0]) == pytest.approx(1, abs=2e-3)
    drawn = model.sample(2000)
    assert ((drawn > 0) & (drawn < 4)).all()
    model.save(path)
    again = FlowEnsemble.load(path)
    assert again.get_params() == model.get_params()
    assert again.settings_ == model.settings_
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(
        again.sample(50, random_state=1), model.sample(50, random_state=1)
    )
    with pytest.raises(ValueError, match="on or beyond the bounds"):
        again.score_samples([[4.0]])
    with pytest.raises(
        ValueError, match=r"ensemble.npz` .* it is a mean of densities, not a model"
    ):
        RelativeGradientFlow.load(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"ensemble.npz` is no model of FlowEnsemble"):
        FlowEnsemble.load(path)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_a_conditional_flow_that_is_saved_comes_back(X, tmp_path, dtype):
    pd = pytest.importorskip("pandas")
    path, wanted = (
        tmp_path / "conditional.npz",
        RelativeGradientFlow(**FEW, support={"age": (0, 120)}),
    )
    x, u = pd.DataFrame(X[:, :2], columns=NAMES[:2]).astype(dtype), np.c_[X[:, 2:], np.ones(len(X))]
    model = ConditionalFlow(wanted).fit(x, context=u)  # the second column says nothing
    model.save(path)
    again = ConditionalFlow.load(path)
    assert again.get_params()["flow__support"] == {"age": (0, 120)}
    assert again.context_names_in_ is None
    np.testing.assert_array_equal(
        again.score_samples(x, context=u), model.score_samples(x, context=u)
    )
    np.testing.assert_array_equal(again.sample(9, context=u[:3]), model.sample(9, context=u[:3]))
    assert again.history_ == model.history_
    assert list(again.feature_names_in_) == NAMES[:2]
    with pytest.raises(ValueError, match="`context` must have 2 columns, got 1"):
        again.predict([[1.0]])
    again.fit(x, context=u)
    np.testing.assert_array_equal(again.predict(u[:2]), model.predict(u[:2]))


def test_conditional_flows_are_not_taken_for_others(X, tmp_path):
    pd = pytest.importorskip("pandas")
    path, plain, few = (
        tmp_path / "conditional.npz",
        tmp_path / "flow.npz",
        RelativeGradientFlow(**FEW),
    )
    model = ConditionalFlow(few).fit(X[:, :1], context=pd.DataFrame(X[:, 1:], columns=["u", "v"]))
    model.save(path)
    assert ConditionalFlow.load(path).context_names_in_ == ("u", "v")
    RelativeGradientFlow(**FEW).fit(X).save(plain)
    with pytest.raises(
        ValueError,
        match=r"conditional.npz` is no model of RelativeGradientFlow: it is conditional: C",
    ):
        RelativeGradientFlow.load(path)
    with pytest.raises(
        ValueError, match=r"flow.npz` is no model of ConditionalFlow: it knows of no context: Rel"
    ):
        ConditionalFlow.load(plain)
    for change in (
        {"context": None},
        {"context": {"columns": ["u"], "mean": [0, 0], "std": [1, 1]}},
    ):
        found = rg.load(path)
        rg.save(path, found._replace(config=found.config | change))
        with pytest.raises(
            ValueError, match=r"conditional.npz` is no model of ConditionalFlow: it"
        ) as error:
            ConditionalFlow.load(path)
        assert "\n" not in str(error.value)
    curved = ConditionalFlow(few, features=PolynomialFeatures(2)).fit(X[:, :1], context=X[:, 1:])
    with pytest.raises(
        ValueError,
        match="`features` is a PolynomialFeatures, which a model file can't hold: pickle",
    ):
        curved.save(tmp_path / "curved.npz")
    assert not (tmp_path / "curved.npz").exists()
