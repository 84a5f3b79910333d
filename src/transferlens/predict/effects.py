"""Source and target effects of any pattern of measured cells, small or large."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["TwoWay", "two_way"]

# Against the number of cells of a row, of which there is at least one: it changes no digit
# that is shown, and decides what no cell decides: levels of groups without a common cell.
_LEAST = 1e-8


class TwoWay(NamedTuple):
    """``value = grand + source + target``."""

    grand: float
    source: FloatArray
    """Shape (source,), mean 0 over sources with a cell; 0 of a source without one."""
    target: FloatArray
    """Shape (target,), as for sources."""

    @property
    def fitted(self) -> FloatArray:
        """The sum of the effects in every cell, (source, target)."""
        return np.asarray(self.grand + self.source[:, None] + self.target)


def two_way(values: FloatArray, known: BoolArray) -> TwoWay:
    """Fit source and target effects to the known cells by least squares.

    Unlike `transferlens.stats.AdditiveModel` it takes cells that fall into groups without a
    common source or target, as hidden cells make them, and a thousand sources in no time;
    where both apply they agree.

    Parameters
    ----------
    values
        Shape (source, target); what stands in unknown cells is ignored.
    known
        Which cells are known, at least one.
    """
    if known.shape[0] < known.shape[1]:
        turned = two_way(values.T, known.T)
        return TwoWay(turned.grand, turned.target, turned.source)
    weight = known.astype(np.float64)
    mean = float(values[known].mean())
    rest = np.where(known, values - mean, 0.0)
    per_source, per_target = weight.sum(axis=1) + _LEAST, weight.sum(axis=0) + _LEAST
    # The sources are eliminated, so that one equation per target is left.
    share = weight / per_source[:, None]
    table = np.diag(per_target) - weight.T @ share
    side = rest.sum(axis=0) - share.T @ rest.sum(axis=1)
    target = linalg.solve(table, side, assume_a="pos")
    source = (rest.sum(axis=1) - weight @ target) / per_source
    return _centred(mean, source, target, known)


def _centred(mean: float, source: FloatArray, target: FloatArray, known: BoolArray) -> TwoWay:
    has_source, has_target = known.any(axis=1), known.any(axis=0)
    level = float(source[has_source].mean()), float(target[has_target].mean())
    return TwoWay(
        mean + sum(level),
        np.where(has_source, source - level[0], 0.0),
        np.where(has_target, target - level[1], 0.0),
    )
