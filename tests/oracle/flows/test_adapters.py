"""Models of torch, JAX and scikit-learn as arguments of check_flow."""

import numpy as np
import pytest

from relgrad_np import oracle

rng = np.random.default_rng(3)
X = rng.normal(size=(6, 3))


def jacobian_log_det(forward, x, h=1e-6):
    D = x.shape[1]
    columns = [(forward(x + h * e)[0] - forward(x - h * e)[0]) / (2 * h) for e in np.eye(D)]
    return np.linalg.slogdet(np.stack(columns, axis=-1))[1]


def coupling(torch, scale=1.0):
    class Coupling(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(1, 4)
            self.mask = torch.ones(2)  # no buffer: .double() forgets it

        def forward(self, x):
            s, t = self.net(x[:, :1]).chunk(2, 1)
            log_det = scale * (self.mask @ s.T)
            return torch.cat([x[:, :1], x[:, 1:] * s.exp() + t], 1), log_det

        def inverse(self, z):
            s, t = self.net(z[:, :1]).chunk(2, 1)
            return torch.cat([z[:, :1], (z[:, 1:] - t) / s.exp()], 1)

    return Coupling()


def stacked(torch, *layers):
    class Flow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)
            self.prior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))

        def forward(self, x):
            total = 0
            for layer in self.layers:
                x, log_det = layer(x)
                x, total = x.flip(1), total + log_det
            return x, total

        def log_prob(self, x):
            z, log_det = self(x)
            return self.prior.log_prob(z).sum(1) + log_det

        def sample(self, n):
            return torch.randn(n, 3)

    return Flow()


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    module.manual_seed(0)
    return module


def test_a_float64_copy_is_judged_and_the_module_is_left_alone(torch):
    made = stacked(torch, coupling(torch), coupling(torch))
    before = {key: x.clone() for key, x in made.state_dict().items()}
    given = oracle.from_torch(made, D=3)
    z, log_det = given["forward"](X)
    assert z.dtype == log_det.dtype == np.float64
    np.testing.assert_allclose(log_det, jacobian_log_det(given["forward"], X), atol=1e-8)
    np.testing.assert_allclose(given["base"](z) + log_det, given["log_prob"](X), atol=1e-12)
    single = given["in_float32"]["forward"](X)
    assert single[0].dtype == np.float32
    assert 0 < np.abs(single[0] - z).max() < 1e-5 * np.abs(z).max()
    given["parameters"]["layers.0.net.bias"][:] += 1  # a view of the copy's own
    assert np.abs(given["forward"](X)[0] - z).max() > 0.1
    assert made.training
    for key, x in made.state_dict().items():
        assert x.dtype == torch.float32
        assert torch.equal(x, before[key])


def test_parts_go_from_data_to_latent_with_what_reorders_columns_between(torch):
    given = oracle.from_torch(stacked(torch, coupling(torch), coupling(torch)), D=3)
    names = [name for name, *_ in given["parts"]]
    assert names[::2] == ["layers.0 (Coupling)", "layers.1 (Coupling)"]
    assert all("reordering" in name for name in names[1::2])
    x, total = X, 0
    for _, forward, inverse in given["parts"]:
        z, log_det = forward(x)
        back = inverse(z)
        np.testing.assert_allclose(back[0] if isinstance(back, tuple) else back, x, atol=1e-12)
        x, total = z, total + log_det
    whole = given["forward"](X)
    np.testing.assert_array_equal(x, whole[0])
    np.testing.assert_allclose(total, whole[1], atol=1e-14)


def test_a_planted_mistake_is_found_in_its_layer(torch):
    made = stacked(torch, coupling(torch), coupling(torch, scale=0.5))
    report = oracle.check_flow(**oracle.from_torch(made, D=3), laws=("jacobian", "parts"))
    assert not report.passed
    assert "part 'layers.1 (Coupling)': log|det J| is 1/2 times" in report.verdict


