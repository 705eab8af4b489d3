"""An unmixing as a file, and back: arrays and a JSON header, with a checksum and without pickle."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..core.densities import Density
from ..core.densities import density as make_density
from ..datasets.files.limits import one_line
from ..fitting.ica.columns import by_columns
from ..fitting.ica.solution import Solution
from ..fitting.newton.bases import Bases
from ..fitting.storage import store
from ..fitting.storage.model import LIMIT, require_kind
from .saved import plain

FORMAT, KIND = 1, "linear ICA"
OF_SOLUTION = ("mean", "A", "inverse", "b", "rest", "sd")
ARRAYS = ("components_", "mixing_", "mean_", "whitening_")
VALUES = ("n_iter_", "converged_", "log_likelihood_", "densities_", "_kinds")


def write(path: str | os.PathLike[str], ica: Any) -> None:
    """Write a fitted unmixing; ValueError, naming the parameter, for one that a file can't hold."""
    solution, base = ica._solution, ica._base
    names = getattr(ica, "feature_names_in_", None)
    parts = [] if isinstance(base, Bases) else [_named(one) for one in base]
    header = {
        "format": FORMAT,
        "kind": KIND,
        "params": {name: _plain(name, value) for name, value in ica.get_params(deep=False).items()},
        "columns": None if names is None else [str(name) for name in names],
        "logdet": solution.logdet,
        "deviation": solution.deviation,
        "base": parts,
        "values": {name: getattr(ica, name) for name in VALUES},
        "diagnostics": list(ica.diagnostics_),
    }
    arrays = {f"solution_{name}": getattr(solution, name) for name in OF_SOLUTION}
    arrays |= {name: getattr(ica, name) for name in ARRAYS if hasattr(ica, name)}
    arrays |= {f"diagnostic_{name}": value for name, value in ica.diagnostics_.items()}
    arrays["order"] = np.asarray(ica._order)
    if not parts:
        arrays |= {f"base_{name}": value for name, value in base._asdict().items()}
    store.write(Path(path), header, arrays)


def read(path: str | os.PathLike[str], kind: Any) -> Any:
    """Return the unmixing, of class `kind`, that a file holds.

    FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
    """
    try:
        header, arrays = store.read(Path(path), LIMIT)
        require_kind(header, KIND, FORMAT)
        return _ica_of(header, arrays, kind)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"`{os.fspath(path)}` is no model of {kind.__name__}: {one_line(error)}"
        ) from None


def _ica_of(header: dict[str, Any], arrays: dict[str, Any], kind: Any) -> Any:
    ica = kind(**{name: _restored(value) for name, value in header["params"].items()})
    if header["base"]:
        ica._base = tuple(make_density(one["name"], **one["params"]) for one in header["base"])
    else:
        ica._base = Bases(*(arrays[f"base_{name}"] for name in Bases._fields))
    ica._solution = Solution(
        **{name: arrays[f"solution_{name}"] for name in OF_SOLUTION},
        logdet=float(header["logdet"]),
        log_p=log_p_of(ica._base),
        deviation=header["deviation"],
    )
    ica._order = arrays["order"]
    for name in VALUES:
        setattr(ica, name, header["values"][name])
    for name in ARRAYS:
        if name in arrays:
            setattr(ica, name, arrays[name])
    ica.diagnostics_ = {name: arrays[f"diagnostic_{name}"] for name in header["diagnostics"]}
    n, D = ica.components_.shape
    if len(ica._solution.b) != n or ica._solution.A.shape[1] != D or ica.mixing_.shape != (D, n):
        raise ValueError("its arrays do not fit each other")
    ica.n_features_in_, ica._n_features_out = D, n
    if header["columns"] is not None:
        ica.feature_names_in_ = np.array(header["columns"], dtype=object)
    return ica


def log_p_of(base: Any) -> Any:
    """Return the log-densities of outputs (N, n): of fitted `Bases`, or of densities by column.

    >>> log_p_of((make_density("laplace"),))(np.zeros((1, 2))).round(4)
    array([[-0.6931, -0.6931]])
    """
    if isinstance(base, Bases):
        return base.log_p
    return base[0].log_prob if len(base) == 1 else by_columns(base).log_prob


def base_of(found: Any) -> Any:
    """Return what `log_p_of` takes: fitted `Bases`, or a tuple of one density for all outputs.

    >>> base_of(make_density("sech"))[0].name
    'sech'
    """
    return found if isinstance(found, Bases) else (found,)


def _named(one: Density) -> dict[str, Any]:
    """Return the name and parameters of a density of the package; ValueError for another."""
    make_density(one.name, **one.params)  # what `read` will do
    return {"name": one.name, "params": one.params}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Density):
        return {"density": _named(value)}
    return {"array": value.tolist()} if isinstance(value, np.ndarray) else plain(name, value)


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"])
    return make_density(value["density"]["name"], **value["density"]["params"])
