"""Answers of base and adapter by length and readability, summed so that resampling is cheap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.explain.answers import UNREADABLE, TargetAnswers
from transferlens.explain.ratio import ratio
from transferlens.explain.resample import placed_sums
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Sides", "Strata", "fill", "mean_scores", "paired", "strata_of", "strata_sums"]

_MOST_BINS = 20
_PER_BIN = 50


class Sides(NamedTuple):
    """One quantity of the base and of the adapter, of the same shape each."""

    base: FloatArray
    adapter: FloatArray


class Strata(NamedTuple):
    """Shares and means, (stratum, source, resample) each.

    The last stratum is "cut off", the others are lengths. What a model never did is unknown;
    `fill` says what stands in for it.
    """

    share: Sides
    """Share of a model's answers that lie in the stratum."""
    readable: Sides
    """Share of them that can be read."""
    read_score: Sides
    """Mean score of those that can be read."""
    unread_score: Sides
    """Mean score of those that cannot."""
    total: Sides
    """Mean score over all strata, (source, resample)."""


def paired(answers: TargetAnswers) -> BoolArray:
    """Return on which examples base and adapter both have a score, (source, example)."""
    scored: BoolArray = np.logical_or.reduce(answers.scored, axis=1)
    return scored[1:] & scored[:1]


def strata_sums(answers: TargetAnswers, weights: FloatArray) -> FloatArray:
    """Sum answers and scores by length and readability, in each resample.

    Lengths are cut at the quantiles of both models' answers together, at most twenty parts,
    so that both are compared in the same ones; where nothing was written, or lengths are
    not known, there is a single part. Runs of one model on one example count as one, and
    only `paired` examples count.

    Parameters
    ----------
    answers
        Of one target.
    weights
        How often each example counts, (example, resample).

    Returns
    -------
    FloatArray
        Shape (what, unread, side, stratum, source, resample): first how many answers, then
        the sum of their scores; those that can be read and those that cannot; of base and
        adapter.
    """
    bins = _Bins.of(answers)
    n_sources, n_runs = len(answers.models) - 1, answers.answer.shape[1]
    shape = (2, 2, bins.n + 1, n_sources)
    both = paired(answers)
    share = 1.0 / np.maximum(answers.scored.sum(axis=1), 1)
    places, examples, counts, scores = [], [], [], []
    for side in range(2):
        for run in range(n_runs):
            model = np.arange(1, n_sources + 1) if side else np.zeros(n_sources, dtype=np.int64)
            source, example = np.nonzero(both & answers.scored[model, run])
            of = model[source]
            unread = (answers.answer[of, run, example] == UNREADABLE).astype(np.int64)
            stratum = bins.stratum(answers, source, of, run, example)
            places.append(
                np.ravel_multi_index((unread, np.full_like(of, side), stratum, source), shape)
            )
            examples.append(example)
            counts.append(share[of, example])
            scores.append(share[of, example] * answers.score[of, run, example])
    place, example, count, score = (np.concatenate(v) for v in (places, examples, counts, scores))
    hit = np.flatnonzero(score)
    n = int(np.prod(shape))
    sums = placed_sums(
        np.concatenate([place, n + place[hit]]),
        np.concatenate([example, example[hit]]),
        np.concatenate([count, score[hit]]),
        n_places=2 * n,
        weights=weights,
    )
    return sums.reshape(2, *shape, weights.shape[1])


def strata_of(sums: FloatArray) -> Strata:
    """Turn what `strata_sums` returns into shares and means."""
    number, scores = sums
    count, score = number.sum(axis=0), scores.sum(axis=0)
    everything = count.sum(axis=1)
    return Strata(
        share=Sides(*ratio(count, everything[:, None])),
        readable=_filled(ratio(number[0], count)),
        read_score=_filled(ratio(scores[0], number[0])),
        unread_score=_filled(ratio(scores[1], number[1])),
        total=Sides(*ratio(score.sum(axis=1), everything)),
    )


