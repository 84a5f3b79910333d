"""Which task a prompt is of: words of the tasks' own prompts, calibrated on prompts kept out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["Profiles", "fit_profiles"]

_UNLIKE = 0.01
"""Share of a task's own prompts that are taken for unlike it."""

_WORD = r"\w+|[^\w\s]"

_BINS = 1 << 16

_FOLDS = 5

_MOST = 2_000
"""Prompts per task that a profile is made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Mean TF-IDF vector of every task's prompts, and how to read a likeness to it."""

    tasks: tuple[str, ...]
    _weights: Any
    _centres: FloatArray
    temperature: float
    """Divides cosines before they become probabilities; fitted on prompts kept out."""
    floors: FloatArray
    """Lowest cosine of each task's own prompts, but for one in a hundred; kept-out ones."""
    accuracy: float
    """Share of kept-out prompts whose nearest task is their own."""

    def similarities(self, prompts: Sequence[str]) -> FloatArray:
        """Return the cosine of every prompt to every task, (prompt, task)."""
        return _cosines(self._weights, self._centres, _counts(prompts))

    def probabilities(self, cosines: FloatArray) -> FloatArray:
        """Return how probable each task is, given that the prompt is of one of them."""
        return _softmax(cosines / self.temperature)


def fit_profiles(prompts: Mapping[str, Sequence[str]], *, rng: np.random.Generator) -> Profiles:
    """Make profiles of tasks from prompts of theirs.

    Each fifth of the prompts is compared with profiles of the others: that gives temperature
    and floors. The profiles that are returned are of all.

    Raises
    ------
    AnalysisError
        There is no task with at least two prompts.
    """
    tasks = tuple(name for name, texts in prompts.items() if len(set(texts)) >= 2)
    if not tasks:
        msg = "no task has two different prompts stored, so prompts cannot be told apart"
        raise AnalysisError(msg)
    texts, labels, folds = _samples([prompts[name] for name in tasks], rng)
    counts = _counts(texts)
    cosines = np.empty((len(texts), len(tasks)))
    for fold in np.unique(folds):
        held = folds == fold
        weights, centres = _fitted(counts[~held], labels[~held], len(tasks))
        cosines[held] = _cosines(weights, centres, counts[held])
    own = cosines[np.arange(len(texts)), labels]
    floors = [float(np.quantile(own[labels == at], _UNLIKE)) for at in range(len(tasks))]
    weights, centres = _fitted(counts, labels, len(tasks))
    return Profiles(
        tasks,
        weights,
        centres,
        _temperature(cosines, labels),
        np.array(floors),
        float(np.mean(cosines.argmax(1) == labels)),
    )


def _samples(
    prompts: Sequence[Sequence[str]], rng: np.random.Generator
) -> tuple[list[str], IntArray, IntArray]:
    """Return different texts, the task of each, and its fold."""
    texts: list[str] = []
    labels: list[int] = []
    folds: list[int] = []
    for task, some in enumerate(prompts):
        distinct = list(dict.fromkeys(some))
        order = rng.permutation(len(distinct))[:_MOST]
        texts += [distinct[i] for i in order]
        labels += [task] * len(order)
        folds += [place % _FOLDS for place in range(len(order))]
    return texts, np.array(labels), np.array(folds)


def _counts(texts: Sequence[str]) -> Any:
    """Return how often words and pairs of words occur in each text, hashed (text, word)."""
    # Hashed, not listed: a word that no profile knows must count against a prompt's likeness.
    return _hashing().transform(texts)


@cache
def _hashing() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    # Punctuation and the words of a template tell tasks apart better than the content does.
    return HashingVectorizer(
        ngram_range=(1, 2), token_pattern=_WORD, n_features=_BINS, norm=None, alternate_sign=False
    )


def _fitted(counts: Any, labels: IntArray, n_tasks: int) -> tuple[Any, FloatArray]:
    """Return the weights of words, and the mean vector of each task at length 1."""
    from sklearn.feature_extraction.text import TfidfTransformer

    weights = TfidfTransformer(sublinear_tf=True).fit(counts)
    vectors = weights.transform(counts)
    means = np.stack([np.asarray(vectors[labels == at].mean(0))[0] for at in range(n_tasks)])
    return weights, means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _cosines(weights: Any, centres: FloatArray, counts: Any) -> FloatArray:
    return np.asarray(weights.transform(counts) @ centres.T, dtype=np.float64)


def _softmax(values: FloatArray) -> FloatArray:
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _temperature(cosines: FloatArray, labels: IntArray) -> float:
    """Return the temperature under which the labels are likeliest."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        shares = _softmax(cosines / np.exp(log_temperature))
        return float(-np.log(np.maximum(shares[rows, labels], 1e-300)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-6.0, 2.0), method="bounded").x))
