"""A flow as a model in a file, and back: the format of `relgrad_np.save`, which has no pickle.

A model that the command line has trained becomes a flow, and a flow that is saved can be evaluated
and sampled from by the command line.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.activations import activation as make_activation
from ..core.arguments import one_of
from ..core.context import context_of
from ..core.densities import density as make_density
from ..datasets.bounds import intervals
from ..datasets.files.limits import one_line
from ..datasets.fitted_rows import FittedRows
from ..datasets.record import Dataset, GivenColumns
from ..datasets.transforms import Standardise
from ..fitting.automatic import AUTO, USUAL, ChosenSettings
from ..fitting.records import Epoch
from ..fitting.storage.model import Model, given_columns, in_float64, load, save
from ..rules.by_name import RULES

PARTS = "activation", "density"
KEY = "estimator"  # of a model's config, with what only a flow knows
ROWS = "fitted_rows"  # of the same, what is known of the rows of the fit
OF_RUN = {"layers": "n_layers", "seed": "random_state"}  # what the command line calls otherwise


def write(
    path: str | os.PathLike[str],
    flow: Any,
    given: GivenColumns | None = None,
    data: Dataset | None = None,
) -> None:
    """Write a fitted flow; ValueError, naming the parameter, for one that a file can't hold.

    `given`: the columns of its context, if it knows of some. `data`: those whose rows were fitted,
    if their way to model space and their names are to be kept, too.
    """
    names, chain = getattr(flow, "feature_names_in_", None), flow._chain
    if data is not None:
        given = _before(flow, given, data)
        names, chain = data.columns, data.transforms
    own: dict[str, Any] = {"params": _all_plain(flow.get_params(deep=False))}
    for name in ("n_iter_", "best_epoch_", "stop_reason_", "xi_"):
        if hasattr(flow, name):
            own[name] = getattr(flow, name)
    if hasattr(flow, "settings_"):
        own["settings_"] = _all_plain(_with_rule(flow.settings_, flow.rule)._asdict())
    own["history_"] = [entry._asdict() for entry in getattr(flow, "history_", ())]
    config = {"columns": None if names is None else [str(name) for name in names], KEY: own}
    if given is not None:
        config["context"] = given.to_dict()
    if flow._fitted_rows is not None:
        config[ROWS] = flow._fitted_rows.to_dict()
    activation, density = flow._model()
    save(path, Model(flow.layers_, activation, density, chain, config))


def _before(flow: Any, given: GivenColumns | None, data: Any) -> GivenColumns | None:
    """Return the given columns of raw rows for a flow of rows of `data`; refuse what is not."""
    if not isinstance(data, Dataset):
        raise TypeError(f"`data` must be what load returned, got {type(data).__name__}")
    if flow._chain.transforms:
        raise ValueError(
            "`data` and `support` both bring rows to model space: give the bounds to load alone,"
            " Reading(support=...)"
        )
    D, c = flow.n_features_in_, 0 if given is None else given.c
    if (data.D, data.c) != (D, c):
        raise ValueError(
            f"`data` have {data.D} columns and {data.c} given ones, and the flow {D} and {c}"
        )
    if given is None or data.given is None:
        return None
    first, second = data.given.standardise, given.standardise  # one after the other
    mean = np.add(first.mean, np.multiply(first.std, second.mean))
    std = np.multiply(first.std, second.std)
    return GivenColumns(data.given.columns, Standardise(tuple(mean), tuple(std)))


def read(path: str | os.PathLike[str], kind: Any) -> Any:
    """Return the flow, of class `kind`, that a file holds.

    FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
    """
    return _read(path, kind, lambda model: _flow_of(model, kind))


def read_conditional(
    path: str | os.PathLike[str], kind: Any, of_flow: Any
) -> tuple[Any, GivenColumns]:
    """Return a flow of class `of_flow` that knows of a context, and the columns of that.

    Errors: as `read`; they speak of `kind`.
    """

    def found(model: Model) -> tuple[Any, GivenColumns]:
        given = given_columns(model)
        if given is None:
            raise ValueError(f"it knows of no context: {of_flow.__name__}.load reads it")
        return _flow_of(model, of_flow, given), given

    result: tuple[Any, GivenColumns] = _read(path, kind, found)
    return result


def _read(path: str | os.PathLike[str], kind: Any, found: Callable[[Model], Any]) -> Any:
    """Return what is found in the model of a file or of a run folder."""
    path = Path(path)
    model = load(path / "model.npz" if path.is_dir() else path)
    try:
        return found(model)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`{os.fspath(path)}` is no model of {kind.__name__}: {one_line(error)}"
        ) from None


def _flow_of(model: Model, kind: Any, given: GivenColumns | None = None) -> Any:
    if given is None and given_columns(model) is not None:
        raise ValueError("it is conditional: ConditionalFlow.load reads it")
    own, taken = model.config.get(KEY), set(kind().get_params(deep=False))
    if own is None:  # of the command line, which judges in float64 whatever it fitted in
        params, layers, own = _of_run(model, taken), in_float64(model.layers), {}
    else:
        params, layers = _all_restored(own["params"], model), model.layers
    for name in params:
        one_of("parameter", name, sorted(taken))
    flow = kind(**params)
    D, flow._context = layers[0].b.shape[0], context_of(layers)
    model.transforms.inverse(np.zeros((1, D)))  # ValueError where they have other columns
    flow._keep(layers, (None, None), model.transforms)
    flow.n_features_in_, flow._fitted_rows = D, FittedRows.from_dict(model.config.get(ROWS))
    columns = model.config.get("columns")
    if columns is not None:
        if len(columns) != D:
            raise ValueError(f"it names {len(columns)} columns, and has {D}")
        flow.feature_names_in_ = np.array([str(name) for name in columns], dtype=object)
    for name in ("n_iter_", "best_epoch_", "stop_reason_"):
        if name in own:
            setattr(flow, name, own[name])
    if "settings_" in own:
        flow.settings_ = ChosenSettings(**_all_restored(own["settings_"], model))
    if own.get("xi_") is not None:
        flow.xi_ = tuple(own["xi_"])
    flow.history_ = tuple(Epoch(**entry) for entry in own.get("history_", ()))
    return flow


def _of_run(model: Model, taken: set[str]) -> dict[str, Any]:
    """Return the parameters of a flow that are settings of a run, or None of them."""
    found = {OF_RUN.get(name, name): value for name, value in model.config.items()}
    params = {name: value for name, value in found.items() if name in taken}
    if "patience" in params:  # a run always has validation rows
        params["validation_fraction"] = 0.1
    columns, support = model.config.get("columns"), model.transforms.support
    if support is not None:
        ends = zip(support.low, support.high, strict=True)
        params["support"] = {
            j if columns is None else columns[j]: pair
            for j, pair in enumerate(ends)
            if pair != (None, None)
        }
    parts: Any = (model.activation, make_activation), (model.density, make_density)
    for name, (part, maker) in zip(PARTS, parts, strict=True):
        params[name] = part.name if maker(part.name).params == part.params else part
    return {**params, "n_layers": len(model.layers)}


def _with_rule(settings: ChosenSettings, rule: Any) -> ChosenSettings:
    """Return settings with the rule that was set since, where a file can't hold that of the fit."""
    try:
        plain("rule", settings.rule)
    except ValueError:
        return settings._replace(rule=USUAL.rule if rule in (None, AUTO) else rule)
    return settings


