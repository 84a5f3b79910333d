"""In which order to train adapters on sources of which only the data are known."""

from __future__ import annotations

import numpy as np

from transferlens.predict.problem import Problem
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["training_order"]

# What a source's features leave open, and the noise of what its adapter shows, both over what
# the features explain.
_OWN = 1.0
_NOISE = 0.1


def training_order(problem: Problem) -> IntArray:
    """Return the places of all sources, those first whose adapters tell most about the others.

    Sources with like features are taken to transfer alike: each further source is the one
    that lowers the variance of all unmeasured sources most, given those that are measured or
    come before it. Measured sources come last, and so does nothing else; without features
    the order is that of the problem.
    """
    measured = np.asarray(problem.known.any(axis=1), dtype=np.bool_)
    kernel = _alike(problem)
    for place in np.flatnonzero(measured):
        kernel = _observed(kernel, int(place))
    left = np.array(~measured)
    order = []
    while left.any():
        saved = (kernel[:, left] ** 2).sum(axis=1) / (np.diag(kernel) + _NOISE)
        # Rounding, so that equals keep the order of the problem.
        best = int(np.where(left, np.round(saved, 9), -np.inf).argmax())
        order.append(best)
        kernel = _observed(kernel, best)
        left[best] = False
    return np.array([*order, *np.flatnonzero(measured)], dtype=np.int64)


def _alike(problem: Problem) -> FloatArray:
    """Prior covariance of the sources, (source, source)."""
    n = len(problem.sources)
    own = _OWN * np.eye(n)
    if problem.features is None:
        return own
    known = ~np.isnan(problem.features)
    count = known.sum(axis=1)
    mean = np.where(known, problem.features, 0.0).sum(axis=1) / np.maximum(count, 1)
    mean = np.where(count > 0, mean, np.nan)
    usable = (count > 0).sum(axis=0) > 1
    part = mean[:, usable]
    spread = np.nanstd(part, axis=0)
    varies = spread > 1e-12
    if not varies.any():
        return own
    z = np.nan_to_num((part[:, varies] - np.nanmean(part[:, varies], axis=0)) / spread[varies])
    return np.asarray(own + z @ z.T / z.shape[1])


def _observed(kernel: FloatArray, place: int) -> FloatArray:
    reach = kernel[:, place]
    return np.asarray(kernel - np.outer(reach, reach) / (reach[place] + _NOISE))
