"""The step on CPU, compiled by Numba: `step` decides, `whole_step` is one compiled call."""
