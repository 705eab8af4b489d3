"""The frame of validation/: what is kept is not run again; the report comes from what is kept.

Planted mistakes: a distance that looks at rows alone, one that keeps signs, a matching that takes
each source's best column; a store that keys by position, one that takes the earlier of two lines.
"""

import doctest
import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from relgrad_np.runs.settings import Settings
from validation import __main__ as frame
from validation import erratum, fitting, ica, recovery, report, toys
from validation.separation import amari, correlations
from validation.store import Store, hash_of

# what is kept


def test_what_is_kept_is_not_run_again(tmp_path):
    asked = []

    def compute():
        asked.append(1)
        return {"value": 0.1 + 0.2}

    first = Store(tmp_path).run("x", {"D": 2, "L": 1}, compute)
    again = Store(tmp_path).run("x", {"L": 1, "D": 2}, compute)
    assert first["value"] == again["value"] == 0.1 + 0.2  # to the bit
    assert len(asked) == 1
    Store(tmp_path).run("x", {"D": 3, "L": 1}, compute)
    Store(tmp_path).run("y", {"D": 2, "L": 1}, compute)
    assert len(asked) == 3


def test_each_run_is_kept_at_once(tmp_path):
    store = Store(tmp_path)
    store.run("x", {"i": 0}, dict)
    with pytest.raises(KeyboardInterrupt):
        store.run("x", {"i": 1}, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert Store(tmp_path).find("x", {"i": 0}) is not None
    assert Store(tmp_path).find("x", {"i": 1}) is None


def test_a_line_half_written_is_passed_over_and_not_lengthened(tmp_path):
    store = Store(tmp_path)
    store.run("x", {"i": 0}, lambda: {"v": 1})
    path = tmp_path / "results" / "x.jsonl"
    path.write_text(path.read_text() + '{"hash": "abc", "key"')
    Store(tmp_path).run("x", {"i": 1}, lambda: {"v": 2})
    found = Store(tmp_path)
    assert [found.find("x", {"i": i})["v"] for i in (0, 1)] == [1, 2]


def test_again_runs_once_more_and_the_later_line_counts(tmp_path):
    Store(tmp_path).run("x", {}, lambda: {"v": 1})
    store = Store(tmp_path, again=True)
    assert store.run("x", {}, lambda: {"v": 2})["v"] == 2
    assert store.run("x", {}, lambda: {"v": 3})["v"] == 2  # not twice in one go
    assert Store(tmp_path).find("x", {})["v"] == 2
    assert len((tmp_path / "results" / "x.jsonl").read_text().splitlines()) == 2


def test_a_run_is_timed_and_what_the_report_shows_is_summed(tmp_path):
    store = Store(tmp_path)
    store.run("ica", {"i": 0}, lambda: {"v": time.sleep(0.11)})
    store.run("ica", {"i": 1}, lambda: {"seconds": 3.0})
    path = tmp_path / "results" / "ica.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["took"] >= 0.1
    lines[1]["took"] = 7200.0
    lines.append({**lines[1], "hash": "another", "took": 3600.0})  # a run of no interest now
    lines[0]["took"] = 3600.0
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    store = Store(tmp_path)
    for i in range(3):
        store.find("ica", {"i": i})
    assert "| ica | 2 | 3.0 h |  |" in frame.times(store, ["ica"])
    assert "by itself: 3.0 h." in frame.times(store, ["ica"])
    assert "| ica | 2 | 3.0 h | by name only |" in frame.times(store, [])
    assert "by itself: 0.0 s." in frame.times(store, [])
    del lines[0]["took"]  # as lines were that have no clock
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    store = Store(tmp_path)
    assert [store.find("ica", {"i": i}) is None for i in (0, 1)] == [False, False]
    assert "| ica | 2 | 2.0 h, without 1 untimed |  |" in frame.times(store, ["ica"])


def test_a_key_holds_what_differs_from_the_defaults():
    """So that a new setting, at its default, leaves what is kept valid."""
    key = fitting.Wanted("digits", Settings(layers=2)).key()
    assert key == {"data": "digits", "settings": {"layers": 2}}
    other = fitting.Wanted("digits", Settings(layers=2, seed=1)).key()
    assert hash_of(key) != hash_of(other)


def test_a_fit_is_kept_with_its_model(tmp_path):
    one = fitting.Wanted("toy:sine", Settings(layers=2, epochs=1, batch_size=2000))
    store = Store(tmp_path)
    line, model = fitting.fitted(store, "toys", one)
    assert line["finite"]
    assert len(line["curve"]) == 1
    assert len(model.layers) == 2
    store.model("toys", one.key()).unlink()
    again, remade = fitting.fitted(store, "toys", one)
    assert again == line
    assert store.fresh == 1
    np.testing.assert_array_equal(remade.layers[0].W, model.layers[0].W)


# the report


def test_the_report_is_made_of_what_is_kept_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(frame, "QUICK", ("erratum",))
    assert frame.main(["--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "REPORT.md").read_text()
    assert "-6.8632 for -5.6758" in text
    assert "`python -m validation erratum`" in text
    path = tmp_path / "results" / "erratum.jsonl"
    path.write_text(path.read_text().replace("-6.863", "-6.123"))
    assert frame.main(["--quick", "--report", "--out", str(tmp_path), "erratum"]) == 1
    changed = (tmp_path / "REPORT.md").read_text()
    assert "-6.1232 for -5.6758 | **NO** |" in changed
    assert "FAILS  erratum" in capsys.readouterr().out
    path.unlink()
    assert frame.main(["--quick", "--report", "--out", str(tmp_path)]) == 0
    assert "- erratum: bias: not run yet" in (tmp_path / "REPORT.md").read_text()


def test_every_experiment_says_what_is_missing_when_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("RELGRAD_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))
    store = Store(tmp_path)
    for name in frame.TITLES:
        found = frame.module(name).section(store, False)
        assert found.missing or name == "scaling", name
        assert not found.claims or name == "scaling", name
    assert store.fresh == 0
    assert not (tmp_path / "results").exists()


def test_an_unknown_name_lists_the_others(capsys):
    with pytest.raises(SystemExit, match="2"):
        frame.main(["icaa"])
    assert "no experiment 'icaa'; there are erratum, " in capsys.readouterr().err


def test_a_bar_in_a_cell_does_not_end_it():
    assert report.table(["a"], [["log|det|"]]).splitlines()[-1] == r"| log\|det\| |"


def test_results_are_json_that_any_parser_reads():
    folder = Store().folder / "results"
    for path in folder.glob("*.jsonl"):
        for text in path.read_text().splitlines():
            line = json.loads(text, parse_constant=pytest.fail)
            assert line["hash"] == hash_of(line["key"]), path


# what the experiments measure by


def scaled_permutation(rng, D):
    P = np.zeros((D, D))
    P[np.arange(D), rng.permutation(D)] = rng.uniform(0.5, 2, D) * rng.choice([-1, 1], D)
    return P


def amari_is_a_distance_to_scaled_permutations(amari):
    rng = np.random.default_rng(0)
    for D in (2, 3, 7):
        P, Q = scaled_permutation(rng, D), scaled_permutation(rng, D)
        assert amari(P) == 0
        M = rng.uniform(0.1, 1, (D, D)) * rng.choice([-1, 1], (D, D))
        order = rng.permutation(D)
        signs = rng.choice([-1, 1], D)
        for same in (-M, M[order], M[:, order], M.T, signs[:, None] * M, M * signs, 3 * M):
            assert amari(same) == pytest.approx(amari(M), rel=1e-12)
        assert 0 < amari(M) <= 1
        assert amari(np.ones((D, D))) == pytest.approx(1)
        assert amari(Q + 0.1) > amari(Q + 0.01) > 0
        twice = np.zeros((D, D))  # two outputs show one source: rows alone do not see it
        twice[:, 0] = 1
        twice += 1e-9
        assert amari(twice) > 0.4


def test_amari():
    amari_is_a_distance_to_scaled_permutations(amari)


def rows_alone(P):
    P = np.abs(np.asarray(P))
    return float((P / P.max(axis=1, keepdims=True)).sum() - len(P)) / len(P) / (len(P) - 1)


def signs_kept(P):
    P = np.asarray(P, dtype=float)
    rows, columns = P / np.abs(P).max(1, keepdims=True), P / np.abs(P).max(0)
    return float(rows.sum() + columns.sum() - 2 * len(P)) / (2 * len(P) * (len(P) - 1))


def squared(P):
    return amari(P) ** 2 + 1e-3


@pytest.mark.parametrize("wrong", [rows_alone, signs_kept, squared])
def test_a_wrong_distance_is_seen(wrong):
    with pytest.raises(AssertionError):
        amari_is_a_distance_to_scaled_permutations(wrong)


def matching_is_one_to_one(correlations):
    rng = np.random.default_rng(1)
    S = rng.laplace(size=(400, 4))
    Z = S @ scaled_permutation(rng, 4).T + 3
    np.testing.assert_allclose(correlations(S, Z), 1, rtol=1e-12)
    np.testing.assert_allclose(correlations(S, np.sinh(Z), ranks=True), 1, rtol=1e-12)
    assert correlations(S, np.sinh(Z)).min() < 0.99
    twice = S[:, [0, 0, 1, 2]]  # source 3 is not there: its column can't be one that is taken
    assert correlations(S, twice + 1e-6 * rng.normal(size=S.shape)).min() < 0.2
    greedy = np.stack([S[:, 0] + S[:, 1], S[:, 0] + 0.01 * S[:, 2], S[:, 2], S[:, 3]], axis=1)
    assert correlations(S, greedy).sum() > 3.6


def test_matching():
    matching_is_one_to_one(correlations)


def best_column(S, Z, ranks=False):
    return np.abs(np.corrcoef(S.T, Z.T)[: S.shape[1], S.shape[1] :]).max(axis=1)


def test_a_matching_that_takes_columns_twice_is_seen():
    with pytest.raises(AssertionError):
        matching_is_one_to_one(best_column)


# the experiments themselves, small


@pytest.mark.parametrize("kind", ["super", "sub", "half"])
def test_a_cell_of_ica_compares_what_it_says(kind, monkeypatch):
    """Whatever the condition of the mixing, and the likelihood is that of the same density."""
    pytest.importorskip("threadpoolctl")
    only = {"relative": ica.by_relative_ica}
    monkeypatch.setattr(ica, "METHODS", only | {"picard": ica.by_relative_ica})
    for condition in (10.0, 1e6):
        line = ica.cell(D=3, sources=kind, N=1500, condition=condition, mixtures=2)
        assert max(line["relative"]["amari"]) < 0.06
        assert all(line["converged"])
        assert all(abs(x) < 1e-3 for x in line.get("ahead", []))  # but for the location
    assert ("ahead" in line) == (kind != "half")


def test_the_densities_that_likelihoods_are_compared_by_have_mass_1():
    z = np.linspace(-40, 40, 200_001)
    for log_p in ica.LOG_P.values():
        assert np.exp(log_p(z)).sum() * (z[1] - z[0]) == pytest.approx(1, abs=1e-12)


def test_sources_of_each_kind_are_standard_problems():
    names, S, A = recovery.problem(3, 500)
    assert S.shape == (500, len(names))
    assert A.shape == (len(names), len(names))
    again = recovery.problem(3, 500)
    np.testing.assert_array_equal(S, again[1])


def test_the_ordinary_rule_is_gradient_ascent():
    """And its Adam is Adam: the first step is the rate times the sign."""
    import relgrad_np as rg
    from relgrad_np.oracle.cases import generic
    from validation.gradients import Ordinary

    case = generic(0, 5, 3, 2)
    tape = rg.forward(case.layers, case.X, case.activation)
    G = rg.ordinary_gradient(case.layers, tape, rg.backprop(case.layers, tape, *case.model))
    for adam in (False, True):
        rule = Ordinary(0.01, adam=adam)
        state = rg.init_state(case.layers, rule)
        model = {"activation": case.activation, "density": case.density}
        state, _ = rg.train_step(state, case.X, rule=rule, **model)
        for new, old, g in zip(state.layers, case.layers, G, strict=True):
            step = 0.01 * (np.sign(g.W) if adam else g.W)
            np.testing.assert_allclose(new.W - old.W, step, rtol=1e-4, atol=1e-9)
        rg.train_step(state, case.X, rule=rule, **model)


def test_the_scripts_of_the_errata_are_short_and_run():
    for script in erratum.SCRIPTS.values():
        body = [
            line
            for line in Path(script.__file__)
            .read_text()
            .split('if __name__ == "__main__"')[0]
            .splitlines()
            if line.strip() and not line.strip().startswith(('"""', "#", "import", "from"))
        ]
        assert len(body) <= 26, script.__name__


def test_the_entropy_of_a_toy():
    """The checkerboard's is log 32, its area; eight round Gaussians' nearly log 8 + their own."""
    assert toys.entropy("toy:checkerboard", 1_000_000, 400)["entropy"] == pytest.approx(
        np.log(32), abs=0.005
    )
    eight = toys.entropy("toy:8gaussians", 1_000_000, 400)
    own = np.log(8) + np.log(2 * np.pi * np.e * 0.25**2)
    assert eight["entropy"] == pytest.approx(own, abs=0.01)
    assert eight["outside"] == 0


@pytest.mark.parametrize(
    "name", ["store", "report", "fitting", "separation", "density", "second_order"]
)
def test_the_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"validation.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
