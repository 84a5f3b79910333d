"""What every other predictor has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transferlens.predict.effects import two_way
from transferlens.predict.problem import Fitted, Problem
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["Additive", "TargetMean", "Zero", "target_level"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    """No adapter changes anything."""

    name: ClassVar[str] = "zero"

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict 0 everywhere."""
        problem.require_known()
        return Fitted(values=np.zeros(problem.gains.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMean:
    """Every source does to a target what the measured ones do on average."""

    name: ClassVar[str] = "target mean"

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict the mean of each target; for a new target that of all cells."""
        level = target_level(problem.gains, problem.require_known())
        return Fitted(values=np.broadcast_to(level, problem.gains.shape).copy())


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive:
    """A source effect and a target effect, by least squares; of a new one, 0."""

    name: ClassVar[str] = "additive"

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict the sum of the effects."""
        return Fitted(values=two_way(problem.gains, problem.require_known()).fitted)


def target_level(gains: FloatArray, known: BoolArray) -> FloatArray:
    """Return the mean of each target's known cells, of all cells where it has none; (target,)."""
    count = known.sum(axis=0)
    total = np.where(known, gains, 0.0)
    level = total.sum(axis=0) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, level, total.sum() / known.sum()))
