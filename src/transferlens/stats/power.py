"""How small an effect a study of a given size can show."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, checked_level, float_array

__all__ = ["detectable_difference", "detectable_effect", "examples_needed", "mcnemar_power"]


def detectable_difference(
    discordance: ArrayLike, n_scored: ArrayLike, *, power: float = 0.8, alpha: float = 0.05
) -> FloatArray:
    """Return the smallest difference in accuracy that McNemar's test will probably find.

    About ``2.8 * sqrt(discordance / n_scored)`` at the defaults: the solution of
    ``d = z_a sqrt(psi / n) + z_b sqrt((psi - d**2) / n)``, in which the variance
    under the null and under the alternative differ.

    Parameters
    ----------
    discordance
        Share of examples on which the two models disagree, 0 to 1; any shape.
    n_scored
        Number of examples scored by both; same shape.
    power
        Probability of finding it.
    alpha
        Two-sided level of the test.

    Returns
    -------
    FloatArray
        As a fraction. A difference above the given discordance needs a larger one:
        then all disagreements are taken to go one way, so that the discordance is the
        difference. NaN where no difference up to 1 is large enough, where no example
        is scored, or an input is NaN.

    Raises
    ------
    AnalysisError
        ``discordance`` lies outside 0 to 1, or a level outside its range.

    References
    ----------
    .. [1] Connor. *Sample size for testing differences in proportions for the
       paired-sample design*. 1987. doi:10.2307/2531961
    .. [2] Card et al. *With little power comes great responsibility*. 2020.
       arXiv:2010.06595
    """
    psi, n = _discordance(discordance), _positive(n_scored, "n_scored")
    z_alpha, z_power = _quantiles(power, alpha)
    null = z_alpha * np.sqrt(psi / n)
    c = z_power**2 / n
    # The larger root of (d - null)^2 = c (psi - d^2); 4e-17 of rounding must not make it NaN.
    root = np.sqrt(np.maximum(null**2 - (1.0 + c) * (null**2 - c * psi), 0.0))
    difference = (null + root) / (1.0 + c)
    return np.where(difference < psi, difference, _one_way(n, z_alpha, z_power) + 0.0 * psi)


def _one_way(n: FloatArray, z_alpha: float, z_power: float) -> FloatArray:
    """Smallest difference that is found when every disagreement speaks for the same model."""
    # The root of sqrt(n d) = z_a + z_b sqrt(1 - d), a quadratic in sqrt(d).
    square = np.maximum(z_alpha**2 * n - (n + z_power**2) * (z_alpha**2 - z_power**2), 0.0)
    difference = ((z_alpha * np.sqrt(n) + np.sqrt(square)) / (n + z_power**2)) ** 2
    # Of too few examples only the other branch of the square root is left.
    real = (difference <= 1.0) & (n * difference >= z_alpha**2)
    return np.where(real, difference, np.nan)


def mcnemar_power(
    difference: ArrayLike, discordance: ArrayLike, *, n_scored: ArrayLike, alpha: float = 0.05
) -> FloatArray:
    """Return the probability that McNemar's test finds a difference in accuracy.

    Parameters
    ----------
    difference
        True difference in accuracy, as a fraction; any shape.
    discordance
        Share of examples on which the two models disagree, 0 to 1.
    n_scored
        Number of examples scored by both.
    alpha
        Two-sided level of the test.

    Returns
    -------
    FloatArray
        Power 0 to 1 by the normal approximation; NaN where ``|difference|``
        exceeds the discordance, which cannot be.

    Raises
    ------
    AnalysisError
        ``discordance`` lies outside 0 to 1, or ``alpha`` outside its range.

    References
    ----------
    .. [1] Connor. *Sample size for testing differences in proportions for the
       paired-sample design*. 1987. doi:10.2307/2531961
    """
    psi, n = _discordance(discordance), _positive(n_scored, "n_scored")
    delta = np.abs(float_array(difference, name="difference"))
    possible = (delta <= psi) & (psi > 0)
    spread = np.sqrt(np.where(delta < psi, psi - delta**2, np.nan) / n)
    threshold = stats.norm.ppf(1.0 - checked_level(alpha, name="alpha") / 2.0) * np.sqrt(psi / n)
    power = stats.norm.sf((threshold - delta) / spread) + stats.norm.cdf(
        (-threshold - delta) / spread
    )
    return np.where(possible, power, np.nan)


def examples_needed(
    difference: ArrayLike, discordance: ArrayLike, *, power: float = 0.8, alpha: float = 0.05
) -> FloatArray:
    """Return how many examples McNemar's test needs to find a difference in accuracy.

    Parameters
    ----------
    difference
        True difference in accuracy, as a fraction; any shape.
    discordance
        Share of examples on which the two models disagree, 0 to 1.
    power
        Probability of finding it.
    alpha
        Two-sided level of the test.

    Returns
    -------
    FloatArray
        Whole numbers; infinite for a difference of 0, NaN where ``|difference|``
        exceeds the discordance, which cannot be.

    Raises
    ------
    AnalysisError
        ``discordance`` lies outside 0 to 1, or a level outside its range.

    References
    ----------
    .. [1] Connor. *Sample size for testing differences in proportions for the
       paired-sample design*. 1987. doi:10.2307/2531961
    """
    psi = _discordance(discordance)
    delta = np.abs(float_array(difference, name="difference"))
    z_alpha, z_power = _quantiles(power, alpha)
    possible = delta <= psi
    needed = z_alpha * np.sqrt(psi) + z_power * np.sqrt(np.where(possible, psi - delta**2, 0.0))
    n = np.divide(needed, delta, out=np.full_like(needed, np.inf), where=delta > 0) ** 2
    return np.where(possible, np.ceil(n), np.nan)


def detectable_effect(
    standard_error: ArrayLike, *, df: ArrayLike = np.inf, power: float = 0.8, alpha: float = 0.05
) -> FloatArray:
    """Return the smallest effect that a t test with this standard error will probably find.

    ``(t[1 - alpha/2] + t[power]) * standard_error``: 2.8 standard errors at the
    defaults and many degrees of freedom. For a study with seeds give the
    two-way standard error with its degrees of freedom.

    Parameters
    ----------
    standard_error
        In the metric's unit; any shape.
    df
        Degrees of freedom of the standard error.
    power
        Probability of finding it.
    alpha
        Two-sided level of the test.

    Returns
    -------
    FloatArray
        In the metric's unit; NaN where an input is NaN. Within 2 percent of the
        noncentral t distribution from 4 degrees of freedom on.

    Raises
    ------
    AnalysisError
        A level lies outside its range.

    References
    ----------
    .. [1] Bloom. *Minimum detectable effects*. 1995. doi:10.1177/0193841X9501900504
    """
    error = float_array(standard_error, name="standard_error")
    freedom = np.asarray(df, dtype=np.float64)
    upper = stats.t.ppf(1.0 - checked_level(alpha, name="alpha") / 2.0, freedom)
    factor = upper + stats.t.ppf(checked_level(power, name="power"), freedom)
    return np.asarray(factor * error, dtype=np.float64)


def _quantiles(power: float, alpha: float) -> tuple[float, float]:
    z_alpha = stats.norm.ppf(1.0 - checked_level(alpha, name="alpha") / 2.0)
    return float(z_alpha), float(stats.norm.ppf(checked_level(power, name="power")))


def _positive(counts: ArrayLike, name: str) -> FloatArray:
    n = float_array(counts, name=name)
    return np.where(n > 0, n, np.nan)


def _discordance(values: ArrayLike) -> FloatArray:
    psi = float_array(values, name="discordance")
    if ((psi < 0) | (psi > 1)).any():
        msg = (
            f"discordance {psi[(psi < 0) | (psi > 1)][0]:.4g} lies outside 0 to 1; "
            "it is the share of examples on which the models disagree"
        )
        raise AnalysisError(msg)
    return psi
