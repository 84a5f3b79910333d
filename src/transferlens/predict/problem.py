"""What is to be predicted, and the interface of everything that predicts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.results import SourceInfo, TransferStudy, Values, matrix_values
from transferlens.stats.arrays import BoolArray, FloatArray, float_array

__all__ = ["Fitted", "Predictor", "Problem", "own_tasks", "problem_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """A matrix of gains of which some cells are measured.

    A source or target without any measured cell is a new one: it can be predicted from
    what its rows and columns have in common with others, and from its features.
    """

    gains: FloatArray
    """Shape (source, target); NaN where not measured."""
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    own: BoolArray
    """Cells in which source and target are the same task, (source, target)."""
    features: FloatArray | None = None
    """What is known of a pair without any training, (source, target, feature); NaN unknown."""
    feature_names: tuple[str, ...] = ()
    noise: float = float("nan")
    """Standard deviation of one cell between training seeds, in the unit of the gains; NaN
    with one seed."""
    unit: str = "points"

    def __post_init__(self) -> None:
        shape = (len(self.sources), len(self.targets))
        float_array(self.gains, name="gains", ndim=2)
        extra = shape if self.features is None else self.features.shape[:2]
        if not self.gains.shape == self.own.shape == extra == shape:
            msg = (
                f"gains {self.gains.shape}, own cells {self.own.shape} and features {extra} must "
                f"all have one row per source and one column per target: {shape}"
            )
            raise AnalysisError(msg)

    @property
    def known(self) -> BoolArray:
        """Which cells are measured, (source, target)."""
        return np.asarray(~np.isnan(self.gains))

    def hide(self, cells: BoolArray) -> Problem:
        """Return the problem as if these cells, (source, target), had not been measured."""
        return replace(self, gains=np.where(cells, np.nan, self.gains))

    def require_known(self) -> BoolArray:
        """Return which cells are measured.

        Raises
        ------
        AnalysisError
            There is none.
        """
        known = self.known
        if not known.any():
            msg = "no cell is measured, so nothing can be predicted; run or import some first"
            raise AnalysisError(msg)
        return known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A fitted predictor."""

    values: FloatArray
    """Predicted gain of every cell, measured or not, (source, target); finite."""
    spread: FloatArray | None = None
    """Standard deviation of a new measurement around the prediction, by the model, (source,
    target). It says where a prediction is less sure; intervals are calibrated on top of it."""
    words: str = ""
    """What the fit chose, for a reader."""

    def predict(self) -> FloatArray:
        """Return the predicted gain of every cell, (source, target)."""
        return self.values


class Predictor(Protocol):
    """Parameters of a way to predict; `fit` changes nothing of it."""

    @property
    def name(self) -> str:
        """What a table calls it."""

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:
        """Learn from the measured cells and predict all.

        Raises
        ------
        AnalysisError
            No cell is measured, or what the predictor needs is not known.
        """


def own_tasks(sources: Sequence[SourceInfo], targets: Sequence[str]) -> BoolArray:
    """Return which targets an adapter was trained for, itself or through others.

    A merged adapter has learnt what its parts have, one that goes on what the first has.

    Returns
    -------
    BoolArray
        Shape (source, target).
    """
    infos = {info.name: info for info in sources}

    def names(info: SourceInfo) -> set[str]:
        parts = [*info.merged_of, *([info.after] if info.after else [])]
        found = {info.name, *parts, *info.tasks}
        return found.union(*(names(infos[part]) for part in parts if part in infos))

    rows = [[target in names(info) for target in targets] for info in sources]
    return np.array(rows, dtype=np.bool_).reshape(len(sources), len(targets))


def problem_of(
    study: TransferStudy,
    *,
    values: Values = "gain",
    features: FloatArray | None = None,
    feature_names: tuple[str, ...] = (),
    own: bool = False,
) -> Problem:
    """Return what a study has measured, as means over seeds and in points.

    Parameters
    ----------
    study
        With predictions or scores only.
    values
        ``gain`` over the base, counted upwards; ``score`` where there is no base.
    features, feature_names
        Of each pair, see `transferlens.predict.pair_features`.
    own
        Whether the gain of an adapter on its own task counts as measured. It is far larger
        than others and would be taken for a property of source or target.

    Raises
    ------
    AnalysisError
        No gain is known at all.
    """
    shown = matrix_values(study, values=values)
    matrix = shown["value"].values
    if not np.isfinite(matrix).any():
        hint = "; give --values score to predict scores" if values == "gain" else ""
        msg = f"the study has no {values} in any cell{hint}"
        raise AnalysisError(msg)
    same = own_tasks(study.sources, [info.name for info in study.targets])
    units = dict.fromkeys(map(str, shown["unit"].values))
    variance = shown["sd"].values ** 2
    return Problem(
        gains=matrix if own else np.where(same, np.nan, matrix),
        sources=tuple(map(str, shown["source"].values)),
        targets=tuple(map(str, shown["target"].values)),
        own=same,
        features=features,
        feature_names=feature_names,
        noise=float(np.sqrt(np.nanmean(variance))) if np.isfinite(variance).any() else np.nan,
        unit=" / ".join(units),
    )
