"""Run the programs of examples/, and make pages and notebooks of them (a mkdocs hook).

A program of cells (`# %%`, text in `# %% [markdown]`) is a script, a notebook for those who open it
as one (jupytext's percent format), and a page of the gallery: its text, its code, what each cell
prints, and its pictures. Programs run when the site is built; what they gave is kept under a hash
of the program and the package (`.cache/gallery`), so that a build repeats nothing. Their claims
are asserted in them, and what they print is compared with `examples/outputs.txt`: a build ends with
an error where a claim does not hold, or a program says something else.

    python docs/gallery_pages.py [NAME ...]      # run them; time and output of each
    python docs/gallery_pages.py --keep [NAME ...]   # and keep what they print, to be compared with
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CACHE = ROOT / ".cache" / "gallery"
CELL = re.compile(r"^# %%(.*)$", re.M)
NUMBER = re.compile(r"-?(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?")
SECTIONS = {
    "Densities": {
        "own_csv": ("A density of your own CSV, and its odd rows", ("pandas",)),
        "two_moons": ("Two moons, from data to samples", ()),
        "anomalies": ("Anomalies, in a Pipeline", ()),
        "samples_of_digits": ("Samples of handwritten digits", ()),
        "posterior": ("The posterior of a simulator's parameters", ()),
    },
    "Independent components": {
        "unmix": ("Mixed signals", ()),
        "unmix_images": ("Mixed images", ("PIL",)),
        "recording": ("A real recording: blinks and a heart", ("alice_ml", "mne")),
        "mne_style": ("In place of FastICA in MNE", ("alice_ml", "mne")),
    },
    "Is it right?": {
        "judge_torch": ("A torch net, array by array", ("torch",)),
        "check_torch_flow": ("A flow of your own, by its laws", ("torch",)),
        "check_zuko_flow": ("A flow of zuko", ("torch", "zuko")),
        "judge_ica": ("Three ICA programs", ("mpmath",)),
    },
    "How it works": {
        "exact_log_det": ("The exact log-determinant during training", ()),
        "own_rule": ("A rule of your own", ()),
        "scaling": ("Scaling, on your machine", ()),
        "several_ranks": ("Several ranks, one fit", ("mpi4py",)),
    },
}
NAMES = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
TIMED = "scaling", "check_torch_flow", "check_zuko_flow"  # numbers by how fast the machine is
PICTURES = {"recording": "recording.png"}  # kept, for where an example can't run
MARK = re.compile("<!-- gallery -->.*?<!-- end -->", re.S)


class Cell(NamedTuple):
    """A part of a program: text of a page ("markdown") or "code"; what it printed, its pictures.

    >>> Cell("code", "1 + 1").output
    ''
    """

    kind: str
    text: str
    output: str = ""
    pictures: tuple[bytes, ...] = ()


def cells(program: str) -> list[Cell]:
    r'''Return the cells of a program in the percent format.

    >>> cells('# %% [markdown]\n"""\n# Title\n"""\n# %%\nx = 1\n# %% [markdown]\n# *so*\n')
    [Cell(kind='markdown', text='# Title', ...), Cell(kind='code', text='x = 1', ...), Cell(...)]
    '''
    parts = CELL.split(program)[1:]
    found = []
    for mark, text in zip(parts[::2], parts[1::2], strict=True):
        text = text.strip("\n")
        if "[markdown]" in mark:
            plain = text.strip('"').strip("\n") if text.startswith('"""') else None
            lines = [re.sub("^# ?", "", line) for line in text.splitlines()]
            found.append(Cell("markdown", "\n".join(lines) if plain is None else plain))
        elif text:
            found.append(Cell("code", text))
    return found


def lacking(name: str) -> list[str]:
    """Return the modules that an example needs and this environment does not have."""
    needed = [module for module in NAMES[name][1] if importlib.util.find_spec(module) is None]
    ours = Path(sys.executable).with_name("mpiexec")
    if "mpi4py" in NAMES[name][1] and not (shutil.which("mpiexec") or ours.exists()):
        needed.append("mpiexec")
    return needed


def executed(name: str) -> list[Cell]:
    """Run an example in an empty folder; return its cells with what they gave."""
    program = (EXAMPLES / f"{name}.py").read_text()
    names: dict[str, Any] = {"__name__": "__main__"}
    found, lines = [], 0
    with in_empty_folder(), drawing() as pictures:
        for cell in cells(program):
            if cell.kind == "code":
                lines = program[: program.index(cell.text)].count("\n")
                code = compile("\n" * lines + cell.text, f"examples/{name}.py", "exec")
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    exec(code, names)
                cell = cell._replace(output=said.getvalue(), pictures=tuple(pictures()))
            found.append(cell)
    return found


def outputs() -> dict[str, str]:
    """Return what each example printed when that was kept last."""
    file = EXAMPLES / "outputs.txt"
    parts = re.split(r"^== (\w+)\n", file.read_text() if file.exists() else "", flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def other(said: str, expected: str, numbers: bool = True) -> list[str]:
    r"""Return the lines that say something else: other words, or a number that is another one.

    A number may differ by a twentieth or one unit of its last digit, as another machine rounds in
    another way. Errors (written with an exponent) are not compared, or no `numbers` at all.

    >>> other("-6.53 nats, off by 2e-14", "-6.54 nats, off by 7e-15"), other("3 s", "9 s", False)
    ([], [])
    >>> other("-6.53 nats", "-7.53 nats"), other("1 row", "1 line"), other("", "1")
    (['-6.53 nats'], ['1 row'], ['(0 lines for 1)'])
    """
    lines, before = (text.strip().splitlines() for text in (said, expected))
    if len(lines) != len(before):
        return [f"({len(lines)} lines for {len(before)})"]
    return [line for line, old in zip(lines, before, strict=True) if not _alike(line, old, numbers)]


def _alike(line: str, old: str, numbers: bool) -> bool:
    """Say whether two lines have the same words, and numbers that are close."""
    if NUMBER.sub("#", line).split() != NUMBER.sub("#", old).split():
        return False
    for a, b in zip(NUMBER.findall(line), NUMBER.findall(old), strict=True):
        unit = 10.0 ** -len(b.partition(".")[2])
        allowed = 1.01 * max(unit, 0.05 * abs(float(b)))
        if numbers and "e" not in a + b and abs(float(a) - float(b)) > allowed:
            return False
    return True


@contextlib.contextmanager
def in_empty_folder() -> Iterator[None]:
    """Work in a folder of its own, without arguments; a warning is an error."""
    before, arguments = Path.cwd(), sys.argv
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        for what in (PendingDeprecationWarning, DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", what)  # those of other packages
        os.chdir(folder)
        sys.argv = ["example"]
        try:
            yield
        finally:
            os.chdir(before)
            sys.argv = arguments


@contextlib.contextmanager
def drawing() -> Iterator[Any]:
    """Draw in the package's style, without a display; yield what returns the new pictures."""
    if importlib.util.find_spec("matplotlib") is None:
        yield list
        return
    import matplotlib
    from matplotlib import pyplot as plt

    from relgrad_np.runs.style import STYLE

    def taken() -> Iterator[bytes]:
        for number in plt.get_fignums():
            file = io.BytesIO()
            plt.figure(number).savefig(file, format="png", dpi=110)
            yield file.getvalue()
        plt.close("all")

    show = plt.show
    with matplotlib.rc_context(fname=STYLE):
        plt.switch_backend("agg")
        plt.show = lambda *_, **__: None
        try:
            yield taken
        finally:
            plt.close("all")
            plt.show = show


def kept(name: str) -> list[Cell]:
    """Return the cells of an example with what they gave; bare ones if it can't run."""
    program = (EXAMPLES / f"{name}.py").read_text()
    if lacking(name):
        return cells(program)
    sources = sorted((ROOT / "relgrad_np").rglob("*.py"))
    state = hashlib.sha256(program.encode())
    for path in sources:
        state.update(path.read_bytes())
    file = CACHE / f"{name}-{state.hexdigest()[:16]}.json"
    if file.exists():
        return [
            Cell(kind, text, output, tuple(bytes.fromhex(picture) for picture in pictures))
            for kind, text, output, pictures in json.loads(file.read_text())
        ]
    found = compared(name, executed(name))
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(f"{name}-*.json"):
        old.unlink()
    rows = [(c.kind, c.text, c.output, [picture.hex() for picture in c.pictures]) for c in found]
    file.write_text(json.dumps(rows))
    return found


def notebook(parts: list[Cell]) -> str:
    """Return a notebook (nbformat 4.5) of an example's text and code.

    >>> made = json.loads(notebook([Cell("markdown", "# A"), Cell("code", "x = 1")]))
    >>> [cell["cell_type"] for cell in made["cells"]]
    ['markdown', 'markdown', 'code']
    """
    install = "In Colab, first run `%pip install git+https://github.com/relgrad-np/relgrad_np`."
    made = []
    for i, part in enumerate([*parts[:1], Cell("markdown", install), *parts[1:]]):
        cell = {"cell_type": part.kind, "id": f"cell-{i}", "metadata": {}}
        cell["source"] = part.text.splitlines(keepends=True)
        made.append(
            cell | ({"execution_count": None, "outputs": []} if part.kind == "code" else {})
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    facts = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps(
        {"cells": made, "metadata": facts, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )


def page(name: str, parts: list[Cell], repository: str) -> str:
    """Return the page of an example in Markdown."""
    head, *rest = parts
    colab = repository.replace("https://github.com", "https://colab.research.google.com/github")
    text = [
        head.text,
        f"[Download the program]({name}.py){{ download }} · "
        f"[the notebook]({name}.ipynb){{ download }} · "
        f"[open it in Colab]({colab}/blob/gh-pages/gallery/{name}.ipynb)",
    ]
    absent = lacking(name)
    if absent:
        text.append(
            f"*This page was built without `{'`, `'.join(absent)}`, which the program needs: its "
            "output is left out.*"
        )
        if name in PICTURES:
            text.append(f"![{NAMES[name][0]}](../{PICTURES[name]})")
    for i, part in enumerate(rest):
        text.append(part.text if part.kind == "markdown" else f"```python\n{part.text}\n```")
        if part.output.strip():
            text.append(f"```{{ .text .output }}\n{part.output.rstrip()}\n```")
        text += [
            f"![{NAMES[name][0]}](pictures/{name}-{i}-{j}.png)" for j in range(len(part.pictures))
        ]
    return "\n\n".join(text) + "\n"


def first_picture(name: str, parts: list[Cell]) -> str:
    """Return where the picture of an example's card is, as seen from the gallery's page."""
    for i, part in enumerate(parts[1:]):
        if part.pictures:
            return f"gallery/pictures/{name}-{i}-0.png"
    return PICTURES.get(name, "")


def cards(given: dict[str, list[Cell]]) -> str:
    """Return the gallery's cards, a grid for each section."""
    text = []
    for section, entries in SECTIONS.items():
        text += [f"## {section}", '<div class="gallery" markdown="0">']
        for name, (title, _) in entries.items():
            words = " ".join(given[name][0].text.split("\n\n")[1].split())
            words = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", words)
            words = " ".join(re.split(r"(?<=[.?]) (?=[A-Z`])", words)[:2])
            picture = first_picture(name, given[name])
            shown = f'<img src="{picture}" alt="">' if picture else output_card(given[name])
            text.append(
                f'<a href="gallery/{name}.html">{shown}<strong>{title}</strong>'
                f"<span>{words}</span></a>"
            )
        text.append("</div>")
    return (
        "\n\n".join(text[:1]) + "\n\n" + "\n".join(text[1:]).replace("</div>\n##", "</div>\n\n##")
    )


def output_card(parts: list[Cell]) -> str:
    """Return the last lines that an example prints, in the place of a picture."""
    from html import escape

    lines = "\n".join(part.output for part in parts).strip().splitlines()
    text = "\n".join(line[:46] for line in lines[-6:]) or "\n".join(
        line[:46] for line in parts[1].text.splitlines()[:6]
    )
    return f"<pre>{escape(text)}</pre>"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, programs, notebooks and pictures (called by mkdocs)."""
    from mkdocs.structure.files import File

    given = {name: kept(name) for name in NAMES}

    def add(place: str, content: str | bytes) -> None:
        files.append(File.generated(config, f"gallery/{place}", content=content))

    for name, parts in given.items():
        add(f"{name}.md", page(name, parts, config.extra["repository"]))
        add(f"{name}.py", (EXAMPLES / f"{name}.py").read_text())
        add(f"{name}.ipynb", notebook(parts))
        for i, part in enumerate(parts[1:]):
            for j, picture in enumerate(part.pictures):
                add(f"pictures/{name}-{i}-{j}.png", picture)
    config.extra["cards"] = cards(given)
    return files


def on_page_markdown(markdown: str, config: Any = None, **_: Any) -> str:
    """Replace the mark of the gallery's page by its cards (called by mkdocs).

    What stands from there to the next mark, the links to the files, is for other readers.

    >>> on_page_markdown("no mark")
    'no mark'
    """
    return MARK.sub(lambda _: config.extra["cards"], markdown)


def compared(name: str, parts: list[Cell]) -> list[Cell]:
    """Return the cells of an example as they are; ValueError if they print something else."""
    said, before = "".join(part.output for part in parts), outputs().get(name, "")
    wrong = other(said, before, numbers=name not in TIMED)
    if wrong:
        raise ValueError(f"examples/{name}.py prints what examples/outputs.txt has not: {wrong[0]}")
    return parts


def main(names: list[str]) -> int:
    """Run examples by name, all without one; print what they print and how long they took."""
    failed, keep, before = 0, "--keep" in names, outputs()
    names = [name for name in names if name != "--keep"]
    for name in names or list(NAMES):
        if lacking(name):
            print(f"== {name}: needs {', '.join(lacking(name))}")
            continue
        began, cpu = time.perf_counter(), time.process_time()
        try:
            parts = executed(name) if keep else compared(name, executed(name))
        except Exception:
            failed += 1
            traceback.print_exc()
            parts = []
        before[name] = "".join(part.output for part in parts)
        print(before[name], end="")
        took = f"{time.perf_counter() - began:.1f} s, {time.process_time() - cpu:.1f} s of CPU"
        print(f"== {name}: {took}, {sum(len(part.pictures) for part in parts)} pictures")
    if keep and not failed:
        text = "".join(f"== {name}\n{before[name]}" for name in NAMES if name in before)
        (EXAMPLES / "outputs.txt").write_text(text)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
