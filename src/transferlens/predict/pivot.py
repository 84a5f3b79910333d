"""Prediction through pivots: what alike sources do to a target, on tasks that both have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transferlens.predict.effects import two_way
from transferlens.predict.problem import Fitted, Problem
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["Pivot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pivot:
    """Two sources are alike if they do alike to the targets that both were measured on.

    What source and target effects leave of a cell is predicted from the same target's cells
    of alike sources, and from the same source's cells of alike targets; the two predictions
    are averaged, each weighted by how much it rests on.

    References
    ----------
    .. [1] Bell, Koren. *Scalable collaborative filtering with jointly derived neighborhood
       interpolation weights*. 2007. doi:10.1109/ICDM.2007.90
    """

    name: ClassVar[str] = "pivot"
    shrinkage: float = 3.0
    """Pivots that stand against likeness: with as many common tasks it counts half."""

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict effects plus what pivots say; without pivots the effects alone."""
        known = problem.require_known()
        effects = two_way(problem.gains, known).fitted
        rest = np.where(known, problem.gains - effects, 0.0)
        above, below = _votes(rest, known, self.shrinkage)
        across, beneath = _votes(rest.T, known.T, self.shrinkage)
        # One vote for "nothing beyond the effects".
        total = below + beneath.T + 1.0
        return Fitted(values=effects + (above + across.T) / total)


def _votes(rest: FloatArray, known: BoolArray, shrinkage: float) -> tuple[FloatArray, FloatArray]:
    """Return sums of votes of alike rows and of their weights, (row, column) each."""
    weight = known.astype(np.float64)
    common = weight @ weight.T
    square = (rest**2) @ weight.T
    size = np.sqrt(square * square.T)
    alike = np.where(size > 0, (rest @ rest.T) / np.where(size > 0, size, 1.0), 0.0)
    alike *= common / (common + shrinkage)
    # A cell has no vote on itself.
    np.fill_diagonal(alike, 0.0)
    return alike @ rest, np.abs(alike) @ weight
