"""Score matrices with known traits and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import SpecError
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy
from transferlens.testing.structure import Array, Structure, Truth, draw_truth, missing_cells

__all__ = ["SimulatedScores", "simulate_scores"]


class SimulatedScores(NamedTuple):
    """A score matrix and its truth."""

    scores: xr.DataArray
    """Over (source, target): ``truth.expected + noise``, NaN where a cell is missing.
    Not cut off at 0 or 1. Coordinates ``family`` and ``metric`` over target."""
    base: xr.DataArray
    """The base's scores over target, without noise."""
    noise: Array
    """What was added to the truth, shape (source, target)."""
    truth: Truth

    def to_study(self) -> TransferStudy:
        """Return the matrix as a study of bare scores, its base included."""
        table = self.scores.values
        names = np.array([BASE, *self.truth.sources])
        values = np.vstack([self.base.values, table])
        n, p = values.shape
        frame = pl.DataFrame(
            {
                "source": np.repeat(names, p),
                "target": np.tile(np.array(self.truth.targets), n),
                "score": values.ravel(),
            }
        )
        return TransferStudy.from_scores(
            frame.filter(pl.col("score").is_not_nan()),
            sources=[SourceInfo(name=name) for name in self.truth.sources],
            targets=[
                TargetInfo(name=name, metric="score", family=family)
                for name, family in zip(self.truth.targets, self.truth.families, strict=True)
            ],
        )


def simulate_scores(
    structure: Structure | None = None,
    *,
    rng: np.random.Generator,
    noise: float = 0.01,
    missing: float = 0.0,
) -> SimulatedScores:
    """Make a score matrix with known traits.

    Parameters
    ----------
    structure
        What is true of it; the defaults by default.
    rng
        Source of everything random.
    noise
        SD of the normal noise of each cell, in scores.
    missing
        Share of the cells that are missing, at random. A source keeps its own
        task, and no source or target is without any cell.

    Returns
    -------
    SimulatedScores
        The matrix beside what was planted in it.

    Raises
    ------
    SpecError
        The noise is negative, or too many cells would be missing.
    """
    if not noise >= 0:
        msg = f"noise={noise} must be a standard deviation, at least 0"
        raise SpecError(msg)
    truth = draw_truth(structure or Structure(), rng=rng)
    shape = truth.gain.shape
    added = noise * rng.standard_normal(shape)
    gone = missing_cells(shape, missing, rng=rng)
    coords = {
        "target": list(truth.targets),
        "family": ("target", list(truth.families)),
        "metric": ("target", ["score"] * shape[1]),
    }
    return SimulatedScores(
        scores=xr.DataArray(
            np.where(gone, np.nan, truth.expected + added),
            dims=("source", "target"),
            coords={"source": list(truth.sources), **coords},
            name="score",
        ),
        base=xr.DataArray(truth.base, dims=("target",), coords=coords, name="base_score"),
        noise=added,
        truth=truth,
    )
