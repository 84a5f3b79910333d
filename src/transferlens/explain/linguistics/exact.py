"""Exact conditional inference for a feature that is there or not, within strata."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import gammaln

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import BoolArray, FloatArray, checked_level, float_array

__all__ = ["ExactOddsRatio", "exact_odds_ratio"]

_FAR = 60.0
"""Logarithm of an odds ratio beyond which every tail is 0 or 1."""


class ExactOddsRatio(NamedTuple):
    """A common odds ratio; NaN where nothing can be said."""

    estimate: float
    """Conditional maximum-likelihood estimate; 0 or infinite under separation."""
    low: float
    high: float
    p_value: float
    """Twice the smaller tail, at most 1: it agrees with the interval."""


class _Distribution(NamedTuple):
    """Successes with the feature, given all margins, when the odds ratio is 1."""

    support: FloatArray
    log_weight: FloatArray
    observed: float

    def probabilities(self, log_odds_ratio: float) -> FloatArray:
        log = self.log_weight + self.support * log_odds_ratio
        p = np.exp(log - log.max())
        return np.asarray(p / p.sum(), dtype=np.float64)

    def at_least(self, log_odds_ratio: float) -> float:
        return float(self.probabilities(log_odds_ratio)[self.support >= self.observed].sum())

    def at_most(self, log_odds_ratio: float) -> float:
        return float(self.probabilities(log_odds_ratio)[self.support <= self.observed].sum())

    def mean(self, log_odds_ratio: float) -> float:
        return float(self.probabilities(log_odds_ratio) @ self.support)


def exact_odds_ratio(
    outcome: ArrayLike, present: ArrayLike, strata: ArrayLike, *, confidence: float = 0.95
) -> ExactOddsRatio:
    """Test exactly whether a feature changes the odds of an outcome, within strata.

    Under the null hypothesis outcome and feature are independent in every
    stratum. Given all margins the number of successes with the feature then
    has a known distribution, however few there are. With one stratum this is
    Fisher's test with the Clopper-Pearson kind of interval; with several, R's
    ``mantelhaen.test(exact = TRUE)`` except for its two-sided p-value.

    Parameters
    ----------
    outcome
        0 or 1 of shape (example,).
    present
        0 or 1 of shape (example,).
    strata
        A number per example; those with the same number are compared.
    confidence
        Coverage of the interval, at least.

    Returns
    -------
    ExactOddsRatio
        All NaN if no stratum has both outcomes and both values of the feature.

    Raises
    ------
    AnalysisError
        A value is not 0 or 1, or the lengths differ.

    References
    ----------
    .. [1] Agresti. *A survey of exact inference for contingency tables*. 1992.
       doi:10.1214/ss/1177011454
    """
    y, x = (_binary(v, name) for v, name in ((outcome, "outcome"), (present, "present")))
    s = float_array(strata, name="strata", ndim=1)
    if not len(y) == len(x) == len(s):
        msg = f"{len(y)} outcomes, {len(x)} features and {len(s)} strata; give as many of each"
        raise AnalysisError(msg)
    found = _distribution(y, x, s)
    if len(found.support) < 2:
        return ExactOddsRatio(np.nan, np.nan, np.nan, np.nan)
    tail = (1.0 - checked_level(confidence, name="confidence")) / 2.0
    lowest, highest = found.support[[0, -1]]
    p_value = min(1.0, 2.0 * min(found.at_least(0.0), found.at_most(0.0)))
    at_lowest, at_highest = found.observed == lowest, found.observed == highest
    estimate = 0.0 if at_lowest else np.inf if at_highest else _root(found.mean, found.observed)
    return ExactOddsRatio(
        estimate=estimate,
        low=0.0 if at_lowest else _root(found.at_least, tail),
        high=np.inf if at_highest else _root(found.at_most, tail),
        p_value=p_value,
    )


def _binary(values: ArrayLike, name: str) -> BoolArray:
    array = float_array(values, name=name, ndim=1)
    if not np.isin(array, (0.0, 1.0)).all():
        msg = f"{name} must be 0 or 1; leave out the examples for which it is not known"
        raise AnalysisError(msg)
    is_one: BoolArray = array == 1.0
    return is_one


def _root(function: Callable[[float], float], value: float) -> float:
    """Return the odds ratio at which a function of its logarithm takes a value."""
    return float(np.exp(brentq(lambda at: function(at) - value, -_FAR, _FAR, xtol=1e-12)))


def _distribution(y: BoolArray, x: BoolArray, strata: FloatArray) -> _Distribution:
    """Convolve the hypergeometric distributions of the strata."""
    weight, shift = np.zeros(1), 0
    for stratum in np.unique(strata):
        here = strata == stratum
        low, each = _hypergeometric(int(x[here].sum()), int(here.sum()), int(y[here].sum()))
        weight, shift = _convolved(weight, each), shift + low
    support = shift + np.arange(len(weight), dtype=np.float64)
    return _Distribution(support, weight, float((x & y).sum()))


def _hypergeometric(with_feature: int, n: int, successes: int) -> tuple[int, FloatArray]:
    """Return the least number of successes with the feature, and log weights from there on."""
    low = max(0, successes - (n - with_feature))
    high = min(with_feature, successes)
    k = np.arange(low, high + 1, dtype=np.float64)
    ways = np.add(_log_choose(with_feature, k), _log_choose(n - with_feature, successes - k))
    return low, ways


def _log_choose(n: int, k: FloatArray) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), dtype=np.float64)


def _convolved(first: FloatArray, second: FloatArray) -> FloatArray:
    """Convolve two distributions that are given by their logarithms."""
    grid: FloatArray = np.add.outer(first, second)
    places = np.add.outer(np.arange(len(first)), np.arange(len(second)))
    highest = grid.max()
    total = np.bincount(places.ravel(), weights=np.exp(grid - highest).ravel())
    return np.asarray(np.log(np.maximum(total, 1e-300)) + highest, dtype=np.float64)
