"""What the README shows is run: its program, its commands, its figures."""

import json
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="no README beside an installed package")


def text():
    return README.read_text()


def test_it_is_read_in_minutes_and_has_pictures():
    assert len(text().split()) <= 900
    assert (
        len(re.findall(r"^!\[[^]]{40,}\]\(.*\.png\)$", text(), re.M)) >= 2
    )  # each says what to see


NUMBER = re.compile(r"-?\d+\.?\d*")


def unlike(shown, printed):
    """What a printed text does not have: other words, or a number that is off by more than 0.15."""
    words = [NUMBER.sub("#", part).split() for part in (shown, printed)]
    if words[0] != words[1]:
        return words
    pairs = zip(*(map(float, NUMBER.findall(part)) for part in (shown, printed)), strict=True)
    return [pair for pair in pairs if abs(pair[0] - pair[1]) > 0.15]


def test_the_program_prints_what_it_says(capsys):
    """Planted: a number that differs in its first digit, and another word."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text(), re.S)
    assert len(blocks) == 2
    assert text().count("```python") == 2
    names = {}
    for program, shown in blocks:
        exec(compile(program, "README.md", "exec"), names)
        printed = capsys.readouterr().out
        assert not unlike(shown, printed)
        assert unlike(NUMBER.sub("7.5", shown), printed)
        assert unlike(shown + "more", printed)


def test_the_commands_exist():
    from relgrad_np.cli.main import main

    named = re.findall(r"^relgrad-np ([\w-]+)", text(), re.M)
    assert {"train", "evaluate", "sample", "verify", "check-flow"} <= set(named)
    for name in named:
        with pytest.raises(SystemExit) as exit:
            main([name, "--help"])
        assert exit.value.code == 0


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text()):
        assert (README.parent / target).exists(), target


def table_of(page, head):
    """The rows of the table under a line that begins with these words; cells without their marks."""
    lines = page[page.index(head) :].split("\n\n")[1 if page[page.index(head)] != "|" else 0]
    return [
        [cell.strip().strip("*") for cell in line.strip("|").split(" | ")]
        for line in lines.splitlines()
        if line.startswith("|") and "---" not in line
    ]


def figures_of_density(page):
    """Rows of the README's table that the kept report does not have."""
    report = (README.parent / "validation" / "REPORT.md").read_text()
    kept = table_of(report, "| data | net | test, nats |")[1:]
    return [
        (name, *values)
        for name, _, *values in table_of(page, "Test log-likelihood, nats")[1:]
        if not any(
            row[0] == name.split(",")[0].lower()
            and row[1].startswith(("as set", name.split(", ")[-1]))
            and [row[2].split("**")[0], row[6], row[4]] == values
            for row in kept
        )
    ]


def figures_of_ranks(page):
    """Mean ranks of the README that the kept report does not have."""
    report = (README.parent / "validation" / "tables" / "REPORT.md").read_text()
    kept = {row[0]: row[1] for row in table_of(report, "| contender | mean rank |")[1:]}
    names = ("ensemble", "auto", "GMM, validation", "NSF", "Gaussian")
    (shown,) = table_of(page, "| `FlowEnsemble`")[1:]
    return [(name, rank) for name, rank in zip(names, shown, strict=True) if kept.get(name) != rank]


def test_the_figures_are_those_of_the_kept_reports():
    """Planted: another digit in each table."""
    assert not figures_of_density(text())
    assert not figures_of_ranks(text())
    assert figures_of_density(text().replace("151.12", "151.13"))
    assert figures_of_density(text().replace("**0.320**", "**0.321**"))
    first, second, *_ = table_of(text(), "| `FlowEnsemble`")[1]
    assert figures_of_ranks(text().replace(f"| {second} |", "| 0.00 |"))
    ranks = dict(figures_of_ranks(text().replace(f"**{first.strip('*')}**", "**0.00**")))
    assert ranks == {"ensemble": "0.00"}


def test_ratios_of_times_are_those_of_the_kept_lines():
    from benchmarks import report

    path = README.parent / "benchmarks" / "results" / "table-1.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    def ratio(top, bottom, D, N):
        return report.ratio(lines, D, N, top, bottom)[1]

    flat = " ".join(text().split())
    assert f"1/{ratio('jax-published', 'kernels-plain', 2048, 10):.1f} of the time of the" in flat
    assert f"1/{ratio('jax-autodiff', 'kernels-plain', 2048, 10):.0f} of that of autodiff" in flat
    own = ratio("kernels-plain", "gemm-floor", 784, 100)
    assert (
        abs(float(re.search(r"it takes ([\d.]+) times as long as its matrix", flat)[1]) - own)
        < 0.01
    )
    page = (README.parent / "docs" / "results.md").read_text()
    rows = {row[0]: row[1:] for row in table_of(page, "| time of a step, over ours |")}
    for top, name, N in (
        ("jax-published", "published algorithm as compiled JAX, N = 10", 10),
        ("jax-plain", "our own products as compiled JAX, N = 10", 10),
    ):
        for D, cell in zip((64, 256, 784, 2048, 4096), rows[name], strict=True):
            assert abs(float(cell) - ratio(top, "kernels-plain", D, N)) < 0.051


def test_the_mistakes_are_counted():
    from relgrad_np import oracle

    of_context = sum(mistake.of_context for mistake in oracle.mistakes.values())
    others = len(oracle.mistakes) - of_context
    flat = " ".join(text().split())
    assert f"knows {others} mistakes by name, and {of_context} of conditional nets" in flat


def test_figures_of_the_demo_are_those_of_a_run():
    from relgrad_np.datasets import load
    from relgrad_np.runs.presets import settings_for
    from relgrad_np.runs.training import train

    page = (README.parent / "docs" / "good_to_know.md").read_text()
    report = train(load("digits"), settings_for("digits")).report
    flat = " ".join(page.split())
    assert f"log-likelihood of {report.test:.1f} nats" in flat
    assert f"has {report.gaussian:.1f} ({report.test_bits_per_dim:.2f} and" in flat
    assert f"and {report.gaussian_bits_per_dim:.2f} bits/dim" in flat
    assert f"two standard errors {report.test_se2:.1f}" in flat


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

    docs = README.parent / "docs"
    pages = text() + "".join((docs / f"{n}.md").read_text() for n in ("mathematics", "results"))
    named = re.findall(r"`python -m validation ((?:[a-z]+ ?)+)`", pages)
    assert named
    for name in " ".join(named).split():
        assert name in TITLES, name
