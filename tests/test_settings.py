"""One source of settings: flags, config, estimator, docstrings and docs say what is declared."""

import inspect
import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

import relgrad_np as rg
from relgrad_np.cli.main import main, parser
from relgrad_np.fitting.automatic import ChosenSettings
from relgrad_np.fitting.declared import declared
from relgrad_np.fitting.options import Options
from relgrad_np.fitting.starts import KINDS
from relgrad_np.runs.presets import BY_NAME, TOY
from relgrad_np.runs.settings import GROUPS, DataSettings, Settings

DOCS = Path(__file__).parents[1] / "docs"
OF_FIT, OF_RUN = declared(Options), declared(Settings)
ALL = OF_FIT | OF_RUN


def flags():
    """The flags of `relgrad-np train`, by the name of what they set."""
    (commands,) = (action for action in parser()._actions if action.nargs == "A...")
    return {action.dest: action for action in commands.choices["train"]._actions}


def flags_that_differ(found):
    """Which settings have no flag, or one of another name, type or text; or with a default."""
    return [
        name
        for name, setting in OF_RUN.items()
        if (flag := found.get(name)) is None
        or f"--{name.replace('_', '-')}" not in flag.option_strings
        or flag.help.replace("%%", "%") != setting.text()
        or flag.default is not None  # what is not given is for `settings_for` to say
        or not (setting.kind is bool or type(flag.type("1")) is setting.kind)
    ]


def defaults_that_differ(parameters, settings):
    """Which parameters of a signature have another default than the setting of the same name."""
    return [
        name for name in parameters.keys() & settings.keys()
        if parameters[name].default != ("auto" if settings[name].auto else settings[name].default)
    ]  # fmt: skip


def words_that_differ(doc, settings):
    """Which settings have no entry in a numpydoc docstring, or one with other choices."""
    found = []
    for name, setting in settings.items():
        entry = re.search(rf"^(?:\w+, )*{name}(?:, \w+)* : (.*?)(?=^\w)", doc, re.M | re.S)
        if entry is None or not set(setting.choices) <= set(re.findall(r'"(\w+)"', entry[1])):
            found.append(name)
    return found


def test_every_setting_of_a_run_is_a_flag():
    assert flags_that_differ(flags()) == []
    assert sorted(sum(GROUPS.values(), ())) == sorted(OF_RUN)  # none stands in two groups of help


def test_every_setting_of_data_is_a_flag_and_what_a_reader_takes():
    from relgrad_np.datasets import Reading

    found, of_data = flags(), declared(DataSettings)
    for name, setting in of_data.items():
        assert found[name].help.replace("%%", "%") == setting.text()
    assert DataSettings().reading() == Reading()
    assert [field.name for field in fields(Reading)] == list(of_data)


@pytest.mark.parametrize("drift", ["missing", "default", "help", "type", "name"])
def test_a_flag_that_drifts_is_seen(drift):
    found = flags()
    flag = found["epochs"]
    if drift == "missing":
        del found["epochs"]
    elif drift == "name":
        flag.option_strings = ["--epoch"]
    else:
        setattr(flag, drift, {"default": 60, "help": "how long", "type": float}[drift])
    assert flags_that_differ(found) == ["epochs"]


def test_the_parser_is_made_from_the_settings(monkeypatch):
    """A default and a text that change change the flag's; nothing is typed twice."""
    from relgrad_np.cli import arguments

    other = {"epochs": OF_RUN["epochs"]._replace(default=7, help="rounds", auto=False)}
    monkeypatch.setattr(
        arguments,
        "declared",
        lambda record: OF_RUN | other if record is Settings else declared(record),
    )
    assert flags()["epochs"].help == "rounds; default 7"
    assert flags_that_differ(flags()) == ["epochs"]