def mean_scores(sums: FloatArray) -> Sides:
    """Return the mean score of each stratum's answers, read or not; see `strata_of`."""
    number, scores = sums
    return _filled(ratio(scores.sum(axis=0), number.sum(axis=0)))


def fill(own: FloatArray, other: FloatArray) -> FloatArray:
    """Replace NaN, where a model has no answers in a stratum, (stratum, ...).

    By the model's own value at the nearest length, the shorter one of two: being better at
    lengths that the other never writes is not called an effect of length. Answers that are
    cut off, and models that have no other ones, take the other model's value; 0 where neither
    has one.
    """
    filled = own.copy()
    unknown = np.isnan(own)
    some = unknown[:-1].any(axis=0)
    if some.any():
        filled[:-1, some] = _nearest(own[:-1, some])
        unknown = np.isnan(filled)
    np.copyto(filled, other, where=unknown)
    np.copyto(filled, 0.0, where=np.isnan(filled))
    return filled


def _nearest(values: FloatArray) -> FloatArray:
    """Replace NaN by the nearest value along the first axis, (length, case)."""
    n = len(values)
    place = np.arange(n)[:, None]
    known = ~np.isnan(values)
    before = np.maximum.accumulate(np.where(known, place, -n), axis=0)
    after = np.minimum.accumulate(np.where(known, place, 2 * n)[::-1], axis=0)[::-1]
    nearest = np.where(place - before <= after - place, before, after)
    # Where nothing is known any place will do: all are NaN.
    return np.take_along_axis(values, np.clip(nearest, 0, n - 1), axis=0)


def _filled(values: FloatArray) -> Sides:
    base, adapter = values
    return Sides(fill(base, adapter), fill(adapter, base))


class _Bins(NamedTuple):
    """In which part of the lengths an answer lies."""

    n: int
    of_length: IntArray | None
    """Part of each length, (source, tokens); None: there is one part only."""

    @classmethod
    def of(cls, answers: TargetAnswers) -> _Bins:
        """Cut the lengths of each source and the base at their common quantiles."""
        if not answers.written or np.isnan(answers.n_tokens[answers.scored]).any():
            return cls(1, None)
        n = int(np.clip(len(answers.example) // _PER_BIN, 2, _MOST_BINS))
        shares = _length_shares(answers)
        # The base weighs as much as the adapter, and one alone where the other has none.
        pooled = shares[1:] + shares[:1]
        below = np.cumsum(pooled, axis=1) - pooled
        total = np.maximum(pooled.sum(axis=1, keepdims=True), 1e-12)
        # A part ends with the first length up to which at least its share of answers lies.
        part = np.clip(np.floor(n * below / total + 1e-9), 0, n - 1).astype(np.int64)
        steps = np.diff(part, axis=1, prepend=0) > 0
        # Parts in which no length falls are left out.
        dense = np.cumsum(steps, axis=1)
        return cls(int(dense.max(initial=0)) + 1, dense)

    def stratum(
        self, answers: TargetAnswers, source: IntArray, model: IntArray, run: int, example: IntArray
    ) -> IntArray:
        """Return the stratum of some answers of one run."""
        cut = answers.truncated[model, run, example]
        if self.of_length is None:
            return np.where(cut, 1, 0)
        length = answers.n_tokens[model, run, example].astype(np.int64)
        return np.where(cut, self.n, self.of_length[source, length])


def _length_shares(answers: TargetAnswers) -> FloatArray:
    """Return the share of each length among the answers that are not cut off, (model, tokens)."""
    longest = int(np.nan_to_num(answers.n_tokens).max(initial=0.0))
    model, run, example = np.nonzero(answers.scored & ~answers.truncated)
    length = answers.n_tokens[model, run, example].astype(np.int64)
    shape = (len(answers.models), longest + 1)
    counts = np.bincount(model * shape[1] + length, minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
