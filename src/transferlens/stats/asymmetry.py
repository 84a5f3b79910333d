"""Whether A helps B as much as B helps A."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats import arrays
from transferlens.stats.additive import AdditiveModel
from transferlens.stats.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_level,
    checked_resamples,
    float_array,
)
from transferlens.stats.multiplicity import AdjustMethod, adjust_p_values

__all__ = [
    "AsymmetrySplit",
    "AsymmetryTest",
    "PairDirections",
    "asymmetry_test",
    "pair_directions",
    "split_asymmetry",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AsymmetrySplit:
    """Pair-specific gains split into what is mutual and what is one-way."""

    symmetric: FloatArray
    """Mutual part, (task, task), after source and target effects; NaN where unknown."""

    skew: FloatArray
    """One-way part, (task, task); ``skew[i, j] == -skew[j, i]``."""

    symmetric_square: float
    """Sum of squares of the mutual part."""

    skew_square: float
    """Sum of squares of the one-way part."""

    @property
    def skew_share(self) -> float:
        """Share of the pair-specific sum of squares that is one-way, 0 to 1; NaN of nothing."""
        total = self.symmetric_square + self.skew_square
        return self.skew_square / total if total > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AsymmetryTest:
    """Whether noise alone would give as much one-way (or mutual) structure."""

    split: AsymmetrySplit
    """The observed split."""

    skew_noise: float
    """One-way sum of squares that noise alone gives on average."""

    symmetric_noise: float
    """Mutual sum of squares that noise alone gives on average."""

    skew_p_value: float
    """Probability of so much one-way structure if there were none."""

    symmetric_p_value: float
    """Probability of so much mutual structure if there were none."""

    @property
    def skew_share(self) -> float:
        """One-way share after taking off what noise gives, 0 to 1; NaN if nothing is left."""
        skew = max(self.split.skew_square - self.skew_noise, 0.0)
        symmetric = max(self.split.symmetric_square - self.symmetric_noise, 0.0)
        return skew / (skew + symmetric) if skew + symmetric > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairDirections:
    """For each pair of tasks, how much more one direction gives; arrays are (pair,)."""

    first: IntArray
    """Index of the first task."""

    second: IntArray
    """Index of the second task, always larger."""

    difference: FloatArray
    """Gain of first → second minus gain of second → first."""

    standard_error: FloatArray
    """Its standard error."""

    low: FloatArray
    """Lower end of the interval."""

    high: FloatArray
    """Upper end of the interval."""

    confidence: float
    """Nominal coverage of the intervals."""

    p_value: FloatArray
    """Two-sided p-value."""

    p_adjusted: FloatArray
    """The same, adjusted over all pairs."""


def split_asymmetry(gains: ArrayLike) -> AsymmetrySplit:
    """Split the pair-specific gains into a mutual and a one-way part.

    Source and target effects are removed first: a target that everything helps
    would otherwise make each of its pairs look one-way.

    Parameters
    ----------
    gains
        Gains (source, target) on one scale, such as normalized gains, with the
        same tasks in the same order on both axes. The diagonal is not transfer
        and is ignored; a pair counts if both its directions are known.

    Returns
    -------
    AsymmetrySplit
        In the unit of the gains; sums of squares run over both directions.

    Raises
    ------
    AnalysisError
        The matrix is not square, has fewer than three tasks, or its known
        pairs are not connected.

    References
    ----------
    .. [1] Gower. *The analysis of asymmetry and orthogonality*. 1977.
    """
    matrix = _square(gains, "gains")
    known = _mutual(matrix)
    residual = AdditiveModel(known).fit(matrix).residual
    symmetric, skew = (residual + residual.T) / 2.0, (residual - residual.T) / 2.0
    return AsymmetrySplit(
        symmetric=symmetric,
        skew=skew,
        symmetric_square=float(np.nansum(symmetric**2)),
        skew_square=float(np.nansum(skew**2)),
    )


def asymmetry_test(
    gains: ArrayLike,
    standard_error: ArrayLike,
    *,
    rng: np.random.Generator,
    shared: ArrayLike | None = None,
    n_resamples: int = 999,
) -> AsymmetryTest:
    """Test whether one-way (and mutual) structure exceeds the noise of the gains.

    Under the null hypothesis the true pair-specific gains are mutual, so that
    all one-way structure is noise, whatever the mutual structure is; and the
    other way round.

    Parameters
    ----------
    gains
        See `split_asymmetry`.
    standard_error
        Of each gain, same shape and unit.
    rng
        Source of the simulated normal noise.
    shared
        Standard error that all gains on a target have in common, (target,), see
        `shared_standard_error`; it cancels with the target effects. Without it
        the noise is overstated and the test is conservative.
    n_resamples
        Number of simulated noise matrices.

    Returns
    -------
    AsymmetryTest
        P-values lie in (0, 1].

    Raises
    ------
    AnalysisError
        As `split_asymmetry`, or a known gain has no standard error.
    """
    checked_resamples(n_resamples)
    matrix, error = _square(gains, "gains"), _square(standard_error, "standard_error")
    known = _mutual(matrix)
    _require_errors(known, error)
    split = split_asymmetry(matrix)
    own = np.where(known, error, 0.0)
    if shared is not None:
        common = float_array(shared, name="shared", ndim=1)
        own = np.sqrt(np.maximum(own**2 - common**2, 0.0)) * known
    squares = _noise_squares(AdditiveModel(known), own, rng, n_resamples)
    observed = np.array([split.symmetric_square, split.skew_square])
    hits = np.count_nonzero(squares >= observed * (1.0 - 1e-12), axis=0)
    p_value = (1.0 + hits) / (1.0 + n_resamples)
    return AsymmetryTest(
        split=split,
        skew_noise=float(squares[:, 1].mean()),
        symmetric_noise=float(squares[:, 0].mean()),
        skew_p_value=float(p_value[1]),
        symmetric_p_value=float(p_value[0]),
    )


def _noise_squares(
    model: AdditiveModel, error: FloatArray, rng: np.random.Generator, n_resamples: int
) -> FloatArray:
    """Mutual and one-way sums of squares of pure noise, (resample, 2)."""
    rows = max(1, arrays.CHUNK_BYTES // (8 * error.size))
    squares = np.empty((n_resamples, 2))
    for start in range(0, n_resamples, rows):
        n = min(rows, n_resamples - start)
        noise = model.residuals(rng.standard_normal((n, *error.shape)) * error)
        mirrored = noise.transpose(0, 2, 1)
        squares[start : start + n, 0] = np.square((noise + mirrored) / 2.0).sum(axis=(1, 2))
        squares[start : start + n, 1] = np.square((noise - mirrored) / 2.0).sum(axis=(1, 2))
    return squares


def pair_directions(
    gains: ArrayLike,
    standard_error: ArrayLike,
    *,
    df: ArrayLike = np.inf,
    confidence: float = 0.95,
    adjust: AdjustMethod = "bh",
) -> PairDirections:
    """Test for every pair of tasks whether the two directions of transfer differ.

    The two gains come from different adapters on different examples, so their
    errors are independent.

    Parameters
    ----------
    gains
        Gains (source, target) on one scale, such as normalized gains, with the
        same tasks in the same order on both axes; NaN marks an unknown gain.
    standard_error
        Of each gain, same shape and unit.
    df
        Degrees of freedom of the standard errors, same shape or one number.
    confidence
        Nominal coverage of the intervals.
    adjust
        Adjustment over pairs, see `adjust_p_values`.

    Returns
    -------
    PairDirections
        One entry per pair of which both directions are known.

    Raises
    ------
    AnalysisError
        A matrix is not square, or a known gain has no standard error.
    """
    matrix, error = _square(gains, "gains"), _square(standard_error, "standard_error")
    known = _mutual(matrix)
    _require_errors(known, error)
    freedom = np.broadcast_to(np.asarray(df, dtype=np.float64), matrix.shape)
    first, second = np.nonzero(np.triu(known, 1))
    square, back = error[first, second] ** 2, error[second, first] ** 2
    total = np.sqrt(square + back)
    combined = _satterthwaite(square, back, freedom[first, second], freedom[second, first])
    difference = matrix[first, second] - matrix[second, first]
    p_value = _two_sided(difference, total, combined)
    half = stats.t.ppf(0.5 + checked_level(confidence, name="confidence") / 2.0, combined) * total
    return PairDirections(
        first=first,
        second=second,
        difference=difference,
        standard_error=total,
        low=difference - half,
        high=difference + half,
        confidence=confidence,
        p_value=p_value,
        p_adjusted=adjust_p_values(p_value, method=adjust),
    )


def _two_sided(difference: FloatArray, error: FloatArray, df: FloatArray) -> FloatArray:
    infinite = np.where(difference == 0.0, 0.0, np.inf)
    statistic = np.divide(np.abs(difference), error, out=infinite, where=error > 0)
    return np.asarray(2.0 * stats.t.sf(statistic, df), dtype=np.float64)


def _satterthwaite(
    square: FloatArray, back: FloatArray, df: FloatArray, back_df: FloatArray
) -> FloatArray:
    """Degrees of freedom of a sum of two variances."""
    total, spread = square + back, square**2 / df + back**2 / back_df
    combined: FloatArray = np.divide(
        total**2, spread, out=np.full_like(total, np.inf), where=spread > 0
    )
    return combined


def _square(values: ArrayLike, name: str) -> FloatArray:
    matrix = float_array(values, name=name, ndim=2)
    if matrix.shape[0] != matrix.shape[1] or len(matrix) < 3:
        msg = (
            f"{name} has shape {matrix.shape}; asymmetry needs at least three tasks that are "
            "both sources and targets, in the same order"
        )
        raise AnalysisError(msg)
    return matrix


def _mutual(matrix: FloatArray) -> BoolArray:
    """Off-diagonal cells of which both directions are known."""
    known = ~np.isnan(matrix)
    mutual: BoolArray = known & known.T & ~np.eye(len(matrix), dtype=bool)
    return mutual


def _require_errors(known: BoolArray, error: FloatArray) -> None:
    if known.shape != error.shape:
        msg = f"standard_error has shape {error.shape} but gains have {known.shape}"
        raise AnalysisError(msg)
    # NaN fails the comparison as well.
    lacking = int((known & ~(error >= 0.0)).sum())
    if lacking:
        msg = f"{lacking} known gains have no standard error; measure them or set the gain to NaN"
        raise AnalysisError(msg)
