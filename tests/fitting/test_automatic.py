"""Settings that the rows choose: what holds for any N and D, and what is asked for holds."""

import itertools

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting import automatic
from relgrad_np.fitting.automatic import choose_settings, several_settings, validation_share

SHAPES = list(itertools.product((10, 60, 150, 1000, 20_000, 10**6), (1, 2, 5, 13, 60, 784)))


@pytest.mark.parametrize(("N", "D"), SHAPES)
def test_a_net_has_no_more_numbers_than_rows_where_principal_axes_start_it(N, D):
    made = choose_settings(N, D)
    P = made.n_layers * D * (D + 1)
    if made.init == "principal":
        assert min(N, 1500) >= P
        if made.n_layers < 32:  # the deepest that the rows bear
            assert min(N, 1500) < 2 * P
    else:
        assert made.rule == "recipe"
    assert made.patience >= 30
    L = 1 if max(40, 3 * D) >= N else 2  # without validation rows, as fit has it
    assert choose_settings(N, D, held=False)[:4] == (L, "recipe", "gaussianize", "normal")
    for one in several_settings(N, D):
        assert one.init != "principal" or one.n_layers * D * (D + 1) <= N


@pytest.mark.parametrize(("N", "D"), [(150, 4), (2000, 2), (30_000, 6), (500, 30)])
def test_what_is_asked_for_holds_and_the_rest_follows(N, D):
    given = {"n_layers": 3, "rule": "natural", "density": "sech", "batch_size": 77, "patience": 5}
    made = choose_settings(N, D, epochs=9, seconds=1e-3, **given)
    assert {name: getattr(made, name) for name in given} == given
    assert made.epochs == 9
    assert made.init == "principal"
    assert choose_settings(N, D, n_layers="auto", rule="auto") == choose_settings(N, D)
    assert choose_settings(N, D, activation="leaky_tanh").alpha is None
    plain = choose_settings(N, D, rule="plain")
    assert plain[:4] == (2, "plain", "gaussianize", "normal")
    assert plain.patience is None


@pytest.mark.parametrize(("N", "D"), [(1000, 2), (30_000, 6), (500, 30), (100_000, 2)])
def test_time_is_kept_by_fewer_epochs_and_then_by_fewer_layers(N, D):
    before = choose_settings(N, D)
    for seconds in (before.seconds, before.seconds / 2, before.seconds / 10, before.seconds / 100):
        made = choose_settings(N, D, seconds=seconds)
        assert made.seconds <= seconds * (1 + 1e-9) or made.epochs == 1
        assert made.n_layers <= before.n_layers
        fewer = made.epochs < before.epochs or made.n_layers < before.n_layers
        assert fewer or made == before
        assert made.cut == (fewer or before.cut)
        before = made


def test_too_much_that_is_asked_for_is_refused_by_name():
    for name, value in {"n_layers": 0, "epochs": 0, "batch_size": -1, "rule": "sgd"}.items():
        with pytest.raises(ValueError, match=name):
            choose_settings(100, 2, **{name: value})


def test_rows_that_are_held_leave_enough_to_fit():
    for N, D in SHAPES:
        share = validation_share(N, D)
        assert share is None or not automatic.few(N - int(np.ceil(share * N)), D)


def test_a_principal_start_of_more_numbers_than_rows_is_warned_of():
    """On other rows of the same kind it explodes."""
    rng = np.random.default_rng(0)
    X, other = rng.standard_normal((2, 100, 12))
    model = rg.activation("smooth_leaky_relu"), rg.density("student_t")
    with pytest.warns(UserWarning, match="`init` 'principal' makes .* = 4,992 numbers of 100 rows"):
        layers = rg.init_layers(rng, 12, 32, kind="principal", X=X, activation=model[0])
    assert rg.log_likelihood(layers, other, *model).mean < -100  # the Gaussian: -19
    rg.init_layers(rng, 12, 1, kind="principal", X=X, activation=model[0])


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), "2"])
def test_seconds_must_be_positive(seconds):
    with pytest.raises((TypeError, ValueError), match="`seconds` must be"):
        choose_settings(2000, 2, seconds=seconds)
