"""From wrong numbers to every independent error: where it is made, and what it is.

To read it: `outcome` and `compare` (how far off an array is); `reads`, `own`, `bounded` and `roots`
(each formula at the candidate's own arrays: what is wrong in itself, and what only follows);
`named` (mistakes of the catalogue), `conditions` (where), `relations` with `transformed`, `terms`
and `altered` (what the wrong array is); `explain` (all of this for each error), `claims` (as data)
and `wording`. `undeclared` and `trial`: conventions, proposed and tried. Beside them `precision`
and `inverse`, for right formulas with wrong digits.
"""
