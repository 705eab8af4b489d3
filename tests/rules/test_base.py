"""The one place that decides: what is not finite is rejected, and then the old state stays, bit by bit."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.steps import apply_step
from relgrad_np.core.tracking import track_step
from relgrad_np.core.trees import all_finite
from relgrad_np.rules import base
from relgrad_np.rules.base import Move, make_move

from ..core.test_trees import arrays, same
from ..laws.problems import LIBRARIES, convert, generic

BAD = (np.nan, np.inf, -np.inf)
RULE = rg.Plain(0.05)
libraries = pytest.mark.parametrize("library", ["numpy", "strict"])


class Step(NamedTuple):
    """All that `make_move` is given."""

    state: rg.State
    move: Move
    L_p: object
    L_J1: object

    def made(self):
        return make_move(self.state, RULE, self.move, self.L_p, self.L_J1)


def step(library="numpy"):
    """A plain step of two layers, and a rule's state of several arrays with a None among them."""
    p, to = convert(generic(2, 5, 4, 2), library), LIBRARIES[library]
    tape = rg.forward(p.layers, p.X, p.activation)
    deltas = rg.backprop(p.layers, tape, *p.model)
    remembered = ((to(np.ones(3)), None), (to(np.zeros((2, 2))), to(np.float64(1.0))))
    state = rg.init_state(p.layers, RULE, inverse=True)._replace(rule_state=remembered, t=7)
    after = ((to(np.full(3, 2.0)), None), (to(np.ones((2, 2))), to(np.float64(0.5))))
    move = RULE.propose(state, tape, deltas)._replace(rule_state=after)
    return Step(state, move, to(np.float64(-3.0)), to(np.float64(0.5)))


def spoilt(x, bad):
    """The array with one number that is not finite, its last one."""
    values = np.array(to_numpy(x))
    values.reshape(-1)[-1] = bad
    return LIBRARIES["numpy" if isinstance(x, (np.ndarray, np.generic)) else "strict"](values)


def second(parts, bad):
    """A tuple whose second entry is spoilt."""
    return (parts[0], spoilt(parts[1], bad))


def in_direction(move, **changed):
    one, two = move.directions
    changed = {name: spoilt(getattr(two, name), bad) for name, bad in changed.items()}
    return move._replace(directions=(one, two._replace(**changed)))


def in_state(s, bad):
    tracked = s.state.tracked
    return s.state._replace(tracked=tracked._replace(logdet=spoilt(tracked.logdet, bad)))


PARTS = {
    "L_p": lambda s, bad: s._replace(L_p=spoilt(s.L_p, bad)),
    "L_J1": lambda s, bad: s._replace(L_J1=spoilt(s.L_J1, bad)),
    "L_J2": lambda s, bad: s._replace(state=in_state(s, bad)),
    "eta": lambda s, bad: s._replace(move=s.move._replace(eta=second(s.move.eta, bad))),
    "norms": lambda s, bad: s._replace(move=s.move._replace(norms=second(s.move.norms, bad))),
    "rule state, an array": lambda s, bad: s._replace(
        move=s.move._replace(
            rule_state=((spoilt(s.move.rule_state[0][0], bad), None), s.move.rule_state[1])
        )
    ),
    "rule state, a number": lambda s, bad: s._replace(
        move=s.move._replace(rule_state=(s.move.rule_state[0], second(s.move.rule_state[1], bad)))
    ),
    "W of the new layers": lambda s, bad: s._replace(move=in_direction(s.move, A=bad)),
    "b of the new layers": lambda s, bad: s._replace(move=in_direction(s.move, u=bad)),
}


def accepted(library="numpy"):
    """Those of the parts above, spoilt in any of three ways, with which a step is made all the same."""
    found = set()
    for part, spoil in PARTS.items():
        for bad in BAD:
            with np.errstate(all="ignore"):
                _, info = spoil(step(library), bad).made()
            if not bool(info.rejected):
                found.add(part)
    return found


@libraries
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_rejects_the_step_and_the_old_state_stays(part, bad, library):
    s = PARTS[part](step(library), bad)
    with np.errstate(all="ignore"):
        after, info = s.made()
    assert bool(info.rejected)
    same(after[:3], s.state[:3])
    assert after.t == s.state.t + 1
    assert [float(e) for e in info.eta] == [0.0, 0.0]
    assert len(arrays(after.layers)) == 4


@libraries
def test_a_finite_move_is_made_as_it_was_proposed(library):
    s = step(library)
    after, info = s.made()
    assert not bool(info.rejected)
    new = apply_step(s.state.layers, s.move.directions, s.move.eta, kind="plain")
    tracked = track_step(s.state.tracked, s.move.directions, s.move.eta, kind="plain")
    same(after[:3], (new, s.move.rule_state, tracked))
    assert after.t == 8
    assert [float(e) for e in info.eta] == [float(e) for e in s.move.eta]
    same(info.norms, s.move.norms)
    assert float(info.L_J2) == pytest.approx(float(np.sum(to_numpy(s.state.tracked.logdet))))
    assert float(info.log_likelihood) == pytest.approx(-2.5 + float(info.L_J2), rel=1e-14)


