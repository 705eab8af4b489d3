"""The command line. Read `main` first; then one file for each kind of command.

`train` fits, `use` evaluates and samples, `tools` has what needs no model: `demo`, `verify`, info.
`arguments` makes flags, `console` speaks to the person at the terminal, `data` finds the rows.
"""
