"""From prediction rows to arrays: means and counts per cell, scores per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transferlens.errors import ResultsError
from transferlens.results.schema import SCORE_SCHEMA

__all__ = ["CellArrays", "cell_arrays", "example_array", "positions", "summarise"]


class CellArrays(NamedTuple):
    """Arrays over (source, target, seed)."""

    score: NDArray[np.float64]
    n_scored: NDArray[np.float64]
    n_unscored: NDArray[np.float64]


def summarise(predictions: pl.LazyFrame) -> pl.DataFrame:
    """Return mean score and counts per source, target and seed (`SCORE_SCHEMA`).

    The mean is over the scored examples; NaN where there is none.
    """
    score = pl.col("score").fill_nan(None)
    return (
        predictions.group_by("source", "target", "seed")
        .agg(
            score=score.mean().fill_null(float("nan")),
            n_scored=score.count(),
            n_unscored=score.null_count(),
        )
        .cast({"n_scored": pl.Float64, "n_unscored": pl.Float64})
        .select(SCORE_SCHEMA.names())
        .collect(engine="streaming")
    )


def cell_arrays(
    rows: pl.DataFrame,
    sources: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
) -> CellArrays:
    """Spread rows of `SCORE_SCHEMA` over (source, target, seed).

    A cell without a row has score NaN and no examples. Rows of other
    sources, targets or seeds are left out.
    """
    index = (
        positions(rows["source"], sources),
        positions(rows["target"], targets),
        positions(rows["seed"], seeds),
    )
    known = np.all([part >= 0 for part in index], axis=0)
    place = tuple(part[known] for part in index)
    shape = (len(sources), len(targets), len(seeds))
    arrays = CellArrays(np.full(shape, np.nan), np.zeros(shape), np.zeros(shape))
    for name, array in zip(CellArrays._fields, arrays, strict=True):
        array[place] = rows[name].to_numpy()[known]
    return arrays


def example_array(
    rows: pl.DataFrame,
    sources: Sequence[str],
    seeds: Sequence[int],
    examples: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Spread scores of one target over (source, seed, example); NaN where there is none."""
    index = (
        positions(rows["source"], sources),
        positions(rows["seed"], seeds),
        np.searchsorted(examples, rows["example"].to_numpy()),
    )
    known = (index[0] >= 0) & (index[1] >= 0)
    array = np.full((len(sources), len(seeds), len(examples)), np.nan)
    array[tuple(part[known] for part in index)] = rows["score"].to_numpy()[known]
    return array


def positions(values: pl.Series, order: Sequence[str] | Sequence[int]) -> NDArray[np.int64]:
    """Return the place of each value in ``order``, -1 where it has none.

    Raises
    ------
    ResultsError
        ``order`` holds a value twice.
    """
    if len(set(order)) < len(order):
        msg = f"{values.name}: a name stands twice in {list(order)}"
        raise ResultsError(msg)
    if isinstance(values.dtype, pl.Enum):
        known = positions(values.dtype.categories, order)
        codes = values.to_physical().cast(pl.Int64).fill_null(len(known)).to_numpy()
        places_of_codes: NDArray[np.int64] = np.append(known, -1)[codes]
        return places_of_codes
    keys = pl.Series(values=order, dtype=values.dtype, strict=True)
    places = pl.Series(values=range(len(order)), dtype=pl.Int64)
    return values.replace_strict(keys, places, default=-1, return_dtype=pl.Int64).to_numpy()
