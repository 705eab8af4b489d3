"""What is claimed, shown.

`python -m validation` runs the experiments (density, ica, toys, ...) in the frame of `store`,
`fitting` and `report`. `trust` is a command of its own: whether a fit can be trusted on anybody's
data. `dirty` makes such data, `judge` judges; `faults`, `streams` and `interrupts` are its other
parts, and yield `checks`. About the oracle, each a command of its own: `oracle_report` (what
`planted`, `diagnosis`, `inventions`, `claims`, `right`, `published` and `low_precision` hold),
`fuzz_check`, `make_vectors`.
"""
