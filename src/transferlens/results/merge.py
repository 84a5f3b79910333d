"""Merge an adapter's cells into one file: ten thousand small files read slowly."""

from __future__ import annotations

from collections import defaultdict

from transferlens.results.files import os_errors
from transferlens.results.plan import Cell
from transferlens.results.store import StudyStore
from transferlens.results.stored import CellFiles

__all__ = ["compact"]


def compact(store: StudyStore) -> int:
    """Merge the finished cells of each adapter into one file.

    A kill leaves cells in both places, which readers tolerate; nothing is
    removed before its copy is synced. Cells that are not in the plan stay as
    they are. Another process that compacts the same adapter is left to it.

    Returns
    -------
    int
        Number of files that were merged away.

    Raises
    ------
    ResultsError
        A cell is damaged, or the system refuses; nothing is lost.
    """
    store.collect_garbage()
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in store.plan.cells:
        groups[cell.adapter_id].append(cell)
    found = store.cell_files()
    removed = 0
    for adapter_id, cells in groups.items():
        done = [cell for cell in cells if cell.id in found]
        if len({found[cell.id] for cell in done}) < 2:
            continue
        with store.claim("compact", adapter_id) as free:
            if free:
                removed += _merge(store, done)
    return removed


def _merge(store: StudyStore, cells: list[Cell]) -> int:
    files = CellFiles(store, cells)
    frame = files.scan().collect().sort("target", "example")
    kept = store.write_merged(cells, frame)
    merged = {cell.id for cell in cells}
    gone = [file for file in files.paths if file != kept and set(store.cells_in(file)) <= merged]
    for file in gone:
        with os_errors("remove", file):
            file.unlink(missing_ok=True)
    return len(gone)
