"""What is claimed, shown.

`python -m validation` runs the experiments (density, ica, toys, ...) in the frame of `store`,
`fitting` and `report`. `trust` is a command of its own: whether a fit can be trusted on anybody's
data (`dirty` makes them, `judge` judges, `faults`, `streams` and `interrupts` are its other parts,
`checks` is what they yield). About the oracle, each a command of its own: `oracle_report` (what
`planted`, `uncatalogued`, `right`, `published` and `low_precision` hold), `fuzz_check`,
`make_vectors`.
"""
