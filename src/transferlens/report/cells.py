"""The cells of a study as one table: scores, gains, and the word that the evidence allows."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import xarray as xr

from transferlens.report.claim import Lacking, verdict_of
from transferlens.results import TransferStudy
from transferlens.transfer import TransferMatrix

__all__ = ["NUMBERS", "cell_table", "usual_unit"]

NUMBERS = (
    "score",
    "gain",
    "gain_low",
    "gain_high",
    "normalized_gain",
    "p_value",
    "p_adjusted",
    "detectable",
    "n_seeds",
    "n_scored",
    "n_unscored",
)
"""What is known of a cell, in a target's own unit."""


def cell_table(
    study: TransferStudy, matrix: TransferMatrix | Lacking, level: float
) -> pl.DataFrame:
    """Return a row per source and target: `NUMBERS`, base, own task and verdict.

    Without a base only scores and counts are known, and everything else is NaN.
    """
    frame = _scores(study.scores) if isinstance(matrix, Lacking) else matrix.to_frame()
    words = [
        verdict_of(p, adjusted, level)
        for p, adjusted in frame.select("p_value", "p_adjusted").rows()
    ]
    return frame.with_columns(verdict=pl.Series(words, dtype=pl.String))


def _scores(scores: xr.Dataset) -> pl.DataFrame:
    sources, targets = (scores[axis].values.astype(str).tolist() for axis in ("source", "target"))
    mean = scores["score"].mean("seed", skipna=True).transpose("source", "target")
    counts = {
        name: scores[name].sum("seed", skipna=True).transpose("source", "target").values.ravel()
        for name in ("n_scored", "n_unscored")
    }
    made = scores["score"].notnull().sum("seed").transpose("source", "target").values
    n, p = len(sources), len(targets)
    per_target = {
        name: np.tile(scores[name].values, n).tolist()
        for name in ("metric", "unit", "higher_is_better")
    }
    unknown = np.full(n * p, math.nan)
    known = {"score": mean.values.ravel(), "n_seeds": made.ravel().astype(float), **counts}
    return pl.DataFrame(
        {
            "source": [source for source in sources for _ in targets],
            "target": targets * n,
            "base_score": unknown,
            "own": [source == target for source in sources for target in targets],
            **{name: known.get(name, unknown) for name in NUMBERS},
            **per_target,
            "test": ["none"] * (n * p),
            "training_known": [False] * (n * p),
        }
    )


def usual_unit(cells: pl.DataFrame) -> str:
    """Return the unit of most cells; of equals the first by name."""
    return str(cells["unit"].mode().sort()[0]) if cells.height else ""
