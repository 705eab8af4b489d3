"""What is right, and how far off a right result may be: the suite of cases and its making.

To read it: `records` and `stages` (what a case is made of), `problems` (the inputs), `definitions`
(the expected arrays, in 60 digits), `tolerances`, then `export` and `suite` (files).
"""
