"""The 8 x 8 handwritten digits that come with scikit-learn: small and real, without a download."""

import numpy as np
from numpy.typing import NDArray

LEVELS = 17.0  # a pixel counts the dots in a 4 x 4 block of a bitmap: 0, ..., 16
IMAGE_SHAPE = (8, 8)


def digits() -> NDArray[np.float64]:
    """Return the 1,797 images (1797, 64), whole numbers 0, ..., 16, in the order of the file.

    ModuleNotFoundError without scikit-learn.

    >>> X = digits()
    >>> X.shape, X.min(), X.max()
    ((1797, 64), np.float64(0.0), np.float64(16.0))
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the digits come with scikit-learn: pip install scikit-learn", name=error.name
        ) from None
    return np.asarray(load_digits().data, dtype=np.float64)
