"""Effects that are random, and coefficients of what is known of a pair before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

from transferlens.errors import AnalysisError
from transferlens.predict.problem import Fitted, Problem
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["PairRidge"]

# Logarithms of the variances of effects and coefficients over that of the noise.
_START = (0.0, 0.0, -1.0)
_BOUNDS = (-12.0, 8.0)
# The level is not shrunk: its prior variance is beyond that of any matrix.
_FLAT = 1e6
_FAR = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRidge:
    """Linear in the features of a pair, with random source and target effects.

    The only predictor that tells new sources, or new targets, apart. How much effects and
    coefficients are shrunk follows from their variances, which are estimated by (restricted)
    maximum likelihood; a feature is standardised over the cells, and its mean stands in
    where it is not known.

    References
    ----------
    .. [1] Robinson. *That BLUP is a good thing: the estimation of random effects*. 1991.
       doi:10.1214/ss/1177011926
    """

    label: str = "features"
    """What a table calls it."""
    only: tuple[str, ...] = ()
    """Names of the features to use; all by default."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        return self.label

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict from features and effects.

        Raises
        ------
        AnalysisError
            No feature is known, or no cell is measured.
        """
        known = problem.require_known()
        names, features = _usable(problem, known, self.only)
        moments = _moments(problem.gains, known, features)
        # From one place the search is deterministic, and the surface has one hill in practice.
        best = optimize.minimize(
            lambda logs: -_log_likelihood(moments, logs),
            np.array(_START),
            method="L-BFGS-B",
            bounds=[_BOUNDS] * 3,
        )
        solved = _solve(moments, best.x)
        words = _words(names, solved.coefficients[1 + sum(problem.gains.shape) :])
        return _predicted(solved, features, words)


class _Moments(NamedTuple):
    products: FloatArray
    """Of the columns level, source, target, feature, over the measured cells."""
    outcome: FloatArray
    """Products of those columns with the gains."""
    square: float
    n_cells: int
    widths: tuple[int, int, int]
    """Sources, targets, features."""


class _Solved(NamedTuple):
    coefficients: FloatArray
    covariance: FloatArray
    """Of the coefficients, (column, column)."""
    noise_variance: float


def _usable(
    problem: Problem, known: BoolArray, only: tuple[str, ...]
) -> tuple[list[str], FloatArray]:
    """Return names and values of the features that vary, the values standardised."""
    raw = np.zeros((*known.shape, 0)) if problem.features is None else problem.features
    names = problem.feature_names or tuple(f"feature {k + 1}" for k in range(raw.shape[2]))
    usable = [
        k
        for k, name in enumerate(names)
        if (not only or name in only) and _varies(raw[known][:, k])
    ]
    if not usable:
        msg = (
            "no feature of the pairs is known; predicting from features needs the rows of "
            "sources and the examples of targets, as a study that was run here stores them"
        )
        raise AnalysisError(msg)
    chosen = raw[:, :, usable]
    inside = chosen[known]
    mean, spread = np.nanmean(inside, axis=0), np.nanstd(inside, axis=0)
    # A new dataset far outside of what was measured is not extrapolated to without bound.
    scaled = np.nan_to_num(np.clip((chosen - mean) / spread, -_FAR, _FAR))
    return [names[k] for k in usable], np.asarray(scaled)


def _varies(values: FloatArray) -> bool:
    seen = values[~np.isnan(values)]
    return bool(seen.size) and float(np.ptp(seen)) > 1e-12 * max(float(np.abs(seen).max()), 1e-300)


def _moments(gains: FloatArray, known: BoolArray, features: FloatArray) -> _Moments:
    weight = known.astype(np.float64)
    y, x = gains[known], features[known]
    n, p, k = features.shape
    # Products of the dummy columns are counts and sums: the columns themselves are never made.
    by_source = np.einsum("st,stk->sk", weight, features)
    by_target = np.einsum("st,stk->tk", weight, features)
    rows, columns = weight.sum(axis=1), weight.sum(axis=0)
    products = np.zeros((1 + n + p + k,) * 2)
    source, target, feature = slice(1, 1 + n), slice(1 + n, 1 + n + p), slice(1 + n + p, None)
    products[0, 0] = len(y)
    products[0, source], products[0, target] = rows, columns
    products[0, feature] = x.sum(axis=0)
    products[source, source], products[target, target] = np.diag(rows), np.diag(columns)
    products[source, target] = weight
    products[source, feature], products[target, feature] = by_source, by_target
    products[feature, feature] = x.T @ x
    products = np.triu(products) + np.triu(products, 1).T
    filled = np.where(known, gains, 0.0)
    outcome = np.concatenate([[y.sum()], filled.sum(axis=1), filled.sum(axis=0), x.T @ y])
    return _Moments(products, outcome, float(y @ y), len(y), (n, p, k))


def _ratios(moments: _Moments, logs: FloatArray) -> FloatArray:
    """Prior variance of each coefficient over that of the noise."""
    sizes = np.exp(logs) / np.array([1.0, 1.0, moments.widths[2]])
    return np.concatenate([[_FLAT], np.repeat(sizes, moments.widths)])


def _log_likelihood(moments: _Moments, logs: FloatArray) -> float:
    """Log-likelihood of the gains, the noise variance at its best, up to a constant."""
    root = np.sqrt(_ratios(moments, logs))
    table = moments.products * root[:, None] * root
    table[np.diag_indices_from(table)] += 1.0
    factor = linalg.cho_factor(table, lower=True)
    side = moments.outcome * root
    left = max(moments.square - float(side @ linalg.cho_solve(factor, side)), 1e-12)
    freedom = moments.n_cells - 1
    return float(-np.log(np.diag(factor[0])).sum() - 0.5 * freedom * np.log(left / freedom))


def _solve(moments: _Moments, logs: FloatArray) -> _Solved:
    ratios = _ratios(moments, logs)
    inverse = linalg.inv(moments.products + np.diag(1.0 / ratios))
    coefficients = inverse @ moments.outcome
    left = max(moments.square - float(moments.outcome @ coefficients), 1e-12)
    noise = left / max(moments.n_cells - 1, 1)
    return _Solved(coefficients, inverse * noise, noise)


def _predicted(solved: _Solved, features: FloatArray, words: str) -> Fitted:
    n, p, _ = features.shape
    level, source, target, slope = np.split(solved.coefficients, [1, 1 + n, 1 + n + p])
    values = level[0] + source[:, None] + target + features @ slope
    c = solved.covariance
    at, to, of = slice(1, 1 + n), slice(1 + n, 1 + n + p), slice(1 + n + p, None)
    own = c[0, 0] + (np.diag(c)[at] + 2 * c[0, at])[:, None] + np.diag(c)[to] + 2 * c[0, to]
    mixed = np.einsum("stk,stk->st", features, c[0, of] + c[at, of][:, None] + c[to, of])
    square = np.einsum("stk,stk->st", features @ c[of, of], features)
    variance = own + 2 * c[at, to] + 2 * mixed + square
    spread = np.sqrt(np.maximum(variance, 0.0) + solved.noise_variance)
    return Fitted(values=values, spread=spread, words=words)


def _words(names: list[str], slopes: FloatArray) -> str:
    order = np.argsort(-np.abs(slopes), kind="stable")[:3]
    parts = [f"{names[at]} {slopes[at]:+.2f}" for at in order]
    return f"{len(names)} features; the largest per standard deviation: {', '.join(parts)}"
