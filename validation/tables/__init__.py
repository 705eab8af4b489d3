"""Density estimators on real tables, with the settings that each would choose by itself.

    python -m validation.tables sets      the tables that are at hand: rows, columns, source
    python -m validation.tables run       every contender on every set; `--contenders`, `--seeds`
    python -m validation.tables report    write REPORT.md anew from records.jsonl

The tables ship inside of packages: `pip install -e ".[tables]"`. A set whose package isn't
there is skipped, and the report says so.
"""
