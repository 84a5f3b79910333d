"""Pair two models' scores example by example."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, IntArray, float_array

__all__ = ["Pairs", "paired_differences", "paired_scores"]


class Pairs(NamedTuple):
    """Scores of two models on the same examples."""

    adapted: FloatArray
    """Scores of the adapted models, (cell, example)."""

    base: FloatArray
    """Scores of the model they are compared with, broadcast to (cell, example)."""


def paired_scores(adapted: ArrayLike, base: ArrayLike) -> Pairs:
    """Check that two sets of scores can be paired, and give them one shape.

    Parameters
    ----------
    adapted
        Scores of shape (cell, example); NaN marks an unscored example.
    base
        Scores of shape (example,), shared by all cells, or (cell, example).

    Returns
    -------
    Pairs
        Both as float64 of shape (cell, example); ``base`` may be a view.

    Raises
    ------
    AnalysisError
        The numbers of examples differ, or a score is infinite.
    """
    first = float_array(adapted, name="adapted", ndim=2)
    second = float_array(base, name="base")
    if second.shape not in {first.shape, first.shape[1:]}:
        msg = (
            f"base of shape {second.shape} does not pair with adapted of shape {first.shape}; "
            "give both models' scores on the same examples in the same order"
        )
        raise AnalysisError(msg)
    return Pairs(first, np.broadcast_to(second, first.shape))


def paired_differences(adapted: ArrayLike, base: ArrayLike) -> FloatArray:
    """Return ``adapted - base`` per example, (cell, example); NaN where either is unscored.

    Parameters
    ----------
    adapted
        Scores of shape (cell, example); NaN marks an unscored example.
    base
        Scores of shape (example,), shared by all cells, or (cell, example).

    Returns
    -------
    FloatArray
        Differences in the metric's unit.

    Raises
    ------
    AnalysisError
        The numbers of examples differ, or a score is infinite.
    """
    pairs = paired_scores(adapted, base)
    difference: FloatArray = pairs.adapted - pairs.base
    return difference


class Moments(NamedTuple):
    """Mean and spread of the differences per cell, (cell,)."""

    n_scored: IntArray
    mean: FloatArray
    standard_error: FloatArray


def moments(differences: FloatArray) -> Moments:
    """Return scored count, mean and its standard error per cell; NaN below two scored examples."""
    scored = ~np.isnan(differences)
    n_scored = scored.sum(axis=1)
    n = np.where(n_scored >= 2, n_scored, np.nan)
    mean = np.where(scored, differences, 0.0).sum(axis=1) / n
    deviation = np.where(scored, differences - mean[:, None], 0.0)
    squares = np.einsum("ce,ce->c", deviation, deviation)
    return Moments(n_scored, mean, np.sqrt(squares / (n - 1.0) / n))
