"""The benchmark gates before it times, and says so; no time is asserted."""

import pytest

pytest.importorskip("numba", reason="numba is not installed")

from benchmarks import __main__, cuda, report, run


class Fake:
    """A worker that answers at once; its gate fails for one contender."""

    def __init__(self, bad=""):
        self.bad, self.asked = bad, []

    def ask(self, question, *rest):
        self.asked.append(question)
        if question == "gate" and rest[0] == self.bad:
            raise RuntimeError(f"AssertionError: {self.bad}: W of layer 0 is off by 1")
        if question == "make":
            return 0.5
        return [1e-3] * rest[1] if question == "steps" else None


def test_a_failed_gate_ends_with_1_and_no_times(monkeypatch, capsys, tmp_path):
    made = []

    class Process(Fake):
        def __init__(self, library, threads):
            super().__init__("kernels-plain")
            self.process = self
            made.append(self)

        def terminate(self):
            self.asked.append("terminate")

    monkeypatch.setattr(run, "Process", Process)
    monkeypatch.setattr(run, "environment", lambda *a: {"load": [0], "L": 2, "threads": 1})
    out = tmp_path / "x.jsonl"
    assert run.main(["--quick", "--out", str(out)]) == 1
    assert "W of layer 0 is off by 1" in capsys.readouterr().err
    assert not out.exists()
    assert not any("steps" in p.asked for p in made)
    assert all(p.asked[-1] == "terminate" for p in made)


def test_the_table_has_ratios_and_exponents():
    names = ("kernels-plain", "gemm-floor", "lapack-inverse")
    processes = {"kernels": Fake()}
    lines = []
    for D in (256, 512, 1024, 2048):
        cell = run.Cell(D, 100, names)
        found = run.time_cell(processes, cell, rounds=3, seed=0, patience=1.0)
        for line in found:
            cubic = line["contender"] == "lapack-inverse"
            factor = (D / 512) ** 3 if cubic else (D / 512) ** 2
            line["median"] *= factor
            line["times"] = [t * factor for t in line["times"]]
        lines += found
    text = report.table({"L": 2, "threads": 1, "load": [0.0]}, lines)
    assert "exponent in D, N = 100, D >= 512, ours, plain step: 2.00" in text
    assert "explicit inverse, LAPACK: 3.00" in text
    assert "faster than explicit inverse, LAPACK at N = 100 from D = 512 on" in text


def test_the_figure_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    line = {"N": 10, "contender": "kernels-plain", "median": 1.0}
    lines = [line | {"D": D} for D in (64, 128)]
    assert report.draw(lines, tmp_path / "x.png").stat().st_size > 1000


def test_one_command_leads_to_the_benchmark_of_each_device(monkeypatch, capsys):
    asked = {}
    for program in (run, cuda):
        monkeypatch.setattr(
            program, "main", lambda rest, name=program.__name__: asked.update({name: rest}) or 0
        )
    assert __main__.main(["--quick", "--cells", "batch", "--threads", "2", "--out", "x"]) == 0
    assert __main__.main(["--device", "cuda", "--quick"]) == 0
    assert asked == {
        "benchmarks.run": ["--quick", "--cells", "batch", "--threads", "2", "--out", "x"],
        "benchmarks.cuda": ["--quick"],
    }
    monkeypatch.undo()
    for arguments, words in (
        (["--help"], "--cells"),
        (["--device", "cuda", "--help"], "--rehearse"),
    ):
        with pytest.raises(SystemExit, match="0"):
            __main__.main(arguments)
        out = capsys.readouterr().out
        assert words in out
        assert "usage: python -m benchmarks" in out
    for arguments in (["--device", "tpu"], ["--sizes", "3"]):
        with pytest.raises(SystemExit, match="2"):
            __main__.main(arguments)
