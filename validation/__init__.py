"""What is claimed, shown.

`python -m validation` runs the experiments (density, ica, toys, ...) in the frame of `store`,
`fitting` and `report`. About the oracle, each a command of its own: `oracle_report` (what
`planted`, `uncatalogued`, `right`, `published` and `low_precision` hold), `fuzz_check`,
`make_vectors`.
"""
