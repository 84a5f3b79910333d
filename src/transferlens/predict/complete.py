"""Every unmeasured cell predicted, with an interval; measured cells stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.predict.adapter_weights import LORA_COSINE
from transferlens.predict.baselines import Additive, TargetMean, Zero
from transferlens.predict.bayes import Bayes
from transferlens.predict.conformal import conformal_quantile
from transferlens.predict.lowrank import LowRank
from transferlens.predict.pivot import Pivot
from transferlens.predict.problem import Fitted, Predictor, Problem
from transferlens.predict.protocol import (
    Fold,
    Held,
    Protocol,
    cross_chosen,
    error_groups,
    folds_of,
    held_out,
)
from transferlens.predict.ridge import PairRidge
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["Choice", "Complete", "Completed", "predictors_for"]

# So many hidden cells compare predictors and calibrate intervals; more only cost time.
_ENOUGH = 2_000
# Beyond, what costs a fit per threshold or per feature would take minutes.
_LARGE = 2_000
_TINY = 1e-300


def predictors_for(problem: Problem) -> tuple[Predictor, ...]:
    """Return every predictor that the problem has the data for, the baselines first."""
    known = problem.known
    found: list[Predictor] = [Zero(), TargetMean(), Additive()]
    if known.sum() <= _LARGE:
        found.append(LowRank())
    found += [Bayes(), Pivot()]
    if problem.features is not None:
        seen: BoolArray = np.any(~np.isnan(problem.features[known]), axis=0)
        names = problem.feature_names
        cards = tuple(name for name in names if name != LORA_COSINE)
        of_weights: BoolArray = np.array([name == LORA_COSINE for name in names], dtype=np.bool_)
        if seen[~of_weights].any() if names else seen.any():
            found.append(PairRidge(only=cards))
        if names and seen[of_weights].any():
            found.append(PairRidge(label="adapter weights", only=(LORA_COSINE,)))
    return tuple(found)


def _can_tell(predictor: Predictor, problem: Problem, cells: BoolArray) -> bool:
    """Whether a predictor knows anything of these cells; a new dataset has no adapter."""
    if not isinstance(predictor, PairRidge) or problem.features is None or not predictor.only:
        return True
    used = np.array([name in predictor.only for name in problem.feature_names], dtype=np.bool_)
    return bool((~np.isnan(problem.features[cells][:, used])).any())


class Choice(NamedTuple):
    """What predicts one kind of cell, and how well it does on measured cells of this kind."""

    protocol: Protocol
    predictor: str
    rmse: float
    """Of hidden cells, in the unit of the gains; NaN where none could be hidden."""
    others: dict[str, float]
    """The same of every predictor that was tried."""
    words: str
    """What the fit chose."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completed:
    """Predictions of the unmeasured cells; NaN in measured ones, which they never replace."""

    problem: Problem
    values: FloatArray
    """Shape (source, target)."""
    low: FloatArray
    """Lower end of the interval; minus infinity where too little is measured to calibrate one."""
    high: FloatArray
    choices: tuple[Choice, ...]
    confidence: float

    def to_frame(self) -> pl.DataFrame:
        """Return a row per cell: source, target, measured, predicted, low, high; NaN: neither."""
        n, p = self.values.shape
        return pl.DataFrame(
            {
                "source": np.repeat(np.array(self.problem.sources), p).tolist(),
                "target": np.tile(np.array(self.problem.targets), n).tolist(),
                "measured": self.problem.gains.ravel(),
                "predicted": self.values.ravel(),
                "low": self.low.ravel(),
                "high": self.high.ravel(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Predict what is not measured by what predicts hidden cells of the same kind best.

    A cell of a source and a target that both have measured cells, of a new source, of a new
    target, and of two new ones are four kinds: each has its own predictor and its own
    intervals. Intervals are calibrated on the errors of hidden cells, each predicted by what
    the other hidden cells would choose, so that the choice does not flatter them; they hold if
    the unmeasured cells are like the measured ones, as if drawn at random.
    """

    predictors: Sequence[Predictor] = ()
    """To choose from; all that the problem has the data for by default."""
    confidence: float = 0.9
    """Nominal coverage of an interval."""

    def __call__(
        self, problem: Problem, *, rng: np.random.Generator, cells: BoolArray | None = None
    ) -> Completed:
        """Predict unmeasured cells.

        Parameters
        ----------
        problem
            At least one cell is measured.
        rng
            Draws folds.
        cells
            Which cells to predict, (source, target); by default all that are not measured,
            but for own tasks.

        Raises
        ------
        AnalysisError
            No cell is measured, or a predictor lacks what it needs.
        """
        known = problem.require_known()
        wanted = ~known & (~problem.own if cells is None else cells)
        values, low, high = (np.full(known.shape, np.nan) for _ in range(3))
        choices = []
        for protocol, kind in _kinds(known).items():
            here = kind & wanted
            if not here.any():
                continue
            choice, fitted, half = self._of_kind(protocol, problem, here, rng)
            choices.append(choice)
            values[here] = fitted.predict()[here]
            spread = np.ones(known.shape) if fitted.spread is None else fitted.spread
            low[here], high[here] = (values - half * spread)[here], (values + half * spread)[here]
        return Completed(
            problem=problem,
            values=values,
            low=low,
            high=high,
            choices=tuple(choices),
            confidence=self.confidence,
        )

    def _of_kind(
        self, protocol: Protocol, problem: Problem, cells: BoolArray, rng: np.random.Generator
    ) -> tuple[Choice, Fitted, float]:
        """Return the best predictor, its fit to all measured cells, and half an interval."""
        of_folds, of_fits, of_last = rng.spawn(3)
        every = tuple(self.predictors) or predictors_for(problem)
        tried = tuple(p for p in every if _can_tell(p, problem, cells)) or every
        try:
            folds = _enough(folds_of(problem.known, protocol, rng=of_folds))
        except AnalysisError:
            # Nothing can be hidden, so nothing can be chosen or calibrated.
            simple = tried[0] if self.predictors else Additive()
            fitted = simple.fit(problem, rng=of_last)
            return Choice(protocol, simple.name, np.nan, {}, fitted.words), fitted, np.inf
        held = {
            predictor.name: held_out(predictor, problem, folds, rng=of_fits.spawn(1)[0])
            for predictor in tried
        }
        rmse = {name: _rmse(problem, one) for name, one in held.items()}
        # Of equals the first, which is the simplest.
        best = min(tried, key=lambda predictor: round(rmse[predictor.name], 9))
        fitted = _with_spread(best.fit(problem, rng=of_last), rmse[best.name])
        scaled = [_scaled(problem, one, rmse[name]) for name, one in held.items()]
        half = conformal_quantile(
            cross_chosen(problem.gains, list(held.values()), scaled),
            confidence=self.confidence,
            groups=error_groups(protocol, held[best.name]),
        )
        return Choice(protocol, best.name, rmse[best.name], rmse, fitted.words), fitted, half


def _rmse(problem: Problem, held: Held) -> float:
    return float(np.sqrt(np.nanmean((problem.gains - held.values) ** 2)))


def _scaled(problem: Problem, held: Held, rmse: float) -> FloatArray:
    """Return absolute errors in units in which those of all predictors are alike."""
    unit = max(rmse, _TINY) if held.is_even else held.spread
    return np.asarray(np.abs(problem.gains - held.values) / unit)


def _with_spread(fitted: Fitted, rmse: float) -> Fitted:
    if fitted.spread is not None:
        return fitted
    return replace(fitted, spread=np.full(fitted.values.shape, max(rmse, _TINY)))


def _enough(folds: list[Fold]) -> list[Fold]:
    """Return as many folds as are needed to compare and calibrate."""
    total = np.cumsum([fold.tested.sum() for fold in folds])
    return folds[: max(2, int(np.searchsorted(total, _ENOUGH)) + 1)]


def _kinds(known: BoolArray) -> dict[Protocol, BoolArray]:
    row = np.asarray(known.any(axis=1, keepdims=True))
    column = np.asarray(known.any(axis=0, keepdims=True))
    return {
        "cells": row & column,
        "source": ~row & column,
        "target": row & ~column,
        "both": ~row & ~column,
    }
