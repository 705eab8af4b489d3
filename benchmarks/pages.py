"""Put what was measured into the documentation, as it is built (a mkdocs hook).

A line `<!-- figures: NAME -->` of a page becomes what results/NAME.jsonl says, with NAME.png. So no
page holds a figure that another run has changed. A NAME without a file says that there is none.
validation/REPORT.md is a page, too.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # mkdocs reads this file by its path

from benchmarks import report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
REPORT = ROOT / "validation" / "REPORT.md"
MARK = re.compile(r"^<!-- figures: ([\w-]+) -->$", re.M)
HERE = re.compile(r"\]\((?!#|\.\./|https?:)")
PICTURE = re.compile(r"\]\(\.\./(benchmarks/results|validation/figures)/([\w-]+\.png)\)")
OUTSIDE = re.compile(r"\[([^]]+)\]\(\.\./([^)]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures and the report to the site (called by mkdocs)."""
    from mkdocs.structure.files import File

    for folder in (RESULTS, REPORT.parent / "figures"):
        for path in sorted(folder.glob("*.png")):
            place = f"figures/{folder.parent.name}/{path.name}"
            files.append(File.generated(config, place, abs_src_path=str(path)))
    text = HERE.sub("](../validation/", REPORT.read_text())
    files.append(File.generated(config, "validation.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any = None, **_: Any) -> str:
    """Replace each mark of a page by its figures (called by mkdocs).

    Links to the repository's other files are of use there only: pictures are shown, others named.

    >>> on_page_markdown("![a](../benchmarks/results/a.png) [lines](../relgrad_np/fitting/loop.py)")
    '![a](figures/benchmarks/a.png) lines (`relgrad_np/fitting/loop.py`)'
    """
    if page is None or "/" not in page.file.src_uri:
        markdown = PICTURE.sub(
            lambda found: f"](figures/{found[1].split('/')[0]}/{found[2]})", markdown
        )
        markdown = OUTSIDE.sub(r"\1 (`\2`)", markdown)
    return MARK.sub(lambda found: figures(found[1]), markdown)


def figures(name: str) -> str:
    """Return the results of this name as Markdown.

    >>> figures("no-such-run")
    'No results of this name are in this checkout yet.'
    """
    path = RESULTS / f"{name}.jsonl"
    if not path.exists():
        return "No results of this name are in this checkout yet."
    if (table := path.with_suffix(".md")).exists():  # the run wrote its own
        text = table.read_text()
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        text = steps(lines) if "contender" in lines[0] and "median" in lines[0] else memory(lines)
    if path.with_suffix(".png").exists():
        text += f"\n\n![{name}](figures/benchmarks/{name}.png)\n"
    return text


def steps(lines: list[dict[str, Any]]) -> str:
    """Return times and ratios of the last run in these lines, a table for each N."""
    lines = [x for x in lines if x.get("date") == lines[-1].get("date")]
    facts = lines[0]
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v)
    text = [
        f"{facts['date'][:10]}, {facts['machine']}, {facts['threads'] or 'all'} thread(s), load "
        f"{facts['load'][0]:.1f} at the start, {facts['dtype']}, L = {facts['L']}; {versions}."
    ]
    for N in sorted({x["N"] for x in lines}):
        here = [x for x in lines if x["N"] == N]
        Ds = sorted({x["D"] for x in here})
        text += ["", *_head(f"N = {N}: milliseconds, median", Ds)]
        for name, words in report.WORDS.items():
            times = {x["D"]: f"{1e3 * x['median']:.3g}" for x in here if x["contender"] == name}
            if times:
                text.append(_row(words, Ds, times))
        text += ["", *_head(f"N = {N}: ratios in the same round, median", Ds)]
        for words, top, bottom, least in report.RATIOS:
            found = {D: report.ratio(lines, D, N, top, bottom) for D in Ds if least <= D}
            ratios = {D: f"{r[1]:.2f}" for D, r in found.items() if r}
            if ratios:
                text.append(_row(words, Ds, ratios))
        said = report.crossovers(lines, N)
        for name, words in report.WORDS.items():
            late = {x["D"]: x["median"] for x in here if x["contender"] == name and x["D"] >= 512}
            if len(late) >= 3:
                said.append(f"{words}: grows as D to the {report.exponent(late):.2f} from 512 on")
        text += ["", *(f"- {line[0].upper()}{line[1:]}" for line in said)]
    return "\n".join(text)


def memory(lines: list[dict[str, Any]]) -> str:
    """Return peaks of memory in units of the weights'."""
    Ds = sorted({x["D"] for x in lines})
    text = _head(f"peak memory / memory of the weights, N = {lines[0]['N']}", Ds)
    for name, words in report.WORDS.items():
        found = {x["D"]: x["peak"] / x["weights"] for x in lines if x["contender"] == name}
        if found:
            text.append(_row(words, Ds, {D: f"{value:.2f}" for D, value in found.items()}))
    return "\n".join(text)


def _head(words: str, Ds: list[int]) -> list[str]:
    columns = "".join(f" D = {D} |" for D in Ds)
    return [f"| {words} |{columns}", "|---|" + "---:|" * len(Ds)]


def _row(words: str, Ds: list[int], values: dict[int, str]) -> str:
    return f"| {words} |" + "".join(f" {values.get(D, '')} |" for D in Ds)
