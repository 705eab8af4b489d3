"""Time to quality: what is on the clock, when a run ends, what is kept; no time is asserted."""

import json
import math
import time

import numpy as np
import pytest

from benchmarks import quality, quality_report, quality_worker


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def course(clock, lines, **options):
    given = {"limit": 100.0, "mark": None, "beyond": 1.5, "began": 0.0} | options
    return quality_worker.Course(lines.append, **given, cpu=clock, wall=clock)


def test_judging_is_off_the_clock_and_takes_half_as_long_as_training_at_most():
    clock, lines = Clock(), []
    own = course(clock, lines)

    def judge(candidates):
        clock.now += 7.0
        return -1.0, -2.0

    own.judge, clock.now = judge, 10.0
    own.report(1.0, [None])
    assert (own.cpu, own.wall) == (10.0, 10.0)
    assert lines[-1] == {
        "kind": "point", "epoch": 1.0, "cpu": 10.0, "wall": 10.0, "validation": -1.0, "test": -2.0,
    }  # fmt: skip
    clock.now += 13.9
    assert not own.due()
    clock.now += 0.2
    assert own.due()


def test_a_run_ends_with_its_time_and_a_while_after_its_mark():
    clock, lines = Clock(), []
    own = course(clock, lines, limit=100.0, mark=-2.0)
    values = iter([(-3.0, -3.0), (-1.0, -1.0), (-1.0, -1.0), (-1.0, -1.0)])
    own.judge = lambda candidates: next(values)
    for now in (10.0, 20.0, 29.0):  # the mark is reached at 20
        clock.now = now
        own.report(now, [None])
    clock.now = 30.0
    assert own.due()
    with pytest.raises(quality_worker.Stop, match="time"):
        own.report(30.0, [None])
    own = course(clock, lines)
    own.judge = lambda candidates: (math.nan, -1.0)
    with pytest.raises(quality_worker.Stop, match="not finite"):
        own.report(1.0, [None])
    assert "test" not in lines[-1]


def test_validation_rows_choose_among_candidates_and_test_rows_do_not():
    judge = quality_worker.best_of(lambda candidate, X: candidate[X], "validation", "test")
    worse_on_test = {"validation": -1.0, "test": -9.0}
    assert judge([{"validation": -2.0, "test": 0.0}, worse_on_test]) == (-1.0, -9.0)
    assert judge([{"validation": math.nan, "test": 0.0}, worse_on_test]) == (-1.0, -9.0)


def asked(contender, **options):
    given = {"data": "toy:moons", "contender": contender, "seed": 0, "n": 200, "mark": None}
    given |= {"limit": 1e9, "beyond": 1.5, "began": time.time()}
    return given | options


@pytest.fixture
def _few_rows(monkeypatch):
    """Judge often, and few rows, so that a run of three judgements is short."""
    monkeypatch.setattr(quality_worker, "SPACING", 1.0)
    few = lambda data, seed: (data.validation, data.test)  # noqa: E731
    monkeypatch.setattr(quality_worker, "rows_to_judge", few)


def points(asked, most=math.inf):
    """The judgements of a run, ended after so many of them, and why it ended."""
    lines = []

    def write(line):
        lines.append(line)
        if line["kind"] == "point" and len(found()) >= most:
            raise quality_worker.Stop("enough")

    def found():
        return [line for line in lines if line["kind"] == "point"]

    quality_worker.run(asked, write)
    assert all(np.isfinite([line["validation"], line["test"]]).all() for line in found())
    return found(), lines[-1]["reason"]


@pytest.mark.usefixtures("_few_rows")
def test_ours_runs_to_its_end_and_reports_what_fit_would_return():
    small = {"layers": 2, "init": "identity", "epochs": 2, "rule": "plain", "batch_size": 50}
    found, reason = points(asked("ours", options=small))
    assert found[0]["epoch"] == 0.0
    assert found[-1]["epoch"] == 2.0
    assert found[-1]["validation"] > found[0]["validation"]
    assert reason == "epochs"


@pytest.mark.usefixtures("_few_rows")
def test_the_published_recipe_in_jax_runs_until_it_is_stopped():
    pytest.importorskip("jax", reason="jax is not installed")
    found, reason = points(asked("published", options={"layers": 2, "rate": 1e-2}), 3)
    assert found[-1]["validation"] > found[0]["validation"]
    assert reason == "enough"


@pytest.mark.usefixtures("_few_rows")
@pytest.mark.parametrize(("contender", "side"), [("zuko-nsf", 6.0), ("nflows-maf", 60.0)])
def test_a_flow_of_another_library_runs_and_its_density_has_mass_one(contender, side):
    pytest.importorskip(quality.NEEDS[contender], reason="the flow's library is not installed")
    import torch

    from benchmarks import quality_flows

    torch.manual_seed(0)
    flow, log_prob = quality_flows.make(contender, 2)
    places = torch.linspace(-side, side, 161)
    grid = torch.cartesian_prod(places, places)
    with torch.no_grad():
        mass = log_prob(flow, grid).double().exp().sum() * (side / 80) ** 2
    assert abs(float(mass) - 1) < 0.01
    found, _ = points(asked(contender, options={"rate": 3e-3}), 4)
    assert found[-1]["validation"] > found[0]["validation"]


