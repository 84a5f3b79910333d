"""Gains that were not measured, what to measure next, and what to train on.

::

    from transferlens.predict import Complete, Evaluate, problem_of

    problem = problem_of(study)
    table = Evaluate()(problem, rng=np.random.default_rng(0)).table
    rest = Complete()(problem, rng=np.random.default_rng(0))

A predictor is a frozen parameter object; `fit` returns a `Fitted` that predicts every cell. A
new dataset or task is a row or column of the `Problem` without any measured cell.
"""

from __future__ import annotations

from transferlens.predict.active import Active, ActiveState, Measured, Round, read_rounds
from transferlens.predict.adapter_weights import LORA_COSINE, adapter_cosines, lora_cosines
from transferlens.predict.baselines import Additive, TargetMean, Zero
from transferlens.predict.bayes import Bayes
from transferlens.predict.cards import Newcomers, known_problem, pair_features
from transferlens.predict.class_scores import (
    CLASS_SCORES,
    class_score_predictors,
    class_score_problem,
)
from transferlens.predict.complete import Choice, Complete, Completed, predictors_for
from transferlens.predict.conformal import conformal_quantile
from transferlens.predict.evaluate import Evaluate, Evaluation
from transferlens.predict.lowrank import LowRank
from transferlens.predict.options import options_of
from transferlens.predict.order import training_order
from transferlens.predict.pivot import Pivot
from transferlens.predict.plan import NextCells, PlannedCell, next_cells
from transferlens.predict.problem import Fitted, Predictor, Problem, own_tasks, problem_of
from transferlens.predict.protocol import PROTOCOLS, Protocol
from transferlens.predict.recommend import Expected, Options, Recommend, Recommendation
from transferlens.predict.ridge import PairRidge

__all__ = [
    "CLASS_SCORES",
    "LORA_COSINE",
    "PROTOCOLS",
    "Active",
    "ActiveState",
    "Additive",
    "Bayes",
    "Choice",
    "Complete",
    "Completed",
    "Evaluate",
    "Evaluation",
    "Expected",
    "Fitted",
    "LowRank",
    "Measured",
    "Newcomers",
    "NextCells",
    "Options",
    "PairRidge",
    "Pivot",
    "PlannedCell",
    "Predictor",
    "Problem",
    "Protocol",
    "Recommend",
    "Recommendation",
    "Round",
    "TargetMean",
    "Zero",
    "adapter_cosines",
    "class_score_predictors",
    "class_score_problem",
    "conformal_quantile",
    "known_problem",
    "lora_cosines",
    "next_cells",
    "options_of",
    "own_tasks",
    "pair_features",
    "predictors_for",
    "problem_of",
    "read_rounds",
    "training_order",
]
