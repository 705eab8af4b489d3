"""The rows of a data set as a run needs them: for `fit`, in model space, and under a Gaussian."""

import math
from typing import Any

import numpy as np

from ..datasets import Dataset, gaussian_log_likelihood
from ..datasets.record import forward_given
from ..fitting.regression import regressed


def rows_of(data: Dataset, dtype: str, fresh_noise: bool) -> tuple[Any, Any]:
    """Return the training rows for `fit`, and the transform that brings them to model space.

    With fresh noise the rows are the pixels, which the transform dequantises each time they are
    drawn, so that the model can't memorise the noise. ValueError where the data are no images.

    >>> from relgrad_np.datasets import load
    >>> pixels, transform = rows_of(load("digits"), "float32", True)
    >>> pixels.dtype, pixels.max(), transform(pixels[:5], np.random.default_rng(0)).dtype
    (dtype('uint8'), np.uint8(16), dtype('float32'))
    """
    if fresh_noise:
        if data.levels is None or data.lazy:
            raise ValueError(f"`fresh_noise` is for images, and {data.name!r} is none")
        kind = np.uint8 if data.levels <= 256 else np.uint16
        pixels = np.concatenate(
            [
                data.transforms.inverse(data.train[begin : begin + 4096]).astype(kind)
                for begin in range(0, len(data.train), 4096)
            ]
        )
        return pixels, lambda rows, rng: data.transforms.forward(rows, rng).astype(dtype)
    if data.lazy:
        return data.train, lambda rows, rng: to_model(data, rows, dtype)
    return data.train.astype(dtype), None


def to_model(data: Dataset, rows: Any, dtype: str) -> Any:
    """Return training rows in model space: as they are, or transformed if the set is lazy.

    >>> from relgrad_np.datasets import load
    >>> to_model(load("toy:rings", n=50), np.ones((3, 2)), "float32").dtype
    dtype('float32')
    """
    if data.lazy:
        rows = forward_given(data.transforms, data.given, rows)[0]
    return rows.astype(dtype)


def baseline(data: Dataset, X: Any) -> Any:
    """Return log p (N,) of X under the Gaussian fitted to all training rows.

    With given columns it is that of linear regression on them. A lazy set is read in parts, and a
    Gaussian fitted to 2 D rows of the same mean and covariance.

    >>> from relgrad_np.datasets import load
    >>> baseline(load("toy:rings", n=50), np.zeros((1, 2))).shape
    (1,)
    """
    if not data.lazy:
        return _given_gaussian(data, data.train, X)
    N, D = data.train.shape
    total, square = np.zeros(D), np.zeros((D, D))
    for begin in range(0, N, 2**16):
        rows = to_model(data, data.train[begin : begin + 2**16], "float64")
        total += rows.sum(axis=0)
        square += rows.T @ rows
    mean = total / N
    K = np.linalg.cholesky(square / N - np.outer(mean, mean))
    return _given_gaussian(data, mean + math.sqrt(D) * np.concatenate([K.T, -K.T]), X)


def _given_gaussian(data: Dataset, train: Any, X: Any) -> Any:
    """Return log p (N,) of X under the Gaussian of what given columns leave of training rows."""
    if not data.c:
        return gaussian_log_likelihood(train, X)
    residuals, slopes = regressed(np.asarray(train, dtype=np.float64), data.c)
    x, u = data.split(X)
    return gaussian_log_likelihood(residuals, x - u @ slopes.T)
