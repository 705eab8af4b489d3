"""Whole fits: the prices of their parts, and that the pieces run; no time is asserted."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

from benchmarks import __main__, fit_parts, fit_report, fits, run

PLANTED = {"bare step": 2.0, "step": 3.0, "audit": 5.0, "validation": 7.0, "average": 0.5}
PLANTED |= {"undo": 0.25, "begin": 11.0, "new noise": 0.75}


def facts(rule="plain", **planted):
    """What `parts` measures where each part has the planted price, of which the last is by fit."""
    p, few, epochs = PLANTED | planted, 10, fit_parts.EPOCHS
    steps = few * epochs
    nothing = {
        n: p["begin"] + n * (few * (p["step"] + p["new noise"]) + p["audit"]) for n in (1, epochs)
    }
    extra = {
        "X_val": (epochs + 1) * p["validation"],
        "average": steps * p["average"],
        "undo": steps * p["undo"],
    }
    full = nothing[epochs] + sum(extra.values())
    times = {"bare": steps * p["bare step"], "fit": full, "nothing": nothing[epochs]}
    times |= {"nothing, one epoch": nothing[1]}
    times |= {f"no {name}": full - price for name, price in extra.items()}
    pairs = {case: [(t, 2 * t)] * 3 for case, t in times.items()}
    return {
        "row": "digits", "L": 3, "D": 64, "N": 100, "rule": rule, "epochs": 60, "batches": 13,
        "short_batches": few, "start": (1.5, 3.0), "audit": (p["audit"], 2 * p["audit"]),
        "new noise": (p["new noise"], 2 * p["new noise"]), "times": pairs,
    }  # fmt: skip


@pytest.mark.parametrize("clock", [0, 1])
def test_each_price_is_found_and_multiplied_by_how_often_it_is_paid(clock):
    """Planted: every part has a price of its own, and a part that is off by a little is seen."""
    found = fit_parts.priced(facts(), clock)
    steps = 60 * 13
    expected = {
        "start": 1.5, "begin": 11.0, "steps": 3.0 * steps, "validation": 7.0 * 61,
        "audit": 5.0 * 60, "average": 0.5 * steps, "undo": 0.25 * steps, "bare step": 2.0,
        "step": 3.0, "new noise": 0.75 * steps,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx((1 + clock) * value), name
    assert found["step / bare"] == pytest.approx(3 / 2)
    assert found["all / bare"] == pytest.approx(3.75 / 2)
    other = fit_parts.priced(facts(average=0.6), clock)
    assert other["average"] != pytest.approx(found["average"])
    assert other["undo"] == pytest.approx(found["undo"])


def test_what_a_rule_measures_first_grows_with_the_rows():
    assert fit_parts.priced(facts("recipe"), 0)["begin"] == pytest.approx(11.0 * 13 / 10)


def tiny():
    small = {"layers": 2, "init": "identity", "rule": "plain", "batch_size": 50, "epochs": 4}
    return {"tiny": ("toy:moons", small | {"implementation": "reference"})}


def test_the_parts_of_a_small_fit_are_measured(monkeypatch):
    monkeypatch.setattr(fit_parts, "rows", tiny)
    found = fit_parts.parts("tiny", rounds=2, seconds=0.01, n=400)
    assert (found["batches"], found["epochs"], found["N"], found["D"]) == (8, 4, 50, 2)
    assert 1 <= found["short_batches"] <= 8
    assert set(found["times"]) >= {"bare", "fit", "nothing", "no X_val", "no average", "no undo"}
    assert all(len(pairs) == 2 and np.min(pairs) > 0 for pairs in found["times"].values())
    row = fit_report.row(json.loads(json.dumps(found | {"compiling": (20.0, 0.5)})))
    assert row.startswith("| tiny | 2, 2, 50 | 4 x 8 | ")
    assert row.count("|") == 1 + len(fit_report.parts([])[0].split("|")) - 2


@pytest.mark.parametrize("kind", ["ours bare", "ours fit", "ours defaults", "jax bare", "jax loop"])
def test_every_kind_takes_the_steps_that_it_is_timed_for(kind, monkeypatch):
    """The jax loop among them: each moves the layers as often as the others."""
    if kind.startswith("jax"):
        pytest.importorskip("jax", reason="jax is not installed")
    from benchmarks import contenders, in_kernels
    from relgrad_np.kernels.cpu import step
    from relgrad_np.rules.base import train_step as reference

    taken = []
    if kind.startswith("jax"):
        fake = SimpleNamespace(
            step=lambda X: taken.append(len(X)),
            sweep=lambda X, rows: taken.extend(map(len, rows)),
            to_device=lambda X: X,
        )
        monkeypatch.setattr(contenders, "make", lambda *a, **kw: fake)
    else:

        def counted(state, X, *a, **kw):
            taken.append(len(X))
            return reference(state, X, *a, **kw)

        monkeypatch.setattr(step, "train_step", counted)
        monkeypatch.setattr(in_kernels, "train_step", counted)
    pair = fits.timed_steps(kind, 4, 3, steps=2, epochs=5, seed=0)
    fits.MADE.clear()
    assert min(pair) >= 0
    assert [n for n in taken if n == 3] == [3] * 20  # once to warm up, once timed


def step_lines():
    """Lines in which a kind of place i takes i + 1 times 0.1 ms, twice that at N = 100."""
    return [
        {"table": "steps", "D": 64, "N": N, "kind": kind, "steps": 500}
        | {"cpu": [1e-4 * (i + 1) * (1 + (N == 100))] * 3}
        for N in (10, 100)
        for i, kind in enumerate(reversed(fits.KINDS))
    ]


def test_the_tables_show_ratios_of_the_same_round(tmp_path):
    common = {"date": "2026-01-01T00:00", "machine": "m", "threads": 1, "load": [0.0]}
    common |= {"versions": {"numpy": "2"}}
    part = facts() | {"table": "parts", "compiling": (20.0, 0.5)}
    part["parts"] = [fit_parts.priced(part, clock) for clock in (0, 1)]
    path = tmp_path / "fit-1.jsonl"
    lines = [*step_lines(), part]
    path.write_text("".join(json.dumps(common | line) + "\n" for line in lines))
    text = fit_report.report(path)
    assert text == path.with_suffix(".md").read_text().strip()
    assert "| published algorithm, JAX, bare steps | 0.5 | 1 |" in text
    assert "Steps in a round: 500 at D = 64." in text
    assert "bare steps | 1.67 | 1.67 | 1.67 |" in text
    assert "| digits | 3, 64, 100 | 60 x 13 | 1.5 | 20.0, 0.5 | 11.0 | 2340 | 585 |" in text
    lines[0]["cpu"] = [2e-4] * 3  # planted: another time, another ratio
    path.write_text("".join(json.dumps(common | line) + "\n" for line in lines))
    assert "| ours: `fit` with defaults / bare | 0.67 | 0.33 | 0.47 |" in fit_report.report(path)


def test_the_command_leads_here_and_keeps_what_it_measured(monkeypatch, tmp_path, capsys):
    class Process:
        def __init__(self, library, threads):
            self.process = SimpleNamespace(terminate=lambda: None)

        def ask(self, question, name, *rest):
            if name.endswith("timed_steps"):
                return 0.1, 0.2
            if rest[0] == "MNIST, L = 2":
                raise RuntimeError("FileNotFoundError: mnist is not here")
            found = facts() | {"row": rest[0], "dtype": "float64"}
            return found | {"parts": [fit_parts.priced(found, clock) for clock in (0, 1)]}

    monkeypatch.setattr(run, "Process", Process)
    known = {"date": "2026-01-01", "load": [0], "threads": 1, "versions": {}, "machine": "m"}
    monkeypatch.setattr(run, "environment", lambda *a: known)
    monkeypatch.setattr(fit_parts, "compiling", lambda name: (20.0, 0.5))
    out = tmp_path / "fit-1.jsonl"
    command = ["--cells", "fit", "--rows", "digits", "MNIST, L = 2", "--out", str(out)]
    assert __main__.main(command) == 0
    said = capsys.readouterr().out
    assert "MNIST, L = 2: no such data here" in said
    assert "| digits | 3, 64, 100 |" in said
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    kinds = [k for k in fits.KINDS if k.startswith("ours") or fit_report.installed("jax")]
    assert len(lines) == 1 + len(fits.CELLS) * len(kinds)
    assert out.with_suffix(".md").exists()
