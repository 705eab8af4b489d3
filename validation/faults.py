"""The table of faults: a name, what it is about, and the function that yields its checks.

R: rules and fits. E: the estimator. The first line of each function's docstring says what spoiled
what; a fault is mended where all of its checks hold.
"""

from collections.abc import Callable, Iterator

from . import faults_of_estimator, faults_of_rules
from .checks import Check

FAULTS: dict[str, Callable[[], Iterator[Check]]] = {
    **faults_of_rules.FAULTS,
    **faults_of_estimator.FAULTS,
}
