"""The same step, fast: imported only when it is asked for, by name.

Read `choose` first, then `supported`. `cpu` holds the Numba kernels, `cuda` the CuPy ones; each has
a `step` with a `train_step` of the same signature as that of `rules.base`.
"""
