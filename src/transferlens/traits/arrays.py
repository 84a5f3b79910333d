"""The array type of this package, and the checks that every function makes first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transferlens.errors import AnalysisError

__all__ = ["Array", "BoolArray", "IntArray", "correlation", "require_matrix", "spread"]

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def require_matrix(
    matrix: Array, *, min_rows: int = 2, min_columns: int = 1, allow_missing: bool = False
) -> Array:
    """Return ``matrix`` as float64, or say what is wrong with it.

    Parameters
    ----------
    matrix
        Scores, shape (row, column). NaN marks a cell that was not scored.
    min_rows, min_columns
        Smallest size that the caller can work with.
    allow_missing
        Accept NaN. Infinities are never accepted.

    Raises
    ------
    AnalysisError
        Wrong number of dimensions, too small, infinite, or missing cells where none may be.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2:
        msg = f"a matrix of rows and columns is needed, got an array of shape {values.shape}"
        raise AnalysisError(msg)
    if values.shape[0] < min_rows or values.shape[1] < min_columns:
        msg = f"matrix is {values.shape[0]} × {values.shape[1]}; {min_rows} × {min_columns} needed"
        raise AnalysisError(msg)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        msg = f"cell ({row}, {column}) is infinite; mark cells without a score as NaN"
        raise AnalysisError(msg)
    missing = np.isnan(values)
    if missing.any() and not allow_missing:
        row, column = np.argwhere(missing)[0]
        msg = (
            f"{missing.sum()} of {missing.size} cells are missing, the first at ({row}, {column});"
            " complete the matrix with traits.complete() or drop rows or columns"
        )
        raise AnalysisError(msg)
    return values


def spread(matrix: Array) -> Array:
    """Return the standard deviation (n - 1) of each column; 0 where it never varies.

    Parameters
    ----------
    matrix
        Shape (..., row, column). NaN is left out.

    Returns
    -------
    Array
        Shape (..., 1, column). Fewer than two scored cells give 0.
    """
    seen = ~np.isnan(matrix)
    count = seen.sum(axis=-2, keepdims=True)
    known = np.where(seen, matrix, 0.0)
    mean = known.sum(axis=-2, keepdims=True) / np.maximum(count, 1)
    squares = (np.where(seen, known - mean, 0.0) ** 2).sum(axis=-2, keepdims=True)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    # Rounding leaves a constant column with a spread of some ulps of its level.
    level = np.abs(known).max(axis=-2, keepdims=True, initial=1e-300)
    return np.asarray(np.where(deviation > 1e-12 * level, deviation, 0.0))


def correlation(matrix: Array) -> Array:
    """Pearson correlations between the columns of a complete matrix, shape (column, column).

    Raises
    ------
    AnalysisError
        A column never varies, so that it has no correlation with anything.
    """
    values = require_matrix(matrix, min_rows=3, min_columns=2)
    flat = np.flatnonzero(spread(values)[0] == 0)
    if flat.size:
        msg = f"columns {flat.tolist()} never vary and have no correlation; drop them"
        raise AnalysisError(msg)
    return np.asarray(np.corrcoef(values, rowvar=False), dtype=np.float64)
