"""The paper: arrays in, arrays out; this wing imports nothing of the package outside itself.

Read it beside the paper, in this order: `network` (the forward pass), `objective` (the three
terms), `backprop`, `ordinary` (the cubic gradient), `relative` (the quadratic one), `steps` (the
update), `tracking` (log|det W| for free), `undo`, `sampling`. Under them lie `activations`,
`densities`, and `arrays`, `numerics`, `arguments`, `brief`, which know no model.
"""
