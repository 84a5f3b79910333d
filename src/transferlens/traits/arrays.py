"""The array type of this package, and the checks that every function makes first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transferlens.errors import AnalysisError

__all__ = ["Array", "BoolArray", "IntArray", "correlation", "require_matrix"]

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


def correlation(matrix: Array) -> Array:
    """Pearson correlations between the columns of a complete matrix, shape (column, column).

    Raises
    ------
    AnalysisError
        A column never varies, so that it has no correlation with anything.
    """
    values = require_matrix(matrix, min_rows=3, min_columns=2)
    spread = values.std(axis=0)
    # Rounding leaves a constant column with a spread of some ulps of its level.
    flat = np.flatnonzero(spread <= 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-300))
    if flat.size:
        msg = f"columns {flat.tolist()} never vary and have no correlation; drop them"
        raise AnalysisError(msg)
    return np.asarray(np.corrcoef(values, rowvar=False), dtype=np.float64)
