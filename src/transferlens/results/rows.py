"""The rows of a cell, checked before they are stored."""

from __future__ import annotations

import polars as pl

from transferlens.errors import ResultsError
from transferlens.results.plan import Cell
from transferlens.results.schema import PREDICTION_SCHEMA, conform

__all__ = ["cell_rows"]


def cell_rows(cell: Cell, rows: pl.DataFrame) -> pl.DataFrame:
    """Check that rows belong to a cell, and sort them by example.

    Raises
    ------
    ResultsError
        They are not those of the cell.
    """
    where = f"cell {cell.source} -> {cell.target}, seed {cell.seed}"
    frame = conform(rows, PREDICTION_SCHEMA, where=where).sort("example")
    if frame.height != cell.n_examples:
        msg = f"{where}: {frame.height} predictions for {cell.n_examples} examples"
        raise ResultsError(msg)
    if frame["example"].n_unique() != frame.height or frame["example"].null_count():
        msg = f"{where}: an example occurs twice or has no number"
        raise ResultsError(msg)
    keys = frame.select("source", "target", "seed").unique().rows()
    if keys not in ([], [cell.key]):
        msg = f"{where}: its rows are of {keys[0]}"
        raise ResultsError(msg)
    return frame
