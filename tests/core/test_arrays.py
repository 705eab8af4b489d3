"""What goes in decides what comes out: arrays of other libraries in the core, and their errors."""

import math

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.fitting.loop import fit
from relgrad_np.oracle import bounds
from relgrad_np.oracle.cases import PARAMS, generic

from ..kernels.leaves import leaves
from ..laws import recording
from ..laws.problems import EPS, convert, suited

ELSEWHERE = ("torch", "device1", "no_x64")  # device1 has float64, no_x64 neither that nor int64
ACT, DENS = rg.activation("smooth_leaky_relu"), rg.density("logistic")


@pytest.mark.parametrize("N", [5, 13])
@pytest.mark.parametrize(
    "rule", [rg.Plain(0.01), rg.Exponential(0.01), rg.Adam(0.01), rg.GroupAdam()]
)
def test_no_conversion_from_forward_to_tracker(rule, N):
    """An array that refuses to be converted, through everything that a step is made of."""
    p = generic(7, N, 11, 3)
    layers, X = recording.record(p.layers, p.X)
    tape = rg.forward(layers, X, p.activation)
    deltas = rg.backprop(layers, tape, *p.model)
    for side, bias in (("output", "augmented"), ("output", "separate"), ("input", "separate")):
        rg.relative_gradient(layers, tape, deltas, side=side, bias=bias)
    tracked = rg.Tracked(*(recording.wrap(part) for part in rg.track(p.layers)))
    state = rg.init_state(layers, rule)._replace(tracked=tracked if rule.tracks else None)
    for _ in range(3):
        state, info = rg.train_step(state, X, activation=p.activation, density=p.density, rule=rule)
    assert isinstance(info.rejected, recording.Recorded)
    assert isinstance(state.layers[0].W, recording.Recorded)


def test_mixed_libraries_and_devices_are_named():
    torch = pytest.importorskip("torch")
    p = generic(1, 5, 4, 2)
    with pytest.raises(TypeError, match="`X` is a torch array, `W of layer 0` a numpy array"):
        rg.forward(p.layers, torch.asarray(p.X), p.activation)
    there = convert(p, "device1")
    with pytest.raises(TypeError, match=r"`X` is on .*device1.*, `W of layer 0` on .*CPU_DEVICE"):
        rg.forward(convert(p, "strict").layers, there.X, p.activation)
    with pytest.raises(TypeError, match="`X` is a numpy array, `W of layer 0` a torch array"):
        fit(convert(p, "torch").layers, p.X, ACT, DENS, rng=np.random.default_rng(0))


def log_likelihood_in_torch(torch, layers, X, act, dens):
    """Mean log p by torch's own functions alone, for autograd to differentiate; leaky_tanh, sech."""
    a, b = act.params["alpha"], act.params["beta"]
    Z, total = X, 0.0
    for k, (W, c) in enumerate(layers):
        Y = torch.nn.functional.linear(Z, W, c)
        total = total + torch.linalg.slogdet(W)[1]
        Z = Y
        if k < len(layers) - 1:
            Z = torch.tanh(a * Y) + b * Y
            total = total + torch.log(a / torch.cosh(a * Y) ** 2 + b).sum(dim=1).mean()
    return total + (-torch.log(torch.cosh(Z)) - math.log(math.pi)).sum(dim=1).mean()


@pytest.mark.parametrize(("N", "D", "L"), [(5, 4, 3), (3, 6, 2), (7, 5, 1)])
def test_the_relative_gradient_is_torch_autograd_times_the_metric(N, D, L):
    """R~ = G~ W~' W~ with G from torch's autograd through slogdet."""
    torch = pytest.importorskip("torch")
    p = generic(4, N, D, L, "leaky_tanh", "sech")
    layers = tuple(
        rg.Layer(torch.tensor(W, requires_grad=True), torch.tensor(b, requires_grad=True))
        for W, b in p.layers
    )
    X = torch.tensor(p.X)
    value = log_likelihood_in_torch(torch, layers, X, p.activation, p.density)
    flat = torch.autograd.grad(value, [x for layer in layers for x in layer])
    own = tuple(rg.Layer(W.detach(), b.detach()) for W, b in layers)
    tape = rg.forward(own, X, p.activation)
    R = rg.relative_gradient(own, tape, rg.backprop(own, tape, *p.model))
    allowed = bounds.tolerances(p.layers, p.X, *p.model, EPS)
    for k, (W, b) in enumerate(p.layers):
        G = np.column_stack([flat[2 * k].numpy(), flat[2 * k + 1].numpy()])
        G = np.vstack([G, np.zeros(D + 1)])
        wide = np.block([[W, b[:, None]], [np.zeros(D), np.ones(1)]])
        want = (G @ wide.T @ wide)[:-1]
        slack = np.linalg.norm(wide, 2) ** 2  # what autograd's own rounding is multiplied by
        for name, got, true in (("W", R[k].W, want[:, :-1]), ("b", R[k].b, want[:, -1])):
            assert got.device == X.device
            assert got.dtype == X.dtype
            tolerance = allowed[f"R_{name} output augmented"][k]
            tolerance += slack * (allowed["G_W"][k] + allowed["G_b"][k]) * (D + 1)
            assert np.abs(got.numpy() - true).max() <= tolerance


