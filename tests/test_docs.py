"""The documentation runs: each page's blocks in order, as one program; what it names exists."""

import doctest
import functools
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.oracle.truths.stages import STAGES
from tests.programs import import_graph

TESTS = Path(__file__).parent
ROOT = TESTS.parent
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
pytestmark = pytest.mark.skipif(not PAGES, reason="no docs beside an installed package")
OPTIONAL = re.compile(r"^(?:import|from) (torch|jax|cupy|dask|mpi4py)\b", re.M)
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def where():
    """The environment of a process that imports the same package."""
    return {**os.environ, "PYTHONPATH": str(Path(rg.__file__).parents[1])}


def run(text, name):
    """Run the blocks of a page in one namespace: python is executed, pycon is compared."""
    names = {"__name__": name}
    for language, block in BLOCK.findall(text):
        if language == "pycon":
            example = doctest.DocTestParser().get_doctest(block, names, name, name, 0)
            example.globs = names
            said = []
            runner = doctest.DocTestRunner(optionflags=OPTIONS)
            runner.run(example, out=said.append, clear_globs=False)
            assert runner.failures == 0, "".join(said)
        else:
            assert language == "python", f"a block of {language or 'no language'} would not be run"
            exec(compile(block, name, "exec"), names)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    for module in set(OPTIONAL.findall(text)):
        if subprocess.run([sys.executable, "-c", f"import {module}{'.MPI' * (module == 'mpi4py')}"],
                          capture_output=True).returncode:  # fmt: skip
            pytest.skip(f"the page uses {module}")
    if "mpi4py" in OPTIONAL.findall(text):  # a process of its own: MPI may end it
        program = "\n".join(block for _, block in BLOCK.findall(text))
        subprocess.run([sys.executable, "-c", program], env=where(), check=True)
        return
    run(text, page)
    out = capsys.readouterr().out
    if page == "check.md":
        assert "the term of log|det W| (+ b) is missing" in out
    if page == "published.md":
        assert f"It prints `{out.strip()}`." in text


@pytest.mark.parametrize(
    "block",
    ["```python\nassert False\n```", "```pycon\n>>> 1\n2\n\n```", "```pycon\n>>> 1 / 0\n\n```",
     "```pycon\n>>> int('x')\nTraceback (most recent call last):\nValueError: y\n\n```",
     "```\nnot run\n```"],
)  # fmt: skip
def test_a_page_that_is_wrong_is_seen(block):
    with pytest.raises(AssertionError):
        run(f"Words.\n\n{block}\n", "wrong.md")


@functools.cache
def files_of_tests():
    """The text of each file of tests."""
    return {path: path.read_text() for path in TESTS.rglob("test_*.py")}


def missing(text):
    """What a page names and is not there: tests, functions, files, commands."""
    found, files = set(), files_of_tests()
    for file, name in re.findall(r"`(test_\w+)\.(test_\w+)`", text):
        texts = [text for path, text in files.items() if path.stem == file]
        if not any(re.search(rf"^(def {name}\(|{name} = )", text, re.M) for text in texts):
            found.add(f"{file}.{name}")
    known = "".join(files.values())
    for name in re.findall(r"`(test_\w+)`", text):
        if not re.search(rf"^(def {name}\(|{name} = )", known, re.M):
            found.add(name)
    for module, name in re.findall(r"`([a-z]\w*)\.([A-Za-z]\w*)`", text):
        there = [m for m in import_graph.modules() if m.endswith(f".{module}")]
        if (
            name not in ("py", "npz")
            and there
            and not any(hasattr(importlib.import_module(m), name) for m in there)
        ):
            found.add(f"{module}.{name}")
    for name in re.findall(r"\brg\.([A-Za-z]\w*)", text):
        if not hasattr(rg, name):
            found.add(f"rg.{name}")
    for path in re.findall(
        r"`((?:tests|examples|validation|benchmarks(?!/results)|docs)/[\w./]+)", text
    ):
        if not (ROOT / path).exists():
            found.add(path)
    for path in re.findall(r"`([A-Z]+\.(?:md|cff))`", text):
        if not (ROOT / path).exists():
            found.add(path)
    for name in re.findall(r"`python -m validation (\w+)", text):
        if name not in (ROOT / "validation" / "__main__.py").read_text():
            found.add(f"validation {name}")
    for module in re.findall(r"`python -m ((?:validation|benchmarks)\.[\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists()):
            found.add(module)
    return found


BESIDE = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SUPPORT.md",
    "SECURITY.md",
)


