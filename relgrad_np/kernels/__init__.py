"""The same step, fast: imported only when it is asked for, by name.

Read `choose` first. `cpu` holds the Numba kernels, `cuda` the CuPy ones; each has a `step` with the
signature of `rules.base.train_step`.
"""
