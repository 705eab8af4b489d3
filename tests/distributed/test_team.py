"""`Team` is what the loop asks, and `Ranks` answers all of it."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.distributed.ranks import Ranks
from relgrad_np.fitting import loop
from relgrad_np.fitting.team import Team
from tests.doubles.communicator import Alike


def test_the_loop_asks_a_team_for_nothing_else_and_ranks_answer_it_all():
    methods = {name for name, _ in inspect.getmembers(Team, inspect.isfunction)}
    assert methods <= vars(Ranks).keys()
    asked = {
        node.attr
        for path in Path(loop.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and "team" in ast.unparse(node.value).split(".")[-1:]
    }
    assert asked == methods | {"rank"}


def test_the_loop_itself_takes_a_team_and_no_communicator():
    layers, X = (rg.Layer(np.eye(2), np.zeros(2)),), np.ones((3, 2))
    model = rg.activation("identity"), rg.density("normal")
    with pytest.raises(TypeError, match=r"`comm` must be a team, .* got Alike; only `relgrad_np"):
        loop.fit(layers, X, *model, rng=np.random.default_rng(0), comm=Alike(1))
    options = {"rng": np.random.default_rng(0), "epochs": 1}
    assert rg.fit(layers, X, *model, comm=Alike(1), **options).history[-1].t == 1
    assert loop.fit(layers, X, *model, comm=Ranks(Alike(1)), **options).history[-1].t == 1


def test_arguments_of_ranks_by_name():
    with pytest.raises(TypeError, match="`comm` must be an mpi4py communicator, got int"):
        Ranks(3)
    for name, value in (("exchange", "gossip"), ("shards", "mine"), ("check_every", 0)):
        with pytest.raises(ValueError, match=name):
            Ranks(Alike(2), **{name: value})
