"""Array types, input checks and the memory bound that the statistics share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferlens.errors import AnalysisError

__all__ = [
    "CHUNK_BYTES",
    "BoolArray",
    "FloatArray",
    "IntArray",
    "checked_level",
    "checked_resamples",
    "float_array",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CHUNK_BYTES = 64 * 2**20
"""Size that no temporary array of a resampling loop exceeds, whatever the size of the study."""


def float_array(values: ArrayLike, *, name: str, ndim: int | None = None) -> FloatArray:
    """Return ``values`` as float64, where NaN marks "not scored".

    Parameters
    ----------
    values
        Numbers of any shape.
    name
        What to call them in an error.
    ndim
        Number of axes that is asked for; None takes any.

    Returns
    -------
    FloatArray
        The same numbers; no copy where none is needed.

    Raises
    ------
    AnalysisError
        A value is infinite, or the number of axes differs.
    """
    array: FloatArray = np.asarray(values, dtype=np.float64)
    if ndim is not None and array.ndim != ndim:
        msg = f"{name} has {array.ndim} axes of shape {array.shape}; give an array with {ndim}"
        raise AnalysisError(msg)
    if np.isinf(array).any():
        msg = f"{name} holds {int(np.isinf(array).sum())} infinite values; use NaN for 'not scored'"
        raise AnalysisError(msg)
    return array


def checked_level(level: float, *, name: str) -> float:
    """Return ``level`` if it lies strictly between 0 and 1, and raise AnalysisError otherwise."""
    if not 0.0 < level < 1.0:
        msg = f"{name}={level} must lie strictly between 0 and 1; give 0.95 for 95 percent"
        raise AnalysisError(msg)
    return level


def checked_resamples(n_resamples: int) -> int:
    """Return ``n_resamples`` if it is positive, and raise AnalysisError otherwise."""
    if n_resamples < 1:
        msg = f"n_resamples={n_resamples} must be at least 1; 999 or more gives a usable p-value"
        raise AnalysisError(msg)
    return n_resamples
