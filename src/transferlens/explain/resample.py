"""Bootstrap over the examples of a target: the resamples are the same for all models."""

from __future__ import annotations

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.stats import bootstrap_weights
from transferlens.stats.arrays import FloatArray

__all__ = ["checked", "percentile_interval", "resampled_sums", "unbiased_interval"]


def checked(confidence: float, n_resamples: int) -> None:
    """Raise AnalysisError where an interval cannot be computed with these settings."""
    if not 0.0 < confidence < 1.0:
        msg = f"confidence={confidence} must lie strictly between 0 and 1; 0.95 is usual"
        raise AnalysisError(msg)
    if n_resamples < 20:
        msg = f"n_resamples={n_resamples} is too few for an interval; give at least 20, better 200"
        raise AnalysisError(msg)


def resampled_sums(
    columns: FloatArray, *, rng: np.random.Generator, n_resamples: int
) -> FloatArray:
    """Sum each column over the examples, then over each resample of them.

    Parameters
    ----------
    columns
        Shape (example, ...).
    rng
        Source of the resamples.
    n_resamples
        Number of resamples.

    Returns
    -------
    FloatArray
        Shape (1 + n_resamples, ...); the first are the plain sums.
    """
    n = len(columns)
    weights = np.ones((1 + n_resamples, n))
    if n:
        weights[1:] = bootstrap_weights(rng, n_resamples, n)
    flat = weights @ columns.reshape(n, -1)
    return flat.reshape(1 + n_resamples, *columns.shape[1:])


def percentile_interval(values: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the interval over the resamples, the first of which is the estimate.

    NaN where the estimate is not defined, or fewer than half of the resamples are.
    """
    drawn = values[1:]
    known = ~np.isnan(drawn)
    usable = (known.mean(axis=0) > 0.5) & ~np.isnan(values[0])
    filled = np.where(usable, drawn, 0.0)
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(filled, [tail, 1.0 - tail], axis=0)
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def unbiased_interval(
    values: FloatArray, confidence: float, *, least: float, most: float
) -> tuple[FloatArray, FloatArray]:
    """Return the interval moved down by how much the resamples lie above the estimate.

    A distance between two distributions grows with every noise that is added to them;
    the percentiles of its resamples might not even hold the estimate.
    """
    low, high = percentile_interval(values, confidence)
    bias = np.where(np.isnan(low), np.nan, np.nan_to_num(values[1:]).mean(axis=0) - values[0])
    return np.clip(low - bias, least, most), np.clip(high - bias, least, most)
