"""The evidence of one column of the matrix: all sources on one target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from transferlens.stats import (
    SharedWeights,
    bootstrap_cells,
    detectable_difference,
    detectable_effect,
    mcnemar_cells,
    mean_interval,
    proportion_interval,
    shared_standard_error,
    sign_flip_cells,
    two_way_test,
)
from transferlens.stats.arrays import BoolArray, FloatArray
from transferlens.transfer.result import Evidence

__all__ = ["Column", "Gains", "Scores", "column_of_examples", "column_of_scores"]


class Gains(NamedTuple):
    """Gains of all sources on one target with their evidence, (source,) each."""

    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    standard_error: FloatArray
    df: FloatArray
    p_value: FloatArray
    detectable: FloatArray
    n_seeds: FloatArray
    n_scored: FloatArray
    n_unscored: FloatArray


class Scores(NamedTuple):
    """Scores of all sources on one target with their interval, (source,) each."""

    score: FloatArray
    score_low: FloatArray
    score_high: FloatArray


class Column(NamedTuple):
    """Everything about one target."""

    gains: Gains
    scores: Scores
    test: str
    """How the p-values were made; ``"none"`` where they could not be."""
    training_known: bool
    """Whether the standard errors include training variance."""
    shared_error: float
    """Error that all gains have in common through the base; NaN where not known."""
    mean_differences: FloatArray
    """Seeds' mean of adapted - base, (source, example); no examples for bare scores."""


def column_of_examples(
    examples: xr.Dataset, *, sign: float, how: Evidence, weights: SharedWeights
) -> Column:
    """Test all sources on one target from the scores of its examples.

    Parameters
    ----------
    examples
        As `TransferStudy.examples` returns them.
    sign
        1 where a higher score is better, -1 where a lower one is.
    how
        Tests and confidence.
    weights
        Bootstrap weights of the matrix; its generators draw the sign flips.

    Returns
    -------
    Column
        Two-way t where a source has several training runs, else McNemar,
        bootstrap or sign flip. Gains are oriented, scores are not.
    """
    adapted = np.asarray(examples["score"].values, dtype=np.float64)
    base = np.asarray(examples["base_score"].values, dtype=np.float64)
    made: BoolArray = np.logical_or.reduce(~np.isnan(adapted), axis=2)
    if made.sum(axis=1).max(initial=0) > 1:
        differences = sign * (adapted - base)
        gains, known = _several_runs(differences, how)
        test = "two-way t" if known else "t over examples"
        mean = mean_over(differences, axis=1)
        scores = _scores_of_runs(adapted, how)
    else:
        each, run = np.arange(len(adapted)), made.argmax(axis=1)
        single, beside = adapted[each, run], base[run]
        gains, test = _one_run(single, beside, sign=sign, how=how, weights=weights)
        known, mean = False, sign * (single - beside)
        scores = _scores_of_run(single, how)
    return Column(
        gains=gains,
        scores=scores,
        test=test,
        training_known=known,
        shared_error=shared_standard_error(mean[made.any(axis=1)]),
        # Only max-T needs them; a large study should not hold every example at once.
        mean_differences=mean if how.adjust == "max-t" else mean[:, :0],
    )


def _several_runs(differences: FloatArray, how: Evidence) -> tuple[Gains, bool]:
    tests = two_way_test(differences, confidence=how.confidence)
    gains = Gains(
        gain=tests.estimate,
        gain_low=tests.low,
        gain_high=tests.high,
        standard_error=tests.standard_error,
        df=tests.df,
        p_value=tests.p_value,
        detectable=detectable_effect(tests.standard_error, df=tests.df),
        n_seeds=tests.n_seeds.astype(np.float64),
        n_scored=tests.n_scored.astype(np.float64),
        n_unscored=tests.n_unscored.astype(np.float64),
    )
    return gains, bool(tests.training_known.any())


def _one_run(
    adapted: FloatArray, base: FloatArray, *, sign: float, how: Evidence, weights: SharedWeights
) -> tuple[Gains, str]:
    pair = (adapted, base) if sign > 0 else (base, adapted)
    binary = _is_binary(adapted) and _is_binary(base)
    if binary:
        tests = mcnemar_cells(*pair, method=how.binary, confidence=how.confidence)
    elif how.graded == "bootstrap":
        tests = bootstrap_cells(*pair, rng=weights, confidence=how.confidence)
    else:
        rng = weights.rng(adapted.shape[1])
        tests = sign_flip_cells(
            *pair, rng=rng, n_resamples=how.n_resamples, confidence=how.confidence
        )
    n = tests.n_scored.astype(np.float64)
    gains = Gains(
        gain=tests.estimate,
        gain_low=tests.low,
        gain_high=tests.high,
        standard_error=tests.standard_error,
        df=np.full_like(n, np.inf),
        p_value=tests.p_value,
        detectable=_detectable_binary(adapted - base, n)
        if binary
        else detectable_effect(tests.standard_error),
        n_seeds=np.where(n > 0, 1.0, 0.0),
        n_scored=n,
        n_unscored=tests.n_unscored.astype(np.float64),
    )
    return gains, tests.method


