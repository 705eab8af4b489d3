"""Several ranks fit as one process does, send what the model says, and end together.

The cases are in `on_ranks`, run by mpiexec with a time limit. Planted mistakes: a rank that divides
by its own rows, a W that differs by one bit on one rank.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

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
def test_the_same_layers_as_one_process_after_200_steps_and_the_bytes_of_the_model():
    """The hashes of all ranks are compared every tenth step. 25 rows in a batch: uneven parts."""
    for case, found in on_ranks("same:1", "same:2", "same:4").items():
        n = int(case[-1])
        assert {name.split()[0] for name in found} == set(RULES)
        assert {"plain sums", "exponential sums", "scalar sums", "adam sums"} <= found.keys()
        for name, (off, best, steps, sent, model) in found.items():
            assert steps >= 200, (n, name)
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
    weighted, shards = dict(cases[f"weighted:{n}"]), cases[f"own_shards:{n}"]
    assert weighted.pop("undone steps") == 1
    assert weighted.keys() == {
        *("weights", "transform", "undone", "input", "own"),
        *("context", "context recipe", "context sums"),
    }
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


def test_distributed_without_mpi4py_names_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    from relgrad_np.cli.main import main

    assert main(["train", "toy:moons", "--distributed"]) == 2
    assert "pip install mpi4py" in capsys.readouterr().err
    assert main(["train", "toy:moons", "--exchange", "sums"]) == 2


def test_without_mpi_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    assert "mpiexec" in kill_ranks.mpiexec() or "mpi4py" in kill_ranks.mpiexec()
