"""The contenders of this package: what `auto` chooses, and single settings of a grid."""

from .contenders import Contender

OURS: dict[str, Contender] = {}


def grid(settings: str) -> Contender:
    """Return the contender of some settings, `layers=8,rule=natural`; ValueError for unknown."""
    raise ValueError(f"no settings {settings!r}")
