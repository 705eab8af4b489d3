"""A rule of one's own, as docs/extend.md writes it: at the door, in a fit, on torch tensors."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np import extend
from relgrad_np.core.arrays import to_numpy

from ..laws.problems import EVERYWHERE, convert, generic

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="no docs beside an installed package")


def clipped():
    """The class of the page, made from its text."""
    section = PAGE.read_text().split("\n## A new rule")[1]
    block = re.findall(r"```python\n(.*?)```", section, re.S)[0]
    text = block[: block.index("\n\nrule = ")]
    assert len(text.splitlines()) < 60
    names = {"rg": rg, "np": np}
    exec(compile(text, str(PAGE), "exec"), names)
    return names["Clipped"]


def test_it_passes_the_door_and_fits():
    rule = extend.rule(clipped()(0.02))
    p = generic(3, 200, 4, 2, "leaky_tanh", "sech")
    result = rg.fit(
        p.layers, p.X, *p.model, rule=rule, rng=np.random.default_rng(0), epochs=10, batch_size=20
    )
    assert result.history[-1].train > result.history[0].train
    assert abs(result.history[-1].drift) < 1e-9


def test_the_clip_acts():
    rule = clipped()(0.02, clip=1e-3)
    p = generic(3, 20, 4, 2, "leaky_tanh", "sech")
    _, info = rg.train_step(
        rg.init_state(p.layers, rule), p.X, activation=p.activation, density=p.density, rule=rule
    )
    np.testing.assert_allclose(np.array(info.eta) * np.array(info.norms), 0.02 * 1e-3, rtol=1e-12)


@pytest.mark.parametrize("library", ["strict", "torch"])
def test_it_fits_arrays_of_another_library(library):
    rule, p = clipped()(0.02), generic(3, 60, 4, 2, "leaky_tanh", "sech")
    there = convert(p, library)
    results = [
        rg.fit(
            q.layers,
            q.X,
            *q.model,
            rule=rule,
            rng=np.random.default_rng(0),
            epochs=3,
            batch_size=20,
            implementation="reference",
        )
        for q in (p, there)
    ]
    for one, two in zip(results[0].layers, results[1].layers, strict=True):
        assert type(two.W) is type(EVERYWHERE[library](np.zeros(1)))
        np.testing.assert_allclose(to_numpy(two.W), one.W, rtol=1e-11, atol=1e-12)


class NoDataclass:
    """All that a rule has, but what `replace` needs."""

    learning_rate, kind, tracks, propose = 0.1, "plain", True, None


@pytest.mark.parametrize("bad", [3, NoDataclass(), rg.Plain, rg.Layer(np.eye(4), np.zeros(4))])
def test_what_is_no_rule_is_refused_by_name_at_both_doors(bad):
    p = generic(3, 20, 4, 2, "leaky_tanh", "sech")
    for door in (
        lambda: extend.rule(bad),
        lambda: rg.fit(p.layers, p.X, *p.model, rule=bad, rng=np.random.default_rng(0), epochs=1),
    ):
        with pytest.raises(TypeError, match="`rule` must be a frozen dataclass, got"):
            door()


class OverTheTop(rg.Plain):
    """A rule whose step sizes are NaN, on samples of which everything is finite."""

    def propose(self, state, tape, deltas):
        move = super().propose(state, tape, deltas)
        return move._replace(eta=tuple(np.nan * eta for eta in move.eta))


def test_a_fit_that_fails_by_the_rule_does_not_blame_the_samples():
    p = generic(3, 20, 4, 2, "leaky_tanh", "sech")
    with pytest.raises(rg.FitDivergedError, match=r"^the move is not finite at step 1;"):
        rg.fit(
            p.layers, p.X, *p.model, rule=OverTheTop(0.1), rng=np.random.default_rng(0), epochs=1
        )


@pytest.mark.parametrize(("proposed", "got"), [(None, "NoneType"), ((1, 2, 3), "tuple")])
def test_what_is_no_move_is_refused_by_name(proposed, got):
    @dataclass(frozen=True)
    class Own(rg.Plain):
        def propose(self, state, tape, deltas):
            return proposed

    p = generic(3, 20, 4, 2, "leaky_tanh", "sech")
    message = f"`Own.propose` must return a Move, got {got}"
    for door in (
        lambda: extend.rule(Own()),
        lambda: rg.fit(p.layers, p.X, *p.model, rule=Own(), rng=np.random.default_rng(0)),
        lambda: rg.train_step(
            rg.init_state(p.layers, Own()), p.X, activation=p.activation, density=p.density,
            rule=Own(),
        ),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            door()
