"""What a study folder holds and no longer needs: left over by a change of plan or by a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from transferlens.results.files import damage_of, encode_parquet, held, os_errors
from transferlens.results.plan import Cell, Plan
from transferlens.results.store import MERGED, STUDY_LOCK, StudyStore

__all__ = ["Collected", "Rubbish", "collect", "find_rubbish", "is_busy", "keep_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubbish:
    """A file or a folder of a study that nothing needs, or a file of which a part is needed."""

    path: Path
    reason: str
    n_bytes: int
    """What removing it frees."""
    kept: tuple[Cell, ...] = ()
    """Cells of the plan in a merged file, which stay; empty where the whole file goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What `collect` removed, or would remove."""

    removed: tuple[Rubbish, ...]
    busy: bool
    """Whether a process is at work in the folder, so that only leftovers of dead ones go."""

    @property
    def n_bytes(self) -> int:
        """How much was freed."""
        return sum(item.n_bytes for item in self.removed)


def collect(path: str | Path, *, dry_run: bool = False) -> Collected:
    """Remove from a study folder what its plan does not hold, and what dead processes left.

    While a process runs a study in the folder, whatever it may still need stays:
    only unfinished files that no living process holds are removed.

    Raises
    ------
    ResultsError
        The folder is no study, has no readable plan, or cannot be written to.
    """
    store = StudyStore.open(path)
    if dry_run:
        busy = is_busy(store)
        found = list(_unfinished(store)) if busy else find_rubbish(store)
        return Collected(removed=tuple(found), busy=busy)
    with store.alone() as alone:
        busy = not alone or is_busy(store, but=STUDY_LOCK)
        unfinished = list(_unfinished(store))
        gone = set(store.collect_garbage())
        removed = [item for item in unfinished if item.path in gone]
        for item in [] if busy else list(_unplanned(store, store.plan)):
            _remove(store, item)
            removed.append(item)
    return Collected(removed=tuple(removed), busy=busy)


def is_busy(store: StudyStore, *, but: str = "") -> bool:
    """Whether a living process holds any claim of the folder other than ``but``."""
    locks = (store.path / "locks").glob("[!.]*.lock")
    return any(_is_held(lock) for lock in locks if lock.name != but)


def _is_held(lock: Path) -> bool:
    return held(lock, shared=lock.name == STUDY_LOCK)


def find_rubbish(store: StudyStore) -> list[Rubbish]:
    """Return what a folder does not need, whether or not a process is at work in it."""
    return [*_unfinished(store), *_unplanned(store, store.plan)]


def _remove(store: StudyStore, item: Rubbish) -> None:
    with os_errors("remove", item.path):
        if item.kept:
            keep_only(store, item.path, item.kept)
        elif item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)


def keep_only(store: StudyStore, file: Path, cells: tuple[Cell, ...]) -> None:
    """Replace a merged file by one of these of its cells.

    A kill leaves both files, which readers tolerate. A process that merges the
    cells of this adapter right now is left to it.
    """
    with store.claim("compact", cells[0].adapter_id) as free:
        if free and file.exists():
            store.write_merged(list(cells), _rows_of(file, cells))
            file.unlink()


def _rows_of(file: Path, cells: tuple[Cell, ...]) -> pl.DataFrame:
    # A merged file is of one adapter and has one cell per target.
    wanted = [cell.target for cell in cells]
    return pl.read_parquet(file).filter(pl.col("target").is_in(wanted))


def _unfinished(store: StudyStore) -> Iterator[Rubbish]:
    """Find temporary files and folders that no living process holds."""
    reason = "was left unfinished by a process that is gone"
    for file in store.temporary_files():
        if not held(file) and (n_bytes := _size(file)) is not None:
            yield Rubbish(path=file, reason=reason, n_bytes=n_bytes)
    for folder, adapter_id in store.adapters.temporaries():
        busy = held(store.path / "locks" / f"adapter-{adapter_id}.lock")
        if not busy and (n_bytes := _size(folder)) is not None:
            yield Rubbish(path=folder, reason=reason, n_bytes=n_bytes)


def _unplanned(store: StudyStore, plan: Plan) -> Iterator[Rubbish]:
    yield from _cells(store, plan)
    known = {
        "adapters": {adapter.folder for adapter in plan.adapters},
        "examples": {f"{name}.parquet" for name in plan.examples_ids},
        "locks": set[str](),
    }
    keys = {adapter.id for adapter in plan.adapters} | {cell.id for cell in plan.cells}
    keys |= {cell.adapter_id for cell in plan.cells}
    known["failures"] = {f"{key}.json" for key in keys}
    known["logs"] = {f"{key}.log" for key in keys}
    for name, names in known.items():
        for path in sorted((store.path / name).glob("[!.]*")):
            gone = "is the claim of a process that is gone"
            if path.name in names or (name == "locks" and _is_held(path)):
                continue
            reason = gone if name == "locks" else "belongs to no part of the plan"
            yield Rubbish(path=path, reason=reason, n_bytes=_size(path) or 0)


def _cells(store: StudyStore, plan: Plan) -> Iterator[Rubbish]:
    planned = {cell.id: cell for cell in plan.cells}
    for file in sorted((store.path / "cells").glob("[!.]*.parquet")):
        inside = _cells_in(store, file)
        kept = tuple(planned[cell] for cell in inside if cell in planned)
        if inside and not kept:
            reason = "holds no cell of the plan"
            yield Rubbish(path=file, reason=reason, n_bytes=_size(file) or 0)
        elif len(kept) < len(inside):
            reason = f"holds {len(inside) - len(kept)} cells that are not in the plan"
            freed = max((_size(file) or 0) - _size_with(file, kept), 0)
            yield Rubbish(path=file, reason=reason, n_bytes=freed, kept=kept)


def _cells_in(store: StudyStore, file: Path) -> list[str]:
    """Return the cells in a file; none where it is damaged: `check` names it, and what to do."""
    if not file.name.startswith(MERGED):
        return [file.stem]
    return [] if damage_of(file) else list(store.cells_in(file))


def _size_with(file: Path, cells: tuple[Cell, ...]) -> int:
    names = json.dumps({cell.id: cell.target for cell in cells})
    return len(encode_parquet(_rows_of(file, cells), {"cells": names}))


def _size(path: Path) -> int | None:
    """Return bytes of a file or of all files of a folder; None where it is gone by now."""
    files = [path] if path.is_file() else list(path.rglob("*"))
    with suppress(FileNotFoundError):
        sizes = [file.stat().st_size for file in files if file.is_file()]
        return sum(sizes) if path.exists() else None
    return None
