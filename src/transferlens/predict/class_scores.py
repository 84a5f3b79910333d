"""Predictors that read an adapter's class scores on a part of a task's labelled examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from transferlens.errors import AnalysisError
from transferlens.explain.answers import TargetAnswers, iter_answers
from transferlens.predict.problem import Predictor, Problem, problem_of
from transferlens.predict.ridge import PairRidge
from transferlens.predict.transferability import h_score, leep, log_me, nce, trans_rate
from transferlens.results import TransferStudy
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["CLASS_SCORES", "class_score_predictors", "class_score_problem"]

CLASS_SCORES = ("gain on the sample", "LogME", "H-score", "LEEP", "NCE", "TransRate")
"""The gain itself on the same examples is what the others have to beat."""

_POINTS = 100.0


def class_score_predictors() -> tuple[Predictor, ...]:
    """Return a predictor for each of `CLASS_SCORES`, made a gain by effects and a slope."""
    return tuple(PairRidge(label=name, only=(name,)) for name in CLASS_SCORES)


def class_score_problem(
    study: TransferStudy, *, rng: np.random.Generator, share: float = 0.5
) -> Problem:
    """Return gains on one part of the examples, and class scores on the other part.

    Unlike other features these need every adapter to have answered labelled examples of
    every task: they shorten an evaluation and do not replace it. The two parts have no
    example in common, so that a score cannot know the gain that it is to predict.

    Parameters
    ----------
    study
        With predictions; targets without class scores have neither gains nor features.
    rng
        Divides the examples of each target.
    share
        Part of the examples from which class scores are computed.

    Raises
    ------
    AnalysisError
        The study has scores only, or no target has class scores.
    """
    measured = problem_of(study)
    gains = np.full(measured.gains.shape, np.nan)
    features = np.full((*gains.shape, len(CLASS_SCORES)), np.nan)
    for column, answers in enumerate(iter_answers(study)):
        if answers.logs is None:
            continue
        sample = rng.random(answers.gold.size) < share
        gains[:, column] = _gains(answers, ~sample)
        features[:, column, 0] = _gains(answers, sample)
        for row in range(len(gains)):
            features[row, column, 1:] = _class_scores(answers, row + 1, sample)
    if np.isnan(features[..., 1:]).all():
        msg = "no target has class scores: they need choices that all examples of a task share"
        raise AnalysisError(msg)
    return replace(
        measured,
        gains=np.where(measured.own, np.nan, gains),
        features=features,
        feature_names=CLASS_SCORES,
    )


def _gains(answers: TargetAnswers, part: BoolArray) -> FloatArray:
    """Gain of each source over some examples, in points where scores are fractions."""
    scores = answers.score[:, :, part]
    known = ~np.isnan(scores)
    count = known.sum(axis=(1, 2))
    total = np.where(known, scores, 0.0).sum(axis=(1, 2))
    mean = np.divide(total, count, out=np.full(len(scores), np.nan), where=count > 0)
    scale = _POINTS if answers.info.unit == "fraction" else 1.0
    return np.asarray(answers.sign * scale * (mean[1:] - mean[0]))


def _class_scores(answers: TargetAnswers, model: int, part: BoolArray) -> FloatArray:
    nothing = np.full(len(CLASS_SCORES) - 1, np.nan)
    if answers.logs is None:
        return nothing
    logs = answers.logs[model][:, part].mean(axis=0)
    gold = answers.gold[part]
    known = ~np.isnan(logs).any(axis=1) & (gold >= 0)
    logs, gold = logs[known], gold[known]
    if len(np.unique(gold)) < 2:
        return nothing
    probability = special.softmax(logs, axis=1)
    # Probabilities add up to 1; against the first class nothing is said twice.
    relative = logs[:, 1:] - logs[:, :1]
    return np.array(
        [
            log_me(relative, gold),
            h_score(relative, gold),
            leep(probability, gold),
            nce(logs.argmax(axis=1), gold),
            trans_rate(relative, gold),
        ]
    )
