"""Which code takes the steps: a lazy table, resolved by `fit` and the command line.

The module-level functions of the core are always the reference; an entry here is a twin of
`train_step` with the same signature, imported when asked for. There is no global switch.
"""

import importlib
from collections.abc import Callable
from typing import Any

from ._arguments import one_of

TABLE = {"reference": "relgrad_np.rules:train_step"}


def resolve(name: str | None) -> Callable[..., Any]:
    """Return the `train_step` of this implementation; None is the fastest at hand.

    >>> resolve("reference").__name__
    'train_step'
    """
    module, _, function = TABLE[one_of("implementation", name or "reference", TABLE)].partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]
