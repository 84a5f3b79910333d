"""How well predictions order the sources of a target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from transferlens.stats.arrays import FloatArray

__all__ = ["RankScores", "ndcg", "rank_scores", "regret"]

_TIES = 30


class RankScores(NamedTuple):
    """Means over the targets that have at least two sources to order."""

    spearman: float
    """Rank correlation within a target; NaN where a prediction orders nothing."""
    ndcg: float
    """Gain: (value - lowest) / (highest - lowest) of the target; discount 1 / log2(1 + rank)."""
    regret: tuple[float, ...]
    """For each k: the best source's value less that of the best among the k predicted best."""


def rank_scores(
    truth: FloatArray, predicted: FloatArray, *, k: tuple[int, ...], rng: np.random.Generator
) -> RankScores:
    """Compare the predicted with the true order of the sources of each target.

    Parameters
    ----------
    truth
        Measured gains (source, target); NaN is no candidate.
    predicted
        Same shape; NaN is no candidate. Ties are broken at random, and the mean of thirty
        ways is reported, so that a prediction that orders nothing scores as chance does.
    k
        How many sources may be tried, for the regret.
    rng
        Breaks the ties.
    """
    scores = []
    for column in range(truth.shape[1]):
        both = ~np.isnan(truth[:, column]) & ~np.isnan(predicted[:, column])
        value, guess = truth[both, column], predicted[both, column]
        if len(value) > 1 and np.ptp(value) > 0:
            scores.append(_of_target(value, guess, k, rng))
    if not scores:
        return RankScores(np.nan, np.nan, (np.nan,) * len(k))
    table = np.array(scores)
    correlated = table[~np.isnan(table[:, 0]), 0]
    return RankScores(
        float(correlated.mean()) if correlated.size else np.nan,
        float(table[:, 1].mean()),
        tuple(map(float, table[:, 2:].mean(axis=0))),
    )


def _of_target(
    value: FloatArray, guess: FloatArray, k: tuple[int, ...], rng: np.random.Generator
) -> list[float]:
    # Sums in another order differ in their last digits, which are no order.
    rounded = np.round(guess / max(float(np.abs(guess).max()), 1e-300), 9)
    tied = len(np.unique(rounded)) < len(rounded)
    ranks = stats.rankdata(np.stack([value, rounded]), axis=1)
    spearman = float(np.corrcoef(ranks)[0, 1]) if np.ptp(rounded) > 0 else np.nan
    orders = [
        value[np.lexsort((rng.permutation(len(value)), -rounded))]
        for _ in range(_TIES if tied else 1)
    ]
    return [
        spearman,
        float(np.mean([ndcg(order) for order in orders])),
        *(float(np.mean([regret(order, n) for order in orders])) for n in k),
    ]


def ndcg(ordered: FloatArray) -> float:
    """Return the normalised discounted cumulative gain of values in the predicted order.

    The gain of a source is its value less the lowest, over the range: 1 for the best source
    and 0 for the worst. With such gains a random order already scores far above 0.

    References
    ----------
    .. [1] Järvelin, Kekäläinen. *Cumulated gain-based evaluation of IR techniques*. 2002.
       doi:10.1145/582415.582418
    """
    gain = (ordered - ordered.min()) / np.ptp(ordered)
    discount = 1.0 / np.log2(np.arange(2, len(gain) + 2))
    return float((gain * discount).sum() / (np.sort(gain)[::-1] * discount).sum())


def regret(ordered: FloatArray, k: int) -> float:
    """Return how much the best of the first k falls short of the best of all."""
    return float(ordered.max() - ordered[:k].max())
