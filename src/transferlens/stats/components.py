"""How much of the variance of gains lies between sources, between targets, and in the pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError
from transferlens.stats.additive import AdditiveModel
from transferlens.stats.arrays import float_array

__all__ = ["VarianceComponents", "variance_components"]


class VarianceComponents(NamedTuple):
    """Variances in the squared unit of the gains; a negative estimate is 0."""

    source: float
    target: float
    pair: float
    """What is specific to a source and a target, noise of measurement included."""


def variance_components(gains: ArrayLike) -> VarianceComponents:
    """Split the variance of a matrix by source, target and pair, as crossed random effects.

    Henderson's third method: sums of squares of the least-squares fit, set equal to what is
    expected of them. With all cells known it is what REML gives.

    Parameters
    ----------
    gains
        Shape (source, target); NaN is not known.

    Raises
    ------
    AnalysisError
        There are too few known cells, or they are not connected.

    References
    ----------
    .. [1] Henderson. *Estimation of variance and covariance components*. 1953.
       doi:10.2307/3001853
    """
    y = float_array(gains, name="gains", ndim=2)
    known = ~np.isnan(y)
    n, shape = int(known.sum()), (int(known.any(axis=1).sum()), int(known.any(axis=0).sum()))
    df = n - sum(shape) + 1
    if df < 1 or min(shape) < 2:
        msg = f"{n} gains of {shape[0]} sources × {shape[1]} targets are too few for variances"
        raise AnalysisError(msg)
    rest = float(np.nansum(AdditiveModel(known).fit(y).residual ** 2))
    pair = rest / df
    # What one side explains beyond the other: within-group squares of the other side alone.
    within = [float(np.nansum((y - _mean(y, axis)) ** 2)) for axis in (0, 1)]
    source, target = (
        max((squares - rest - (levels - 1) * pair) / (n - others), 0.0)
        for squares, levels, others in zip(within, shape, shape[::-1], strict=True)
    )
    return VarianceComponents(source, target, pair)


def _mean(y: np.ndarray, axis: int) -> np.ndarray:
    count = np.maximum((~np.isnan(y)).sum(axis=axis, keepdims=True), 1)
    return np.asarray(np.nansum(y, axis=axis, keepdims=True) / count)
