"""How many sources an answer needs."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats import PairedTest
from transferlens.stats.arrays import FloatArray, checked_level

__all__ = ["detectable_share", "paired_t", "sources_for_difference", "sources_for_share"]

_MOST = 100_000


def sources_for_share(share: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many sources a factor of theirs needs that explains a share of the variance.

    By Fisher's transformation of a correlation of ``sqrt(share)``, two-sided, before
    adjustment for other factors: ``((z_alpha + z_power) / atanh(r))**2 + 3``.

    Raises
    ------
    AnalysisError
        A share or level does not lie between 0 and 1.

    References
    ----------
    .. [1] Cohen. *Statistical power analysis for the behavioral sciences*. 1988. Chapter 3.
    """
    r = math.sqrt(checked_level(share, name="share"))
    return math.ceil((_quantiles(power, alpha) / math.atanh(r)) ** 2 + 3.0)


def detectable_share(n_sources: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return which share of the variance a factor of sources must explain to be found.

    The inverse of `sources_for_share`; NaN with fewer than four sources.
    """
    z = _quantiles(power, alpha)
    return math.tanh(z / math.sqrt(n_sources - 3.0)) ** 2 if n_sources > 3 else math.nan


def sources_for_difference(
    difference: float, spread: float, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return how many sources a paired t test needs to find a mean difference.

    Parameters
    ----------
    difference
        Smallest difference of interest, above 0.
    spread
        Standard deviation over sources, in the same unit.
    power, alpha
        Probability of finding it, two-sided level.

    Returns
    -------
    int or None
        None for more than 100,000, or where the spread is not known.

    Raises
    ------
    AnalysisError
        The difference is not above 0.
    """
    if not difference > 0.0:
        msg = f"difference={difference} must be above 0"
        raise AnalysisError(msg)
    if math.isnan(spread):
        return None
    n = np.arange(3, _MOST + 1, dtype=np.float64)
    factor = stats.t.ppf(1.0 - alpha / 2.0, n - 1.0) + stats.t.ppf(power, n - 1.0)
    enough = factor * spread / np.sqrt(n) <= difference
    return int(n[enough.argmax()]) if enough.any() else None


def paired_t(differences: FloatArray, *, confidence: float) -> PairedTest:
    """Test whether differences over sources have the mean 0, by Student's t.

    Not by flipping signs: with few sources whose differences are skewed, the interval of
    flips and their p-value may disagree.
    """
    n = len(differences)
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(n))
    bar = float(stats.t.ppf((1.0 + confidence) / 2.0, n - 1))
    return PairedTest(
        method="paired t over sources",
        estimate=mean,
        standard_error=error,
        low=mean - bar * error,
        high=mean + bar * error,
        confidence=confidence,
        p_value=float(2.0 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else 1.0,
        n_scored=n,
        n_unscored=0,
    )


def _quantiles(power: float, alpha: float) -> float:
    above = stats.norm.ppf(1.0 - checked_level(alpha, name="alpha") / 2.0)
    return float(above + stats.norm.ppf(checked_level(power, name="power")))
