"""The same fit on several ranks, over MPI: which rows are whose, what is sent, and how it ends.

Read `ranks` first: it is the team that the loop of `fitting` asks. `agree` compares what the ranks
have (`facts`) and lets an error on one rank end all, `together` makes a whole function end so.
`train_step` takes a step together, `exchange` says what that sends and costs, `messages` sends it,
and `waiting` ends the job where a rank does not come.
`keepers` stops all ranks when one gets a signal.
"""
