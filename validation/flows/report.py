"""Writes REPORT.md from the results that are kept."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# What `check_flow` says of others' flows, of planted mistakes, and of right models

Written by `python -m validation.flows report` from `results/`. `python -m validation.flows zoo` (or
`mistakes`, `right`, `cost`) makes these again; `pip install -e ".[zoo]"` installs the libraries.
"""


MET = """\
One right model was called wrong at first: model 1867, a density alone. Importance sampling found a
mass of 0.94, because its kernels had left an arm of p. Now the kernels keep the rows at which they
began. Models 0 to 549 and 1850 to 1899 were judged again after that change, the others just before.
"""


def main() -> None:
    """Write the page."""
    parts = [HEAD, zoo(kept("zoo")), mistakes(kept("mistakes")), right(kept("right"))]
    text = "\n".join([*parts, cost(kept("cost"))])
    (HERE / "REPORT.md").write_text(text)


def kept(name: str) -> list[dict[str, Any]]:
    """Return the records of a run; none if it was not made."""
    path = HERE / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in path.open()] if path.exists() else []


def zoo(records: list[dict[str, Any]]) -> str:
    """Return the section on other libraries."""
    run = [r for r in records if "skipped" not in r]
    faults = [r for r in run if r["expected"] != "right"]
    wrong = [r for r in run if not r["as_expected"]]
    versions = dict.fromkeys(f"{r['library']} {r['version']}" for r in run)
    lines = [
        "## Transforms and flows of other libraries\n",
        f"{len(run)} models of {', '.join(versions)}, D = 2 to 16, made in float64. "
        f"{len(run) - len(faults)} must pass, {len(faults)} must not; "
        f"{len(run) - len(wrong)} verdicts are what they must be.\n",
        *[f"- skipped: {r['library']}: {r['skipped']}" for r in records if "skipped" in r],
        "### What was found\n",
        "Each finding was checked in the source. A float64 model with float32 digits is no fault "
        "for users of float32; estimates with random vectors are right in the mean, but are not "
        "the log|det| of a row.\n",
        "| library | model | verdict | the line that shows it |",
        "|---|---|---|---|",
        *[f"| {r['library']} | {r['name']} | {_cell(r['verdict'])} | {_cell(r['why'], 400)} |"
          for r in faults],
        "\n### All\n",
        "| library | model | D | verdict | as it must be | seconds |",
        "|---|---|---|---|---|---|",
        *[f"| {r['library']} | {r['name']} | {r['D']} | {_cell(r['verdict'], 90)} | "
          f"{'yes' if r['as_expected'] else 'NO'} | {r['seconds']} |" for r in run],
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def mistakes(records: list[dict[str, Any]]) -> str:
    """Return the section on planted mistakes."""
    composed = [r for r in records if r["layer_found"] is not None]
    found, named = sum(r["detected"] for r in records), sum(r["named"] for r in records)
    first = sum(r["layer_found"] for r in composed)
    lines = [
        "## Planted mistakes\n",
        f"{len(records)} mistakes in small torch flows (`own.py`): {found} detected, {named} named "
        f"by a relation that is their cause, the layer found in {first} of {len(composed)} "
        "composed flows. A mistake is named if a claim has one of the names that were written down "
        "for it in `mistakes.py`.\n",
        "| mistake | detected | named | layer found | verdict |",
        "|---|---|---|---|---|",
        *[f"| {_cell(r['name'])} | {_yes(r['detected'])} | {_yes(r['named'])} | "
          f"{'' if r['layer_found'] is None else _yes(r['layer_found'])} | "
          f"{_cell(r['verdict'], 110)} |" for r in records],
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def right(records: list[dict[str, Any]]) -> str:
    """Return the section on right models."""
    if not records:
        return "## Random right models\n\nNot run.\n"
    total = Counter({"wrong": 0})
    models = Counter(r["library"] for r in records if r["library"] != "all")
    p: list[float] = []
    for r in records:
        if r["library"] == "all":
            total.update(
                models=sum(r["models"].values()), wrong=r["wrong"], rejected=r["samples_rejected"]
            )
            total.update(samples=r["judged"].get("samples", 0))
            p += r.get("p", [])
    lines = [
        "## Random right models\n",
        f"{total['models']} models (NumPy and torch, seeded): laws of values broken: "
        f"{total['wrong']}; samples rejected: {total['rejected']} of {total['samples']} at level "
        f"0.001. Not passed, by kind: {dict(models) or 'none'}.\n",
        MET,
    ]
    if p:
        rates = [f"{sum(x < a for x in p)} at level {a:g} ({a * len(p):.1f} expected at most)"
                 for a in (0.1, 0.05, 0.01, 0.001)]  # fmt: skip
        lines += [
            f"By the p-values of {len(p)} of them, samples are rejected: {'; '.join(rates)}.\n"
        ]
    lines += [f"- {r['library']}: {r['name']}: {r['verdict']}"
              for r in records if r["library"] != "all"]  # fmt: skip
    return "\n".join(lines) + "\n"


def cost(records: list[dict[str, Any]]) -> str:
    """Return the section on cost."""
    lines = [
        "## Cost\n",
        "A Glow-like net of images in torch (a squeeze, four steps of actnorm, 1x1 convolution and "
        "coupling), two processors.\n",
        "| model | seconds | CPU seconds | limit | verdict |",
        "|---|---|---|---|---|",
        *[f"| {r['name']} | {r['seconds']} | {r['cpu']} | {r['limit']} | {_cell(r['verdict'])} |"
          for r in records],
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _cell(text: str, most: int = 160) -> str:
    short = text if len(text) <= most else text[: most - 3] + "..."
    return short.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
