"""Intervals that cover as often as they say, from the errors of predictions of hidden cells."""

from __future__ import annotations

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, IntArray, checked_level

__all__ = ["conformal_quantile"]


def conformal_quantile(
    errors: FloatArray, *, confidence: float, groups: IntArray | None = None
) -> float:
    """Return the half width of an interval around a further prediction.

    If the further error is exchangeable with the given ones, the interval covers it with at
    least the given probability, whatever the distribution.

    Parameters
    ----------
    errors
        Absolute errors of predictions that were made without the cell, any shape; in units of
        a spread where it differs between cells. NaN is left out.
    confidence
        Nominal coverage.
    groups
        Where whole sources or targets are new, errors within one are alike and are no
        separate evidence: the group of each error. Groups weigh the same, and the guarantee
        is for a cell of a further group.

    Returns
    -------
    float
        Infinite where so few errors cannot give this confidence.

    Raises
    ------
    AnalysisError
        The confidence does not lie between 0 and 1, or shapes differ.

    References
    ----------
    .. [1] Vovk, Gammerman, Shafer. *Algorithmic learning in a random world*. 2005.
       doi:10.1007/b106715
    .. [2] Dunn, Wasserman, Ramdas. *Distribution-free prediction sets for two-layer
       hierarchical models*. 2022. doi:10.1080/01621459.2022.2060112
    """
    level = checked_level(confidence, name="confidence")
    if groups is not None and groups.shape != errors.shape:
        msg = f"errors have shape {errors.shape} and groups {groups.shape}; give one per error"
        raise AnalysisError(msg)
    known = ~np.isnan(errors)
    values = errors[known]
    labels = np.arange(values.size) if groups is None else groups[known]
    if not values.size:
        return float("inf")
    _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    # The further group takes a place of its own, at infinity.
    share = np.cumsum(1.0 / count[place[order]]) / (len(count) + 1)
    reached = np.flatnonzero(share >= level - 1e-12)
    return float(values[order[reached[0]]]) if reached.size else float("inf")
