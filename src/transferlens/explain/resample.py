"""Bootstrap over the examples of a target: the resamples are the same for all models."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from transferlens.errors import AnalysisError
from transferlens.stats import bootstrap_weights
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = [
    "checked",
    "draw_weights",
    "percentile_interval",
    "placed_sums",
    "resampled_sums",
    "unbiased_interval",
]


def checked(confidence: float, n_resamples: int) -> None:
    """Raise AnalysisError where an interval cannot be computed with these settings."""
    if not 0.0 < confidence < 1.0:
        msg = f"confidence={confidence} must lie strictly between 0 and 1; 0.95 is usual"
        raise AnalysisError(msg)
    if n_resamples < 20:
        msg = f"n_resamples={n_resamples} is too few for an interval; give at least 20, better 200"
        raise AnalysisError(msg)


def draw_weights(rng: np.random.Generator, *, n_resamples: int, n_examples: int) -> FloatArray:
    """Return how often each example counts, (example, 1 + resample); in the first once."""
    weights = np.ones((n_examples, 1 + n_resamples))
    if n_examples:
        weights[:, 1:] = bootstrap_weights(rng, n_resamples, n_examples).T
    return weights


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
    weights = draw_weights(rng, n_resamples=n_resamples, n_examples=n)
    flat = weights.T @ columns.reshape(n, -1)
    return flat.reshape(1 + n_resamples, *columns.shape[1:])


def placed_sums(
    place: IntArray, example: IntArray, values: FloatArray, *, n_places: int, weights: FloatArray
) -> FloatArray:
    """Sum values by their place, in each resample.

    An example adds to few of the places, so this costs one multiplication per value and
    resample, however many places there are.

    Parameters
    ----------
    place, example
        Where each value belongs, and from which example it is, (value,).
    values
        What is summed, (value,).
    n_places
        Number of places.
    weights
        How often each example counts, (example, resample).

    Returns
    -------
    FloatArray
        Shape (n_places, resample).
    """
    table = sparse.csr_array((values, (place, example)), shape=(n_places, len(weights)))
    return np.asarray(table @ weights)


def percentile_interval(values: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the interval over the resamples, the first of which is the estimate.

    NaN where the estimate is not defined, or fewer than half of the resamples are.
    """
    drawn = np.sort(values[1:], axis=0)  # NaN comes last
    n = (~np.isnan(drawn)).sum(axis=0)
    usable = (n > 0.5 * len(drawn)) & ~np.isnan(values[0])
    tail = (1.0 - confidence) / 2.0
    low, high = (_quantile(drawn, n, level) for level in (tail, 1.0 - tail))
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def _quantile(ordered: FloatArray, n: IntArray, level: float) -> FloatArray:
    """Return a quantile of the first n of ordered values, linear between two of them."""
    at = level * np.maximum(n - 1, 0)
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(n - 1, 0))
    lower, upper = (np.take_along_axis(ordered, k[None], axis=0)[0] for k in (below, above))
    return np.asarray(lower + (at - below) * (upper - lower))


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
