"""The documentation's Python blocks run, in order, as one program each page."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


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
