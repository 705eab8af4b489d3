"""A base density of which each column has its own: what a stream takes for several sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array
from ...core.curvatures import dscore_of
from ...core.densities import Density


@dataclass(frozen=True)
class EachColumn:
    """The functions of this `key` of n densities, each applied to its column of Z (..., n).

    >>> from relgrad_np import density
    >>> each = EachColumn((density("normal"), density("laplace")), "score")
    >>> each(np.array([[2.0, 2.0], [0.5, -3.0]]))
    array([[-2. , -1. ],
           [-0.5,  1. ]])
    """

    parts: tuple[Density, ...]
    key: str

    def __call__(self, Z: Array) -> Array:
        """Return an array of the shape and dtype of Z; ValueError for another number of columns."""
        if Z.ndim == 0 or Z.shape[-1] != len(self.parts):
            raise ValueError(f"`Z` must have shape (..., {len(self.parts)}), got {Z.shape}")
        out = np.empty_like(Z)
        for columns in _alike(self.parts):
            part = self.parts[columns[0]]
            out[..., columns] = self._function(part)(Z[..., columns])
        return out

    def _function(self, part: Density) -> Any:
        if self.key == "dscore":
            return dscore_of(part.score, part.dscore)
        return getattr(part, self.key)


@dataclass(frozen=True)
class EachDraw:
    """Draws of shape (..., n), each column from its own density.

    >>> from relgrad_np import density
    >>> EachDraw((density("normal"), density("laplace")))(np.random.default_rng(0), (5, 2)).shape
    (5, 2)
    """

    parts: tuple[Density, ...]

    def __call__(
        self, rng: np.random.Generator, shape: int | tuple[int, ...]
    ) -> NDArray[np.float64]:
        """Return float64 draws; ValueError where the last axis is not of n columns."""
        whole = (shape,) if isinstance(shape, int) else shape
        if not whole or whole[-1] != len(self.parts):
            raise ValueError(f"`shape` must end with {len(self.parts)}, got {whole}")
        return np.stack([part.sample(rng, whole[:-1]) for part in self.parts], axis=-1)


def by_columns(parts: Sequence[Density]) -> Density:
    """Return the density whose column i is that of `parts[i]`; NumPy arrays only.

        log p(z) has the entries log p_i(z_i), score and dscore theirs

    The parts act elementwise. What is returned acts on the last axis of Z, of n columns. Its name
    tells the parts, so that two of the same parts count as one density.

    >>> from relgrad_np import density
    >>> both = by_columns([density("sech"), density("laplace")])
    >>> both.name
    'sech, laplace'
    >>> both.log_prob(np.zeros((1, 2)))
    array([[-1.14472989, -0.69314718]])
    """
    each = tuple(parts)
    return Density(
        ", ".join(part.name for part in each),
        EachColumn(each, "log_prob"),
        EachColumn(each, "score"),
        EachDraw(each),
        {f"{key}_{i}": value for i, p in enumerate(each) for key, value in p.params.items()},
        EachColumn(each, "dscore"),
    )


def _alike(parts: tuple[Density, ...]) -> list[list[int]]:
    """Return the columns of each density that stands in `parts`, once or several times."""
    found: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        found.setdefault(id(part), []).append(i)
    return list(found.values())
