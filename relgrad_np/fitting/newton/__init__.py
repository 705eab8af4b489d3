"""Second order in the group: full batches, L-BFGS in relative coordinates, an exact line search.

Read `run` and `whole` first. `asked` says when to stop, `course` records. `ascent` goes up,
whatever a point of the way is. `lbfgs` remembers the curvature that it meets;
`pairs` and `joint` know it beforehand, of one layer by pairs of units, of several by the Fisher
information. `one_layer` and `layered` are the points: they say how a step moves them;
`linear` is where one layer begins, `rows` has its passes, plain and compiled, and `bases` the
densities that the compiled one knows; `layer_moments` is what rows say of a layer inside a net;
`elementwise` and `bending` are what they ask of base density and activation. `frame` brings context
to coordinates of its own, in which it stands where 1 stood.
"""
