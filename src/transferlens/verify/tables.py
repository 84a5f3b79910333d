"""Reading the published tables: shipped facts, and files that a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transferlens.errors import DataError
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy

__all__ = ["given_table", "numbers", "shipped_table", "study_of"]

Array = NDArray[np.float64]


def shipped_table(name: str) -> pl.DataFrame:
    """Return a table of facts that the package holds, its cells as printed text."""
    with as_file(files("transferlens.verify").joinpath("facts", f"{name}.csv")) as file:
        return _read(file)


def given_table(folder: Path, name: str) -> pl.DataFrame:
    """Return a table of the folder that the user gives, its cells as text.

    Raises
    ------
    DataError
        The folder does not hold it, or it cannot be read.
    """
    return _read(folder / f"{name}.csv")


def _read(file: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(file, infer_schema=False)
    except FileNotFoundError:
        msg = f"{file} is missing; give the folder that holds the published matrices"
        raise DataError(msg) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        first, *_ = str(error).splitlines()
        msg = f"{file} cannot be read as CSV: {first}"
        raise DataError(msg) from None


def numbers(table: pl.DataFrame, columns: Sequence[str]) -> Array:
    """Return columns as numbers, NaN where a cell is empty, shape (row, column).

    Raises
    ------
    DataError
        A column is missing, or a cell holds something else.
    """
    try:
        return table.select(pl.col(columns).cast(pl.Float64)).to_numpy()
    except pl.exceptions.PolarsError as error:
        first, *_ = str(error).splitlines()
        msg = f"a published table does not hold the numbers {list(columns)}: {first}"
        raise DataError(msg) from None


def study_of(
    scores: Array, sources: Sequence[str], targets: Sequence[str], info: TargetInfo
) -> TransferStudy:
    """Return a study of bare scores.

    Parameters
    ----------
    scores
        Shape (source, target).
    sources
        Names of the rows; ``base`` for the base model.
    targets
        Names of the columns.
    info
        Metric, unit and ceiling of all targets; its name is replaced.
    """
    n, p = scores.shape
    frame = pl.DataFrame(
        {
            "source": np.repeat(np.array(sources), p),
            "target": np.tile(np.array(targets), n),
            "score": scores.ravel(),
        }
    )
    return TransferStudy.from_scores(
        frame,
        sources=[SourceInfo(name=name) for name in sources if name != BASE],
        targets=[
            TargetInfo(name=name, metric=info.metric, unit=info.unit, ceiling=info.ceiling)
            for name in targets
        ],
    )