def _all_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON can hold them; None for an activation or density of the model."""
    return {
        name: None if name in PARTS and not isinstance(value, str) else plain(name, value)
        for name, value in values.items()
    }


def _all_restored(values: dict[str, Any], model: Model) -> dict[str, Any]:
    """Return parameters that `_all_plain` made so."""
    return {
        name: getattr(model, name) if name in PARTS and value is None else restored(name, value)
        for name, value in values.items()
    }


def plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON can hold it.

    >>> plain("epochs", np.int64(3)), plain("support", {0: (0, None), "b": "unit"})
    (3, {'support': [[0, [0, None]], ['b', 'unit']]})
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if name == "support":
        intervals(value)
        return {"support": [[plain("", key), _pair(one)] for key, one in value.items()]}
    for known, maker in RULES.items():
        if type(value) is maker and is_dataclass(value):
            return {"rule": known, "fields": asdict(value)}  # type: ignore[arg-type]
    remedy = "a name, a number or None"
    if name == "rule":
        remedy = "the name of a rule, which only a further fit would use,"
    raise ValueError(
        f"`{name}` is a {type(value).__name__}, which a model file can't hold: set_params({name}="
        f"...) to {remedy} and save again"
    )


def _pair(value: Any) -> Any:
    return value if isinstance(value, str) else [plain("", one) for one in value]


def restored(name: str, value: Any) -> Any:
    """Return a parameter that `plain` made so.

    >>> restored("support", plain("support", {"age": (0, None)}))
    {'age': (0, None)}
    """
    if not isinstance(value, dict):
        return value
    if "support" in value:
        pairs = value["support"]
        return {key: tuple(one) if isinstance(one, list) else one for key, one in pairs}
    maker: Any = RULES[value["rule"]]
    known = {field.name for field in fields(maker)}
    return maker(**{key: one for key, one in value["fields"].items() if key in known})
