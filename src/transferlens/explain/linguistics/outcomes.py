"""On which examples an adapter wins or loses against the base, and how often both are right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["Outcomes", "SuccessRatios", "outcomes", "success_ratios"]

# Two means of the same scores may differ by rounding.
_TIE = 1e-9


class Outcomes(NamedTuple):
    """All sources on one target; the mean over seeds where there are several."""

    example: IntArray
    """Numbers of the examples, (example,)."""
    sign: FloatArray
    """1 where the adapter scores better than the base, -1 where worse, 0 for a tie, NaN where
    one of them is not scored; (source, example)."""
    adapter: FloatArray
    """Scores where both are known, NaN elsewhere, (source, example)."""
    base: FloatArray
    """Likewise."""
    n_seeds: int

    @property
    def right_or_wrong(self) -> bool:
        """Whether every score lies between 0 and 1, so that their sums count successes."""
        both = np.concatenate([self.adapter.ravel(), self.base.ravel()])
        known = both[~np.isnan(both)]
        return bool(((known >= 0.0) & (known <= 1.0)).all())


def outcomes(examples: xr.Dataset, *, sign: float) -> Outcomes:
    """Compare every source with the base on each example.

    Parameters
    ----------
    examples
        As `TransferStudy.examples` returns them.
    sign
        1 where a higher score is better, -1 where a lower one is.

    Returns
    -------
    Outcomes
        One comparison per example, however many seeds: runs on the same
        example are not independent, so they are averaged first.
    """
    adapted = np.asarray(examples["score"].values, dtype=np.float64)
    base = np.broadcast_to(examples["base_score"].values, adapted.shape)
    both = ~np.isnan(adapted) & ~np.isnan(base)
    n = both.sum(axis=1)
    means = [
        np.divide(
            np.where(both, scores, 0.0).sum(axis=1), n, out=np.full(n.shape, np.nan), where=n > 0
        )
        for scores in (adapted, base)
    ]
    difference = sign * (means[0] - means[1])
    difference[np.abs(difference) < _TIE] = 0.0
    return Outcomes(
        example=np.asarray(examples["example"].values, dtype=np.int64),
        sign=np.sign(difference),
        adapter=means[0],
        base=means[1],
        n_seeds=int(n.max(initial=0)),
    )


class SuccessRatios(NamedTuple):
    """Right answers on the texts that have a feature, (source, feature) each."""

    adapter_right: FloatArray
    base_right: FloatArray
    ratio: FloatArray
    """Adapter over base; NaN where the base has none."""


def success_ratios(found: Outcomes, present: FloatArray) -> SuccessRatios:
    """Return how many times as many answers are right with the adapter as with the base.

    Parameters
    ----------
    found
        Scores between 0 and 1.
    present
        1 where a text has a feature, 0 where not, NaN where it is not known; (feature,
        example).

    Returns
    -------
    SuccessRatios
        The paper's measure. It has no error bar: with few right answers of the
        base it is large by chance.
    """
    has = (present == 1.0).astype(np.float64)
    adapter = np.nan_to_num(found.adapter) @ has.T
    base = np.nan_to_num(found.base) @ has.T
    ratio = np.divide(adapter, base, out=np.full(base.shape, np.nan), where=base > 0)
    return SuccessRatios(adapter, base, ratio)
