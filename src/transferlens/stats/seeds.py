"""Gains measured over several training seeds and many examples: the two-way standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.stats.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_level,
    float_array,
)

__all__ = ["TwoWayTests", "two_way_test"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoWayTests:
    """Gain of each source on one target; each array has shape (source,)."""

    estimate: FloatArray
    """Mean difference over seeds and examples, in the metric's unit."""

    standard_error: FloatArray
    """Standard error over examples and, where it is known, over training runs."""

    df: FloatArray
    """Satterthwaite degrees of freedom of the standard error."""

    statistic: FloatArray
    """``estimate / standard_error``; 0 where both are 0."""

    p_value: FloatArray
    """Two-sided p-value, not corrected for multiplicity."""

    low: FloatArray
    """Lower end of the interval."""

    high: FloatArray
    """Upper end of the interval."""

    confidence: float
    """Nominal coverage of the intervals, between 0 and 1."""

    example_variance: FloatArray
    """Variance over examples of the difference averaged over seeds, squared unit."""

    training_variance: FloatArray
    """Variance of the true gain between training runs, squared unit; NaN where no
    source has two seeds, so that nothing is known about it."""

    n_seeds: IntArray
    """Training runs per source."""

    n_scored: IntArray
    """Examples scored in every training run of the source."""

    n_unscored: IntArray
    """Examples left out because at least one run of the source did not score them."""

    @property
    def training_known(self) -> BoolArray:
        """Whether the standard error includes training variance, (source,)."""
        known: BoolArray = ~np.isnan(self.training_variance)
        return known


class _Components(NamedTuple):
    """Sums of squares turned into variances, (source,) each; NaN where not estimable."""

    estimate: FloatArray
    example: FloatArray
    seed: FloatArray
    noise: FloatArray


class _Training(NamedTuple):
    """Training variance with what Satterthwaite's formula needs."""

    variance: FloatArray
    seed: FloatArray
    noise: FloatArray
    seed_df: FloatArray
    noise_df: FloatArray


def two_way_test(
    differences: ArrayLike, *, confidence: float = 0.95, pool: bool = True
) -> TwoWayTests:
    """Test for every source of one target whether its expected gain is zero.

    The null hypothesis is about the *recipe*: zero gain in the mean over
    training runs and over examples. The squared standard error is::

        example variance / n + max(seed variance - within-seed noise, 0) / S

    The first term is the variance over examples of the difference averaged
    over seeds. The seed variance is that of the seeds' mean differences; what
    it owes to the finite number of examples (within-seed noise) is already in
    the first term and is taken off. All seeds see the same examples, so
    treating seeds × examples as independent would be wrong: 32 percent errors
    at a nominal 5 percent.

    Parameters
    ----------
    differences
        ``adapted - base`` of shape (source, seed, example), in the metric's
        unit. NaN marks an unscored example; a seed without any score is a run
        that was not made. An example counts for a source if all its runs scored it.
    confidence
        Nominal coverage of the intervals.
    pool
        Whether the training variance is shared by all sources of the target,
        with ``sum(S - 1)`` degrees of freedom. Without pooling, two or three
        seeds leave a test with almost no power.

    Returns
    -------
    TwoWayTests
        Per source. NaN where fewer than two examples are scored. Where every
        used difference is the same non-zero number, t is infinite and the
        p-value is the exact one of the sign-flip test, ``2 ** (1 - n)``.

    Raises
    ------
    AnalysisError
        ``differences`` has not three axes or holds infinite values.

    References
    ----------
    .. [1] Satterthwaite. *An approximate distribution of estimates of variance
       components*. 1946. doi:10.2307/3002019
    .. [2] Miller. *Adding error bars to evals*. 2024. arXiv:2411.00640
    """
    values = float_array(differences, name="differences", ndim=3)
    checked_level(confidence, name="confidence")
    return _tests(values, confidence, pool=pool)


