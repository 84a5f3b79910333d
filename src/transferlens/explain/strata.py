"""Answers of base and adapter by length and readability, summed so that resampling is cheap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.explain.answers import UNREADABLE, TargetAnswers
from transferlens.explain.ratio import ratio
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Sides", "Strata", "fill", "paired", "strata_columns", "strata_of"]

_MOST_BINS = 20
_PER_BIN = 50

# What is summed in each stratum.
_READABLE, _UNREADABLE, _READABLE_SCORE, _UNREADABLE_SCORE = range(4)


class Sides(NamedTuple):
    """One quantity of the base and of the adapter, (..., stratum) or (...) each."""

    base: FloatArray
    adapter: FloatArray


class Strata(NamedTuple):
    """Shares and means per stratum; the last stratum is "cut off", the others are lengths.

    What a model never did is unknown; `fill` says what stands in for it.
    """

    share: Sides
    """Share of a model's answers that lie in the stratum."""
    readable: Sides
    """Share of them that can be read."""
    read_score: Sides
    """Mean score of those that can be read."""
    unread_score: Sides
    """Mean score of those that cannot."""
    score: Sides
    """Mean score of all of them."""
    total: Sides
    """Mean score over all strata, (...)."""


def paired(answers: TargetAnswers) -> BoolArray:
    """Return on which examples base and adapter both have a score, (source, example)."""
    scored: BoolArray = np.logical_or.reduce(answers.scored, axis=1)
    return scored[1:] & scored[:1]


def strata_columns(answers: TargetAnswers) -> FloatArray:
    """Return what each example adds to each sum.

    Lengths are cut at the quantiles of both models' answers together, at most twenty parts,
    so that both are compared in the same ones; where nothing was written, or lengths are
    not known, there is a single part.

    Returns
    -------
    FloatArray
        Shape (example, source, side, stratum, sum); the sides are base and adapter. Runs
        of one model on one example count as one, and only `paired` examples count.
    """
    n_sources, n = len(answers.models) - 1, len(answers.example)
    both = paired(answers)
    n_bins = _number_of_bins(answers)
    columns = np.zeros((n, n_sources, 2, n_bins + 1, 4))
    scored = answers.scored
    weight = 1.0 / np.maximum(scored.sum(axis=1), 1)
    for source in range(n_sources):
        models = (0, 1 + source)
        edges = _edges(answers, models, n_bins)
        for side, model in enumerate(models):
            for run in range(scored.shape[1]):
                use = np.flatnonzero(scored[model, run] & both[source])
                place = _places(answers, model, run, edges)[use]
                unread = (answers.answer[model, run, use] == UNREADABLE).astype(np.int64)
                share = weight[model, use]
                columns[use, source, side, place, unread] += share
                columns[use, source, side, place, 2 + unread] += (
                    share * answers.score[model, run, use]
                )
    return columns


def strata_of(sums: FloatArray) -> Strata:
    """Turn sums of `strata_columns`, (..., side, stratum, sum), into shares and means."""
    count = sums[..., :2].sum(axis=-1)
    everything = count.sum(axis=-1, keepdims=True)
    total = sums[..., 2:].sum(axis=-1)
    share = ratio(count, everything)
    return Strata(
        share=_sides(share),
        readable=_filled(ratio(sums[..., _READABLE], count)),
        read_score=_filled(ratio(sums[..., _READABLE_SCORE], sums[..., _READABLE])),
        unread_score=_filled(ratio(sums[..., _UNREADABLE_SCORE], sums[..., _UNREADABLE])),
        score=_filled(ratio(total, count)),
        total=_sides(ratio(total.sum(axis=-1), everything[..., 0]), axis=-1),
    )


def fill(own: FloatArray, other: FloatArray) -> FloatArray:
    """Replace NaN, where a model has no answers in a stratum, (..., stratum).

    By the model's own value at the nearest length: being better at lengths that the other
    never writes is not called an effect of length. Answers that are cut off, and models
    that have no other ones, take the other model's value; 0 where neither has one.
    """
    filled = own.copy()
    lengths = filled[..., :-1]
    known = own[..., :-1]
    size = known.shape[-1]
    for step in range(1, size):
        for there, here in (
            (known[..., : size - step], lengths[..., step:]),
            (known[..., step:], lengths[..., : size - step]),
        ):
            np.copyto(here, there, where=np.isnan(here))
    filled = np.where(np.isnan(filled), other, filled)
    return np.where(np.isnan(filled), 0.0, filled)


def _filled(values: FloatArray) -> Sides:
    base, adapter = values[..., 0, :], values[..., 1, :]
    return Sides(fill(base, adapter), fill(adapter, base))


def _sides(values: FloatArray, axis: int = -2) -> Sides:
    base, adapter = np.moveaxis(values, axis, 0)
    return Sides(base, adapter)


def _number_of_bins(answers: TargetAnswers) -> int:
    if not answers.written or np.isnan(answers.n_tokens[answers.scored]).any():
        return 1
    return int(np.clip(len(answers.example) // _PER_BIN, 2, _MOST_BINS))


def _edges(answers: TargetAnswers, models: tuple[int, int], n_bins: int) -> FloatArray:
    """Return the inner edges of the parts; the base weighs as much as the adapter."""
    if n_bins == 1:
        return np.empty(0)
    use = answers.scored & ~answers.truncated
    sides = [answers.n_tokens[model][use[model]] for model in models]
    levels = np.arange(1, n_bins) / n_bins
    known = [side for side in sides if len(side)]
    if not known:
        return np.empty(0)
    size = max(len(side) for side in known)
    even = [np.quantile(side, (np.arange(size) + 0.5) / size) for side in known]
    return np.asarray(np.unique(np.quantile(np.concatenate(even), levels)))


def _places(answers: TargetAnswers, model: int, run: int, edges: FloatArray) -> IntArray:
    place = np.searchsorted(edges, answers.n_tokens[model, run], side="left")
    last = _number_of_bins(answers)
    return np.where(answers.truncated[model, run], last, np.minimum(place, last - 1))
