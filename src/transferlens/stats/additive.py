"""Source and target effects of a matrix of gains, with missing cells and error propagation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import BoolArray, FloatArray, float_array

__all__ = ["AdditiveEffects", "AdditiveModel", "shared_standard_error"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdditiveEffects:
    """``gain = grand + source + target + residual``, by least squares."""

    grand: float
    """Mean of source and target effects' sums: the gain of an average cell."""

    source: FloatArray
    """What a source adds on every target, (source,); sums to 0; NaN without cells."""

    target: FloatArray
    """What every source adds on a target, (target,); sums to 0; NaN without cells."""

    residual: FloatArray
    """What is specific to the pair, (source, target); NaN where the gain is."""


class AdditiveModel:
    """Least-squares fit of source and target effects for one pattern of known cells.

    Fitting is one multiplication, so that noise can be pushed through it often.

    Parameters
    ----------
    known
        Which cells have a gain, (source, target).

    Raises
    ------
    AnalysisError
        The known cells fall into groups that share neither source nor target,
        so that effects of different groups cannot be compared.
    """

    def __init__(self, known: BoolArray) -> None:
        self._known = known.astype(np.float64)
        self._n_sources = len(known)
        self._require_one_group()
        table = np.block(
            [
                [np.diag(self._known.sum(axis=1)), self._known],
                [self._known.T, np.diag(self._known.sum(axis=0))],
            ]
        )
        self._present = np.diag(table) > 0
        solve = np.linalg.pinv(table, hermitian=True)
        sides = (self._present[: self._n_sources], self._present[self._n_sources :])
        self._source_mean = _averager(sides[0]) @ solve[: self._n_sources]
        self._target_mean = _averager(sides[1]) @ solve[self._n_sources :]
        shift = np.concatenate(
            [
                np.tile(self._source_mean, (self._n_sources, 1)),
                np.tile(self._target_mean, (known.shape[1], 1)),
            ]
        )
        self._solve = solve - shift

    def _require_one_group(self) -> None:
        graph = sparse.csr_array(
            np.block(
                [
                    [np.zeros((self._n_sources,) * 2), self._known],
                    [self._known.T, np.zeros((self._known.shape[1],) * 2)],
                ]
            )
        )
        _, label = sparse.csgraph.connected_components(graph, directed=False)
        degree = np.concatenate([self._known.sum(axis=1), self._known.sum(axis=0)])
        groups = len(np.unique(label[degree > 0]))
        if groups != 1:
            msg = (
                f"the known cells form {groups} groups that share no source and no target; "
                "source and target effects need one connected group"
            )
            raise AnalysisError(msg)

    def _sums(self, gains: FloatArray) -> FloatArray:
        filled = np.where(self._known > 0, gains, 0.0)
        return np.concatenate([filled.sum(axis=-1), filled.sum(axis=-2)], axis=-1)

    def fit(self, gains: FloatArray) -> AdditiveEffects:
        """Fit the effects.

        Parameters
        ----------
        gains
            Gains (source, target); cells that are not known are ignored.

        Returns
        -------
        AdditiveEffects
            In the unit of the gains.
        """
        sums = self._sums(gains)
        effects = np.where(self._present, self._solve @ sums, np.nan)
        grand = float((self._source_mean + self._target_mean) @ sums)
        source, target = effects[: self._n_sources], effects[self._n_sources :]
        fitted = grand + source[:, None] + target
        residual = np.where(self._known > 0, gains - fitted, np.nan)
        return AdditiveEffects(grand=grand, source=source, target=target, residual=residual)

    def residuals(self, gains: FloatArray) -> FloatArray:
        """Return what the effects leave of many matrices at once.

        Parameters
        ----------
        gains
            Gains (matrix, source, target) without NaN.

        Returns
        -------
        FloatArray
            Same shape; 0 in cells that are not known.
        """
        sums = self._sums(gains)
        grand = sums @ (self._source_mean + self._target_mean)
        effects = sums @ self._solve.T + grand[:, None] / 2.0
        fitted = effects[:, : self._n_sources, None] + effects[:, None, self._n_sources :]
        residual: FloatArray = (gains - fitted) * self._known
        return residual

    def covariance(self, variance: FloatArray, *, shared: FloatArray | None = None) -> FloatArray:
        """Return how the gains' errors carry over to the effects.

        Parameters
        ----------
        variance
            Error variance of each gain, independent between cells, (source, target).
        shared
            Variance of an error that all gains on a target have in common, (target,).

        Returns
        -------
        FloatArray
            Covariance matrix of all source effects followed by all target effects.
        """
        own = np.where(self._known > 0, variance, 0.0)
        table = np.block(
            [
                [np.diag(own.sum(axis=1)), own],
                [own.T, np.diag(own.sum(axis=0))],
            ]
        )
        if shared is not None:
            common = np.concatenate([self._known, np.diag(self._known.sum(axis=0))])
            table = table + (common * shared) @ common.T
        covariance: FloatArray = self._solve @ table @ self._solve.T
        return covariance


def _averager(present: BoolArray) -> FloatArray:
    weights: FloatArray = present / present.sum()
    return weights


def shared_standard_error(differences: ArrayLike) -> float:
    """Estimate the error that all gains on one target have in common.

    All adapters are compared with the same base model on the same examples, so
    their errors are correlated: the mean covariance between two sources'
    differences, over the number of examples, is the variance of the common part.

    Parameters
    ----------
    differences
        ``adapted - base`` averaged over seeds, (source, example); NaN marks an
        unscored example. An example counts if all sources scored it.

    Returns
    -------
    float
        In the metric's unit; 0 where sources are not positively correlated; NaN
        with fewer than two sources or two complete examples.

    Raises
    ------
    AnalysisError
        ``differences`` has not two axes or holds infinite values.
    """
    values = float_array(differences, name="differences", ndim=2)
    complete = values[:, ~np.isnan(values).any(axis=0)]
    n_sources, n = complete.shape
    if n_sources < 2 or n < 2:
        return float("nan")
    together = complete.sum(axis=0).var(ddof=1) - complete.var(axis=1, ddof=1).sum()
    return float(np.sqrt(max(together / (n_sources * (n_sources - 1.0)) / n, 0.0)))
