"""A mean of densities as a file, and back: arrays and a JSON header, a checksum, and no pickle."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture

from ..core.arguments import one_of
from ..core.arrays import check
from ..core.network import Layer
from ..datasets.files.limits import one_line
from ..datasets.transforms import Chain
from ..fitting.automatic import ChosenSettings
from ..fitting.storage import store
from ..fitting.storage.model import LIMIT, require_kind
from .chosen import parts_of
from .saved import plain, restored

FORMAT, KIND = 1, "mean of densities"
OF_MIXTURE = ("weights_", "means_", "covariances_", "precisions_cholesky_")


def write(path: str | os.PathLike[str], ensemble: Any) -> None:
    """Write a fitted ensemble; ValueError, naming the parameter, for one that a file can't hold."""
    names = getattr(ensemble, "feature_names_in_", None)
    members, arrays = (
        [],
        {name: getattr(ensemble, name) for name in ("weights_", "mean_", "scale_")},
    )
    for k, member in enumerate(ensemble.members_):
        if hasattr(member, "layers"):
            members.append(_plain(member.settings._asdict()))
            for i, layer in enumerate(member.layers):
                arrays |= {f"{k}_{i}_W": layer.W, f"{k}_{i}_b": layer.b}
        else:
            members.append({})
            arrays |= {f"{k}_{name}": getattr(member.model, name) for name in OF_MIXTURE}
    header = {
        "format": FORMAT,
        "kind": KIND,
        "params": _plain(ensemble.get_params(deep=False)),
        "columns": None if names is None else [str(name) for name in names],
        "transforms": ensemble.transforms_.to_list(),
        "members": members,
    }
    store.write(Path(path), header, arrays)


def read(path: str | os.PathLike[str], kind: Any, members: tuple[Any, Any]) -> Any:
    """Return the ensemble, of class `kind` with parts of the classes `members`, that a file holds.

    FileNotFoundError; ValueError, in one line, for a file that is damaged or no such model.
    """
    try:
        header, arrays = store.read(Path(path), LIMIT)
        require_kind(header, KIND, FORMAT)
        return _ensemble_of(header, arrays, kind, members)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"`{os.fspath(path)}` is no model of {kind.__name__}: {one_line(error)}"
        ) from None


def _ensemble_of(
    header: dict[str, Any], arrays: dict[str, Any], kind: Any, members: tuple[Any, Any]
) -> Any:
    params, taken = header["params"], sorted(kind().get_params(deep=False))
    for name in params:
        one_of("parameter", name, taken)
    ensemble = kind(**{name: restored(name, value) for name, value in params.items()})
    ensemble.transforms_ = Chain.from_list(header["transforms"])
    for name in ("weights_", "mean_", "scale_"):
        setattr(ensemble, name, arrays[name])
    D = len(ensemble.mean_)
    ensemble.transforms_.inverse(np.zeros((1, D)))  # ValueError where they have other columns
    found: list[Any] = []
    for k, about in enumerate(header["members"]):
        if about:
            settings = ChosenSettings(**{key: restored(key, one) for key, one in about.items()})
            parts_of(settings)
            pairs = ((arrays[f"{k}_{i}_W"], arrays[f"{k}_{i}_b"]) for i in range(settings.n_layers))
            layers = tuple(Layer(*pair) for pair in pairs)
            check(layers)
            found.append(members[0](layers, settings))
        else:
            found.append(members[1](_mixture(arrays, k, D)))
    if len(found) != len(ensemble.weights_) or ensemble.scale_.shape != (D,):
        raise ValueError("its arrays do not fit each other")
    ensemble.members_ = tuple(found)
    ensemble.settings_ = tuple(one.settings for one in found if hasattr(one, "settings"))
    ensemble.n_features_in_ = D
    if header["columns"] is not None:
        ensemble.feature_names_in_ = np.array(header["columns"], dtype=object)
    return ensemble


def _mixture(arrays: dict[str, Any], k: int, D: int) -> Any:
    """Return the mixture of member k, as scikit-learn's."""
    n = len(arrays[f"{k}_weights_"])
    made = GaussianMixture(n)
    shapes = dict(zip(OF_MIXTURE, [(n,), (n, D), (n, D, D), (n, D, D)], strict=True))
    for name, shape in shapes.items():
        array = arrays[f"{k}_{name}"]
        if array.shape != shape:
            raise ValueError(f"{name!r} of its member {k} has shape {array.shape}, not {shape}")
        setattr(made, name, array)
    made.n_features_in_ = D
    return made


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(name, value) for name, value in values.items()}
