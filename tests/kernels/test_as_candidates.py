"""The kernels are judged as somebody else's code is: here, where they are compiled anyway."""

import pytest

pytest.importorskip("numba", reason="numba is not installed")

from relgrad_np.oracle.truths.suite import small
from validation import right

KINDS = [  # of every kind one
    "generic-smooth_leaky_relu-logistic", "generic-leaky_tanh-normal", "depth-1-3", "depth-3-2",
    "one-sample", "many-samples", "optimum",
]  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=pytest.mark.recompiles)]
)
def test_the_kernels_are_right(dtype):
    suite = small().where(id=KINDS)
    _, arrays, alarms, worst, which = right.alarms("the kernels", suite, dtype, twice=False)
    assert arrays > 50
    assert alarms == 0, which
    assert worst < 0.1
