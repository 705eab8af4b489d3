"""The loop around the step: starts, batches, what is watched, and what is kept.

Read `loop` first; it is short. `options` says what a fit can be asked for, `starts` where it
begins, `rank` what no density can be fitted to, `gaussian` the least that a fit should reach, and
`team` what one process does where several would share the work. `newton` is another loop, of full
batches and second order, which `fit` enters by the rule of that name. `storage` keeps a model in a
file.
"""