@pytest.mark.parametrize("page", [*PAGES, *(f"../{name}" for name in BESIDE)])
def test_what_a_page_names_exists(page):
    assert not missing((DOCS / page).read_text())


def test_the_core_has_about_as_many_lines_as_the_page_says():
    text = " ".join((DOCS / "source.md").read_text().split())
    said = re.search(r"`wc -l (relgrad_np/core)/\*\.py` counts about ([\d,]+) lines", text)
    lines = sum(
        len(path.read_text().splitlines())
        for path in (import_graph.ROOT.parent / said[1]).glob("*.py")
    )
    assert abs(lines - int(said[2].replace(",", ""))) < 50


def test_a_name_that_is_wrong_is_seen():
    page = (
        "`test_laws.test_ascend` `relative.relative_gradients` rg.Layers `tests/law.py` `NEWS.md`"
    )
    assert len(missing(page + " `python -m benchmarks.runs`")) == 6
    assert not missing(
        "`test_laws.test_ascent` `relative.relative_gradient` rg.Layer `tests/laws/laws.py`"
    )


def test_each_formula_of_the_paper_has_a_function_and_a_test():
    text = (DOCS / "paper.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        _, formula, function, held = (cell.strip() for cell in row.strip("|").split("|"))
        assert formula
        module, name = re.fullmatch(r"`(\w+)\.(\w+)`", function).groups()
        there = [m for m in import_graph.modules() if m.endswith(f".{module}")]
        assert any(hasattr(importlib.import_module(m), name) for m in there), function
        assert re.fullmatch(r"`test_\w+\.test_\w+`(, `test_\w+\.test_\w+`)*", held), held


def test_each_part_of_ones_own_takes_under_20_lines():
    sections = (DOCS / "extend.md").read_text().split("\n## A new ")[1:]
    assert [section.split()[0] for section in sections] == [
        "activation",
        "density",
        "rule",
        "backend",
    ]
    for section in sections:
        _, block = BLOCK.findall(section)[0]
        made = [line for line in block.splitlines() if line and "import" not in line]
        called = [i for i, line in enumerate(made) if "extend." in line and "lambda" not in line]
        assert called, "the part is not brought to the door"
        assert called[0] < 20
        assert any(language == "pycon" for language, _ in BLOCK.findall(section))


def test_commands_of_the_pages_exist():
    names = {
        name
        for page in PAGES
        for name in re.findall(r"^    relgrad-np (\w+)", (DOCS / page).read_text(), re.M)
    }
    assert names
    for name in names:
        with pytest.raises(SystemExit) as exit:
            main([name, "--help"])
        assert exit.value.code == 0


def test_every_public_name_is_on_a_page_of_the_api(monkeypatch):
    """By mkdocstrings' directives: members of the package, or a name of its own."""
    monkeypatch.syspath_prepend(str(DOCS))
    api_summary = importlib.import_module("api_summary")
    text = "\n".join((DOCS / page).read_text() for page in PAGES if page.startswith("api/"))
    shown = {name for line in re.findall(r"members: \[(.*)\]", text) for name in line.split(", ")}
    shown |= set(re.findall(r"^::: [\w.]+\.(\w+)$", text, re.M))
    assert set(rg.__all__) <= shown, set(rg.__all__) - shown
    for path in api_summary.shown(text):  # a name that is not there would be left out in silence
        assert api_summary.first(path), path


def test_what_the_site_makes_is_named_in_the_files(monkeypatch, gallery):
    """Who reads a page as a file finds there where its content is, and the site's build hides it."""
    monkeypatch.syspath_prepend(str(DOCS))
    api_summary = importlib.import_module("api_summary")
    tables = importlib.import_module("settings_table")
    marks = re.compile(r"^<!-- (?:gallery|settings[\w ]*|api summary) -->\n(.+?)^<!-- end -->$", re.M | re.S)  # fmt: skip
    pages = {page: marks.findall((DOCS / page).read_text()) for page in PAGES}
    assert sum(map(len, pages.values())) == 4 + len([page for page in pages if "api/" in page])
    for page, parts in pages.items():
        linked = [link for part in parts for link in re.findall(r"\]\((.+?)\)", part)]
        paths = [os.path.relpath((DOCS / page).parent / link, ROOT) for link in linked]
        assert all((ROOT / path).exists() for path in paths)
        text = (DOCS / page).read_text()
        if page == "gallery.md":
            assert paths == [f"examples/{name}.py" for name in gallery.NAMES]
        if page.startswith("api/"):
            assert paths == api_summary.files(text)
            assert parts[0] not in api_summary.on_page_markdown(text)
        elif page != "gallery.md":
            assert not any(part in tables.on_page_markdown(text) for part in parts)


@pytest.fixture
def gallery(monkeypatch):
    """The module that makes pages of the examples. The site's build runs them, each once."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("gallery_pages")


def test_each_example_is_in_the_gallery_as_page_and_notebook(gallery):
    assert set(gallery.NAMES) == {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert len(gallery.NAMES) >= 10
    for name in gallery.NAMES:
        program = (ROOT / "examples" / f"{name}.py").read_text()
        parts = gallery.cells(program)
        assert parts[0].kind == "markdown"
        assert parts[0].text.startswith("# ")
        code = "\n".join(part.text for part in parts if part.kind == "code")
        assert re.search(r"^ *assert |sys\.exit\(", code, re.M), f"{name} claims nothing"
        without = [line for line in program.splitlines() if line and not line.startswith("#")]
        assert [
            line for line in code.splitlines() if line.strip() and not line.startswith("#")
        ] == (without[without.index('"""', 1) + 1 :]), "a line of the program is in no cell"
        book = json.loads(gallery.notebook(parts))
        assert [cell["cell_type"] for cell in book["cells"]].count("code") == len(
            [part for part in parts if part.kind == "code"]
        )
        assert f"gallery/{name}.ipynb)" in gallery.page(name, parts, "https://github.com/a/b")


def test_an_example_that_fails_ends_the_build(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "EXAMPLES", tmp_path)
    program = '# %% [markdown]\n"""\n# T\n\nw\n"""\n# %%\nprint(1)\n# %%\nassert 1 == {}\n'
    (tmp_path / "unmix.py").write_text(program.format(1))
    assert [cell.output for cell in gallery.executed("unmix")] == ["", "1\n", ""]
    (tmp_path / "unmix.py").write_text(program.format(2))
    with pytest.raises(AssertionError):
        gallery.executed("unmix")


def test_an_example_that_prints_something_else_ends_the_build(gallery, tmp_path, monkeypatch):
    assert set(gallery.outputs()) >= set(gallery.NAMES) - {"recording", "mne_style"}
    monkeypatch.setattr(gallery, "EXAMPLES", tmp_path)
    (tmp_path / "outputs.txt").write_text("== unmix\ndistance: 0.01\n")
    right, wrong = (gallery.Cell("code", "", f"distance: {d}\n") for d in (0.011, 0.1))
    assert gallery.compared("unmix", [right]) == [right]
    with pytest.raises(ValueError, match=r"examples/unmix.py prints .*: distance: 0.1$"):
        gallery.compared("unmix", [wrong])


@pytest.mark.parametrize("name", ["recording.py", "mne_style.py"])
def test_an_example_says_that_a_recording_was_not_unmixed(name, tmp_path, monkeypatch, capsys):
    """Planted: principal components in the place of independent ones."""
    pytest.importorskip("alice_ml")
    from sklearn.decomposition import PCA

    class Principal(PCA):
        n_iter_ = 0

        def __init__(self, whiten=True, random_state=None, max_iter=None):
            super().__init__(whiten=True)
            self.max_iter = max_iter

        @property
        def mixing_(self):
            return self.components_.T * np.sqrt(self.explained_variance_)

    monkeypatch.setattr("relgrad_np.estimator.RelativeICA", Principal)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(SystemExit, match="The unmixing failed"):
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


def test_the_commands_of_the_first_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).laplace(size=(300, 2)) @ [[1, 2], [0, 1]]
    np.savetxt("my.csv", rows, delimiter=",", header="a,b", comments="")
    text = (DOCS / "index.md").read_text()
    commands = re.findall(r"^    relgrad-np (.+)$", text, re.M)
    assert [command.split()[0] for command in commands] == ["train", "evaluate", "sample"]
    short = {"train": ["--epochs", "3", "--no-pictures"], "evaluate": [], "sample": []}
    for command in commands:
        words = command.split()
        assert main(words + short[words[0]]) == 0, capsys.readouterr().err
    assert np.load("samples.npy").shape == (100, 2)
    part = (DOCS / "own_data.md").read_text().partition("## The five oddest rows")[2]
    part = BLOCK.sub("", part.partition("\n## ")[0])  # not what is indented in a program
    evaluate, paste = re.findall(r"^    (.+)$", part, re.M)
    rows[7, 1] = np.nan  # such a row gets no score, and is not the oddest
    np.savetxt("my.csv", rows, delimiter=",", header="a,b", comments="")
    assert main([*evaluate.split()[1:], "--missing", "drop"]) == 0, capsys.readouterr().err
    shown = subprocess.run(paste, shell=True, capture_output=True, text=True, check=True).stdout
    scores = np.loadtxt("scores.csv", delimiter=",", skiprows=1)  # (N, 2)
    expected = np.c_[scores, np.loadtxt("my.csv", delimiter=",", skiprows=1)][
        scores[:, 0].argsort()
    ]
    assert np.isnan(scores[7]).all()  # of which `argsort` makes the last
    np.testing.assert_array_equal(np.loadtxt(shown.splitlines(), delimiter=","), expected[:5])