def test_what_happens_to_autograd():
    """What computes a value cuts nothing on the way."""
    torch = pytest.importorskip("torch")
    p = generic(4, 5, 4, 2)
    layers = tuple(
        rg.Layer(torch.tensor(W, requires_grad=True), torch.tensor(b)) for W, b in p.layers
    )
    X = torch.tensor(p.X)
    tape = rg.forward(layers, X, p.activation)
    deltas = rg.backprop(layers, tape, *p.model)
    R = rg.relative_gradient(layers, tape, deltas)
    assert R[0].W.requires_grad
    value = rg.log_likelihood(layers, X, *p.model).mean
    (G_W,) = torch.autograd.grad(value, [layers[0].W])  # and it is the ordinary gradient
    detached = tuple(rg.Layer(W.detach(), b) for W, b in layers)
    tape = rg.forward(detached, X, p.activation)
    G = rg.ordinary_gradient(detached, tape, rg.backprop(detached, tape, *p.model))
    torch.testing.assert_close(G_W, G[0].W, rtol=1e-9, atol=1e-9)
    result = fit(layers, X, ACT, DENS, rng=np.random.default_rng(0), epochs=2, batch_size=2)
    assert not any(x.requires_grad for layer in result.layers for x in layer)
    assert layers[0].W.grad is None
    for x, want in ((X.requires_grad_(), torch.ones_like(X)), (layers[0].W, 0 * layers[0].W)):
        back = rg.inverse(layers, rg.forward(layers, X, p.activation).Zs[-1], p.activation)
        (found,) = torch.autograd.grad(back.sum(), [x])  # back is X, whatever W is
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)
    assert all(x.requires_grad for x in rg.sample(layers, np.random.default_rng(0), 3, *p.model))


@pytest.mark.parametrize(
    "rule",
    [rg.Plain(), rg.Exponential(), rg.Recipe(), rg.Natural(), rg.Adam(), rg.GroupAdam()],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("requiring", ["X", "layers", "weights"])
def test_no_graph_grows_from_step_to_step(rule, requiring):
    """With the graph of every step before it a fit of 400 steps took another 350 MB."""
    torch = pytest.importorskip("torch")
    p = generic(4, 25, 4, 2)
    layers = tuple(rg.Layer(torch.tensor(W), torch.tensor(b)) for W, b in p.layers)
    X, weights = torch.tensor(p.X), torch.ones(25, dtype=torch.float64)
    mine = {"X": [X], "weights": [weights], "layers": [x for layer in layers for x in layer]}
    for x in mine[requiring]:
        x.requires_grad_()
    model = {"activation": p.activation, "density": p.density}
    state = rg.init_state(layers, rule)
    for _ in range(3):
        state, info = rg.train_step(state, X, **model, rule=rule, weights=weights)
        assert not [x for _, x in leaves((state, info)) if getattr(x, "requires_grad", False)]
    assert all(x.requires_grad and x.grad is None for x in mine[requiring])


def test_no_graph_is_left_by_a_fit_or_a_start():
    torch = pytest.importorskip("torch")
    p = generic(4, 40, 4, 2)
    X, seen = torch.tensor(p.X, requires_grad=True), []
    layers = rg.init_layers(
        np.random.default_rng(0), 4, 2, kind="gaussianize", X=X, activation=p.activation
    )
    result = fit(
        layers, X, *p.model, rng=np.random.default_rng(0), epochs=2, batch_size=10, X_val=X[:9],
        callbacks=[lambda entry, state: seen.append(state)], track_inverse=True,
        transform=lambda rows, rng: rows * torch.ones(4, dtype=rows.dtype, requires_grad=True),
    )  # fmt: skip
    assert len(seen) == 2
    for tree in (layers, tuple(seen), result.layers, result.best_layers, result.tracked):
        assert not [x for _, x in leaves(tree) if getattr(x, "requires_grad", False)]
    assert X.requires_grad


@pytest.mark.parametrize("name", [name for name in PARAMS if rg.activation(name).onto])
@pytest.mark.parametrize("library", ELSEWHERE)
def test_inverse_and_sample_elsewhere(name, library):
    p = convert(suited(generic(2, 4, 5, 2, name, "logistic"), library), library)
    X, log_p = rg.sample(p.layers, np.random.default_rng(0), 3, *p.model)
    assert type(X) is type(p.X)
    assert X.dtype == log_p.dtype == p.X.dtype
    back = rg.log_likelihood(p.layers, X, *p.model).per_sample
    np.testing.assert_allclose(to_numpy(back), to_numpy(log_p), rtol=2e-3, atol=2e-3)
