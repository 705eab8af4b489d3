"""`relgrad-np demo`, `verify` and `info`: what needs no model."""

import json

import numpy as np

import relgrad_np as rg
from relgrad_np.cli import demo, verify
from relgrad_np.runs.presets import settings_for

from .commands import run


def test_verify(capsys, monkeypatch):
    status, out, _ = run(capsys, "verify")
    assert status == 0
    assert out.splitlines()[-1] == "26 of 26 checks passed"
    monkeypatch.setattr(verify, "GROUPS", (verify.elementwise,))
    status, out, _ = run(capsys, "verify", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [check["name"] for check in found] == [check.name for check in verify.elementwise()]
    assert all(check["passed"] for check in found)


def test_verify_fails_when_the_installation_is_wrong(capsys, monkeypatch):
    def wrong(*args, **options):
        return tuple(rg.Layer(r.W, r.b * 1.001) for r in rg.relative_gradient(*args, **options))

    monkeypatch.setattr(verify, "relative_gradient", wrong)
    monkeypatch.setattr(verify, "GROUPS", (verify.elementwise, verify.gradients))
    status, out, _ = run(capsys, "verify")
    assert status == 1
    assert "FAIL" in out
    assert out.splitlines()[-1] == "13 of 15 checks passed"


def test_info(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0
    assert "numpy" in out
    facts = json.loads(run(capsys, "info", "--json")[1])
    assert facts["numpy"] == np.__version__
    assert facts["devices"][0] == "cpu"


def test_the_demo_does_the_main_job(capsys, tmp_path, monkeypatch):
    def shorter(data, **chosen):
        few = (
            {"epochs": 2, "layers": 2}
            if data == "digits"
            else {"epochs": 3, "layers": 2, "rule": "recipe"}
        )
        return settings_for(data, **(chosen | few))

    monkeypatch.setattr(demo, "settings_for", shorter)
    monkeypatch.setattr(verify, "GROUPS", (verify.elementwise,))
    monkeypatch.setattr(demo.time_steps, "__defaults__", ((16, 32), 20, 3))
    status, out, _ = run(capsys, "demo", "--out", tmp_path / "demo")
    assert status == 0
    assert "nats above the Gaussian" in out
    assert "11 of 11 checks passed" in out
    assert out.count("ordinary / relative") == 2
    pictures = {path.name for path in (tmp_path / "demo").glob("*.png")}
    assert pictures == {
        "digits-curve.png",
        "digits-samples.png",
        "digits-calibration.png",
        "moons-curve.png",
        "moons-samples.png",
        "moons-columns.png",
        "moons-calibration.png",
        "times.png",
    }
