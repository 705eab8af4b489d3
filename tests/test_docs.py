"""The documentation's Python blocks run, in order, as one program each page."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def test_arrays_md_runs():
    pytest.importorskip("torch", reason="the page uses torch")
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "arrays.md").read_text(), re.DOTALL)
    exec(block, {})


def test_arrays_md_names_tests_that_exist():
    page, tests = (DOCS / "arrays.md").read_text(), Path(__file__).parent
    known = "".join(path.read_text() for path in tests.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) >= 6
    assert all(f"def {name}(" in known for name in named)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_check_md_runs(capsys):
    for module in ("torch", "jax"):
        pytest.importorskip(module, reason=f"the page uses {module}")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "check.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(block, names)
    assert "the term of log|det W| (+ b) is missing" in capsys.readouterr().out
