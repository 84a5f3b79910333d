"""Sign-flip test: a paired permutation test of the mean difference."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from transferlens.stats.arrays import (
    BoolArray,
    FloatArray,
    checked_level,
    checked_resamples,
    float_array,
)
from transferlens.stats.differences import moments, paired_differences
from transferlens.stats.resampling import (
    Block,
    Draws,
    Replayed,
    blocks,
    random_signs,
    tie_tolerance,
)
from transferlens.stats.results import PairedTest, PairedTests

__all__ = ["sign_flip_cells", "sign_flip_test"]

# A wider enumeration would take more memory than the Monte-Carlo test that it replaces.
_MOST_ENUMERATED = 16


def sign_flip_cells(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    rng: np.random.Generator,
    n_resamples: int = 9_999,
    confidence: float = 0.95,
) -> PairedTests:
    """Test for many adapters whether each changes the mean score on one target.

    Under the null hypothesis adapter and base are exchangeable on every
    example, so the sign of each paired difference is arbitrary. All cells share
    the same flips. A cell with so few non-zero differences that all their signs
    can be enumerated within ``n_resamples`` gets the exact p-value.

    Parameters
    ----------
    adapted
        Scores of shape (cell, example), in the metric's own unit; NaN marks an
        unscored example.
    base
        Scores of shape (example,) or (cell, example).
    rng
        Source of the random signs.
    n_resamples
        Number of random flips; the smallest possible p-value is 1 / (n_resamples + 1).
    confidence
        Nominal coverage of the interval: quantiles of the means of random
        subsets, which is the inversion of the test (Hartigan's typical values).

    Returns
    -------
    PairedTests
        Per cell; p-values lie in (0, 1]. It speaks about *this* run: training
        variance is not in it.

    Raises
    ------
    AnalysisError
        The shapes do not pair, a score is infinite, or a setting is out of range.

    References
    ----------
    .. [1] Phipson, Smyth. *Permutation p-values should never be zero*. 2010.
       doi:10.2202/1544-6115.1585
    .. [2] Hartigan. *Using subsample values as typical values*. 1969.
       doi:10.1080/01621459.1969.10501057
    """
    checked_level(confidence, name="confidence")
    checked_resamples(n_resamples)
    draws = Replayed(random_signs, rng, n_resamples)
    return _tests(paired_differences(adapted, base), draws, confidence)


def _tests(differences: FloatArray, draws: Draws, confidence: float) -> PairedTests:
    n_scored, mean, standard_error = moments(differences)
    p_value = np.empty(len(mean))
    low, high = np.empty_like(p_value), np.empty_like(p_value)
    for block in blocks(differences, draws):
        part = differences[block.cells]
        p_value[block.cells] = _monte_carlo_p_value(part, block)
        low[block.cells], high[block.cells] = _typical_values(part, block, confidence)
    # 2 ** count <= n_resamples + 1: enumeration costs no more than the flips did.
    few = min((draws.n_resamples + 1).bit_length() - 1, _MOST_ENUMERATED)
    exact = np.count_nonzero(np.nan_to_num(differences), axis=1) <= few
    for cell in np.flatnonzero(exact):
        p_value[cell] = _exact_p_value(differences[cell])
    unknown: BoolArray = n_scored < 2
    p_value[unknown] = low[unknown] = high[unknown] = np.nan
    return PairedTests(
        method="sign flip",
        estimate=mean,
        standard_error=standard_error,
        low=low,
        high=high,
        confidence=confidence,
        p_value=p_value,
        n_scored=n_scored,
        n_unscored=differences.shape[1] - n_scored,
    )


def _monte_carlo_p_value(differences: FloatArray, block: Block) -> FloatArray:
    observed = np.abs(np.nansum(differences, axis=1)) - tie_tolerance(differences)
    hits = np.count_nonzero(np.abs(block.totals) >= observed[:, None], axis=1)
    p_value: FloatArray = (1.0 + hits) / (1.0 + block.totals.shape[1])
    return p_value


def _typical_values(
    differences: FloatArray, block: Block, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """Quantiles of the mean over the examples whose sign was flipped, (cell,) each."""
    n = np.count_nonzero(~np.isnan(differences), axis=1)[:, None]
    observed = np.nansum(differences, axis=1)[:, None]
    flipped = n - block.counts
    # A flip that turns no sign has no subset; the estimate stands in for its mean.
    mean = np.where(flipped > 0, observed - block.totals, observed)
    mean /= np.where(flipped > 0, flipped, np.maximum(n, 1))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(mean, [tail, 1.0 - tail], axis=1)
    return low, high


def _exact_p_value(differences: FloatArray) -> float:
    """Share of all sign patterns whose sum is at least as far from 0 as the observed one."""
    values = np.abs(differences[np.nan_to_num(differences) != 0.0])
    if not len(values):
        return 1.0
    # The mirror image of a pattern has the same absolute sum, so one sign stays fixed.
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values) - 1)))
    sums = np.abs(values[0] + signs @ values[1:])
    observed = np.abs(np.nansum(differences)) * (1.0 - 1e-9)
    return float(np.mean(sums >= observed))


def sign_flip_test(
    adapted: ArrayLike,
    base: ArrayLike,
    *,
    rng: np.random.Generator,
    n_resamples: int = 9_999,
    confidence: float = 0.95,
) -> PairedTest:
    """Test whether an adapter changes the mean score on one target.

    Under the null hypothesis the two models are exchangeable on every
    example, so the sign of each paired difference is arbitrary.

    Parameters
    ----------
    adapted
        Scores of shape (example,), in the metric's own unit. NaN marks an
        unscored example; a pair with a NaN is dropped.
    base
        Scores on the *same* examples in the same order.
    rng
        Source of the random signs.
    n_resamples
        Number of random flips; the test is exact where the signs of all
        non-zero differences can be enumerated within it.
    confidence
        Nominal coverage of the interval.

    Returns
    -------
    PairedTest
        ``estimate``: mean of ``adapted - base`` in the metric's unit;
        ``p_value``: two-sided, in (0, 1], not corrected for multiplicity.

    Raises
    ------
    AnalysisError
        Fewer than two examples are scored by both models.

    References
    ----------
    .. [1] Phipson, Smyth. *Permutation p-values should never be zero*. 2010.
       doi:10.2202/1544-6115.1585
    """
    scores = float_array(adapted, name="adapted", ndim=1)
    return sign_flip_cells(
        scores[None], base, rng=rng, n_resamples=n_resamples, confidence=confidence
    ).only()