def _is_binary(scores: FloatArray) -> bool:
    return bool(((scores == 0.0) | (scores == 1.0) | np.isnan(scores)).all())


def _detectable_binary(differences: FloatArray, n: FloatArray) -> FloatArray:
    discordant = np.nansum(np.abs(differences), axis=1)
    return detectable_difference(discordant / np.maximum(n, 1.0), n)


def _scores_of_runs(adapted: FloatArray, how: Evidence) -> Scores:
    """Mean score over runs; its interval includes training variance where it is known."""
    test = two_way_test(adapted, confidence=how.confidence)
    return Scores(mean_over(mean_over(adapted, axis=2), axis=1), test.low, test.high)


def _scores_of_run(scores: FloatArray, how: Evidence) -> Scores:
    """Score of one run with its interval over examples."""
    if _is_binary(scores):
        known = ~np.isnan(scores)
        successes = np.where(known, scores, 0.0).sum(axis=1)
        interval = proportion_interval(successes, known.sum(axis=1), confidence=how.confidence)
    else:
        interval = mean_interval(scores, confidence=how.confidence)
    return Scores(mean_over(scores, axis=1), *interval)


def column_of_scores(scores: xr.Dataset, *, sign: float, how: Evidence) -> Column:
    """Test all sources on one target from bare scores: each seed's gain is one observation.

    Parameters
    ----------
    scores
        `TransferStudy.scores` of one target.
    sign
        1 where a higher score is better, -1 where a lower one is.
    how
        Confidence of the intervals.

    Returns
    -------
    Column
        Student's t with the variance between seeds pooled over the sources; NaN,
        and the test ``"none"``, where no source has two seeds.
    """
    table = scores.transpose("source", "seed")
    adapted = np.asarray(table["score"].values, dtype=np.float64)
    values = sign * (adapted - np.asarray(table["base_score"].values, dtype=np.float64))
    n_seeds = (~np.isnan(values)).sum(axis=1)
    gain = mean_over(values, axis=1)
    freedom = float(np.maximum(n_seeds - 1, 0).sum())
    variance = np.nansum((values - gain[:, None]) ** 2) / freedom if freedom > 0 else np.nan
    error = np.sqrt(variance / np.where(n_seeds > 0, n_seeds, np.nan))
    p_value, half = _student(gain, error, freedom, how.confidence)
    unknown = np.full(len(gain), np.nan)
    gains = Gains(
        gain=gain,
        gain_low=gain - half,
        gain_high=gain + half,
        standard_error=error,
        df=np.full(len(gain), freedom),
        p_value=p_value,
        detectable=detectable_effect(error, df=freedom) if freedom > 0 else unknown,
        n_seeds=n_seeds.astype(np.float64),
        n_scored=mean_over(np.asarray(table["n_scored"].values, dtype=np.float64), axis=1),
        n_unscored=mean_over(np.asarray(table["n_unscored"].values, dtype=np.float64), axis=1),
    )
    return Column(
        gains=gains,
        scores=Scores(mean_over(adapted, axis=1), unknown, unknown),
        test="t over seeds" if freedom > 0 else "none",
        training_known=freedom > 0,
        shared_error=float("nan"),
        mean_differences=np.empty((len(gain), 0)),
    )


def _student(
    estimate: FloatArray, error: FloatArray, freedom: float, confidence: float
) -> tuple[FloatArray, FloatArray]:
    if freedom <= 0:
        return np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    statistic = np.divide(
        np.abs(estimate), error, out=np.where(estimate == 0, 0.0, np.inf), where=error > 0
    )
    p_value = np.where(np.isnan(estimate), np.nan, 2.0 * stats.t.sf(statistic, freedom))
    return p_value, stats.t.ppf(0.5 + confidence / 2.0, freedom) * error


def mean_over(values: FloatArray, *, axis: int) -> FloatArray:
    """Mean of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    n = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: FloatArray = np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0)
    return mean
