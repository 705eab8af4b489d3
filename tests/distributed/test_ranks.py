"""Several ranks fit as one process does, send what the model says, and end together.

The cases are in `on_ranks`, run by mpiexec with a time limit. Planted mistakes: a rank that divides
by its own rows, a W that differs by one bit on one rank, messages that count or add wrongly.
"""

import ast
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.distributed import exchange, messages
from relgrad_np.distributed import train_step as distributed
from relgrad_np.distributed.agree import Agreement, RanksDifferError
from relgrad_np.distributed.exchange import Machine, choose, cost, possible
from relgrad_np.distributed.messages import Messages
from relgrad_np.distributed.ranks import Ranks
from relgrad_np.fitting import loop
from relgrad_np.fitting.team import Team
from relgrad_np.rules.by_name import make_rule
from tests.programs import kill_ranks

ROOT = Path(__file__).parents[2]
MPIEXEC = kill_ranks.mpiexec()
needs_mpi = pytest.mark.skipif(
    isinstance(MPIEXEC, str), reason=f"no MPI: {MPIEXEC}" if isinstance(MPIEXEC, str) else ""
)
RULES = ("plain", "exponential", "scalar", "adam", "recipe")


def job(n, *arguments, limit=60):
    """Run Python on n ranks."""
    return subprocess.run(
        [*MPIEXEC, "-n", str(n), sys.executable, "-m", *arguments],
        capture_output=True, text=True, timeout=limit, cwd=ROOT, check=False,
        env=os.environ | kill_ranks.ENVIRONMENT,
    )  # fmt: skip


