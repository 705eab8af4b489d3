"""Every row of the table of bad inputs is answered in one line that says what is wrong."""

from .bad_inputs import table


def test_more_than_a_hundred_bad_inputs_are_answered_in_one_line():
    rows = table()
    wrong = [f"{label}: {line}" for _, label, line, good in rows if not good]
    assert wrong == []
    assert len(rows) > 100
