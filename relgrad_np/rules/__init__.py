"""What makes a step of a gradient: a rule proposes, `base.train_step` applies; one rule a file.

Read `base` first, then `plain`; `recipe` is the default, `natural` and `group_adam` serve deep
nets, `adam` is the paper's choice. `by_name` finds them, and knows "newton", which is
no rule of steps (`fitting.newton`); `presets` has published settings.
"""
