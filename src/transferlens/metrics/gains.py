"""How much better than the base model: three ways to say it.

All take scores in one unit where higher is better; for a metric such as a
perplexity, negate both. NaN in, NaN out: what was not scored has no gain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferlens.errors import AnalysisError

__all__ = ["gain", "normalized_gain", "perfection_gap_factor"]

FloatArray = NDArray[np.float64]


def gain(score: ArrayLike, base: ArrayLike) -> FloatArray:
    """Return ``score - base``, in the metric's own unit.

    Parameters
    ----------
    score, base
        Scores of the adapter and of the base model; shapes that NumPy broadcasts.

    Returns
    -------
    FloatArray
        0 is no transfer, a negative value is negative transfer; NaN where
        either was not scored.
    """
    difference: FloatArray = np.asarray(score, float) - np.asarray(base, float)
    return difference


def normalized_gain(score: ArrayLike, base: ArrayLike, *, ceiling: ArrayLike = 1.0) -> FloatArray:
    """Return the share of the base model's headroom that the adapter closes.

    ``(score - base) / (ceiling - base)``. Unlike a raw difference it compares
    tasks whose base scores differ [1]_.

    Parameters
    ----------
    score, base
        Scores of the adapter and of the base model; shapes that NumPy broadcasts.
    ceiling
        Best possible score, for all cells or per cell; NaN where there is none.

    Returns
    -------
    FloatArray
        1 is perfect, 0 is no transfer, a negative value is negative transfer
        and has no lower bound. NaN where something was not scored, where
        there is no ceiling, and where the base leaves no headroom: then the
        gain is undefined, which is not the same as zero.

    Raises
    ------
    AnalysisError
        A score exceeds its ceiling.

    References
    ----------
    .. [1] Hake. *Interactive-engagement versus traditional methods*. 1998.
       doi:10.1119/1.18809
    """
    return 1.0 - perfection_gap_factor(score, base, ceiling=ceiling)


def perfection_gap_factor(
    score: ArrayLike, base: ArrayLike, *, ceiling: ArrayLike = 1.0
) -> FloatArray:
    """Return the factor by which adaptation multiplies the distance to a perfect score.

    ``(ceiling - score) / (ceiling - base)``, the complement of Hake's gain
    (`normalized_gain`) and, for accuracies, a ratio of error rates. Factors
    of successive adaptations multiply, and their logarithm treats halving
    and doubling the errors alike, which a share of headroom does not.

    Parameters
    ----------
    score, base
        Scores of the adapter and of the base model; shapes that NumPy broadcasts.
    ceiling
        Best possible score, for all cells or per cell; NaN where there is none.

    Returns
    -------
    FloatArray
        0 is perfect, 1 is no transfer, more than 1 is negative transfer. NaN
        where something was not scored, where there is no ceiling, and where
        the base is perfect already.

    Raises
    ------
    AnalysisError
        A score exceeds its ceiling.

    References
    ----------
    .. [1] Hake. *Interactive-engagement versus traditional methods*. 1998.
       doi:10.1119/1.18809
    """
    best = np.asarray(ceiling, float)
    left = _distance(np.asarray(score, float), best, "score")
    before = _distance(np.asarray(base, float), best, "base score")
    factor = np.full(np.broadcast_shapes(left.shape, before.shape), np.nan)
    np.divide(left, before, out=factor, where=before > 0)
    return factor


def _distance(score: FloatArray, ceiling: FloatArray, name: str) -> FloatArray:
    # Sums of rounded fractions may exceed 1 by a few units in the last place.
    over = score > ceiling + 1e-9
    if over.any():
        worst = float(np.where(over, score, -np.inf).max())
        top = float(np.nanmax(ceiling))
        msg = f"a {name} of {worst:.4g} exceeds the ceiling {top:.4g}; is it in percent?"
        raise AnalysisError(msg)
    distance: FloatArray = np.maximum(ceiling - score, 0.0)
    return distance
