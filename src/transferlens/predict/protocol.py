"""Which cells are hidden together, and what is predicted for them without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.predict.conformal import conformal_quantile
from transferlens.predict.problem import Predictor, Problem
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray
from transferlens.traits.impute import held_out_folds

__all__ = [
    "PROTOCOLS",
    "Fold",
    "Held",
    "Protocol",
    "cross_chosen",
    "error_groups",
    "folds_of",
    "held_out",
    "side_by_side",
]

Protocol = Literal["source", "target", "both", "cells"]

PROTOCOLS: dict[Protocol, str] = {
    "source": "a new source: all its cells are hidden",
    "target": "a new target: all its cells are hidden",
    "both": "a new source and a new target: all cells of both are hidden",
    "cells": "single cells, a tenth hidden at a time",
}

_MOST_SINGLE = 30
_MOST_BLOCKS = 5
_THIRDS = 3
_CELL_FOLDS = 10


class Fold(NamedTuple):
    """One fit without some cells."""

    hidden: BoolArray
    """Not shown to the predictor, (source, target)."""
    tested: BoolArray
    """Part of the hidden ones, (source, target)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Predictions of cells that were hidden; NaN where a cell was not predicted."""

    values: FloatArray
    """Shape (source, target)."""
    spread: FloatArray
    """In units of which errors are alike, (source, target)."""
    is_even: bool
    """Whether the predictor gives no spread of its own: the unit is then 1."""
    fold: IntArray
    """In which fold a cell was predicted, (source, target); -1 in none."""

    def half_widths(
        self, truth: FloatArray, *, confidence: float, groups: IntArray | None
    ) -> FloatArray:
        """Return half the width of each cell's interval, (source, target).

        A fold's intervals rest on the errors in the other folds.
        """
        errors = np.abs(truth - self.values) / self.spread
        half = np.full(truth.shape, np.nan)
        for fold in range(int(self.fold.max()) + 1):
            here, others = self.fold == fold, (self.fold != fold) & (self.fold >= 0)
            of_others = None if groups is None else groups[others]
            width = conformal_quantile(errors[others], confidence=confidence, groups=of_others)
            half[here] = width * self.spread[here]
        return half


def folds_of(
    known: BoolArray, protocol: Protocol, *, rng: np.random.Generator, ordering: bool = False
) -> list[Fold]:
    """Divide the measured cells into folds.

    Parameters
    ----------
    known
        Which cells are measured, (source, target).
    protocol
        See `PROTOCOLS`. Sources and targets are left out one by one up to thirty, else in
        thirty groups; both together in five groups of sources by five of targets.
    rng
        Draws groups and cells.
    ordering
        For comparing the order of sources: only predictions of one fit can be compared, since
        what is left without a good source is lower than without a bad one. Hence a third of
        the sources is hidden at once, and half of the single cells.

    Raises
    ------
    AnalysisError
        Too few cells are measured for this.
    """
    found = [
        fold for fold in _folds(known, protocol, rng, ordering=ordering) if _usable(fold, known)
    ]
    if len(found) < 2:
        msg = (
            f"{int(known.sum())} measured cells cannot be divided for the protocol {protocol!r}; "
            "measure two sources and two targets at least"
        )
        raise AnalysisError(msg)
    return found


def _usable(fold: Fold, known: BoolArray) -> bool:
    return bool(fold.tested.any()) and bool((known & ~fold.hidden).any())


def _folds(
    known: BoolArray, protocol: Protocol, rng: np.random.Generator, *, ordering: bool
) -> list[Fold]:
    n, p = known.shape
    if protocol == "cells":
        parts = held_out_folds(known, rng=rng, n_folds=2 if ordering else _CELL_FOLDS)
        return [Fold(gone, gone) for gone in parts]
    if protocol == "both":
        most = _THIRDS if ordering else _MOST_BLOCKS
        rows, columns = _groups(n, most, rng), _groups(p, most, rng)
        return [
            Fold(row[:, None] | column, row[:, None] & column & known)
            for row in rows
            for column in columns
        ]
    if protocol == "source":
        rows = _groups(n, _THIRDS if ordering else _MOST_SINGLE, rng)
        gone = [np.broadcast_to(row[:, None], (n, p)) for row in rows]
    else:
        gone = [np.broadcast_to(column, (n, p)) for column in _groups(p, _MOST_SINGLE, rng)]
    return [Fold(hidden, hidden & known) for hidden in gone]


def _groups(n: int, most: int, rng: np.random.Generator) -> list[BoolArray]:
    label = rng.permutation(np.arange(n) % most)
    return [label == group for group in range(min(n, most))]


def held_out(
    predictor: Predictor, problem: Problem, folds: list[Fold], *, rng: np.random.Generator
) -> Held:
    """Predict the tested cells of each fold without its hidden cells."""
    shape = problem.gains.shape
    values, spread = np.full(shape, np.nan), np.full(shape, np.nan)
    at = np.full(shape, -1, dtype=np.int64)
    is_even = True
    for number, (fold, own) in enumerate(zip(folds, rng.spawn(len(folds)), strict=True)):
        fitted = predictor.fit(problem.hide(fold.hidden), rng=own)
        values[fold.tested] = fitted.predict()[fold.tested]
        unit = np.ones(shape) if fitted.spread is None else fitted.spread
        spread[fold.tested] = unit[fold.tested]
        at[fold.tested] = number
        is_even = is_even and fitted.spread is None
    return Held(values=values, spread=spread, fold=at, is_even=is_even)


def cross_chosen(
    truth: FloatArray, held: Sequence[Held], scaled: Sequence[FloatArray]
) -> FloatArray:
    """Return errors of the predictor that is best, each chosen without the error's own fold.

    The smallest of several errors is too small to say how far the next prediction is off:
    the best predictor was chosen by those very errors.

    Parameters
    ----------
    truth
        Shape (source, target).
    held
        Of each predictor, over the same folds.
    scaled
        Absolute errors of each, in units in which those of all predictors are alike, (source,
        target); NaN where none was predicted.
    """
    squares = np.stack([(truth - one.values) ** 2 for one in held])
    fold = held[0].fold
    found = np.full(truth.shape, np.nan)
    total = np.where(fold >= 0, squares, 0.0).sum(axis=(1, 2))
    for number in range(int(fold.max()) + 1):
        here = fold == number
        # Of equals the first, which is the simplest.
        best = int(np.round(total - squares[:, here].sum(axis=1), 9).argmin())
        found[here] = scaled[best][here]
    return found


def side_by_side(values: FloatArray, folds: list[Fold]) -> FloatArray:
    """Return the tested cells of each fold as columns of their own, (source, fold × target)."""
    return np.concatenate([np.where(fold.tested, values, np.nan) for fold in folds], axis=1)


def error_groups(protocol: Protocol, held: Held) -> IntArray | None:
    """Return within what errors are alike, (source, target): a source, a target, a block."""
    n, p = held.fold.shape
    if protocol == "cells":
        return None
    if protocol == "both":
        return held.fold
    source, target = np.meshgrid(np.arange(n), np.arange(p), indexing="ij")
    return np.asarray(source if protocol == "source" else target, dtype=np.int64)
