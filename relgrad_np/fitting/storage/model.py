"""A fitted model on disk: an .npz file with a JSON header, no pickle."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.activations import Activation, activation
from ...core.arrays import check, to_numpy
from ...core.brief import brief
from ...core.context import context_of
from ...core.densities import Density, density
from ...core.network import Layer, Layers
from ...datasets.files.limits import one_line
from ...datasets.record import GivenColumns
from ...datasets.transforms import Chain
from . import store

FORMAT = 1
LIMIT = 16 * 2**30  # bytes of a model's arrays


@brief
class Model(NamedTuple):
    """A fitted model: layers, activation, density, the data's transforms, the configuration.

    >>> Model((), None, None, None, {"seed": 0}).config
    {'seed': 0}
    """

    layers: Layers
    activation: Activation
    density: Density
    transforms: Chain
    config: dict[str, Any]


def given_columns(model: Model) -> GivenColumns | None:
    """Return the columns of context of a model, None where it knows of none.

    ValueError where the layers have another number of them than the config, or that is damaged.

    >>> layers = (Layer(np.eye(1), np.zeros((1, 2))),)
    >>> config = {"context": {"columns": None, "mean": [0.0], "std": [1.0]}}
    >>> given_columns(Model(layers, None, None, Chain(()), config)).columns
    >>> given_columns(Model(layers, None, None, Chain(()), {}))
    Traceback (most recent call last):
    ValueError: its layers know of 1 column of context, and its config of 0
    """
    c, record = context_of(model.layers), model.config.get("context")
    try:
        given = None if record is None else GivenColumns.from_dict(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its `context` is no record of columns: {one_line(error)}") from None
    known = 0 if given is None else given.c
    if known != c:
        s = "s" * (c != 1)
        raise ValueError(f"its layers know of {c} column{s} of context, and its config of {known}")
    return given


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to `path` (.npz), atomically; NumPy arrays whatever the layers' library.

    ValueError for layers that do not fit, or an activation or density that is not the package's
    own: a file names them. OSError leaves an older file of this name as it was.

    >>> import numpy as np, relgrad_np as rg, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.npz"
    >>> model = rg.Model((rg.Layer(np.eye(2), np.ones(2)),), rg.activation("leaky_tanh"),
    ...                  rg.density("sech"), rg.Chain(()), {"seed": 3})
    >>> rg.save(path, model)
    >>> again = rg.load(path)
    >>> again.activation.params == model.activation.params, again.config, again.layers[0].b
    (True, {'seed': 3}, array([1., 1.]))
    """
    check(model.layers)
    activation(model.activation.name, **model.activation.params)  # what `load` will do
    density(model.density.name, **model.density.params)
    header = {
        "format": FORMAT,
        "kind": "model",
        "layers": len(model.layers),
        "activation": {"name": model.activation.name, "params": model.activation.params},
        "density": {"name": model.density.name, "params": model.density.params},
        "transforms": model.transforms.to_list(),
        "config": model.config,
    }
    arrays = {
        f"layer_{k}_{part}": to_numpy(x)
        for k, layer in enumerate(model.layers)
        for part, x in zip("Wb", layer, strict=True)
    }
    store.write(Path(path), header, arrays)


def load(path: str | os.PathLike[str], *, limit: int = LIMIT) -> Model:
    """Read a model that `save` wrote, as NumPy arrays.

    What the file declares is compared with its size, and with `limit` bytes, before anything is
    read, and its checksum before anything is used. FileNotFoundError; ValueError, naming the file,
    where it is damaged or not such a model.

    >>> import relgrad_np as rg
    >>> rg.load("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    try:
        header, arrays = store.read(Path(path), limit)
        require_kind(header, "model", FORMAT)
        layers = tuple(
            Layer(arrays[f"layer_{k}_W"], arrays[f"layer_{k}_b"]) for k in range(header["layers"])
        )
        check(layers)
        return Model(
            layers,
            activation(header["activation"]["name"], **header["activation"]["params"]),
            density(header["density"]["name"], **header["density"]["params"]),
            Chain.from_list(header["transforms"]),
            header["config"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"`{os.fspath(path)}` is not a relgrad_np model: {one_line(error)}"
        ) from None


def in_float64(layers: Layers) -> Layers:
    """Return NumPy layers in float64, in which a model is judged whatever it was fitted in.

    >>> in_float64((Layer(np.eye(1, dtype="f4"), np.ones(1, dtype="f4")),))[0].W.dtype
    dtype('float64')
    """
    return tuple(
        Layer(to_numpy(W).astype(np.float64), to_numpy(b).astype(np.float64)) for W, b in layers
    )


def require_kind(header: dict[str, Any], kind: str, version: int) -> None:
    """Refuse the header of a file of another kind or format.

    >>> require_kind({"format": 1, "kind": "model"}, "checkpoint", 1)
    Traceback (most recent call last):
    ValueError: it is a model, not a checkpoint
    """
    if header.get("kind", kind) != kind:
        raise ValueError(f"it is a {header['kind']}, not a {kind}")
    if header["format"] != version:
        raise ValueError(f"its format is {header['format']}, this version reads {version}")
