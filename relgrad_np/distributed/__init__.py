"""The same fit on several ranks, by MPI: who agrees on what, and what is sent.

Read `together` first (errors end on all ranks), then `ranks`, `exchange` (what is sent, and what it
costs) and `train_step`.
"""
