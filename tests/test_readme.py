"""What the README shows is run: its program, its commands, its figures."""

import math
import re
from pathlib import Path

import pytest

import relgrad_np as rg

README = Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="no README beside an installed package")


def text():
    return README.read_text()


def test_the_programs_run(capsys):
    flow, ica, program = re.findall(r"```python\n(.*?)```", text(), re.S)
    exec(compile(program, "README.md", "exec"), {})
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    exec(compile(flow + ica, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) < 0


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", text()):
        inside = Path(rg.__file__).parents[1] if target.startswith("relgrad_np/") else README.parent
        assert (inside / target).exists(), target


def test_the_names_it_mentions_exist():
    for name in re.findall(r"`rg\.(\w+)", text()):
        assert hasattr(rg, name), name
    for path in re.findall(r"`(tests/[\w/]+\.py|oracle/[\w/]+\.py)`", text()):
        base = README.parent if path.startswith("tests") else Path(rg.__file__).parent
        assert (base / path).exists(), path


def test_its_figures_are_those_of_a_run():
    from relgrad_np.datasets import load
    from relgrad_np.runs.presets import settings_for
    from relgrad_np.runs.training import train

    report = train(load("digits"), settings_for("digits")).report
    flat = " ".join(text().split())
    assert f"log-likelihood of {report.test:.1f} nats" in flat
    assert f"has {report.gaussian:.1f} ({report.test_bits_per_dim:.2f} and" in flat
    assert f"and {report.gaussian_bits_per_dim:.2f} bits/dim" in flat
    assert f"two standard errors {report.test_se2:.1f}" in flat
    best = -2 * math.log(2 * math.pi) - 2
    published = best - 0.5 * math.log(1 + 39 / 4)
    assert f"{published:.4f} nats where the Gaussian fit has {best:.4f}" in flat


def test_the_mathematics_names_tests_and_commands_that_exist():
    page = (README.parent / "docs" / "mathematics.md").read_text()
    files = re.findall(r"`(test_\w+\.py)`", page)
    assert len(set(files)) >= 8
    for name in files:
        assert list((README.parent / "tests").rglob(name)), name
    laws = (README.parent / "tests" / "laws" / "laws.py").read_text()
    for names in re.findall(r"`test_laws.py`: ((?:`\w+`(?:, )?)+)", page):
        for name in re.findall(r"`(\w+)`", names):
            assert f"def {name}(" in laws, name
    for module in re.findall(r"`python -m ([\w.]+)", page):
        path = README.parent / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_experiments_that_are_named_exist():
    from validation.__main__ import TITLES

    pages = text() + (README.parent / "docs" / "mathematics.md").read_text()
    named = re.findall(r"`python -m validation ((?:[a-z]+ ?)+)`", pages)
    assert named
    for name in " ".join(named).split():
        assert name in TITLES, name
