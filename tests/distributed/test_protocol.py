"""Wherever a rank fails, no other one waits for ever, and one line says which rank and why.

The points are the rows of the table in docs/distributed.md. Ranks are threads here; MPI itself, in
processes that are killed, is for tests/programs/rank_faults.py.
"""

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.distributed import waiting
from relgrad_np.distributed.agree import Agreement, RanksDifferError
from relgrad_np.distributed.messages import Messages
from relgrad_np.distributed.ranks import Ranks
from tests.doubles.threads import AbortedError, World
from tests.programs import rank_faults
from tests.programs.rank_faults import POINTS, Fault, faulty_fit

N = 3
HEARD = ("arguments", "comparison", "start", "survey")  # points at which all ranks hear of an error
DOCS = Path(rg.__file__).parents[1] / "docs" / "distributed.md"


@pytest.fixture
def lines(monkeypatch):
    """What ranks print before they abort."""
    found, ended = [], threading.Event()

    def end_job(comm, line, code=1):
        if not comm.world.over.is_set():
            found.append(line)
        ended.set()
        comm.Abort(code)

    monkeypatch.setattr(rank_faults, "pause", lambda seconds: ended.wait(60))

    for module in ("waiting", "messages", "ranks"):
        monkeypatch.setattr(f"relgrad_np.distributed.{module}.end_job", end_job)
    return found


def fault(point, kind, rank):
    when = 2 if point in ("transform", "step", "propose", "message", "callback") else 0
    return Fault(point, kind, rank, when)


def ends(point, kind, rank=1, **options):
    return World(N).run(
        lambda comm: faulty_fit(
            Ranks(comm, check_every=3, **options), fault(point, kind, rank), None
        )
    )


@pytest.mark.parametrize("point", POINTS)
def test_an_error_at_any_point_is_raised_on_all_or_ends_the_job(point, lines):
    rank = 0 if point == "keeper" else 1
    for kind in ("error", "memory", "exit", *["shared"] * (point in ("callback", "transform"))):
        lines.clear()
        found = ends(point, kind)
        what = {"error": "no luck", "memory": "MemoryError", "exit": "SystemExit"}.get(kind, "")
        if point in HEARD and kind in ("error", "memory"):
            assert [type(x) for x in found] == [RanksDifferError] * N, (kind, found, lines)
            assert {str(x) for x in found} == {f"rank {rank}: {what}"}
            assert lines == []
        else:
            assert all(isinstance(x, AbortedError) for x in found), (kind, found, lines)
            assert len(lines) == 1
            assert lines[0].startswith(f"rank {rank}: ")
            assert what in lines[0]


def test_without_a_fault_all_ranks_end_alike(lines):
    found = ends("step", "none")
    assert len({str(x.layers) for x in found}) == 1
    assert lines == []


@pytest.mark.parametrize("point", ["start", "step"])
def test_a_rank_that_does_not_come_is_named(point, lines):
    found = ends(point, "stall", watchdog=0.3)
    assert all(isinstance(x, AbortedError) for x in found)
    # a machine that is busy may keep another one silent, too
    assert re.match(r"ranks? (0, )?1(, 2)? did not come: rank \d waited for ", lines[0])


def test_a_rank_that_has_left_is_named_and_none_that_waits(lines):
    """The mistake: to name whoever has not entered this call, though it waits in an earlier one."""
    found = World(N).run(
        lambda comm: (
            comm.rank == 2
            or faulty_fit(Ranks(comm, watchdog=0.4), Fault("none", "none", 0, 0), None)
        )
    )
    assert found[2] is True
    assert re.match(r"ranks? (0, |1, )?2 did not come: rank \d waited for ", lines[0])


def test_ranks_in_different_calls_end_and_say_where(lines):
    def apart(comm):
        messages = Messages(comm, seconds=0.4)
        messages.watchdog.place = f"place {comm.rank}"
        if comm.rank == 0:
            return messages.sum(np.ones(3)).reduce()
        return messages.objects("x")

    World(2).run(apart)
    assert re.search("rank 0 in place 0, rank 1 in place 1|did not come: rank . waited", lines[0])


def test_a_slow_rank_is_waited_for_and_a_watchdog_can_be_off(lines):
    def slow(comm, seconds):
        messages = Messages(comm, seconds=seconds)
        time.sleep(0.3 * (comm.rank == 1))
        return messages.objects(comm.rank)

    for seconds in (30.0, None):
        assert World(N).run(lambda comm, s=seconds: slow(comm, s)) == [[0, 1, 2]] * N
    assert lines == []
    assert waiting.SECONDS < 30


def test_time_in_which_the_process_was_stopped_does_not_count(monkeypatch, lines):
    clock = iter([0.0, 0.01, 9.0, *np.arange(9.0, 12.0, 0.01)])
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(waiting.time, "sleep", lambda s: None)
    tries = iter(range(10**6))
    request = type("R", (), {"Test": lambda self: next(tries) > waiting.SPINS + 40})()
    waiting.Watchdog(World(2).run(lambda comm: comm)[0], 2.0).wait(request)
    assert lines == []


def test_a_message_that_can_not_be_made_is_heard_and_one_that_can_not_be_read_ends_the_job(lines):
    class Bad:
        def __reduce__(self):
            raise MemoryError

    class Unreadable:
        def __reduce__(self):
            return int, ("no number",)

    def exchange(comm, value):
        agreement = Agreement(Messages(comm))
        try:
            agreement.gather(value if comm.rank == 0 else 1)
        except MemoryError as error:
            agreement.raise_on_all(error)

    found = World(2).run(lambda comm: exchange(comm, Bad()))
    assert {str(x) for x in found} == {"rank 0: MemoryError"}
    World(2).run(lambda comm: exchange(comm, Unreadable()))
    assert re.match(r"rank \d: ValueError in a message: ", lines[0])


def test_ranks_are_used_again_after_an_error(lines):
    def twice(comm):
        team = Ranks(comm)
        with pytest.raises(RanksDifferError, match="rank 1: no luck"):
            faulty_fit(team, Fault("start", "error", 1, 0), None)
        with pytest.raises(rg.FitDivergedError):
            faulty_fit(team, Fault("none", "none", 0, 0), None, rule=rg.Adam(1e300), undo=None)
        return str(faulty_fit(team, Fault("none", "none", 0, 0), None).layers)

    assert len(set(World(N).run(twice))) == 1
    assert lines == []


def test_every_point_is_a_row_of_the_table():
    text = DOCS.read_text()
    assert {point for point in POINTS if f"| `{point}` |" in text} == set(POINTS)


def test_watchdog_must_be_positive():
    comm = World(1).run(lambda comm: comm)[0]
    with pytest.raises(ValueError, match="`watchdog` must be positive"):
        Ranks(comm, watchdog=0)
    assert Ranks(comm, watchdog=None).messages.watchdog.seconds is None
