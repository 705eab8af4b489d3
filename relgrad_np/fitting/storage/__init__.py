"""What becomes of a fit on disk: models in files, written completely or not at all, no pickle.

Read `model`, the one format of command line and estimator, then `store` (arrays and a header in an
.npz file, with a checksum) and `writing` (files that are complete or not there).
"""
