"""Linear ICA of a table: whitening, which density each source has, and the unmixing.

Read `unmix` first: it takes one layer to maximum likelihood by `fitting.newton`. `whitening` is
where it begins, `family` is how the density of a source is found.
"""