def test_the_figures_of_the_scaling_page_are_those_of_the_files(tmp_path, monkeypatch):
    """Planted: a file in which one time is doubled gives another table."""
    from benchmarks import pages

    text = (DOCS / "scaling.md").read_text()
    names = re.findall(r"<!-- figures: (.*) -->", text)
    assert names
    made = pages.on_page_markdown(text)
    assert "figures:" not in made
    assert "No results" not in made
    assert "No results of this name" in pages.figures("nothing")
    name = next(n for n in names if n.startswith("table"))
    lines = (pages.RESULTS / f"{name}.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    (tmp_path / f"{name}.jsonl").write_text(
        "\n".join([*lines[:-1], json.dumps(last | {"median": 2 * last["median"]})])
    )
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    cell, doubled = (f" {1e3 * factor * last['median']:.3g} " for factor in (1, 2))
    assert cell in made
    assert doubled in pages.figures(name)


def rows(text):
    """The cells of each row of the tables of a text, without the rules under their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def unlike_the_report(page, report):
    """Rows of a page's results that the report does not have; each under its command."""
    found = []
    for part in re.split(r"(?=`python -m validation \w+`)", page)[1:]:
        name = re.match(r"`python -m validation (\w+)`", part)[1]
        _, there = report.split(f"\n`python -m validation {name}`\n")
        known = rows(there.split("\n## ")[0])
        for first, *others in rows(part):
            if first and not any(first == row[0] and set(others) <= set(row) for row in known):
                found.append((name, first, *others))
    return found


