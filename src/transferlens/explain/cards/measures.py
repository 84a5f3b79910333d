"""The numbers of a dataset card: what each means, and how it is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from transferlens.errors import AnalysisError
from transferlens.explain.cards.dataset import Dataset, lengths
from transferlens.explain.cards.repetition import (
    conflicting_share,
    duplicate_share,
    near_duplicate_share,
)
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["MEASURES", "Measure", "confident_errors", "label_counts", "measured"]

_MOST_LABELS = 20
_FEWEST_PER_LABEL = 5
_SAMPLE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of a dataset card."""

    name: str
    group: str
    unit: str
    meaning: str


def _rows(group: str, *rows: tuple[str, str, str]) -> list[Measure]:
    return [Measure(name=name, group=group, unit=unit, meaning=text) for name, unit, text in rows]


MEASURES: tuple[Measure, ...] = (
    *_rows("size", ("n_rows", "rows", "number of rows")),
    *_rows(
        "class distribution",
        ("n_classes", "classes", "number of labels"),
        ("label_entropy", "bits", "entropy of the labels"),
        ("label_skew", "0 to 1", "1 less the entropy over the largest possible: 0 is even"),
        ("top_share", "share", "how often the most frequent output occurs"),
        ("output_entropy", "bits", "entropy of whole outputs, labels or not"),
    ),
    *_rows(
        "length",
        ("input_length", "words", "median length of the inputs, in words and marks"),
        ("input_spread", "log", "standard deviation of the logarithm of the inputs' length"),
        ("output_length", "words", "median length of the outputs, in words and marks"),
        ("output_length_90", "words", "length that a tenth of the outputs exceed"),
        ("output_spread", "log", "standard deviation of the logarithm of the outputs' length"),
        ("output_tokens", "tokens", "median length of the outputs in tokens of the base"),
    ),
    *_rows(
        "vocabulary",
        ("type_token_ratio", "ratio", "different words over all words; falls with size"),
        ("type_token_500", "ratio", "the same among 500 words drawn at random: comparable"),
    ),
    *_rows(
        "quality",
        ("duplicates", "share", "rows equal to an earlier one"),
        ("near_duplicates", "share", "inputs that nearly repeat an earlier one"),
        ("conflicts", "share", "rows whose input also stands with another output"),
        ("base_nll", "nats per token", "how surprising the outputs are to the base model"),
        ("label_errors", "share", "labels that are probably wrong (confident learning)"),
    ),
)
"""Every number of a card, in order."""


def label_counts(data: Dataset) -> dict[str, float]:
    """Return how often each label is gold; empty where the golds are no labels.

    Labels are the choices that all rows have, or else at most twenty different gold
    answers of which there are five rows each on average.
    """
    counts = Counter(data.golds)
    if data.choices:
        return {label: float(counts[label]) for label in data.choices}
    if len(counts) > _MOST_LABELS or len(data) < _FEWEST_PER_LABEL * len(counts):
        return {}
    return {label: float(n) for label, n in sorted(counts.items())}


def measured(data: Dataset, labels: Mapping[str, float]) -> dict[str, float]:
    """Compute all numbers that the rows alone give; NaN where they do not."""
    rows = list(zip(data.inputs, data.outputs, strict=True))
    counts = np.array(list(Counter(data.outputs).values()), dtype=np.float64)
    inputs, outputs = lengths(data.input_words), lengths(data.output_words)
    tokens = np.nan if data.n_tokens is None else float(np.median(data.n_tokens))
    words = Counter(word for text in data.input_words for word in text if word[0].isalnum())
    types = np.array(list(words.values()), dtype=np.float64)
    return {
        "n_rows": float(len(data)),
        **_classes(labels),
        "top_share": float(counts.max() / len(data)),
        "output_entropy": _entropy(counts),
        "input_length": float(np.median(inputs)),
        "input_spread": _spread(inputs),
        "output_length": float(np.median(outputs)),
        "output_length_90": float(np.quantile(outputs, 0.9)),
        "output_spread": _spread(outputs),
        "output_tokens": tokens,
        "type_token_ratio": len(types) / types.sum() if len(types) else float("nan"),
        "type_token_500": expected_types(types, _SAMPLE) / _SAMPLE,
        "duplicates": duplicate_share(rows),
        "near_duplicates": near_duplicate_share(data.input_words),
        "conflicts": conflicting_share(rows),
    }


