"""Twins of `train_step`: few, large functions, compared with the core in every test.

Nothing here is imported, or compiled, before it is asked for: see `implementations`.
"""