def test_the_config_of_a_run_holds_every_setting(tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--rows", "50", "--epochs", "1", "--layers", "1", "--preset", "toys", "--no-pictures"]
    assert main(["train", "toy:sine", *small, "--out", str(out)]) == 0
    kept = json.loads((out / "config.json").read_text())["settings"]
    assert list(kept) == list(OF_RUN)
    assert Settings(**kept) == Settings(
        **asdict(TOY) | {"epochs": 1, "layers": 1, "preset": "toys"}
    )


def test_what_a_run_shares_with_fit_is_declared_once():
    assert {name for name in OF_RUN if OF_FIT.get(name)} == OF_FIT.keys() - {
        "compare",
        "undo",
        "refresh",
        "track_inverse",
    }
    for name in OF_RUN.keys() & OF_FIT.keys():
        assert OF_RUN[name]._replace(default=OF_FIT[name].default, auto=False) == OF_FIT[name]
    both = OF_RUN.keys() & OF_FIT.keys()
    assert {n for n in both if OF_RUN[n].default != OF_FIT[n].default} == {"epochs"}


def test_what_the_data_choose_is_what_the_table_has():
    """The settings that say "auto" are the fields of `ChosenSettings`, but for its words on time."""
    names = set(ChosenSettings._fields) - {"n_layers", "seconds", "words", "cut"} | {"layers"}
    assert {name for name, setting in OF_RUN.items() if setting.auto} == names


def test_the_choices_are_those_that_work():
    """Names from the core, which the declarations list again."""
    for name in ("activation", "density"):
        with pytest.raises(ValueError, match="choose from ") as error:
            getattr(rg, name)("nothing")
        names = str(error.value).split("choose from ")[1].split(", ")
        if name == "activation":
            made = [rg.activation(one) for one in names]
            names = [one.name for one in made if one.onto]
        assert set(OF_RUN[name].choices) == set(names)
    assert OF_RUN["init"].choices == KINDS


def test_the_docstring_of_fit_has_every_option_and_choice():
    doc = inspect.getdoc(rg.fit)
    assert words_that_differ(doc, OF_FIT) == []
    more = {"schedule": OF_FIT["schedule"]._replace(choices=("linear", "stepwise"))}
    assert words_that_differ(doc, more) == ["schedule"]
    assert words_that_differ(doc, {"weights": OF_FIT["epochs"]}) == ["weights"]


def estimators_own(parameters):
    """The settings that the estimator has, by its names."""
    return {name: ALL[name] for name in parameters if name in ALL}


def test_the_estimator_has_the_defaults_and_choices_that_are_declared():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from relgrad_np.estimator import RelativeGradientFlow

    parameters = dict(inspect.signature(RelativeGradientFlow).parameters)
    settings = OF_RUN | OF_FIT  # fit's default where both have one, unless the data choose
    settings |= {name: setting for name, setting in OF_RUN.items() if setting.auto}
    assert defaults_that_differ(parameters, settings) == []
    shown = estimators_own(parameters)
    assert len(shown) == 12
    cpu = shown["implementation"]._replace(choices=("reference", "numba"))  # its arrays are NumPy's
    doc = inspect.getdoc(RelativeGradientFlow)
    assert words_that_differ(doc, shown | {"implementation": cpu}) == []
    drifted = parameters | {"epochs": parameters["epochs"].replace(default=60)}
    assert defaults_that_differ(drifted, settings) == ["epochs"]
    assert words_that_differ(doc.replace('"principal"', ""), shown | {"implementation": cpu}) == [
        "init"
    ]


@pytest.mark.skipif(not DOCS.exists(), reason="no docs beside an installed package")
def test_the_page_of_settings_is_made_from_them(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import settings_table

    page = (DOCS / "settings.md").read_text()
    made = settings_table.on_page_markdown(page)
    assert "<!--" not in made
    for name, setting in ALL.items():
        (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", made, re.M)
        cells = row.replace("\\|", "!").split(" | ")
        assert cells[0].replace("!", "|") == setting.help
        assert cells[1] == ", ".join(setting.choices)
        for cell, source in zip(cells[2:], (OF_FIT, OF_RUN), strict=True):
            assert cell.strip() == (source[name].default_text() if name in source else "")
    for name, settings in BY_NAME.items():
        (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", made, re.M)
        differ = [key for key in OF_RUN if getattr(settings, key) != OF_RUN[key].default]
        assert [part.split()[0] for part in row.split(", ")] == differ
    other = {"epochs": OF_RUN["epochs"]._replace(default=7, auto=False)}
    monkeypatch.setattr(settings_table, "declared", lambda record: declared(record) | other)
    assert settings_table.on_page_markdown(page) != made


@pytest.mark.skipif(not DOCS.exists(), reason="no docs beside an installed package")
def test_the_page_names_what_the_estimator_has():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from relgrad_np.estimator import RelativeGradientFlow

    parameters = dict(inspect.signature(RelativeGradientFlow).parameters)
    text = (DOCS / "settings.md").read_text().split("## The estimator")[1]
    named = set(re.findall(r"`(\w+)`", text)) - {"RelativeGradientFlow", "fit"}
    assert named == {"n_layers", "validation_fraction", "seconds", *estimators_own(parameters)}
