"""Predictions where they lie: in the cell files of a folder, or in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Protocol

import polars as pl

from transferlens.errors import ResultsError
from transferlens.results.files import damage_of
from transferlens.results.plan import Cell
from transferlens.results.schema import PREDICTION_SCHEMA
from transferlens.results.store import StudyStore

__all__ = ["CellFiles", "InMemory", "Predictions"]


class Predictions(Protocol):
    """Anything that gives prediction rows, all or those of some targets."""

    def scan(self, targets: Collection[str] | None = None) -> pl.LazyFrame:
        """Return the rows, with the columns of `PREDICTION_SCHEMA`."""
        ...

    def without(self, sources: Collection[str]) -> Predictions:
        """Return the rows of other sources than these."""
        ...


class InMemory:
    """Predictions that were never stored."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame

    def scan(self, targets: Collection[str] | None = None) -> pl.LazyFrame:
        """Return the rows, all or those of some targets."""
        if targets is None:
            return self._frame
        return _of_targets(self._frame, targets)

    def without(self, sources: Collection[str]) -> InMemory:
        """Return the rows of other sources than these."""
        return InMemory(self._frame.filter(~pl.col("source").is_in(list(sources))))


class CellFiles:
    """The cell files of a study folder, of the given cells only.

    Each file's checksum is compared once, when it is first read: a flipped
    bit in a compressed score would otherwise be a wrong score.
    """

    def __init__(self, store: StudyStore, cells: Sequence[Cell]) -> None:
        self._store = store
        self._cells = cells
        self._whole: set[Path] = set()

    def without(self, sources: Collection[str]) -> CellFiles:
        """Return the files of other sources than these; the others are not even opened."""
        left = [cell for cell in self._cells if cell.source not in sources]
        return CellFiles(self._store, left)

    @cached_property
    def _by_file(self) -> dict[Path, list[Cell]]:
        found = self._store.cell_files()
        files: dict[Path, list[Cell]] = defaultdict(list)
        for cell in self._cells:
            if (file := found.get(cell.id)) is not None:
                files[file].append(cell)
        return dict(files)

    @property
    def paths(self) -> list[Path]:
        """Files that hold the cells."""
        return list(self._by_file)

    def scan(self, targets: Collection[str] | None = None) -> pl.LazyFrame:
        """Return the rows, all or those of some targets.

        Raises
        ------
        ResultsError
            A file is damaged; the message names it.
        """
        by_file = {
            file: names if targets is None else names & set(targets)
            for file, names in self._targets.items()
        }
        wanted = {file: names for file, names in by_file.items() if names}
        if not wanted:
            return pl.LazyFrame(schema=PREDICTION_SCHEMA)
        self._check(list(wanted))
        # One scan of many files is far cheaper than many scans of one; only a merged file
        # that holds cells which the plan has dropped needs a filter of its own.
        pure = [file for file in wanted if file in self._pure]
        whole = [file for file in pure if wanted[file] == self._targets[file]]
        partly = [file for file in pure if wanted[file] != self._targets[file]]
        parts = [pl.scan_parquet(whole, glob=False)] if whole else []
        if partly:
            names = sorted(set().union(*(wanted[file] for file in partly)))
            parts.append(_of_targets(pl.scan_parquet(partly, glob=False), names))
        parts += [
            _of_targets(pl.scan_parquet(file, glob=False), sorted(names))
            for file, names in wanted.items()
            if file not in self._pure
        ]
        return pl.concat(parts)

    @cached_property
    def _targets(self) -> dict[Path, set[str]]:
        """Targets of each file's planned cells."""
        return {file: {cell.target for cell in cells} for file, cells in self._by_file.items()}

    @cached_property
    def _pure(self) -> set[Path]:
        """Files that hold planned cells only."""
        return {
            file
            for file, cells in self._by_file.items()
            # A file that is named after its only cell needs no look inside.
            if file.stem in {cell.id for cell in cells}
            or set(self._store.cells_in(file).values()) <= self._targets[file]
        }

    def _check(self, files: list[Path]) -> None:
        fresh = [file for file in files if file not in self._whole]
        with ThreadPoolExecutor() as pool:
            for file, damage in zip(fresh, pool.map(damage_of, fresh), strict=True):
                if damage:
                    msg = f"{file} {damage}; delete it and run the study again"
                    raise ResultsError(msg)
        self._whole.update(fresh)


def _of_targets(rows: pl.LazyFrame, names: Collection[str]) -> pl.LazyFrame:
    return rows.filter(pl.col("target").is_in(list(names)))
