"""No record of the package floods a screen with its arrays."""

from typing import NamedTuple

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np import datasets

RECORDS = {
    name: one
    for module in (rg, datasets)
    for name, one in vars(module).items()
    if name in module.__all__ and hasattr(one, "_fields") and name != "Epoch"  # numbers alone
}
LARGE = np.random.default_rng(0).standard_normal((300, 40))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_large_arrays_takes_a_few_lines(name):
    kind = RECORDS[name]
    lines = repr(kind._make([LARGE] * len(kind._fields))).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 96
    assert "(300, 40) float64" in " ".join(" ".join(lines).split())


class Planted(NamedTuple):
    """A record that is shown as a NamedTuple is."""

    X: np.ndarray


def test_what_flows_over_is_seen():
    assert len(repr(Planted(np.ones((300, 2)))).splitlines()) > 10
    with_names = datasets.load(np.c_[LARGE, LARGE**2])._replace(columns=tuple("a" * 80))
    for value in (with_names, with_names.transforms, (with_names.transforms,) * 3):
        assert len(repr(value).splitlines()) <= 10


def test_small_arrays_are_shown_as_they_are():
    layer = rg.Layer(np.eye(2), np.zeros(2))
    assert eval(repr(layer), {"Layer": rg.Layer, "array": np.array}).W.tolist() == [[1, 0], [0, 1]]
