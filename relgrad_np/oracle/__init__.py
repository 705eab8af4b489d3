"""What judges an implementation: the definitions by brute force, and derived tolerances."""

from . import bounds, brute

__all__ = ["bounds", "brute"]
