"""Writes REPORT.md from records.jsonl, and from nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from validation.report import table

from .records import RECORDS, Record, kept
from .sets import TABLES

GRID = "grid:"
ORDER = ("gaussian", "kde", "gmm_bic", "gmm_validation", "zuko_maf", "zuko_nsf", "auto", "ensemble")
TITLES = {
    "gaussian": "Gaussian",
    "kde": "KDE",
    "gmm_bic": "GMM, BIC",
    "gmm_validation": "GMM, validation",
    "zuko_maf": "MAF",
    "zuko_nsf": "NSF",
}
Pair = tuple[str, int]  # set and seed
Values = dict[Pair, dict[str, float]]

HEAD = """# Density estimators on real tables

Written by `python -m validation.tables report` from `records.jsonl`, which
`python -m validation.tables run` makes; `pip install -e ".[tables]"` installs the packages that
ship the tables.

Figures are test log-likelihoods, nats a row, of columns standardised by the training rows; 60 % of
the rows are for training, 20 % for validation, 20 % for the test. Every contender sees the same
training and validation rows. *GMM*: scikit-learn's mixture of up to 30 Gaussians of full
covariances, their number chosen by BIC, or number and `reg_covar` by the validation rows. *KDE*:
scikit-learn's Gaussian kernel density, bandwidth by five-fold cross-validation (on at most 2,000
rows, then scaled to all). *MAF*, *NSF*: zuko's flows, 64 to 128 hidden units, Adam; the epoch that
is best on the validation rows is kept, and a fit ends early or after 60 seconds of processor time.
*auto*: one net of this package with the settings that its rows and columns choose (the defaults).
*ensemble*: `FlowEnsemble`, the mean density of a few such nets, a Gaussian and a mixture. All had
one thread.
"""
REGRET = 0.1  # nats: what may lack to the best of our grid in the mean


def ranks(values: dict[str, float]) -> dict[str, float]:
    """Return the rank of each, 1 for the largest; equal ones share the mean of their ranks.

    >>> ranks({"a": -1.0, "b": 2.0, "c": -1.0})
    {'a': 2.5, 'b': 1.0, 'c': 2.5}
    """
    return {
        name: sum(other > value for other in values.values())
        + (sum(other == value for other in values.values()) + 1) / 2
        for name, value in values.items()
    }


def mean_ranks(values: Values, names: list[str]) -> tuple[dict[str, float], int]:
    """Return the mean rank of each over the pairs that all have run on, and their number."""
    whole = [v for v in values.values() if all(name in v for name in names)]
    each = [ranks({name: v[name] for name in names}) for v in whole]
    return {n: float(np.mean([r[n] for r in each])) for n in names if each}, len(each)


def best_of_grid(values: Values) -> dict[Pair, float]:
    """Return the largest test value that any settings of our grid reached, by pair."""
    found = {}
    for pair, v in values.items():
        grid = [value for name, value in v.items() if name.startswith(GRID)]
        if grid:
            found[pair] = max(grid)
    return found


def mean_regrets(values: Values, names: Iterable[str]) -> dict[str, float]:
    """Return how much each lacks to the best of our grid, in the mean over pairs.

    >>> mean_regrets({("s", 0): {"a": 1.0, "grid:x": 2.0, "grid:y": 1.5}}, ["a"])
    {'a': 1.0}
    """
    lacks = {name: regrets(values, name) for name in names}
    return {name: float(np.mean(each)) for name, each in lacks.items() if each}


def regrets(values: Values, name: str) -> list[float]:
    """Return the best of our grid less a contender, for the pairs that have both."""
    best = best_of_grid(values)
    return [best[pair] - v[name] for pair, v in values.items() if name in v and pair in best]


def below_gaussian(values: Values, name: str) -> list[tuple[Pair, float]]:
    """Return the pairs in which a contender is below the Gaussian, and by how much."""
    return [
        (pair, v["gaussian"] - v[name])
        for pair, v in values.items()
        if name in v and "gaussian" in v and -np.inf < v[name] < v["gaussian"]
    ]


def tested(records: Iterable[Record]) -> Values:
    """Return {(set, seed): {contender: test}}; a contender that failed has minus infinity."""
    values: Values = defaultdict(dict)
    for r in records:
        value = float("-inf") if "error" in r else r["test"]
        values[r["set"], r["seed"]][r["contender"]] = value
    return dict(values)


def by_set(values: Values, name: str) -> dict[str, float]:
    """Return the mean over seeds of a contender, by set."""
    found = defaultdict(list)
    for (table_name, _), v in values.items():
        if name in v:
            found[table_name].append(v[name])
    return {key: float(np.mean(v)) for key, v in found.items()}


# parts


def main(path: Path = RECORDS, to: Path | None = None) -> None:
    """Write the page."""
    records = [r for r in kept(path).values() if r["set"] in TABLES]
    text = page(records)
    (to or path.parent / "REPORT.md").write_text(text)
    print(text.split("## Each set")[0])


def page(records: list[Record]) -> str:
    """Return the page."""
    values = tested(records)
    there = {r["contender"] for r in records}
    names = [n for n in ORDER if n in there]
    names += sorted(n for n in there if n not in ORDER and not n.startswith(GRID))
    parts = [HEAD, "## In short\n", short(records, values, names)]
    parts += ["\n## Each set\n", each(values, names, records)]
    parts += ["\n## The worst row\n", worst(records, names)]
    parts += ["\n## The sets\n", sources(records)]
    parts += ["\n## All\n", everything(records, names)]
    return "\n".join(parts).rstrip() + "\n"


def short(records: list[Record], values: Values, names: list[str]) -> str:
    """Return the table of mean ranks, regrets, faults and seconds."""
    mean_rank, pairs = mean_ranks(values, names)
    mean_regret = mean_regrets(values, names)
    of = defaultdict(list)
    for r in records:
        of[r["contender"]].append(r)
    rows = []
    for name in sorted(names, key=lambda n: mean_rank.get(n, 99)):
        below = below_gaussian(values, name)
        fine = [r for r in of[name] if "error" not in r]
        seconds = [r["seconds"] for r in fine]
        rows.append([
            TITLES.get(name, name),
            f"{mean_rank[name]:.2f}" if name in mean_rank else "",
            f"{mean_regret[name]:.3f}" if name in mean_regret else "",
            f"{np.median(regrets(values, name)):.3f}" if name in mean_regret else "",
            "" if name == "gaussian" else f"{len(below)} of {len(fine)}",
            f"{max((gap for _, gap in below), default=0):.2f}",
            sum(r["creases"] for r in fine),
            f"{np.median(seconds):.1f}, {max(seconds):.0f}" if seconds else "",
        ])  # fmt: skip
    failed = [f"{TITLES.get(r['contender'], r['contender'])} on {r['set']}, seed {r['seed']}"
              for name in names for r in of[name] if "error" in r]  # fmt: skip
    titles = ["contender", "mean rank", "mean regret", "median", "below the Gaussian", "at most by",
              "creased rows", "seconds: median, most"]  # fmt: skip
    seeds = sorted({r["seed"] for r in records})
    tables = {r["set"] for r in records}
    grid = [r for r in records if r["contender"].startswith(GRID)]
    on = {(r["set"], r["seed"]) for r in grid}
    return "\n".join([
        f"{len(tables)} sets, seeds {', '.join(map(str, seeds))}; ranks are of the {pairs} pairs "
        "of set and seed that all have run on. *Regret*: nats below the best of our own grid, "
        f"{len(grid)} fits on {len(on)} of the pairs, chosen in hindsight by the test rows; over "
        "the pairs that have such fits. A single row can ruin a mean: see the median. A row is "
        "*creased* if the contender has it below -100 nats a dimension and the Gaussian above -10.",
        "",
        table(titles, rows),
        "",
        f"Fits that failed: {', '.join(failed) or 'none'}.",
        "",
        table(["of ours", "wanted", "found", "holds"], claims(records, values, names)),
        "",
        new_sets(values, names),
        "",
        where(),
    ])  # fmt: skip


def where() -> str:
    """Return on what the last run was made."""
    path = RECORDS.with_name("environment.json")
    return "; ".join(f"{k} {v}" for k, v in json.loads(path.read_text()).items()) + "."


def claims(records: list[Record], values: Values, names: list[str]) -> list[list[str]]:
    """Return what is wanted of each of our own: the claim, what was found, whether it holds."""
    mean_rank, _ = mean_ranks(values, names)
    mean_regret = mean_regrets(values, names)
    rows = []
    for name in ("auto", "ensemble"):
        if name not in mean_rank or name not in mean_regret:
            continue
        below = below_gaussian(values, name)
        creases = sum(r.get("creases", 0) for r in records if r["contender"] == name)
        least = f"{', '.join(f'{p[0]} (seed {p[1]}) by {gap:.2f}' for p, gap in below) or 'none'}"
        rank, regret = mean_rank[name], mean_regret[name]
        rows += [
            [name, "best mean rank", f"{rank:.2f}", _yes(rank == min(mean_rank.values()))],
            [name, f"mean regret at most {REGRET}", f"{regret:.3f}", _yes(regret <= REGRET)],
            [name, "never below the Gaussian", least, _yes(not below)],
            [name, "no creased row", str(creases), _yes(not creases)],
        ]
    return rows


def new_sets(values: Values, names: list[str]) -> str:
    """Return the ranks on those sets that nobody had seen when the rule was first sketched."""
    new = {pair: v for pair, v in values.items() if not TABLES[pair[0]].known}
    mean_rank, pairs = mean_ranks(new, names)
    mean_regret = mean_regrets(new, names)
    said = ", ".join(
        f"{TITLES.get(n, n)} {mean_rank[n]:.2f}"
        + (f" ({mean_regret[n]:.3f})" if n in mean_regret else "")
        for n in sorted(mean_rank, key=mean_rank.__getitem__)
    )
    return (
        f"Mean ranks (and regrets) on the {pairs} pairs of sets that nobody had looked at when the "
        f"rule for the settings was first sketched: {said or 'none yet'}."
    )


def each(values: Values, names: list[str], records: list[Record]) -> str:
    """Return the table of test log-likelihoods, a set a line, the best of a line in bold."""
    shared = {pair: v for pair, v in values.items() if all(name in v for name in names)}
    means = {name: by_set(shared, name) for name in names}
    grid: dict[str, list[float]] = defaultdict(list)
    for (set_name, _), value in best_of_grid(shared).items():
        grid[set_name].append(value)
    shape = {r["set"]: (r["n"], r["D"]) for r in records if "n" in r}
    rows = []
    for set_name in TABLES:
        seeds = [seed for name, seed in shared if name == set_name]
        if not seeds:
            continue
        line = {name: means[name][set_name] for name in names if set_name in means[name]}
        top = max(line.values())
        cells = [_number(line.get(name), line.get(name) == top) for name in names]
        own = float(np.mean(grid[set_name])) if set_name in grid else None
        n, d = shape[set_name]
        rows.append([f"{set_name}, {n:,} x {d}", len(seeds), *cells, _number(own)])
    titles = [
        "set, training rows x D",
        "seeds",
        *(TITLES.get(n, n) for n in names),
        "best of our grid",
    ]
    return "Means over the seeds that all contenders have run on.\n\n" + table(titles, rows)


def worst(records: list[Record], names: list[str]) -> str:
    """Return the lowest log-likelihood of a test row, per dimension, of each on each set."""
    low: dict[tuple[str, str], float] = {}
    for r in records:
        if "worst" in r:
            key = (r["set"], r["contender"])
            low[key] = min(low.get(key, np.inf), r["worst"])
    rows = [
        [name, *(_number(low.get((name, n)), digits=1) for n in names)]
        for name in TABLES
        if any((name, n) in low for n in names)
    ]
    head = "Lowest log-likelihood of any test row of any seed, divided by D.\n\n"
    return head + table(["set", *(TITLES.get(n, n) for n in names)], rows)


def sources(records: list[Record]) -> str:
    """Return where each set comes from, and which lack here."""
    there = {r["set"] for r in records}
    rows = [
        [
            t.name,
            t.package,
            t.origin,
            "yes" if t.known else "no",
            "" if t.name in there else "lacks",
        ]
        for t in TABLES.values()
    ]
    return table(["set", "package", "whose", "in sight of the sketch", ""], rows)


def everything(records: list[Record], names: list[str]) -> str:
    """Return the means and what was chosen at the first seed, a line a set and contender."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in records:
        if r["contender"] in names:
            groups[r["set"], r["contender"]].append(r)
    rows = []
    for set_name in TABLES:
        for name in names:
            group = groups[set_name, name]
            fine = sorted((r for r in group if "error" not in r), key=lambda r: r["seed"])
            if fine:
                mean = np.mean([r["test"] for r in fine])
                se = np.sqrt(np.mean([r["se"] ** 2 for r in fine]))
                seconds = np.mean([r["seconds"] for r in fine])
                choice = ", ".join(f"{k} {v}" for k, v in fine[0]["choice"].items())
                rows.append([
                    set_name, TITLES.get(name, name), f"{mean:.3f} +- {se:.3f}", len(fine),
                    f"{seconds:.1f}", choice,
                ])  # fmt: skip
    head = "Standard errors are of the test rows of one seed; settings are those of the first.\n\n"
    return head + table(["set", "contender", "test", "seeds", "seconds", "chosen"], rows)


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _number(value: float | None, bold: bool = False, digits: int = 2) -> str:
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return f"**{text}**" if bold else text
