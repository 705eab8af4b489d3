"""Experiments that reproduce what is claimed, one command each: `python -m validation.NAME`."""
