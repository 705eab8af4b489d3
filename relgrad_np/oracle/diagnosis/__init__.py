"""From wrong numbers to the name of the mistake.

To read it: `compare` (how far off), `hypotheses` (what a mistake predicts), `explain` (which fits),
`wording`; beside them `precision` and `inverse`, for right formulas with wrong digits.
"""