def test_without_a_tracker_the_objective_is_that_of_the_data():
    s = step()
    s = s._replace(state=s.state._replace(tracked=None))
    after, info = s.made()
    assert after.tracked is info.L_J2 is info.log_likelihood is None
    assert not bool(info.rejected)
    _, info = s._replace(L_p=np.float64(np.nan)).made()
    assert bool(info.rejected)


LEFT_OUT = {
    "norms": {"norms"},
    "rule state": {"rule state, an array", "rule state, a number"},
    "layers": {"W of the new layers", "b of the new layers"},
}


@pytest.mark.parametrize("check", LEFT_OUT)
def test_a_check_that_is_left_out_is_seen(check, monkeypatch):
    """Each of them is needed; of eta the layers tell, too."""
    assert accepted() == set()

    def careless(xp, tree):
        names = ["eta", "norms", "rule state"] if len(tree) == 3 else ["layers", "tracker"]
        return all_finite(xp, tuple(x for n, x in zip(names, tree, strict=True) if n != check))

    monkeypatch.setattr(base, "all_finite", careless)
    assert accepted() == LEFT_OUT[check]


@pytest.mark.parametrize("lost", ["layers", "rule state", "tracker"])
def test_a_part_of_the_old_state_that_is_lost_is_seen(lost, monkeypatch):
    """The mistake: where a step is rejected, one part of the new state is returned."""
    place = ["layers", "rule state", "tracker"].index(lost)
    keep = base.keep

    def careless(xp, finite, new, old):
        kept = keep(xp, finite, new, old)
        return (*kept[:place], new[place], *kept[place + 1 :])

    monkeypatch.setattr(base, "keep", careless)
    s = PARTS["b of the new layers"](step(), np.nan)
    after, info = s.made()
    assert bool(info.rejected)
    with pytest.raises(AssertionError):
        same(after[:3], s.state[:3])


RULES = (
    rg.Plain(),
    rg.Exponential(),
    rg.Recipe(),
    rg.Recipe(kind="plain"),
    rg.Scalar(),
    rg.Natural(),
    rg.Adam(),
    rg.GroupAdam(),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{type(rule).__name__}-{rule.kind}")
def test_a_rejected_step_changes_nothing(rule):
    """A row that is not a number in the second batch of every rule."""
    p = generic(1, 20, 3, 2)
    options = {"activation": p.activation, "density": p.density, "rule": rule}
    state, _ = rg.train_step(rg.init_state(p.layers, rule), p.X, **options)
    with np.errstate(all="ignore"):
        after, info = rg.train_step(state, np.where(np.arange(3) == 1, np.nan, p.X), **options)
    assert bool(info.rejected)
    same(after[:3], state[:3])
    assert all(float(e) == 0 for e in info.eta)


def test_huge_weights_in_float32_are_rejected_not_spread():
    W = np.full((3, 3), 5e19, "f4") + np.eye(3, dtype="f4") * 5e19
    layers = (rg.Layer(W, np.zeros(3, "f4")),)
    rule, X = rg.Plain(0.3), generic(0, 20, 3, 1, dtype="float32").X
    model = {"activation": rg.activation("identity"), "density": rg.density("sech")}
    with np.errstate(all="ignore"):
        state, info = rg.train_step(rg.init_state(layers, rule), X, **model, rule=rule)
    assert bool(info.rejected)
    assert np.array_equal(state.layers[0].W, W)


def test_a_step_that_makes_W_singular_is_rejected(monkeypatch):
    """xi = -8, eta = 1/8, exactly: W+ = (1 + eta xi) W = 0, and log|det W+| is -inf."""

    @dataclass(frozen=True)
    class Uncapped(rg.Plain):
        def propose(self, state, tape, deltas):
            move = super().propose(state, tape, deltas)
            return move._replace(eta=(np.asarray(0.125),), bound=None)

    layers, rule = (rg.Layer(np.array([[1.0]]), np.zeros(1)),), Uncapped()
    state = rg.init_state(layers, rule)
    model = {"activation": rg.activation("identity"), "density": rg.density("normal"), "rule": rule}
    X = np.full((1, 1), 3.0)  # xi = 1 - 9
    with np.errstate(all="ignore"):
        after, info = rg.train_step(state, X, **model)
        monkeypatch.setattr(base, "all_finite", lambda xp, tree: all_finite(xp, tree[:1]))
        _, careless = rg.train_step(state, X, **model)  # does not look at the tracker
    assert info.rejected
    assert after.layers[0].W == 1.0
    assert np.isfinite(after.tracked.logdet).all()
    assert not careless.rejected