def unlike_the_stages(page):
    """Arrays that the page of the check gives another shape than the oracle, or leaves out."""
    given = {}
    for names, shapes in re.findall(r"^\| (`[^|]*`[^|]*) \| (\([^|]*\)) \|", page, re.M):
        each = re.findall(r"\(([^)]*)\)", shapes)
        stages = [name.removesuffix("_k") for name in re.findall(r"`(\w+)`", names)]
        found = [each[min(i, len(each) - 1)].replace(",", " ").split() for i in range(len(stages))]
        given |= dict(zip(stages, map(" ".join, found), strict=True))
    right = {name: stage.shape for name, stage in STAGES.items()}
    return {name for name in given | right if given.get(name) != right.get(name)}


def test_the_arrays_on_the_page_of_the_check_are_those_of_the_oracle():
    page = (DOCS / "check.md").read_text()
    assert unlike_the_stages(page) == set()
    assert unlike_the_stages(page.replace("| `xi_k` | (D, D)", "| `xi_k` | (D,)")) == {"xi"}
    assert unlike_the_stages(page.replace("`X_back` |", "`X_front` |")) == {"X_back", "X_front"}


def test_results_on_the_page_of_mathematics_are_those_of_the_report():
    page = (DOCS / "mathematics.md").read_text()
    report = (ROOT / "validation" / "REPORT.md").read_text()
    assert not unlike_the_report(page, report)
    assert len(rows(page)) > 20
    for old, new in (
        ("-2.472", "-2.471"),
        ("| 138.9 |", "| 138.8 |"),
        ("| no average |", "| none |"),
    ):
        assert old in page
        assert len(unlike_the_report(page.replace(old, new), report)) == 1