def _spread(sizes: FloatArray) -> float:
    # Of equal numbers NumPy's deviation may be a rounding error, which is no variation.
    return float(np.log1p(sizes).std()) if np.ptp(sizes) > 0 else 0.0


def _classes(labels: Mapping[str, float]) -> dict[str, float]:
    if not labels:
        return dict.fromkeys(("n_classes", "label_entropy", "label_skew"), float("nan"))
    bits = _entropy(np.array(list(labels.values())))
    possible = np.log2(len(labels)) if len(labels) > 1 else np.nan
    return {
        "n_classes": float(len(labels)),
        "label_entropy": bits,
        "label_skew": float(1.0 - bits / possible),
    }


def _entropy(counts: FloatArray) -> float:
    """Entropy of counts in bits."""
    share = counts / counts.sum()
    return float(special.entr(share).sum() / np.log(2.0)) + 0.0


def expected_types(counts: FloatArray, n: int) -> float:
    """Return how many different words are expected among ``n`` drawn without replacement.

    Unlike a type-token ratio of whole texts it does not fall with their size. NaN where there
    are fewer than ``n`` words.

    References
    ----------
    .. [1] McCarthy, Jarvis. *MTLD, vocd-D, and HD-D: a validation study of sophisticated
       approaches to lexical diversity assessment*. 2010. doi:10.3758/BRM.42.2.381
    """
    total = counts.sum()
    if total < n:
        return float("nan")
    rest = total - counts
    # log of the chance that a word is not among them: C(total - count, n) / C(total, n).
    absent = np.where(
        rest >= n,
        special.gammaln(rest + 1.0)
        - special.gammaln(np.maximum(rest - n, 0.0) + 1.0)
        - special.gammaln(total + 1.0)
        + special.gammaln(total - n + 1.0),
        -np.inf,
    )
    return float((1.0 - np.exp(absent)).sum())


def confident_errors(probabilities: FloatArray, labels: IntArray | Sequence[int]) -> float:
    """Estimate the share of labels that are wrong by confident learning.

    A row counts where a class other than its label is at least as probable as that class is
    on average among its own rows.

    Parameters
    ----------
    probabilities
        Of a model that did not learn these rows, (row, class).
    labels
        Given class of each row.

    Returns
    -------
    float
        0 to 1; NaN without rows.

    Raises
    ------
    AnalysisError
        Shapes differ, or a label is no class.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. *Confident learning: estimating uncertainty in dataset
       labels*. 2021. arXiv:1911.00068
    """
    given = np.asarray(labels, dtype=np.int64)
    if probabilities.ndim != 2 or len(given) != len(probabilities):
        msg = f"probabilities have shape {probabilities.shape} for {len(given)} labels"
        raise AnalysisError(msg)
    if not len(given):
        return float("nan")
    if given.min() < 0 or given.max() >= probabilities.shape[1]:
        msg = f"a label is {given.max()}, but there are {probabilities.shape[1]} classes"
        raise AnalysisError(msg)
    rows = [probabilities[given == k, k] for k in range(probabilities.shape[1])]
    threshold = np.array([part.mean() if len(part) else np.inf for part in rows])
    sure = np.where(probabilities >= threshold, probabilities, -np.inf)
    best = np.where(np.isfinite(sure).any(axis=1), sure.argmax(axis=1), -1)
    counted = best >= 0
    # The joint distribution of given and true labels, brought to the given labels' counts.
    wrong = sum(
        float((best[counted & (given == k)] != k).mean()) * len(part)
        for k, part in enumerate(rows)
        if (counted & (given == k)).any()
    )
    return wrong / len(given)