def on_ranks(*cases):
    """Run cases in one job of 4 ranks; return what rank 0 printed, by case."""
    done = job(4, "tests.programs.on_ranks", *cases, limit=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@needs_mpi
def test_the_same_layers_as_one_process_after_500_steps_and_the_bytes_of_the_model():
    """The hashes of all ranks are compared every tenth step. 25 rows in a batch: uneven parts."""
    for case, found in on_ranks("same:1", "same:2", "same:4").items():
        n = int(case[-1])
        assert {name.split()[0] for name in found} == set(RULES)
        assert {"plain sums", "exponential sums", "scalar sums", "adam sums"} <= found.keys()
        for name, (off, best, steps, sent, model) in found.items():
            assert steps >= 500, (n, name)
            assert max(off, best) <= 1e-12, (n, name)
            assert len(sent) == n
            assert max(sent) <= 1.05 * model, (n, name)
            assert (model == 0) == (n == 1), (n, name)
            assert min(sent) >= 0.8 * model, (n, name)  # the least of uneven parts


@pytest.fixture(scope="module")
def cases():
    names = ("weighted", "own_shards", "staged", "mistake")
    return on_ranks(*(f"{name}:{n}" for name in names for n in (2, 4)), "errors")


@needs_mpi
@pytest.mark.parametrize("n", [2, 4])
def test_weights_transforms_own_shards_and_other_libraries(cases, n):
    weighted, shards = cases[f"weighted:{n}"], cases[f"own_shards:{n}"]
    assert weighted.pop("undone steps") == 1
    assert weighted.keys() == {"weights", "transform", "undone", "input"}
    assert max(weighted.values()) <= 1e-12
    assert shards["own"] <= 1e-12
    assert len(shards["rows"]) == n
    for kept, off in cases[f"staged:{n}"].values():
        assert kept
        assert off <= 1e-12
    assert cases[f"mistake:{n}"]["off"] > 1e-6  # each rank divides by the number of its own rows


@needs_mpi
def test_every_rank_raises_the_same_when_they_do_not_fit_together(cases):
    found = dict(cases["errors"])
    assert found.pop("callback") == [["callback", 2]] * 4  # asked for by one rank alone
    for name, errors in found.items():
        assert len(errors) == 4
        assert len(set(errors)) == 1, name
        assert "\n" not in errors[0]
    start = {name: errors[0].split(": ", 1)[1] for name, errors in found.items()}
    assert start["data"].startswith("`X` differs between ranks: 1000x6 ")
    assert start["nan"] == "rank 3: `X` must be finite, got nan in row 0, column 0"
    assert start["argument"] == "rank 3: `epochs` must be a positive integer, got -1"
    for name in ("epochs", "rng", "rule", "dtype", "activation", "density"):
        assert start[name].startswith(f"`{name}` differs between ranks: "), name
    assert (
        start["D"] == "`layers` differs between ranks: 3 of 6 x 6 on rank 0, 3 of 5 x 5 on rank 3"
    )
    assert (
        start["version"]
        == f"`numpy` differs between ranks: {np.__version__} on rank 0, 0.1 on rank 3"
    )
    assert start["layers"].startswith("layer 2 of rank 3 is not that of rank 0 at step 0")
    assert start["drift"].startswith("layer 1 of rank 3 is not that of rank 0 at step 45")
    assert start["few"].startswith("a batch of 3 samples can't be shared by 4 ranks")
    assert start["small"].startswith("a batch of 2 samples can't be shared by 4 ranks")
    assert start["empty"].startswith("rank 3: `X` must have shape (N, 6) with N >= 1")
    assert start["poor"].startswith("rank 3 has 3 rows for 31 batches")
    assert start["X_val"] == "`X_val` must be given on all ranks, or on none"
    assert start["resume"].startswith("`resume` differs between ranks: step 7, ")
    assert start["other"].startswith("`epochs` can't change on resume")
    assert start["exchange"].startswith("`exchange` 'sums' is not for this rule")
    assert start["implementation"].startswith("`implementation` 'numba'")
    assert start["validation"] == "rank 3: MemoryError"  # while the others look at their rows
    assert found["diverged"][0].startswith("FitDivergedError: the objective is not finite")
    assert start["again"] == start["argument"]  # the same Ranks, used again after a divergence


@needs_mpi
def test_a_rank_that_fails_in_the_middle_ends_the_job_in_one_line():
    started = time.perf_counter()
    done = job(4, "tests.programs.on_ranks", "breaks")
    assert done.returncode != 0
    assert time.perf_counter() - started < 30
    line = "relgrad-np: rank 1: RuntimeError: the disk of this rank is gone"
    assert line in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@needs_mpi
def test_killed_ranks_end_the_job_and_it_resumes_with_another_number_of_ranks():
    lines = []
    assert kill_ranks.run(1, 0, lines.append) == 0, lines


@needs_mpi
def test_a_signal_stops_all_ranks_with_a_checkpoint(tmp_path):
    data = kill_ranks.write_data(tmp_path)
    folder = tmp_path / "run"
    options = {"epochs": 400, "steps": 10_000}
    job = kill_ranks.launch(4, data, folder, **options)
    history = folder / "history.jsonl"
    while not (history.exists() and history.read_text()):
        assert job.poll() is None, kill_ranks.error_file(folder).read_text()
        time.sleep(0.05)
    os.kill(kill_ranks.ranks_of(job.pid)[2], signal.SIGTERM)  # one gets it, and all stop
    job.wait(timeout=60)
    assert job.returncode != 0
    assert "stopped by SIGTERM; go on with" in kill_ranks.error_file(folder).read_text()
    assert len(list((folder / "checkpoints").glob("step-*.npz"))) >= 1


@needs_mpi
def test_the_command_line_prints_its_errors_once():
    done = job(2, "relgrad_np", "train", "nonsense", "--distributed")
    assert done.returncode == 2
    assert done.stderr.count("relgrad-np: error: unknown data 'nonsense'") == 1
    assert "Traceback" not in done.stderr


class Alike:
    """A communicator of n ranks that are all alike: each sends what this one does."""

    def __init__(self, n, rank=0):
        self.n, self.rank = n, rank

    def Get_size(self):
        return self.n

    def Get_rank(self):
        return self.rank

    def Iallgatherv(self, x, received):
        buffer, sizes = received
        assert sum(sizes) == buffer.size
        flat = buffer.reshape(-1)
        for r in range(self.n):
            begin = sum(sizes[:r])
            flat[begin : begin + sizes[r]] = x.reshape(-1)[: sizes[r]]
        return self

    def Iallgather(self, x, buffer):
        buffer[:] = x
        return self

    def Ialltoall(self, parts, received):
        received[:] = parts[self.rank]
        return self

    def Ibarrier(self):
        return self

    def allgather(self, value):
        return [value] * self.n

    def Test(self):
        return True


def test_messages_count_what_a_rank_sends():
    sends = Messages(Alike(4))
    x = np.arange(6.0).reshape(2, 3)
    assert (sends.gather(x, (2, 2, 2, 2)).result(x) == np.tile(x, (4, 1))).all()
    assert sends.sent == 3 * 6 * 8
    pending = sends.sum(np.ones((3, 3)))
    assert sends.under_way == [pending]
    pending.reduce()
    pending.result(np.ones((3, 3)))
    # three of four parts, ceil(9 / 4) numbers each, twice
    assert sends.sent == 3 * 6 * 8 + 2 * 3 * 3 * 8
    assert not sends.under_way


def test_sums_are_taken_in_the_order_of_ranks():
    """The mistake: any other order, or a tree; then two ranks might have other bits."""

    class Given(Alike):
        def Ialltoall(self, parts, received):
            received[:] = np.array([1e16, 1.0, -1e16, 1.0])[:, None]
            return self

    pending = Messages(Given(4)).sum(np.zeros(4))
    pending.reduce()
    assert (pending.result(np.zeros(4)) == ((1e16 + 1.0) - 1e16) + 1.0).all()


def test_ranks_that_listen_hear_of_an_error_wherever_they_meet():
    """The mistake: to send arrays while a rank may be telling an error; then both sides wait."""

    class OneFails(Alike):
        def allgather(self, value):
            return [value, ("no memory", None)]

    def calls(agreement):
        return [
            lambda: agreement.gather(1),
            lambda: agreement.share(1),
            lambda: agreement.numbers([1.0]),
            lambda: agreement.require_same({"rule": "plain"}),
            agreement.stop_listening,
            lambda: agreement.raise_on_all(ValueError("of this rank")),
        ]

    for i in range(6):
        agreement = Agreement(Messages(OneFails(2)))
        with pytest.raises(
            RanksDifferError, match="rank 0: of this" if i == 5 else "rank 1: no memory"
        ):
            calls(agreement)[i]()
        assert agreement.listening
    agreement = Agreement(Messages(Alike(3)))
    for expected in (True, False):
        assert agreement.listening == expected
        assert (agreement.numbers([1.0, 2.0]) == np.tile([1.0, 2.0], (3, 1))).all()
        agreement.stop_listening()


def test_the_loop_asks_a_team_for_nothing_else_and_ranks_answer_it_all():
    methods = {name for name, _ in inspect.getmembers(Team, inspect.isfunction)}
    assert methods <= vars(Ranks).keys()
    asked = {
        node.attr
        for path in Path(loop.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "team"
    }
    assert asked == methods | {"rank"}


def test_the_loop_itself_takes_a_team_and_no_communicator():
    layers, X = (rg.Layer(np.eye(2), np.zeros(2)),), np.ones((3, 2))
    model = rg.activation("identity"), rg.density("normal")
    with pytest.raises(TypeError, match=r"`comm` must be a team, .* got Alike; only `relgrad_np"):
        loop.fit(layers, X, *model, rng=np.random.default_rng(0), comm=Alike(1))
    options = {"rng": np.random.default_rng(0), "epochs": 1}
    assert rg.fit(layers, X, *model, comm=Alike(1), **options).history[-1].t == 1
    assert loop.fit(layers, X, *model, comm=Ranks(Alike(1)), **options).history[-1].t == 1


@pytest.mark.parametrize("how", exchange.EXCHANGES)
def test_a_layer_is_sent_before_the_delta_below_it_is_computed(how):
    """The mistake: to send when all deltas are there; then nothing overlaps."""
    rng, events = np.random.default_rng(0), []
    layers, act = rg.init_layers(rng, 4, 3), rg.activation("smooth_leaky_relu")

    def dsigma(y):
        events.append("delta")
        return act.dsigma(y)

    class Recorded(Messages):
        def gather(self, x, counts):
            events.append("sent")
            return super().gather(x, counts)

        def sum(self, x):
            events.append("sent")
            return super().sum(x)

    state, rule, X = rg.init_state(layers, rg.Plain()), rg.Plain(), rng.standard_normal((7, 4))
    model = {"activation": act, "density": rg.density("sech"), "rule": rule}
    after, info, _ = distributed.train_step(
        state, X, **(model | {"activation": replace(act, dsigma=dsigma)}), counts=(7,),
        messages=Recorded(Alike(1)), exchange=how,
    )  # fmt: skip
    one = ["sent"] * {"factors": 2, "products": 3, "sums": 1}[how]
    assert events == ["sent", *one, "delta", *one, "delta", *one]  # the first: three numbers
    truth, known = rg.train_step(state, X, **model)
    for a, b in zip(after.layers, truth.layers, strict=True):
        np.testing.assert_allclose(a.W, b.W, rtol=0, atol=1e-14)
        np.testing.assert_allclose(a.b, b.b, rtol=0, atol=1e-14)
    assert float(info.log_likelihood) == pytest.approx(float(known.log_likelihood), abs=1e-13)


class Card:
    """An array that pretends to be on a device, and knows who has touched it."""

    def __init__(self, x):
        self.x, self.fetched = x, 0

    def get(self):
        self.fetched += 1
        return self.x


@pytest.mark.parametrize("aware", [False, True])
def test_device_arrays_are_staged_unless_mpi_reads_them(monkeypatch, aware):
    """With a CUDA-aware MPI the array itself goes out, after its stream is done; else a copy."""
    card, events = Card(np.ones((2, 3))), []

    class Stream:
        def synchronize(self):
            events.append("synchronised")

    class Namespace:
        class cuda:
            get_current_stream = staticmethod(Stream)

        @staticmethod
        def ascontiguousarray(x):
            return x

    from relgrad_np.core import arrays

    for compat in (messages.compat, arrays.compat):
        monkeypatch.setattr(compat, "is_cupy_array", lambda x: isinstance(x, Card))
    monkeypatch.setattr(messages.compat, "array_namespace", lambda x: Namespace)
    sent = Messages(Alike(2), cuda_aware=aware).readable(card)
    assert (sent is card) == aware
    assert events == ["synchronised"] * aware
    assert card.fetched == (not aware)


def test_the_environment_decides_whether_mpi_reads_devices(monkeypatch):
    for name in messages.CUDA_AWARE:
        monkeypatch.delenv(name, raising=False)
    assert not Messages(Alike(2)).cuda_aware
    monkeypatch.setenv("MPICH_GPU_SUPPORT_ENABLED", "1")
    assert Messages(Alike(2)).cuda_aware
    assert not Messages(Alike(2), cuda_aware=False).cuda_aware


@pytest.mark.parametrize("name", RULES)
def test_the_cheapest_exchange_is_chosen_and_sums_win_from_some_number_of_samples_on(name):
    rule, machine = make_rule(name), Machine(4e10, 3e7, 4e9, 2e9, 5e-6)
    for D in (64, 512):
        chosen = []
        for N in (2**i for i in range(4, 18)):
            took = choose(rule, N, D, 2, 4, machine=machine)
            seconds = {
                e: cost(e, rule, N, D, 2, 4, machine=machine).seconds for e in possible(rule)
            }
            assert seconds[took] == min(seconds.values())
            chosen.append(took == "sums")
        assert chosen == sorted(chosen)  # factors first, then sums for good
        assert not chosen[0]
        assert chosen[-1] == ("sums" in possible(rule))


def test_the_model_counts_the_numbers_of_the_page():
    for e, numbers in (("factors", 2 * 256), ("products", 3 * 256)):
        sent = cost(e, rg.Plain(), 1024, 512, 3, 4).sent
        assert sent == 3 * (3 * numbers * 512 * 8 + exchange.HEADER * 8)
    sent = cost("sums", rg.Plain(), 1024, 512, 3, 4).sent
    assert sent == 3 * (3 * 2 * (512 * 513 // 4) * 8 + exchange.HEADER * 8)
    X = cost("factors", rg.Adam(side="input"), 1024, 512, 3, 4).sent
    assert X - cost("factors", rg.Adam(), 1024, 512, 3, 4).sent == 3 * 256 * 512 * 8
    assert cost("factors", rg.Plain(), 1024, 512, 3, 1).sent == 0
    with pytest.raises(ValueError, match="exchange"):
        cost("gossip", rg.Plain(), 1024, 512, 3, 4)


def test_arguments_of_ranks_by_name():
    with pytest.raises(TypeError, match="`comm` must be an mpi4py communicator, got int"):
        Ranks(3)
    for name, value in (("exchange", "gossip"), ("shards", "mine"), ("check_every", 0)):
        with pytest.raises(ValueError, match=name):
            Ranks(Alike(2), **{name: value})


def test_distributed_without_mpi4py_names_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    from relgrad_np.cli.main import main

    assert main(["train", "toy:moons", "--distributed"]) == 2
    assert "pip install 'relgrad-np[distributed]'" in capsys.readouterr().err
    assert main(["train", "toy:moons", "--exchange", "sums"]) == 2


def test_without_mpi_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    assert "mpiexec" in kill_ranks.mpiexec() or "mpi4py" in kill_ranks.mpiexec()
