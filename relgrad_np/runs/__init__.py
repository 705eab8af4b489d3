"""A run on disk: its settings, training, report, model and checkpoints.

Read `settings`, then `training`: it prepares a fit of the `rows` of a data set on one of the
`devices`, and judges it in a `report`. `folder` lays out the run's folder, with its `checkpoint`s
and `pictures`, and the model (both in files of `fitting.storage`). `evaluation` judges a model on
other rows.
"""
