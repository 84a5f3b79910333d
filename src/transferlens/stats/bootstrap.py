"""Paired bootstrap of the mean difference."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.stats.arrays import (
    FloatArray,
    checked_level,
    checked_resamples,
    float_array,
)
from transferlens.stats.differences import moments, paired_differences
from transferlens.stats.resampling import (
    Block,
    Draws,
    Float32Array,
    Replayed,
    SharedWeights,
    blocks,
    bootstrap_weights,
    tie_tolerance,
)
from transferlens.stats.results import PairedTest, PairedTests

__all__ = ["BootstrapMethod", "bootstrap_cells", "paired_bootstrap"]

BootstrapMethod = Literal["bca", "percentile"]


class _Summary(NamedTuple):
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray
    p_value: FloatArray


def bootstrap_cells(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    rng: np.random.Generator | SharedWeights,
    n_resamples: int = 1_000,
    method: BootstrapMethod = "bca",
    confidence: float = 0.95,
) -> PairedTests:
    """Bootstrap the mean difference of many adapters on one target.

    Examples are resampled with replacement, the same ones for all cells, and
    each keeps its pair. The p-value is the smallest level at which the
    interval excludes 0.

    Parameters
    ----------
    adapted
        Scores of shape (cell, example), in the metric's own unit; NaN marks an
        unscored example.
    base
        Scores of shape (example,) or (cell, example).
    rng
        Source of the resamples, or weights that many targets share.
    n_resamples
        Number of bootstrap resamples; shared weights have their own number.
    method
        ``"bca"`` corrects the percentiles for bias and skewness; ``"percentile"`` does not.
    confidence
        Nominal coverage of the interval.

    Returns
    -------
    PairedTests
        Per cell; ``standard_error`` is the spread of the resampled means. It
        speaks about *this* run: training variance is not in it.

    Raises
    ------
    AnalysisError
        The shapes do not pair, a score is infinite, or a setting is out of range.

    References
    ----------
    .. [1] Efron. *Better bootstrap confidence intervals*. 1987.
       doi:10.1080/01621459.1987.10478410
    """
    if method not in get_args(BootstrapMethod):
        known = get_args(BootstrapMethod)
        msg = f"unknown bootstrap method {method!r}.{did_you_mean(method, known)}"
        raise AnalysisError(msg)
    checked_level(confidence, name="confidence")
    draws: Draws = rng if isinstance(rng, SharedWeights) else _own_draws(rng, n_resamples)
    checked_resamples(draws.n_resamples)
    return _tests(paired_differences(adapted, base), draws, method, confidence)


def _own_draws(rng: np.random.Generator, n_resamples: int) -> Draws:
    return Replayed(bootstrap_weights, rng, n_resamples)


def _tests(
    differences: FloatArray, draws: Draws, method: BootstrapMethod, confidence: float
) -> PairedTests:
    n_scored, mean, _ = moments(differences)
    summary = _Summary(*np.empty((4, len(mean))))
    for block in blocks(differences, draws):
        part = _summarise(differences[block.cells], block, method, confidence)
        for whole, values in zip(summary, part, strict=True):
            whole[block.cells] = values
    for whole in summary:
        whole[n_scored < 2] = np.nan
    return PairedTests(
        method=f"paired bootstrap {method}",
        estimate=mean,
        standard_error=summary.standard_error,
        low=summary.low,
        high=summary.high,
        confidence=confidence,
        p_value=summary.p_value,
        n_scored=n_scored,
        n_unscored=differences.shape[1] - n_scored,
    )


def _summarise(
    differences: FloatArray, block: Block, method: BootstrapMethod, confidence: float
) -> _Summary:
    n = np.maximum(np.count_nonzero(~np.isnan(differences), axis=1), 1)
    estimate = np.nansum(differences, axis=1) / n
    means: Float32Array = np.divide(block.totals, np.maximum(block.counts, np.float32(1.0)))
    if not block.counts.all():
        # A resample without any scored example carries no information; it repeats the estimate.
        np.copyto(means, estimate[:, None].astype(np.float32), where=block.counts == 0)
    means.sort(axis=1)
    tolerance = tie_tolerance(differences) / n
    bias, skew = np.zeros_like(estimate), np.zeros_like(estimate)
    if method == "bca":
        bias = _normal_score(means, estimate, tolerance)
        skew = _acceleration(differences, estimate)
    z = stats.norm.ppf(0.5 + confidence / 2.0)
    low, high = (_quantile(means, _bca_level(bias, skew, end)) for end in (-z, z))
    gap = _normal_score(means, np.zeros_like(estimate), tolerance) - bias
    # The level whose interval ends at 0: the BCa formula solved for its normal quantile.
    w = gap / np.maximum(1.0 + skew * gap, 1e-12) - bias
    n_resamples = means.shape[1]
    p_value = np.maximum(2.0 * stats.norm.sf(np.abs(w)), 1.0 / (1.0 + n_resamples))
    spread = np.full_like(estimate, np.nan)
    if n_resamples > 1:
        spread = means.std(axis=1, ddof=1, dtype=np.float64)
    return _Summary(spread, low, high, p_value)


def _normal_score(means: Float32Array, point: FloatArray, tolerance: FloatArray) -> FloatArray:
    """Return the normal quantile of the share of means below ``point``, ties counted half."""
    below = np.count_nonzero(means < (point - tolerance)[:, None], axis=1)
    above = np.count_nonzero(means > (point + tolerance)[:, None], axis=1)
    # Adding half a resample at each end keeps the quantile finite.
    share = 0.5 + (below - above) / (2.0 * (means.shape[1] + 1.0))
    return np.asarray(stats.norm.ppf(share), dtype=np.float64)


def _acceleration(differences: FloatArray, estimate: FloatArray) -> FloatArray:
    """Skewness of the jackknife means, in closed form for a mean."""
    deviation = np.nan_to_num(differences - estimate[:, None])
    squares = np.einsum("ce,ce->c", deviation, deviation)
    cubes = np.einsum("ce,ce,ce->c", deviation, deviation, deviation)
    acceleration: FloatArray = cubes / (6.0 * np.where(squares > 0, squares, 1.0) ** 1.5)
    return acceleration


def _bca_level(bias: FloatArray, skew: FloatArray, end: float) -> FloatArray:
    shifted = bias + end
    level = stats.norm.cdf(bias + shifted / np.maximum(1.0 - skew * shifted, 1e-12))
    return np.asarray(level, dtype=np.float64)


def _quantile(ordered: Float32Array, level: FloatArray) -> FloatArray:
    """Linear-interpolation quantile of each sorted row at its own level."""
    last = ordered.shape[1] - 1
    position = level * last
    floor = position.astype(np.int64)
    ends = np.stack([floor, np.minimum(floor + 1, last)], axis=1)
    lower, upper = np.take_along_axis(ordered, ends, axis=1).astype(np.float64).T
    quantile: FloatArray = lower + (upper - lower) * (position - floor)
    return quantile


def paired_bootstrap(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    rng: np.random.Generator,
    n_resamples: int = 9_999,
    method: BootstrapMethod = "bca",
    confidence: float = 0.95,
) -> PairedTest:
    """Bootstrap the mean difference of one adapter on one target.

    Parameters
    ----------
    adapted
        Scores of shape (example,), in the metric's own unit; NaN marks an
        unscored example.
    base
        Scores on the *same* examples in the same order.
    rng
        Source of the resamples.
    n_resamples
        Number of bootstrap resamples.
    method
        ``"bca"`` corrects the percentiles for bias and skewness; ``"percentile"`` does not.
    confidence
        Nominal coverage of the interval.

    Returns
    -------
    PairedTest
        ``estimate``: mean of ``adapted - base`` in the metric's unit.

    Raises
    ------
    AnalysisError
        Fewer than two examples are scored by both models.

    References
    ----------
    .. [1] Efron. *Better bootstrap confidence intervals*. 1987.
       doi:10.1080/01621459.1987.10478410
    """
    scores = float_array(adapted, name="adapted", ndim=1)
    return bootstrap_cells(
        scores[None],
        base,
        rng=rng,
        n_resamples=n_resamples,
        method=method,
        confidence=confidence,
    ).only()
