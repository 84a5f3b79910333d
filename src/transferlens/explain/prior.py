"""What a model would answer if it preferred the labels as another one does.

A preference for a label is a term that is added to its log-odds, whatever the example [1]_.
In a confusion matrix it multiplies a column, and leaves the odds ratios, which are what a
model knows about the labels apart from its preferences. Two models of equal preferences
need not answer each label equally often: of two that prefer "yes" equally, the one that
knows more says it less. To give a model another label mix, iterative proportional
fitting [2]_ finds the preferences. With the likelihoods of all labels a preference can be
added example by example.

References
----------
.. [1] Luce. *Detection and recognition*. In: Handbook of Mathematical Psychology 1. 1963.
.. [2] Deming, Stephan. *On a least squares adjustment of a sampled frequency table when the
   expected marginal totals are known*. 1940. doi:10.1214/aoms/1177731829
"""

from __future__ import annotations

import numpy as np

from transferlens.stats.arrays import FloatArray, IntArray

__all__ = [
    "SMOOTHING",
    "answers_with_shares",
    "counts_with_preferences",
    "counts_with_shares",
    "label_shares",
    "preferences",
]

SMOOTHING = 0.5
"""Added to each cell of a confusion matrix: a label that was never answered might be."""

_ROUNDS = 40
_CLOSE = 1e-9
_STEPS = 60


def label_shares(counts: FloatArray) -> FloatArray:
    """Return the share of each answer in smoothed confusion matrices, (..., answer)."""
    smooth = (counts + SMOOTHING).sum(axis=-2)
    shares: FloatArray = smooth / smooth.sum(axis=-1, keepdims=True)
    return shares


def preferences(counts: FloatArray) -> FloatArray:
    """Return how much a model prefers each label, in log-odds, (..., answer).

    The mean over the gold labels, each counting the same, of the logarithm of the share of
    each answer; less the mean over the answers.

    Parameters
    ----------
    counts
        Readable answers only, (..., gold, answer). They are smoothed.
    """
    table = counts + SMOOTHING
    logs = np.log(table / table.sum(axis=-1, keepdims=True))
    known = (counts.sum(axis=-1, keepdims=True) > 0).astype(np.float64)
    n = np.maximum(known.sum(axis=-2), 1.0)
    mean = (logs * known).sum(axis=-2) / n
    return np.asarray(mean - mean.mean(axis=-1, keepdims=True))


def counts_with_preferences(counts: FloatArray, wanted: FloatArray) -> FloatArray:
    """Give smoothed confusion matrices other preferences, odds ratios and golds kept.

    ``wanted`` is what `preferences` returns, (..., answer). With a matrix's own ones its
    smoothed counts are unchanged.
    """
    table = counts + SMOOTHING
    tilted = table * np.exp(wanted - preferences(counts))[..., None, :]
    rows = table.sum(axis=-1, keepdims=True) / tilted.sum(axis=-1, keepdims=True)
    return np.asarray(tilted * rows)


def counts_with_shares(counts: FloatArray, shares: FloatArray) -> FloatArray:
    """Give smoothed confusion matrices another label mix, odds ratios and golds kept.

    Parameters
    ----------
    counts
        Readable answers only, (..., gold, answer).
    shares
        Wanted share of each answer, above 0, (..., answer).

    Returns
    -------
    FloatArray
        Smoothed counts. With the matrices' own `label_shares` they are unchanged.
    """
    table = counts + SMOOTHING
    of_gold = table.sum(axis=-1, keepdims=True)
    wanted = (shares * of_gold.sum(axis=-2))[..., None, :]
    for _ in range(_ROUNDS):
        factor = wanted / table.sum(axis=-2, keepdims=True)
        table = table * factor
        table = table * (of_gold / table.sum(axis=-1, keepdims=True))
        if np.abs(factor - 1.0).max(initial=0.0) < _CLOSE:
            break
    return table


def answers_with_shares(logs: FloatArray, shares: FloatArray) -> IntArray:
    """Choose the likeliest label after a preference that gives the wanted label mix.

    Parameters
    ----------
    logs
        Log-likelihoods, (case, example, label), without NaN.
    shares
        Wanted share of each label, (case, label).

    Returns
    -------
    IntArray
        Places of the labels, (case, example). With two labels the shares are met but for
        ties of likelihood; with more as nearly as the preferences can.
    """
    if logs.shape[-1] == 2:
        return _of_two(logs[..., 1] - logs[..., 0], shares[:, 1])
    return _of_many(logs, shares)


def _of_two(margin: FloatArray, share: FloatArray) -> IntArray:
    n = margin.shape[1]
    k = np.rint(share * n).astype(np.int64)
    ordered = np.sort(margin, axis=1)
    # Halfway between the last that is below and the first that is above.
    below = np.take_along_axis(ordered, np.clip(n - k - 1, 0, n - 1)[:, None], axis=1)
    above = np.take_along_axis(ordered, np.clip(n - k, 0, n - 1)[:, None], axis=1)
    cut = np.where(k[:, None] == n, -np.inf, np.where(k[:, None] == 0, np.inf, (below + above) / 2))
    answers: IntArray = (margin > cut).astype(np.int64)
    return answers


def _of_many(logs: FloatArray, shares: FloatArray) -> IntArray:
    """Raise what is answered too seldom until the mix is met, or nothing more is gained."""
    n, K = logs.shape[1:]
    least, close = 0.5 / max(n, 1), K / max(n, 1)
    scale = (logs.max(axis=-1) - np.median(logs, axis=-1)).mean(axis=1)[:, None] + _CLOSE
    best: IntArray = logs.argmax(axis=-1)
    now = _mix(best, K)
    miss = np.abs(now - shares).sum(axis=1)
    bias = np.zeros_like(shares)
    for step in range(_STEPS):
        todo = np.flatnonzero(miss > close)
        if not len(todo):
            break
        towards = np.log(np.maximum(shares[todo], least)) - np.log(np.maximum(now[todo], least))
        bias[todo] += scale[todo] * towards / (1.0 + step / 4.0)
        answers = (logs[todo] + bias[todo, None, :]).argmax(axis=-1)
        now[todo] = _mix(answers, K)
        missed = np.abs(now[todo] - shares[todo]).sum(axis=1)
        better = missed < miss[todo]
        best[todo[better]], miss[todo[better]] = answers[better], missed[better]
    return best


def _mix(answers: IntArray, K: int) -> FloatArray:
    cases = len(answers)
    flat = answers + K * np.arange(cases)[:, None]
    counts = np.bincount(flat.ravel(), minlength=cases * K).reshape(cases, K)
    return np.asarray(counts / max(answers.shape[1], 1))
