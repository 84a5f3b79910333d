"""Intervals for the score of one model on one target."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.stats.arrays import FloatArray, checked_level, float_array
from transferlens.stats.bootstrap import BootstrapMethod, bootstrap_cells
from transferlens.stats.differences import moments

__all__ = [
    "Interval",
    "ProportionMethod",
    "bootstrap_mean_interval",
    "mean_interval",
    "proportion_interval",
]

ProportionMethod = Literal["wilson", "clopper-pearson", "jeffreys"]


class Interval(NamedTuple):
    """Both ends of an interval, in the metric's unit."""

    low: FloatArray
    high: FloatArray


def proportion_interval(
    successes: ArrayLike,
    n_scored: ArrayLike,
    *,
    method: ProportionMethod = "wilson",
    confidence: float = 0.95,
) -> Interval:
    """Interval of an accuracy.

    Parameters
    ----------
    successes
        Number of right answers; any shape.
    n_scored
        Number of scored examples; same shape.
    method
        ``"wilson"``: inverts the score test, covers at its nominal level on
        average; ``"clopper-pearson"``: never below it, wider; ``"jeffreys"``:
        equal tails of the posterior under the Beta(1/2, 1/2) prior, for small n.
    confidence
        Nominal coverage.

    Returns
    -------
    Interval
        As fractions; NaN where nothing is scored or an input is NaN.

    Raises
    ------
    AnalysisError
        More successes than examples, a negative count, or an unknown method.

    References
    ----------
    .. [1] Brown, Cai, DasGupta. *Interval estimation for a binomial proportion*.
       2001. doi:10.1214/ss/1009213286
    .. [2] Bowyer, Aitchison, Ivanova. *Don't use the CLT in LLM evals with fewer
       than a few hundred datapoints*. 2025. arXiv:2503.01747
    """
    x, n = np.broadcast_arrays(
        float_array(successes, name="successes"), float_array(n_scored, name="n_scored")
    )
    if ((x < 0) | (x > n)).any():
        msg = "successes must lie between 0 and n_scored; give counts, not shares"
        raise AnalysisError(msg)
    if method not in get_args(ProportionMethod):
        known = get_args(ProportionMethod)
        msg = f"unknown interval method {method!r}.{did_you_mean(method, known)}"
        raise AnalysisError(msg)
    tail = (1.0 - checked_level(confidence, name="confidence")) / 2.0
    n = np.where(n > 0, n, np.nan)
    if method == "wilson":
        return _wilson(x, n, tail)
    prior = 0.5 if method == "jeffreys" else 0.0
    return _beta_tails(x, n, prior, tail)


def _wilson(x: FloatArray, n: FloatArray, tail: float) -> Interval:
    z2 = stats.norm.ppf(tail) ** 2
    centre = (x + z2 / 2.0) / (n + z2)
    half = np.sqrt(z2 * (x * (n - x) / n + z2 / 4.0)) / (n + z2)
    return Interval(
        np.where(x == 0, 0.0 * n, centre - half), np.where(x == n, 1.0 + 0.0 * n, centre + half)
    )


def _beta_tails(x: FloatArray, n: FloatArray, prior: float, tail: float) -> Interval:
    """Clopper-Pearson (prior 0) or Jeffreys (prior 1/2), closed at 0 and at n successes."""
    extra = 0.0 if prior else 1.0
    low = stats.beta.ppf(tail, x + prior, n - x + prior + extra)
    high = stats.beta.ppf(1.0 - tail, x + prior + extra, n - x + prior)
    # An interval that excludes the observed 0 or 1 would have no coverage near the boundary.
    return Interval(np.where(x == 0, 0.0 * n, low), np.where(x == n, 1.0 + 0.0 * n, high))


def mean_interval(scores: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Interval of a mean graded score by Student's t.

    Parameters
    ----------
    scores
        Scores of shape (cell, example), in the metric's unit; NaN marks an
        unscored example.
    confidence
        Nominal coverage.

    Returns
    -------
    Interval
        (cell,) each; NaN where fewer than two examples are scored.

    Raises
    ------
    AnalysisError
        ``scores`` has not two axes or holds infinite values.
    """
    n, mean, error = moments(float_array(scores, name="scores", ndim=2))
    tail = 0.5 + checked_level(confidence, name="confidence") / 2.0
    half = stats.t.ppf(tail, np.maximum(n - 1, 1)) * error
    return Interval(mean - half, mean + half)


def bootstrap_mean_interval(
    scores: ArrayLike,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1_000,
    method: BootstrapMethod = "bca",
    confidence: float = 0.95,
) -> Interval:
    """Interval of a mean graded score by the bootstrap, for skewed scores.

    Parameters
    ----------
    scores
        Scores of shape (cell, example), in the metric's unit; NaN marks an
        unscored example.
    rng
        Source of the resamples, shared by all cells.
    n_resamples
        Number of bootstrap resamples.
    method
        See `transferlens.stats.bootstrap_cells`.
    confidence
        Nominal coverage.

    Returns
    -------
    Interval
        (cell,) each; NaN where fewer than two examples are scored.

    Raises
    ------
    AnalysisError
        ``scores`` has not two axes or holds infinite values.
    """
    values = float_array(scores, name="scores", ndim=2)
    tests = bootstrap_cells(
        values,
        np.zeros(values.shape[1]),
        rng=rng,
        n_resamples=n_resamples,
        method=method,
        confidence=confidence,
    )
    return Interval(tests.low, tests.high)
