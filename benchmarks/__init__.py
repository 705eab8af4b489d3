"""Measurements against other implementations: first the same step, then the clock."""
