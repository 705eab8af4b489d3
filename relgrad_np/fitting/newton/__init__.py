"""Second order in the group: full batches, L-BFGS in relative coordinates, an exact line search.

Read `run` first. `ascent` goes up, whatever a point of the way is. `lbfgs` remembers the curvature
that it meets; `pairs` and `joint` know it beforehand, of one layer by pairs of units, of several by
the Fisher information. `one_layer` and `layered` are the points: they say how a step moves them. `rows` has the passes
over the rows of one layer, plain and compiled, `bases` the densities that the compiled one knows.
"""
