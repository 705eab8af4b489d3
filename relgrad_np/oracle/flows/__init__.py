"""Is this flow right, whatever its layers are? The laws of invertible density models.

`check_flow` judges a few callables of NumPy arrays. To read it: `check` (what happens, in which
order), `calls` (how they are called), `evidence` (at which rows), `differences` (Jacobians with
their errors), then `laws`, a file each, `relations` (what a wrong number is) and `flow_report`.
"""