def test_gradients_and_products_with_the_jacobian_are_autograds(torch):
    given = oracle.from_torch(stacked(torch, coupling(torch)), D=3)
    found = given["gradient"](X)
    h, b = 1e-6, given["parameters"]["layers.0.net.bias"]
    assert set(found) == set(given["parameters"])
    for i in range(len(b)):
        values = []
        for step in (h, -2 * h):
            b[i] += step
            values.append(given["log_prob"](X).mean())
        b[i] += h
        np.testing.assert_allclose(
            (values[0] - values[1]) / (2 * h), found["layers.0.net.bias"][i], atol=1e-7
        )
    u = rng.normal(size=X.shape)
    along = [
        (given["forward"](X + h * e)[0] - given["forward"](X - h * e)[0]) / (2 * h)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(
        given["vjp"](X, u), np.stack([(a * u).sum(1) for a in along], 1), atol=1e-7
    )


def test_a_dense_matrix_counts_only_if_its_determinant_is_in_the_log_det(torch):
    class Dense(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.nn.Parameter(torch.randn(3, 3))
            self.free = torch.nn.Parameter(torch.randn(3, 3))

        def forward(self, x):
            y = x @ self.W.T
            shift = torch.tanh(torch.cat([y[:, :1], 0 * y[:, 1:]], 1) @ self.free.T)
            return torch.cat([y[:, :1], y[:, 1:] + shift[:, 1:]], 1), torch.linalg.slogdet(self.W)[
                1
            ]

    given = oracle.from_torch(Dense(), D=3)
    assert list(given["dense"]) == ["W"]
    W, G = given["dense"]["W"]
    np.testing.assert_allclose(G, np.linalg.inv(W).T, atol=1e-10)
    (row,) = oracle.check_flow(**given, laws=("jacobian",)).relative
    assert row["R_W"] == pytest.approx(np.linalg.norm(W), rel=1e-3)  # inv(W)' W'W = W


def test_an_actnorm_is_initialised_once_and_samples_are_new_at_each_call(torch):
    class Act(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.ready = torch.nn.Parameter(torch.zeros(3)), False

        def forward(self, x):
            if not self.ready:
                self.b.data = -x.detach().mean(0)
                self.ready = True
            return x + self.b, x.new_zeros(len(x))

    given = oracle.from_torch(stacked(torch, Act()), D=3)
    np.testing.assert_array_equal(given["forward"](X)[0][:2], given["forward"](X[:2])[0])
    state = torch.random.get_rng_state()
    one, two = given["sample"](4), given["sample"](4)
    assert not np.array_equal(one, two)
    assert torch.equal(state, torch.random.get_rng_state())


def test_torch_distributions_are_inverted_and_end_at_their_support(torch):
    td = torch.distributions
    base = td.Independent(td.Normal(torch.zeros(2), torch.ones(2)), 1)
    made = td.TransformedDistribution(
        base, [td.AffineTransform(1.0, -2.0), td.SigmoidTransform().inv.inv]
    )
    given = oracle.from_torch(made, D=2)
    assert given["parts"][0][0].startswith("transforms.1")
    assert ((given["X"] > 0) & (given["X"] < 1)).all()
    z, log_det = given["forward"](given["X"])
    np.testing.assert_allclose(
        log_det, jacobian_log_det(given["forward"], given["X"], 1e-7), atol=1e-5
    )
    np.testing.assert_allclose(given["base"](z) + log_det, given["log_prob"](given["X"]), atol=1e-6)
    assert given["log_prob"](np.array([[0.5, 2.0], [0.5, 0.5]]))[0] == -np.inf
    copied = oracle.from_torch(
        td.ComposeTransform([td.ExpTransform().inv]), D=2
    )  # deepcopy forgets it
    np.testing.assert_allclose(copied["forward"](np.ones((1, 2)))[0], 0)


@pytest.mark.parametrize(("make", "words"), [
    (lambda t: t.distributions.AbsTransform(), "not bijective"),
    (lambda t: t.distributions.StickBreakingTransform(), "makes 3 numbers of 2"),
    (lambda t: t.distributions.Poisson(t.ones(2)), "discrete"),
    (lambda t: t.nn.Linear(2, 2), "z alone"),
    (lambda t: t.nn.Linear(5, 2), "can't be called at rows of D = 2"),
    (lambda t: {"backward": abs}, "unknown function 'backward'"),
])  # fmt: skip
def test_what_is_no_flow_is_refused_in_one_line(torch, make, words):
    with pytest.raises(ValueError, match=words) as raised:
        oracle.from_torch(make(torch), D=2)
    assert "\n" not in str(raised.value)


def test_context_rows_are_bound_and_several_are_refused(torch):
    class Shifted(torch.nn.Module):
        def forward(self, inputs, context=None):
            return inputs + context, inputs.new_zeros(len(inputs))

    given = oracle.from_torch(Shifted(), D=3, context=[1.0, 2.0, 3.0])
    np.testing.assert_array_equal(given["forward"](X)[0], X + np.array([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="one row, got 2"):
        oracle.from_torch(Shifted(), D=3, context=np.ones((2, 3)))
    with pytest.raises(TypeError, match="`D` is missing"):
        oracle.from_torch(Shifted(), context=[1.0])


def test_jax_functions_of_rows_or_of_one_row_are_rebuilt_of_their_arrays():
    jax = pytest.importorskip("jax")
    W = rng.normal(size=(3, 3)).astype(np.float32)

    def one(parameters, x):
        return parameters["W"] @ x, jax.numpy.linalg.slogdet(parameters["W"])[1]

    given = oracle.from_jax(one, D=3, parameters={"W": W})
    z, log_det = given["forward"](X)
    assert z.dtype == np.float64
    np.testing.assert_allclose(z, X @ W.astype(float).T, atol=1e-12)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(W.astype(float))[1], atol=1e-12)
    ((name, given_W),) = given["parameters"].items()
    np.testing.assert_allclose(given["gradient"](X)[name], np.linalg.inv(given_W).T, atol=1e-10)
    given_W *= 2
    np.testing.assert_allclose(given["forward"](X)[0], 2 * z, atol=1e-12)
    with pytest.raises(ValueError, match="must return"):
        oracle.from_jax(lambda x: x, D=3)


def test_scikit_learn_draws_anew_whatever_the_random_state():
    mixture = pytest.importorskip("sklearn.mixture")
    made = mixture.GaussianMixture(2, random_state=0).fit(rng.normal(size=(80, 2)))
    given = oracle.from_sklearn(made)
    assert given["D"] == 2
    assert not np.array_equal(given["sample"](5), given["sample"](5))
    report = oracle.check_flow(**given, laws=("rows",))
    assert report.rows == "64 rows drawn by its sample(n)"  # not of an X that nobody gave
    given = oracle.from_sklearn(made, X=np.zeros((3, 2)))
    assert oracle.check_flow(**given, laws=("rows",)).rows == "3 rows of X"
    with pytest.raises(ValueError, match="isn't fitted"):
        oracle.from_sklearn(mixture.GaussianMixture())
    with pytest.raises(ValueError, match="no score_samples"):
        oracle.from_sklearn(object())
