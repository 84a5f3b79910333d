"""What a transfer matrix is made of, and how it was tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import xarray as xr

from transferlens.stats import AdjustMethod, McNemarMethod

__all__ = ["Evidence", "TransferMatrix"]

GradedMethod = Literal["bootstrap", "sign-flip"]

_PER_TARGET = ("base_score", "metric", "unit", "higher_is_better", "test", "training_known")
_PER_CELL = (
    "own",
    "score",
    "score_low",
    "score_high",
    "gain",
    "gain_low",
    "gain_high",
    "normalized_gain",
    "perfection_gap_factor",
    "standard_error",
    "df",
    "p_value",
    "p_adjusted",
    "detectable",
    "n_seeds",
    "n_scored",
    "n_unscored",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How a transfer matrix is tested; the defaults are what we recommend."""

    confidence: float = 0.95
    """Nominal coverage of every interval."""
    adjust: AdjustMethod | Literal["max-t"] = "bh"
    """Over all cells: ``bh`` controls the false-discovery rate; ``max-t`` (strict)
    the probability of any false discovery, by sign flips shared per target. A flip
    cannot see training variance: with several seeds ``max-t`` becomes ``holm``."""
    binary: McNemarMethod = "mid-p"
    """Test of right/wrong scores when there is one training run per source."""
    graded: GradedMethod = "bootstrap"
    """Test of graded scores when there is one training run per source."""
    n_resamples: int = 9_999
    """Resamples of bootstrap, sign flip and max-T."""
    seed: int = 0
    """Seed of the resamples: the same seed gives the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferMatrix:
    """Gain of every source on every target, with its evidence.

    Gains are oriented: above 0 the adapter is better than the base, whether
    the metric counts up or down.
    """

    data: xr.Dataset
    """Over (source, target): ``score``, ``score_low``, ``score_high``, ``gain``,
    ``gain_low``, ``gain_high``, ``standard_error``, ``df``, ``p_value``,
    ``p_adjusted``, ``normalized_gain``, ``perfection_gap_factor``, ``detectable``
    (smallest gain found with 80 % power), ``n_seeds``, ``n_scored``,
    ``n_unscored``, ``own`` (the source's own task); over target:
    ``base_score``, ``base_shared_error``, ``test``, ``training_known`` (whether the
    error includes training variance). NaN: not scored or not estimable. Attribute
    ``adjust``: the adjustment that was used."""
    evidence: Evidence
    notes: tuple[str, ...]
    """What a reader must know, in words."""

    def to_xarray(self) -> xr.Dataset:
        """Return a copy of the labelled data."""
        return self.data.copy(deep=True)

    def to_frame(self) -> pl.DataFrame:
        """Return one row per cell, columns as in `data`; NaN stays NaN."""
        shape = (self.data.sizes["source"], self.data.sizes["target"])
        names = {
            "source": np.repeat(self.data["source"].values.astype(str), shape[1]).tolist(),
            "target": np.tile(self.data["target"].values.astype(str), shape[0]).tolist(),
        }
        # Lists of words: polars does not take NumPy's own strings.
        per_target = {
            name: np.tile(self.data[name].values, shape[0]).tolist() for name in _PER_TARGET
        }
        cells = {name: self.data[name].transpose("source", "target") for name in _PER_CELL}
        numbers = {name: values.values.ravel() for name, values in cells.items()}
        first = ("base_score", *_PER_CELL)
        table = names | {name: (numbers | per_target)[name] for name in (*first, *_PER_TARGET[1:])}
        return pl.DataFrame(table)

    def significant(self, level: float = 0.05) -> xr.DataArray:
        """Return which cells are significant after adjustment, (source, target) bool."""
        return self.data["p_adjusted"] <= level