def test_each_line_of_the_source_on_a_page_is_there(monkeypatch):
    """Planted: a line that the source does not have."""
    monkeypatch.syspath_prepend(str(DOCS))
    typeset = importlib.import_module("typeset")
    marks = [mark for page in PAGES for mark in typeset.MARK.findall((DOCS / page).read_text())]
    assert len(marks) >= 30
    for mark in marks:
        assert mark[1] in typeset.line_of_source(*mark)
    with pytest.raises(ValueError, match="0 lines"):
        typeset.line_of_source(marks[0][0], marks[0][1] + " + 1")


def test_the_address_of_the_repository_is_one(gallery):
    import tomllib

    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    said = {
        name: set(re.findall(r"https://github\.com/[\w-]+/relgrad_np", (ROOT / name).read_text()))
        for name in ("README.md", "mkdocs.yml", "CITATION.cff", "pyproject.toml")
    }
    said["notebook"] = set(re.findall(r"https://github[\w./-]+", gallery.notebook([])))
    assert all(found == {address} for found in said.values()), said


def test_each_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    made = {"validation.md"}  # of validation/REPORT.md
    assert set(re.findall(r": ([\w/]+\.md)$", text, re.M)) == set(PAGES) | made


def test_the_words_that_people_look_for_are_found():
    text = " ".join(" ".join((DOCS / page).read_text() for page in PAGES).lower().split())
    words = """early stopping, missing values, gpu, anomaly, outlier, novelty, save, load, categorical,
        csv, dtype, float32, learning-rate, batch-size, conditional, ica, whitening, bounded, license,
        imputation, overfitting, reproducible, parallel, standardized, feature scaling, pandas, seed"""
    missing_words = [word for word in map(str.strip, words.split(",")) if word not in text]
    assert not missing_words
    assert "gradient boosting" not in text  # planted: what no page has would be missing


def test_the_tools_of_the_site_do_what_they_say(monkeypatch):
    for tool in ("griffe", "latex2mathml"):
        pytest.importorskip(tool, reason="the site's tools are not installed")
    monkeypatch.syspath_prepend(str(DOCS))
    for name in (
        "docstrings",
        "settings_table",
        "typeset",
        "api_summary",
        "gallery_pages",
        "benchmarks.pages",
    ):
        results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
        assert results.attempted > 0
        assert results.failed == 0
