"""Save and load a model: one .npz file, arrays and a JSON header, no pickle anywhere.

Written beside its destination, flushed to disk and renamed, so that a file of this name is whole
or is not there.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._array import check, to_numpy
from .activations import Activation, activation
from .datasets.transforms import Chain
from .densities import Density, density
from .network import Layer, Layers

FORMAT = 1


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


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to `path` (.npz), atomically; NumPy arrays whatever the layers' library.

    ValueError for layers that do not fit; OSError leaves an older file of this name as it was.

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
    header = {
        "format": FORMAT,
        "layers": len(model.layers),
        "activation": {"name": model.activation.name, "params": model.activation.params},
        "density": {"name": model.density.name, "params": model.density.params},
        "transforms": model.transforms.to_list(),
        "config": model.config,
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for k, layer in enumerate(model.layers):
        arrays |= {f"W_{k}": to_numpy(layer.W), f"b_{k}": to_numpy(layer.b)}
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that `save` wrote, as NumPy arrays.

    FileNotFoundError; ValueError, naming the file, where it is not such a model.

    >>> import relgrad_np as rg
    >>> rg.load("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']}, this version reads {FORMAT}")
            layers = tuple(Layer(file[f"W_{k}"], file[f"b_{k}"]) for k in range(header["layers"]))
        check(layers)
        return Model(
            layers,
            activation(header["activation"]["name"], **header["activation"]["params"]),
            density(header["density"]["name"], **header["density"]["params"]),
            Chain.from_list(header["transforms"]),
            header["config"],
        )
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"`{os.fspath(path)}` is not a relgrad_np model: {error}") from None
