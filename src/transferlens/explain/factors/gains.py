"""The gains that factors are to explain: those on other tasks than a source's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.results import TransferStudy
from transferlens.stats import AdditiveModel
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["Gains", "gains_of", "given_by_sources", "over_cells"]


class Gains(NamedTuple):
    """Mean gains over seeds of a study's cells."""

    gain: FloatArray
    """Shape (source, target); NaN: own task, not known, or another unit."""
    own: IntArray
    """For each source the index of the target of the same name, -1 without one."""
    unit: str
    notes: tuple[str, ...]


def gains_of(study: TransferStudy) -> Gains:
    """Return the gains of a study on other tasks, in the unit of most targets.

    Raises
    ------
    AnalysisError
        The study has no base scores.
    """
    scores = study.scores
    base = scores["base_score"].values
    if not np.isfinite(base).any():
        msg = "the study has no base scores; run or import the untuned base model, then compare"
        raise AnalysisError(msg)
    sign = np.where(scores["higher_is_better"].values, 1.0, -1.0)[:, None]
    gain = _mean(sign * (scores["score"].values - base))
    sources, targets = (scores[axis].values.astype(str).tolist() for axis in ("source", "target"))
    own = np.array([targets.index(name) if name in targets else -1 for name in sources])
    gain[own[:, None] == np.arange(len(targets))] = np.nan
    units = scores["unit"].values.astype(str)
    names, counts = np.unique(units, return_counts=True)
    usual = str(names[counts.argmax()])
    other = units != usual
    gain[:, other] = np.nan
    left_out = ", ".join(np.array(targets)[other][:5].tolist())
    notes = (f"left out, since not measured in {usual}: {left_out}",) if other.any() else ()
    return Gains(gain, own, usual, notes)


def _mean(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is not NaN; NaN without any."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def given_by_sources(gain: FloatArray) -> FloatArray:
    """Return what each source gives beyond the levels of the targets; NaN without cells."""
    effects = AdditiveModel(~np.isnan(gain)).fit(gain)
    return np.where(np.isnan(gain).all(axis=1), np.nan, effects.source)


def over_cells(x: FloatArray, gain: FloatArray) -> FloatArray:
    """Return a factor over all cells, one of sources repeated over the targets."""
    return np.broadcast_to(x[:, None], gain.shape) if x.ndim == 1 else x
