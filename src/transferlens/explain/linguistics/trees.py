"""Measures of dependency trees."""

from __future__ import annotations

import numpy as np

from transferlens.explain.linguistics.annotation import Annotation, Parse, totals
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["dependencies"]


def dependencies(a: Annotation) -> dict[str, FloatArray]:
    """Return mean dependency distance, left embedding and depth of each text.

    Returns
    -------
    dict
        ``dependency_distance``: tokens between a word and its head, mean over
        the words that have one; ``left_embedding``: words before the root, mean
        over sentences; ``tree_depth``: arcs from the root to the deepest word,
        mean over sentences. Shape (text,); NaN without a parse.
    """
    if a.parse is None:
        unknown = np.full(a.n_texts, np.nan)
        return dict.fromkeys(("dependency_distance", "left_embedding", "tree_depth"), unknown)
    place = np.arange(len(a.text))
    is_word = a.is_word
    is_root = a.parse.head == place
    has_head = is_word & ~is_root
    distance = np.abs(a.parse.head - place) * has_head
    sentence: IntArray = np.cumsum(a.first) - 1
    n_sentences = int(a.first.sum())
    words_before: IntArray = np.cumsum(is_word) - is_word
    before_root: IntArray = words_before - words_before[np.flatnonzero(a.first)][sentence]
    # A sentence with several roots has as many main verbs; their mean stands for it.
    roots = totals(sentence, is_root.astype(np.float64), n_sentences)
    before = totals(sentence, (before_root * is_root).astype(np.float64), n_sentences)
    deepest = np.zeros(n_sentences)
    np.maximum.at(deepest, sentence, _depth(a.parse) * is_word)
    text_of = a.text[a.first]
    return {
        "dependency_distance": _mean(a.total(distance.astype(np.float64)), a.count(has_head)),
        "left_embedding": _mean_over(before / np.maximum(roots, 1.0), text_of, a.n_texts),
        "tree_depth": _mean_over(deepest, text_of, a.n_texts),
    }


def _mean(total: FloatArray, n: FloatArray) -> FloatArray:
    mean: FloatArray = np.divide(total, n, out=np.full(len(total), np.nan), where=n > 0)
    return mean


def _mean_over(values: FloatArray, text: IntArray, n_texts: int) -> FloatArray:
    return _mean(totals(text, values, n_texts), totals(text, np.ones(len(text)), n_texts))


def _depth(parse: Parse) -> FloatArray:
    """Return the number of arcs between each token and its root."""
    place = np.arange(len(parse.head))
    depth = np.zeros(len(place))
    at = place
    # No path is longer than there are tokens, unless the arcs run in a circle.
    for _ in range(len(place)):
        moving = parse.head[at] != at
        if not moving.any():
            break
        depth += moving
        at = parse.head[at]
    return depth
