"""A run on disk: its settings, training, report, model and checkpoints.

Read `settings`, then `training`; `folder` lays out the run's folder.
"""
