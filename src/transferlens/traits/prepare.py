"""The matrix that is decomposed: raw scores, gains, normalised gains, z-scores or logit scores."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.metrics import gain, normalized_gain
from transferlens.traits.arrays import Array, require_matrix, spread

__all__ = ["NEEDS_BASE", "Transform", "logit_scores", "prepare", "zscores"]

Transform = Literal["raw", "gain", "normalized_gain", "z", "logit"]

NEEDS_BASE = ("gain", "normalized_gain")
"""Transforms that compare with the untuned model."""


def prepare(
    scores: Array,
    transform: Transform = "raw",
    *,
    base: ArrayLike | None = None,
    ceiling: ArrayLike = 1.0,
    n_scored: ArrayLike | None = None,
    include_base: bool = False,
) -> Array:
    """Bring scores into the unit in which they are decomposed.

    Every decomposition centres columns, so ``raw`` and ``gain`` give the same traits: subtracting
    the base's score from a column moves only its mean. The transforms that rescale columns
    (``normalized_gain``, ``z``) or bend them (``logit``) give others.

    Parameters
    ----------
    scores
        Shape (source, target), each column in its metric's unit. NaN marks an unscored cell and
        stays NaN.
    transform
        ``gain`` is ``score - base``; ``normalized_gain`` is ``(score - base) / (ceiling - base)``;
        ``z`` standardises each column; ``logit`` is the empirical log-odds of a fraction.
    base
        The untuned model's scores, shape (target,). Needed by both gains and by ``include_base``.
    ceiling
        Best possible score, a number or shape (target,). A target without headroom becomes NaN.
    n_scored
        Examples behind each score, a number or an array that broadcasts; keeps the log-odds of
        0 and 1 finite. Without it 1,000 are assumed. For ``logit`` only.
    include_base
        Put the base in as the first row (the paper's convention).

    Returns
    -------
    Array
        Shape (source, target), or one row more with ``include_base``.

    Raises
    ------
    AnalysisError
        Unknown transform, a missing or misshapen base, or log-odds of a score outside 0 to 1.
    """
    values = require_matrix(scores, min_rows=1, allow_missing=True)
    if transform not in get_args(Transform):
        msg = f"unknown transform {transform!r}.{did_you_mean(transform, get_args(Transform))}"
        raise AnalysisError(msg)
    needs_base = include_base or transform in NEEDS_BASE
    reference = _base_row(base, values.shape[1]) if needs_base else np.zeros(values.shape[1])
    table = np.vstack([reference, values]) if include_base else values
    if transform == "gain":
        return gain(table, reference)
    if transform == "normalized_gain":
        return normalized_gain(table, reference, ceiling=ceiling)
    if transform == "z":
        return zscores(table)
    return logit_scores(table, n_scored=n_scored) if transform == "logit" else table


def _base_row(base: ArrayLike | None, n_targets: int) -> Array:
    if base is None:
        msg = "this matrix needs the base model's scores; pass base= or decompose raw scores"
        raise AnalysisError(msg)
    row = np.asarray(base, dtype=np.float64)
    if row.shape != (n_targets,):
        msg = f"base has shape {row.shape}; one score for each of the {n_targets} targets is needed"
        raise AnalysisError(msg)
    return row


def zscores(matrix: Array) -> Array:
    """Standardise each column over its scored cells (SD with n - 1); NaN stays NaN.

    A column that never varies carries no contrast between rows and becomes 0.
    """
    values = require_matrix(matrix, allow_missing=True)
    seen = ~np.isnan(values)
    mean = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    deviation = spread(values)
    varies = deviation > 0
    scaled = (values - mean) / np.where(varies, deviation, 1.0)
    return np.asarray(np.where(varies | ~seen, scaled, 0.0))


def logit_scores(scores: Array, *, n_scored: ArrayLike | None = None) -> Array:
    """Empirical log-odds ``log((s·n + ½) / ((1 - s)·n + ½))`` of scores between 0 and 1.

    Parameters
    ----------
    scores
        Fractions, NaN where unscored.
    n_scored
        Examples behind each score; 1,000 when not given, or where NaN (not known).

    References
    ----------
    .. [1] Haldane. *The estimation and significance of the logarithm of a ratio of frequencies*.
       1956. doi:10.1111/j.1469-1809.1955.tb01285.x
    """
    values = np.asarray(scores, dtype=np.float64)
    known = values[~np.isnan(values)]
    low, high = known.min(initial=0.0), known.max(initial=1.0)
    if low < 0 or high > 1:
        msg = (
            f"scores run from {low:.4g} to {high:.4g}; log-odds need fractions from 0 to 1"
            " (divide percentages by 100)"
        )
        raise AnalysisError(msg)
    n = np.asarray(1_000 if n_scored is None else n_scored, dtype=np.float64)
    n = np.where(n > 0, n, 1_000)
    return np.asarray(np.log((values * n + 0.5) / ((1 - values) * n + 0.5)))