def _tests(values: FloatArray, confidence: float, *, pool: bool) -> TwoWayTests:
    scored = ~np.isnan(values)
    made: BoolArray = np.logical_or.reduce(scored, axis=2)
    complete = np.logical_and.reduce(scored | ~made[:, :, None], axis=1)
    used: BoolArray = complete & np.logical_or.reduce(made, axis=1)[:, None]
    n_seeds, n_scored = made.sum(axis=1), used.sum(axis=1)
    n = np.where(n_scored >= 2, n_scored, np.nan)
    parts = _components(values, made[:, :, None] & used[:, None, :])
    training = _training(parts, n_seeds, n, pool=pool)
    error, df = _standard_error(parts, training, n_seeds, n)
    statistic = _statistic(parts.estimate, error)
    p_value = np.maximum(
        2.0 * stats.t.sf(np.abs(statistic), df),
        # The power of two underflows to 0 beyond a thousand examples.
        np.where(np.isinf(statistic), 2.0 ** (1.0 - np.minimum(n, 1000.0)), 0.0),
    )
    half = stats.t.ppf(0.5 + confidence / 2.0, df) * error
    return TwoWayTests(
        estimate=parts.estimate,
        standard_error=error,
        df=df,
        statistic=statistic,
        p_value=p_value,
        low=parts.estimate - half,
        high=parts.estimate + half,
        confidence=confidence,
        example_variance=parts.example,
        training_variance=training.variance,
        n_seeds=n_seeds,
        n_scored=n_scored,
        n_unscored=values.shape[2] - n_scored,
    )


def _statistic(estimate: FloatArray, error: FloatArray) -> FloatArray:
    # Equal differences leave an error of rounding only, which is no error to divide by.
    real = error > 1e-12 * np.abs(estimate)
    infinite = np.where(estimate == 0.0, 0.0, np.copysign(np.inf, estimate))
    infinite[np.isnan(estimate)] = np.nan
    return np.divide(estimate, error, out=infinite, where=real)


def _components(values: FloatArray, used: BoolArray) -> _Components:
    """Two-way analysis of variance of each source's (seed, example) table."""
    examples: BoolArray = np.logical_or.reduce(used, axis=1)
    seeds: BoolArray = np.logical_or.reduce(used, axis=2)
    n = np.where(examples.sum(axis=1) >= 2, examples.sum(axis=1), np.nan)
    S = np.where(seeds.any(axis=1), seeds.sum(axis=1), np.nan)
    filled = np.where(used, values, 0.0)
    seed_mean = filled.sum(axis=2) / n[:, None]
    example_mean = filled.sum(axis=1) / S[:, None]
    estimate = filled.sum(axis=(1, 2)) / (n * S)
    by_example = np.where(examples, example_mean - estimate[:, None], 0.0)
    by_seed = np.where(seeds, seed_mean - estimate[:, None], 0.0)
    rest = np.where(used, filled - by_example[:, None] - seed_mean[:, :, None], 0.0)
    more = np.where(S >= 2, S - 1.0, np.nan)
    return _Components(
        estimate=estimate,
        example=(by_example**2).sum(axis=1) / (n - 1.0),
        seed=(by_seed**2).sum(axis=1) / more,
        noise=(rest**2).sum(axis=(1, 2)) / (more * (n - 1.0)),
    )


def _training(parts: _Components, n_seeds: IntArray, n: FloatArray, *, pool: bool) -> _Training:
    known = ~np.isnan(parts.seed)
    df = np.where(known, n_seeds - 1.0, 0.0)
    noise_df = np.where(known, df * (n - 1.0), 0.0)
    seed = np.where(known, parts.seed, 0.0)
    noise = np.where(known, parts.noise / n, 0.0)
    if pool:
        total, noise_total = df.sum(), noise_df.sum()
        weight = df / total if total > 0 else df
        seed = np.full_like(seed, (weight * seed).sum())
        noise = np.full_like(noise, (weight * noise).sum())
        df, noise_df = np.full_like(df, total), np.full_like(df, noise_total)
    variance = np.where((df > 0) & ~np.isnan(n), np.maximum(seed - noise, 0.0), np.nan)
    return _Training(variance, seed, noise, df, noise_df)


def _standard_error(
    parts: _Components, training: _Training, n_seeds: IntArray, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return standard error and Satterthwaite degrees of freedom, (source,) each."""
    S = np.maximum(n_seeds, 1)
    by_examples = parts.example / n
    square = by_examples + np.nan_to_num(training.variance) / S
    spread = by_examples**2 / (n - 1.0)
    # These terms stay where the training variance is cut off at 0: it was estimated all the
    # same, and degrees of freedom that jump there would turn rounding into another p-value.
    for part, df in ((training.seed, training.seed_df), (training.noise, training.noise_df)):
        spread = spread + (part / S) ** 2 / np.maximum(df, 1.0)
    df = np.divide(square**2, spread, out=n - 1.0, where=spread > 0)
    # A sum of components has at least the fewest degrees of freedom among them; pooled noise
    # that is larger than a source's own variance would push the formula below that.
    fewest = np.minimum(n - 1.0, np.where(training.seed_df > 0, training.seed_df, np.inf))
    return np.sqrt(square), np.maximum(df, fewest)
