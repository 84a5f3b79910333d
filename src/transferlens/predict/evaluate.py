"""How well predictors predict, in one call: every protocol, every baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.predict.baselines import Additive, TargetMean, Zero
from transferlens.predict.complete import predictors_for
from transferlens.predict.problem import Predictor, Problem
from transferlens.predict.protocol import (
    PROTOCOLS,
    Fold,
    Held,
    Protocol,
    error_groups,
    folds_of,
    held_out,
    side_by_side,
)
from transferlens.predict.ranking import rank_scores
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["Evaluate", "Evaluation"]

RANDOM = "random order"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """A row per protocol and predictor."""

    table: pl.DataFrame
    """Columns: ``protocol``, ``predictor``, ``n_cells``, ``rmse`` in the unit of the gains,
    ``rmse_noise`` in standard deviations between seeds, ``coverage`` and ``width`` (median) of
    the intervals, ``spearman``, ``ndcg``, ``regret_at_1`` and so on. NaN where undefined:
    the random order predicts no gain, a constant orders nothing."""
    confidence: float
    unit: str
    own: bool
    """Whether the adapter trained on the target itself counts among its sources."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Compare predictors on cells that they have not seen."""

    protocols: tuple[Protocol, ...] = tuple(PROTOCOLS)
    """Which cells are hidden together."""
    k: tuple[int, ...] = (1, 3)
    """Numbers of sources that may be tried, for the regret."""
    confidence: float = 0.9
    """Nominal coverage of the intervals."""

    def __call__(
        self,
        problem: Problem,
        predictors: Sequence[Predictor] = (),
        *,
        rng: np.random.Generator,
    ) -> Evaluation:
        """Return a row per protocol and predictor.

        Parameters
        ----------
        problem
            Gains of which at least two sources and two targets are measured.
        predictors
            All that the problem has data for by default. The baselines and a random order
            are always there.
        rng
            Draws folds, ties and the random order; every predictor sees the same folds.

        Raises
        ------
        AnalysisError
            A predictor lacks what it needs, or every protocol lacks cells.
        """
        asked: tuple[Predictor, ...] = (Zero(), TargetMean(), Additive(), *predictors)
        chosen = tuple({p.name: p for p in asked}.values()) if predictors else ()
        rows: list[dict[str, Any]] = []
        notes = []
        for protocol in self.protocols:
            try:
                rows += self._of_protocol(protocol, problem, chosen or predictors_for(problem), rng)
            except AnalysisError as error:
                notes.append(f"{PROTOCOLS[protocol]}: {error}")
        if not rows:
            raise AnalysisError(notes[0])
        return Evaluation(
            table=pl.DataFrame(rows),
            confidence=self.confidence,
            unit=problem.unit,
            own=bool((problem.own & problem.known).any()),
            notes=tuple(notes),
        )

    def _of_protocol(
        self,
        protocol: Protocol,
        problem: Problem,
        predictors: Sequence[Predictor],
        rng: np.random.Generator,
    ) -> Iterator[dict[str, Any]]:
        of_folds, of_fits, of_ties = rng.spawn(3)
        folds = folds_of(problem.known, protocol, rng=of_folds)
        # A new target is predicted for all sources at once.
        same = protocol == "target"
        ordering = folds if same else _ordering(problem, protocol, of_folds)
        truth = side_by_side(problem.gains, ordering)
        start = {"protocol": protocol}
        yield start | self._random(truth, of_ties)
        for predictor in predictors:
            one, other = of_fits.spawn(2)
            held = held_out(predictor, problem, folds, rng=one)
            ordered = held if same else held_out(predictor, problem, ordering, rng=other)
            numbers = self._errors(problem, held, error_groups(protocol, held))
            ranks = self._ranks(truth, side_by_side(ordered.values, ordering), of_ties)
            yield start | {"predictor": predictor.name} | numbers | ranks

    def _errors(self, problem: Problem, held: Held, groups: IntArray | None) -> dict[str, Any]:
        seen = held.fold >= 0
        error = np.abs(problem.gains - held.values)[seen]
        rmse = float(np.sqrt((error**2).mean()))
        half = held.half_widths(problem.gains, confidence=self.confidence, groups=groups)[seen]
        return {
            "n_cells": int(seen.sum()),
            "rmse": rmse,
            "rmse_noise": rmse / problem.noise if problem.noise > 0 else np.nan,
            "coverage": float((error <= half).mean()),
            "width": float(np.median(2.0 * half)),
        }

    def _ranks(
        self, truth: FloatArray, predicted: FloatArray, rng: np.random.Generator
    ) -> dict[str, float]:
        ranks = rank_scores(truth, predicted, k=self.k, rng=rng)
        regrets = {f"regret_at_{k}": value for k, value in zip(self.k, ranks.regret, strict=True)}
        return {"spearman": ranks.spearman, "ndcg": ranks.ndcg, **regrets}

    def _random(self, truth: FloatArray, rng: np.random.Generator) -> dict[str, Any]:
        # What orders nothing is broken at random: the mean of random orders.
        ranks = self._ranks(truth, np.where(np.isnan(truth), np.nan, 0.0), rng)
        errors = dict.fromkeys(("rmse", "rmse_noise", "coverage", "width"), np.nan)
        cells = {"predictor": RANDOM, "n_cells": int((~np.isnan(truth)).sum())}
        return cells | errors | ranks | {"spearman": 0.0}


def _ordering(problem: Problem, protocol: Protocol, rng: np.random.Generator) -> list[Fold]:
    return folds_of(problem.known, protocol, rng=rng, ordering=True)