def answers(values):
    """What a worker returns at each rate."""

    def worker(asked):
        worker.asked.append(asked)
        value = values[asked["options"]["rate"]]
        point = {"kind": "point", "cpu": 2.0, "wall": 2.0, "epoch": 1.0}
        point |= {} if value is None else {"validation": value, "test": value + 0.5}
        return [{"kind": "imported", "cpu": 1.0, "wall": 1.0}, point, {"kind": "end", "reason": ""}]

    worker.asked = []
    return worker


def test_a_rate_is_chosen_once_and_kept_and_a_run_replaces_itself_alone(monkeypatch, tmp_path):
    """Planted: the best rate on validation rows moves; what is kept does not move with it."""
    monkeypatch.setattr(quality_report, "draw", lambda *a: None)
    worker = answers({3e-4: -2.0, 1e-3: None, 3e-3: -1.0})
    monkeypatch.setattr(quality, "worker", worker)
    monkeypatch.setattr(quality, "NEEDS", dict.fromkeys(quality.NEEDS, "numpy"))
    monkeypatch.setattr(quality.os, "sched_setaffinity", lambda *a: None, raising=False)
    out = tmp_path / "q.jsonl"
    command = ["--data", "digits", "--only", "zuko-nsf", "--mark", "-1", "--out", str(out)]
    assert quality.main([*command, "--seeds", "0", "1"]) == 0
    assert [x["options"]["rate"] for x in worker.asked] == [3e-4, 1e-3, 3e-3, 3e-3, 3e-3]
    assert [x["mark"] for x in worker.asked] == [None] * 3 + [-1.0] * 2
    before = quality.read(out)
    worker = answers({3e-4: -0.5, 3e-3: -1.0})
    monkeypatch.setattr(quality, "worker", worker)
    quality.main([*command, "--seeds", "1"])
    assert [x["options"]["rate"] for x in worker.asked] == [3e-3]
    after = quality.read(out)
    assert after[: len(before) // 2] == before[: len(before) // 2]
    assert len(after) == len(before)
    assert "NSF (zuko), digits: rate 0.003" in out.with_suffix(".md").read_text()


def lines_of(contender, seed, times, values, data="digits", mark=-68.0):
    key = {"data": data, "contender": contender, "seed": seed}
    head = {"kind": "run", "mark": mark, "options": {}, "versions": {"numpy": "2"}}
    head |= {"date": "2026-01-01", "machine": "m"}
    found = [
        {"kind": "point", "cpu": t, "validation": v, "test": v}
        for t, v in zip(times, values, strict=True)
    ]
    return [key | line for line in [head, {"kind": "imported", "cpu": 0.5}, *found]]


def test_a_run_ends_after_so_many_times_the_fastest_of_the_others():
    lines = lines_of("ours", 0, [1.0, 4.0], [-90.0, -60.0])
    key = {"data": "digits", "contender": "zuko-nsf", "seed": 0}
    assert quality.enough(lines, key, 100.0, 10.0) == 40.0
    assert quality.enough(lines, key, 30.0, 10.0) == 30.0
    assert quality.enough(lines, key | {"seed": 1}, 100.0, 10.0) == 100.0
    assert quality.enough(lines, key | {"contender": "ours"}, 100.0, 10.0) == 100.0


def test_the_table_says_who_is_first_and_who_did_not_arrive(tmp_path):
    lines = [
        *lines_of("ours", 0, [1.0, 4.0], [-90.0, -60.0]),
        *lines_of("ours", 1, [1.0, 6.0], [-90.0, -60.0]),
        *lines_of("zuko-nsf", 0, [1.0, 8.0], [-80.0, -67.0]),
        *lines_of("zuko-nsf", 1, [1.0, 9.0], [-80.0, -69.0]),
        *lines_of("published", 0, [1.0, 9.0], [-80.0, -81.5]),
    ]
    table = quality_report.table(lines)
    row = "| digits | -68 | 5.0 s (4.0 to 6.0) | 8.0 s, 1 of 2 seeds | not in 9 s: -80 | ours |"
    assert row in table
    lines[3] |= {"test": -68.5}
    assert row not in quality_report.table(lines)
    path = tmp_path / "quality.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    quality_report.report(path)
    assert row not in path.with_suffix(".md").read_text()
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_what_is_possible_on_a_toy_is_that_of_its_density(monkeypatch):
    """The moons' entropy by an integral over both half circles, in place of a histogram."""
    fewer = {"limit": "toy:moons", "draws": 500_000, "bins": 400}
    monkeypatch.setattr("validation.toys.limit_key", lambda name: fewer)
    angle = (np.arange(400) + 0.5) / 400 * math.pi
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1) - np.array([1.0, 0.5])
    centres = np.concatenate([centres, -centres])
    from relgrad_np.datasets import toy

    X = toy("moons", 4000, np.random.default_rng(5))
    square = ((X[:, None, :] - centres) ** 2).sum(axis=2)
    log_p = np.log(np.exp(-0.5 * square / 0.18**2).mean(axis=1) / (2 * math.pi * 0.18**2))
    error = 4 * log_p.std() / math.sqrt(len(X)) + 0.005
    assert abs(quality.possible("toy:moons") - log_p.mean()) < error
