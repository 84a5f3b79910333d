"""McNemar's test of two models that were scored right or wrong on the same examples."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.stats.arrays import FloatArray, checked_level, float_array
from transferlens.stats.differences import paired_scores
from transferlens.stats.results import PairedTest, PairedTests

__all__ = [
    "McNemarMethod",
    "mcnemar_cells",
    "mcnemar_p_value",
    "mcnemar_test",
    "paired_proportion_interval",
]

McNemarMethod = Literal["mid-p", "exact", "chi2", "chi2-corrected"]


def mcnemar_p_value(
    gained: ArrayLike, lost: ArrayLike, *, method: McNemarMethod = "mid-p"
) -> FloatArray:
    """Test whether as many examples were lost as were gained.

    Under the null hypothesis a discordant example is equally likely to be one
    that only the adapted model solves or one that only the base model solves.

    Parameters
    ----------
    gained
        Number of examples that only the adapted model solves; any shape.
    lost
        Number of examples that only the base model solves; same shape.
    method
        ``"mid-p"``: binomial, counting half of the observed outcome, close to
        its nominal level and the default; ``"exact"``: binomial, conservative
        (R's ``binom.test``); ``"chi2"`` and ``"chi2-corrected"``: R's
        ``mcnemar.test`` without and with the continuity correction.

    Returns
    -------
    FloatArray
        Two-sided p-values; 1 where no example is discordant; NaN where a count is NaN.

    Raises
    ------
    AnalysisError
        The method is unknown.

    References
    ----------
    .. [1] Fagerland, Lydersen, Laake. *The McNemar test for binary matched-pairs
       data: mid-p and asymptotic are better than exact conditional*. 2013.
       doi:10.1186/1471-2288-13-91
    """
    b, c = np.broadcast_arrays(float_array(gained, name="gained"), float_array(lost, name="lost"))
    if method not in get_args(McNemarMethod):
        msg = f"unknown McNemar method {method!r}.{did_you_mean(method, get_args(McNemarMethod))}"
        raise AnalysisError(msg)
    if method.startswith("chi2"):
        return _chi2_p_value(b, c, corrected=method == "chi2-corrected")
    fewer = np.minimum(b, c)
    tail = 2.0 * stats.binom.cdf(fewer, b + c, 0.5)
    if method == "mid-p":
        tail = tail - stats.binom.pmf(fewer, b + c, 0.5)
    return np.asarray(np.minimum(tail, 1.0), dtype=np.float64)


def _chi2_p_value(b: FloatArray, c: FloatArray, *, corrected: bool) -> FloatArray:
    gap = np.abs(b - c)
    if corrected:
        gap = np.maximum(gap - 1.0, 0.0)
    # Without a discordant pair the statistic is 0/0: nothing speaks against the null.
    statistic = gap**2 / np.where(b + c == 0, 1.0, b + c)
    return np.asarray(stats.chi2.sf(statistic, 1), dtype=np.float64)


class PairedProportion(NamedTuple):
    """Standard error and interval of a difference of paired proportions."""

    standard_error: FloatArray
    low: FloatArray
    high: FloatArray


def paired_proportion_interval(
    gained: ArrayLike, lost: ArrayLike, *, n_scored: ArrayLike, confidence: float = 0.95
) -> PairedProportion:
    """Interval of the difference of two proportions on the same examples.

    The adjusted Wald interval of Bonett and Price: one pair is added to each
    discordant count. It covers at its nominal level from small n on, never has
    length 0, and nearly always agrees with the mid-p McNemar test on whether
    0 is possible (it is not the inversion of that test).

    Parameters
    ----------
    gained
        Number of examples that only the adapted model solves; any shape.
    lost
        Number of examples that only the base model solves; same shape.
    n_scored
        Number of examples scored for both models; same shape.
    confidence
        Nominal coverage.

    Returns
    -------
    PairedProportion
        Standard error (of the adjusted counts, so it is never 0) and both ends
        of the interval, as fractions within -1 to 1; NaN where ``n_scored`` is NaN.

    Raises
    ------
    AnalysisError
        ``confidence`` is not between 0 and 1.

    References
    ----------
    .. [1] Bonett, Price. *Adjusted Wald confidence interval for a difference of
       binomial proportions based on paired data*. 2012. doi:10.3102/1076998611411915
    .. [2] Fagerland, Lydersen, Laake. *Recommended tests and confidence intervals
       for paired binomial proportions*. 2014. doi:10.1002/sim.6148
    """
    total = float_array(n_scored, name="n_scored") + 2.0
    up = (float_array(gained, name="gained") + 1.0) / total
    down = (float_array(lost, name="lost") + 1.0) / total
    error = np.sqrt((up + down - (up - down) ** 2) / total)
    half = stats.norm.ppf(0.5 + checked_level(confidence, name="confidence") / 2.0) * error
    low, high = np.clip([up - down - half, up - down + half], -1.0, 1.0)
    return PairedProportion(error, low, high)


def mcnemar_cells(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    method: McNemarMethod = "mid-p",
    confidence: float = 0.95,
) -> PairedTests:
    """Run McNemar's test for many adapters on one target.

    Under the null hypothesis an example on which adapter and base disagree is
    equally likely to be won or lost.

    Parameters
    ----------
    adapted
        Scores 0 or 1 of shape (cell, example); NaN marks an unscored example.
    base
        Scores 0 or 1 of shape (example,) or (cell, example).
    method
        See `mcnemar_p_value`.
    confidence
        Nominal coverage of the Bonett-Price interval.

    Returns
    -------
    PairedTests
        Per cell. It speaks about *this* run: training variance is not in it.

    Raises
    ------
    AnalysisError
        A score is neither 0, 1 nor NaN, or the shapes do not pair.
    """
    pairs = paired_scores(adapted, base)
    for name, scores in zip(pairs._fields, pairs, strict=True):
        _require_binary(scores, name)
    gained = ((pairs.adapted == 1.0) & (pairs.base == 0.0)).sum(axis=1).astype(np.float64)
    lost = ((pairs.adapted == 0.0) & (pairs.base == 1.0)).sum(axis=1).astype(np.float64)
    n_scored = (~np.isnan(pairs.adapted) & ~np.isnan(pairs.base)).sum(axis=1)
    n = np.where(n_scored >= 2, n_scored, np.nan)
    interval = paired_proportion_interval(gained, lost, n_scored=n, confidence=confidence)
    p_value = mcnemar_p_value(gained, lost, method=method)
    return PairedTests(
        method=f"McNemar {method}",
        estimate=(gained - lost) / n,
        standard_error=interval.standard_error,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        p_value=np.where(np.isnan(n), np.nan, p_value),
        n_scored=n_scored,
        n_unscored=pairs.adapted.shape[1] - n_scored,
    )


def _require_binary(scores: FloatArray, name: str) -> None:
    odd = ~(np.isnan(scores) | (scores == 0.0) | (scores == 1.0))
    if odd.any():
        msg = (
            f"{name} holds the score {scores[odd][0]:.4g}, but McNemar's test needs 0 or 1; "
            "use the sign-flip test for graded scores"
        )
        raise AnalysisError(msg)


def mcnemar_test(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    method: McNemarMethod = "mid-p",
    confidence: float = 0.95,
) -> PairedTest:
    """Run McNemar's test for one adapter on one target.

    Under the null hypothesis an example on which adapter and base disagree is
    equally likely to be won or lost.

    Parameters
    ----------
    adapted
        Scores 0 or 1 of shape (example,); NaN marks an unscored example.
    base
        Scores 0 or 1 on the same examples in the same order.
    method
        See `mcnemar_p_value`.
    confidence
        Nominal coverage of the Bonett-Price interval.

    Returns
    -------
    PairedTest
        ``estimate``: difference of the two accuracies, as a fraction.

    Raises
    ------
    AnalysisError
        A score is neither 0, 1 nor NaN, or fewer than two examples are scored
        by both models.
    """
    scores = float_array(adapted, name="adapted", ndim=1)
    return mcnemar_cells(scores[None], base, method=method, confidence=confidence).only()
