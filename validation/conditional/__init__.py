"""What conditional densities p(x | u) reach: toys whose truth is known, two tables, posteriors.

    python -m validation.conditional run       every contender on every set, and the posteriors
    python -m validation.conditional report    write REPORT.md anew from records.jsonl

Needs `pip install relgrad-np[tables]`; POWER is read where `RELGRAD_DATA` says.
"""
