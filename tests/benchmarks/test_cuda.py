"""The GPU's benchmark, rehearsed on the double: every part runs, gates reject, nothing is kept."""

import pytest

from benchmarks import cuda, in_cuda

LINE = {"part": "time", "D": 4096, "N": 1024, "by": "events"}


def test_every_part_is_rehearsed(capsys, monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed")
    monkeypatch.setattr(cuda, "SMALL", ((12, 5),))
    monkeypatch.setattr(cuda, "PEERS", ("jax-published", "torch-plain"))  # a rehearsal has all
    monkeypatch.setattr(cuda, "CUBIC", ("torch-autograd", "cusolver-inverse"))
    before = sorted(cuda.RESULTS.iterdir())
    assert cuda.main(["--rehearse"]) == 0
    said = capsys.readouterr().out
    for part in cuda.PARTS:
        word = {"fits": "fit", "transfers": "copy", "table": "gate"}.get(part, part)
        assert f"part {word} " in said
    assert "error" not in said
    assert "nothing here is a figure" in said
    assert "median" not in said
    assert "seconds" not in said
    assert sorted(cuda.RESULTS.iterdir()) == before


def test_a_contender_that_takes_another_step_is_not_timed(capsys, monkeypatch):
    """The bias moves by eta too much: rejected by name, exit status 1."""

    def wrong(layers, *, alpha, learning_rate):
        made = in_cuda.untracked(layers, alpha=alpha, learning_rate=learning_rate)
        right = made.layers
        return made._replace(layers=lambda: [x._replace(b=x.b + 1e-3) for x in right()])

    monkeypatch.setattr(in_cuda, "plain", wrong)
    monkeypatch.setattr(cuda, "SMALL", ((12, 5),))
    monkeypatch.setattr(cuda, "PEERS", ())
    monkeypatch.setattr(cuda, "CUBIC", ())
    assert cuda.main(["--rehearse", "--parts", "table"]) == 1
    said = capsys.readouterr().out
    assert "contender ours-plain  ok False  wrong b of layer 0 is off by" in said
    assert "contender ours-plain  burst" not in said
    assert "contender gemm-floor  burst" in said


def test_without_a_device_it_says_so(capsys, monkeypatch, tmp_path):
    """Exit status 2, one line of what is missing, nothing written."""
    lost = {"part": "facts", "ok": False, "error": "ModuleNotFoundError: No module named 'cupy'"}
    monkeypatch.setattr(cuda, "_in_process", lambda name, limit, quick: iter([lost]))
    assert cuda.main(["--out", str(tmp_path / "x")]) == 2
    assert "no CUDA device answers CuPy: ModuleNotFoundError" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_verdicts():
    medians = {"ours-plain": 1.2, "gemm-floor": 1.0, "jax-published": 3.0, "torch-plain": 1.5}
    lines = [
        LINE | {"contender": name, "median": x, "times": [x, x]} for name, x in medians.items()
    ]
    lines += [{"part": "agreement", "eps_S": 3.0, "ok": True}]
    lines += [
        {"part": "large", "D": 120_000, "seconds": [0.5], "used_over_weights": 1.2, "ok": True}
    ]
    found = {
        target.split(":")[0]: (reached, good) for target, reached, good in cuda.verdicts(lines)
    }
    assert found["ours-plain / GEMM floor at (4096, 1024)"] == ("1.20", True)
    assert found["published algorithm / ours, least"] == ("1.25", True)
    assert found["the same, geometric mean"] == ("1.77", True)
    assert found["largest D, of two layers"][1] is False
    assert found["a step, CPU and GPU"] == ("3.0", True)
    assert found["tests marked gpu"][1] is None
    assert "1.77" in cuda.report(lines)
