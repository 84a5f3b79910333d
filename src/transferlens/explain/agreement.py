"""How well answers agree with the gold ones: five measures of a table of counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.explain.ratio import ratio
from transferlens.stats.arrays import FloatArray

__all__ = ["Agreement", "agreement", "normalised"]


class Agreement(NamedTuple):
    """Measures of one or of many tables of counts; NaN where a measure is not defined."""

    accuracy: FloatArray
    """Share of right answers. An unreadable answer is a wrong one."""
    balanced_accuracy: FloatArray
    """Mean over the gold labels of the share of right answers."""
    macro_f1: FloatArray
    """Mean of F1 over the labels that are gold or answered at least once."""
    kappa: FloatArray
    """Cohen's κ: agreement beyond that of the two label mixes by chance, 0 to 1."""
    mcc: FloatArray
    """Matthews' correlation; not defined where all answers, or all golds, are the same."""


def agreement(counts: FloatArray) -> Agreement:
    """Compute the measures.

    Parameters
    ----------
    counts
        Shape (..., gold, answer); the answers are the labels in the order of the golds and
        then any others, such as unreadable ones, which are always wrong.

    Returns
    -------
    Agreement
        Arrays of shape (...). They equal scikit-learn's, but for a measure that is not
        defined, which is NaN here and 0 there.

    References
    ----------
    .. [1] Cohen. *A coefficient of agreement for nominal scales*. 1960.
       doi:10.1177/001316446002000104
    .. [2] Gorodkin. *Comparing two K-category assignments by a K-category correlation
       coefficient*. 2004. doi:10.1016/j.compbiolchem.2004.09.006
    """
    K = counts.shape[-2]
    n = counts.sum(axis=(-2, -1))
    right = np.diagonal(counts[..., :K], axis1=-2, axis2=-1)
    of_gold = counts.sum(axis=-1)
    of_answer = counts.sum(axis=-2)
    same = of_answer[..., :K]
    chance = (of_gold * same).sum(axis=-1)
    hits = right.sum(axis=-1) * n
    spread = np.sqrt((n**2 - (of_gold**2).sum(axis=-1)) * (n**2 - (of_answer**2).sum(axis=-1)))
    return Agreement(
        accuracy=ratio(right.sum(axis=-1), n),
        balanced_accuracy=_mean(ratio(right, of_gold)),
        macro_f1=_mean(ratio(2.0 * right, of_gold + same)),
        kappa=ratio(hits - chance, n**2 - chance),
        mcc=ratio(hits - chance, spread),
    )


def normalised(counts: FloatArray, by: str) -> FloatArray:
    """Divide counts by their sum over the answers (``"row"``), the golds (``"column"``) or all.

    NaN where the sum is 0.
    """
    axes: dict[str, int | tuple[int, int]] = {"row": -1, "column": -2, "all": (-2, -1)}
    return ratio(counts, np.sum(counts, axis=axes[by], keepdims=True))


def _mean(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))
