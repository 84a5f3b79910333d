"""A study folder: every finished cell is a file, and no crash leaves half of one.

::

    manifest.json          format name and version
    plan.json              what the folder will hold once it is complete
    examples/<id>.parquet  texts of a target's examples, once per target
    cells/<id>.parquet     predictions of one finished cell
    cells/merged-….parquet predictions of several cells of one adapter
    scores.parquet         instead of cells, where only scores are known
    adapters/<folder>/     PEFT folder, with checksums of its files
    failures/<id>.json     why an adapter or a cell failed; its log is in logs/
    locks/                 claims of running processes
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from transferlens.errors import ResultsError
from transferlens.results.adapters import AdapterFolders
from transferlens.results.failures import (
    Failure,
    clear_failure,
    read_failures,
    record_failure,
)
from transferlens.results.files import (
    TEMPORARY,
    announced,
    claimed,
    damage_of,
    encode_parquet,
    held,
    os_errors,
    parquet_metadata,
    write_atomically,
)
from transferlens.results.manifest import (
    check_manifest,
    create_folder,
    make_folders,
)
from transferlens.results.plan import Cell, Plan, PlannedAdapter, checked_name
from transferlens.results.rows import cell_rows
from transferlens.results.schema import SCORE_SCHEMA, conform

__all__ = ["MERGED", "STUDY_LOCK", "CellState", "Failure", "StudyStore"]

CellState = Literal["done", "failed", "running", "left"]

_FOLDERS = ("cells", "examples", "adapters", "failures", "logs", "locks")
_CELLS_KEY = "transferlens.cells"
MERGED = "merged-"
"""Prefix of a file with several cells of one adapter."""
STUDY_LOCK = "study.lock"


class StudyStore:
    """Read and write one study folder; any number of processes may do so at once.

    Make one with `create` or `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.adapters = AdapterFolders(path / "adapters")

    # Opening

    @classmethod
    def create(cls, path: str | Path) -> StudyStore:
        """Make a study folder, or open it where it exists already.

        Raises
        ------
        ResultsError
            The folder cannot be made, or holds something else.
        """
        root = Path(path)
        with os_errors("open", root):
            known = (root / "manifest.json").exists()
        if not known:
            create_folder(root, _FOLDERS)
        store = cls.open(root)
        make_folders(root, _FOLDERS)
        return store

    @classmethod
    def open(cls, path: str | Path) -> StudyStore:
        """Open a study folder that exists.

        Raises
        ------
        ResultsError
            There is none, or its manifest is damaged, of another program or
            of a newer version.
        """
        root = Path(path)
        check_manifest(root)
        return cls(root)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Format, version, time of creation, versions of the programs."""
        return check_manifest(self.path)

    # Plan

    def write_plan(self, plan: Plan) -> None:
        """Store what the folder is meant to hold; replaces the former plan."""
        for cell in plan.cells:
            checked_name(cell.id)
        for adapter in plan.adapters:
            checked_name(adapter.folder)
        write_atomically(self.path / "plan.json", plan.to_json())

    @property
    def plan(self) -> Plan:
        """The stored plan, read anew.

        Raises
        ------
        ResultsError
            There is none yet, or it is damaged.
        """
        file = self.path / "plan.json"
        with os_errors("read", file):
            if not file.exists():
                msg = f"{self.path} has no plan.json yet; run the study first"
                raise ResultsError(msg)
            return Plan.from_json(file.read_bytes(), where=str(file))

    # Examples

    def write_examples(self, examples_id: str, frame: pl.DataFrame) -> None:
        """Store the texts of a target's examples, unless they are there already."""
        file = self.path / "examples" / f"{checked_name(examples_id)}.parquet"
        if not file.exists():
            write_atomically(file, encode_parquet(frame, {}))

    def read_examples(self, examples_id: str) -> pl.DataFrame:
        """Return the texts of a target's examples.

        Raises
        ------
        ResultsError
            They are missing or damaged.
        """
        file = self.path / "examples" / f"{checked_name(examples_id)}.parquet"
        _refuse_damage(file)
        return pl.read_parquet(file)

    def has_examples(self, examples_ids: Collection[str]) -> bool:
        """Whether the texts of all of these are stored."""
        return all((self.path / f"examples/{name}.parquet").exists() for name in examples_ids)

    # Cells

    def cell_path(self, cell: Cell) -> Path:
        """File of a cell before it is merged with others."""
        return self.path / "cells" / f"{checked_name(cell.id)}.parquet"

    def write_cell(self, cell: Cell, rows: pl.DataFrame) -> None:
        """Store the predictions of a finished cell in one indivisible step.

        Raises
        ------
        ResultsError
            The rows are not those of the cell, or the system refuses.
        """
        frame = cell_rows(cell, rows)
        write_atomically(self.cell_path(cell), encode_parquet(frame, _cells_metadata([cell])))

    def write_merged(self, cells: list[Cell], frame: pl.DataFrame) -> Path:
        """Store the rows of several cells, which ``frame`` holds, in one file."""
        ids = sorted(cell.id for cell in cells)
        name = f"{MERGED}{checked_name(ids[0])[:16]}-{len(ids)}-{_digest(ids)}.parquet"
        file = self.path / "cells" / name
        write_atomically(file, encode_parquet(frame, _cells_metadata(cells)))
        return file

    def cell_files(self) -> dict[str, Path]:
        """Return cell id -> file with its rows, for every finished cell in the folder."""
        files = [path for path in (self.path / "cells").glob("*.parquet") if _visible(path)]
        found: dict[str, Path] = {}
        for file in sorted(path for path in files if path.name.startswith(MERGED)):
            try:
                found.update(dict.fromkeys(self.cells_in(file), file))
            except ResultsError:
                if file.exists():
                    raise
                # Another process has merged it into a larger one since it was listed.
                return self.cell_files()
        # A cell may still stand alone beside the file it was merged into.
        found.update(
            {path.stem: path for path in files if not path.name.startswith(MERGED)},
        )
        return found

    def cells_in(self, file: Path) -> dict[str, str]:
        """Return cell id -> target for the cells in a file."""
        try:
            cells: dict[str, str] = json.loads(parquet_metadata(file).get(_CELLS_KEY, "{}"))
        except ValueError as error:
            msg = f"{file} is damaged ({error}); delete it and run the study again"
            raise ResultsError(msg) from None
        return cells

    def done_cells(self) -> set[str]:
        """Ids of the finished cells, planned or not."""
        return set(self.cell_files())

    def cell_states(self) -> dict[str, CellState]:
        """Return the state of every planned cell, by id."""
        done = self.done_cells()
        failed = {failure.id for failure in self.failures()}
        running = self._running()
        return {cell.id: _state(cell, done, failed, running) for cell in self.plan.cells}

    def cell_state(self, cell: Cell) -> CellState:
        """Return the state of one cell; for many, `cell_states` is faster."""
        if self.cell_path(cell).exists():
            return "done"
        failed = {failure.id for failure in self.failures()}
        return _state(cell, self.done_cells(), failed, self._running())

    def _running(self) -> set[str]:
        locks = (self.path / "locks").glob("*.lock")
        return {path.stem.partition("-")[2] for path in locks if held(path)}

    def discard_cell(self, cell_id: str) -> None:
        """Remove a damaged cell file, so that the next run makes it again."""
        with os_errors("remove", self.path / "cells"):
            if (file := self.cell_files().get(cell_id)) is not None:
                file.unlink()

    # Scores without predictions

    def write_scores(self, frame: pl.DataFrame) -> None:
        """Store scores of a study that has no predictions (columns `SCORE_SCHEMA`)."""
        rows = conform(frame, SCORE_SCHEMA, where="scores")
        write_atomically(self.path / "scores.parquet", encode_parquet(rows, {}))

    def read_scores(self) -> pl.DataFrame | None:
        """Return the scores of a study that has no predictions, else None."""
        file = self.path / "scores.parquet"
        if not file.exists():
            return None
        _refuse_damage(file)
        return conform(pl.read_parquet(file), SCORE_SCHEMA, where=str(file))

    # Adapters

    def adapter_dir(self, adapter: PlannedAdapter | str) -> Path:
        """Folder of a finished adapter; an id is looked up in the plan."""
        return self.adapters.folder(self._planned(adapter))

    def temporary_adapter_dir(self, adapter: PlannedAdapter) -> Path:
        """Make an empty folder to train into; hold ``claim("adapter", id)`` meanwhile."""
        return self.adapters.temporary(adapter)

    def commit_adapter(self, temporary: Path, adapter: PlannedAdapter) -> Path:
        """Give a trained adapter its final place in one indivisible step."""
        return self.adapters.commit(temporary, adapter)

    def adapter_done(self, adapter: PlannedAdapter | str) -> bool:
        """Whether the adapter is trained and stored."""
        return self.adapters.done(self._planned(adapter))

    def read_adapter_manifest(self, adapter: PlannedAdapter | str) -> dict[str, Any]:
        """Return what an adapter was trained on, as its engine recorded it."""
        return self.adapters.manifest(self._planned(adapter))

    def _planned(self, adapter: PlannedAdapter | str) -> PlannedAdapter:
        if isinstance(adapter, PlannedAdapter):
            return adapter
        for planned in self.plan.adapters:
            if planned.id == adapter:
                return planned
        msg = f"{self.path} has no adapter {adapter!r} in its plan"
        raise ResultsError(msg)

    # Claims and failures

    def claim(self, kind: str, key: str, *, owner: str = "") -> AbstractContextManager[bool]:
        """Claim a piece of work; yields False where another process has it."""
        return claimed(self._lock(kind, key), owner=owner)

    def is_claimed(self, kind: str, key: str) -> bool:
        """Whether a living process has a piece of work."""
        return held(self._lock(kind, key))

    def owners(self, kind: str, key: str) -> list[str]:
        """Return who died over a piece of work, and who has it now; none that gave no name."""
        try:
            return self._lock(kind, key).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    def _lock(self, kind: str, key: str) -> Path:
        return self.path / "locks" / f"{checked_name(kind)}-{checked_name(key)}.lock"

    def at_work(self) -> AbstractContextManager[None]:
        """Announce a process that works here; any number may, but no `alone` meanwhile."""
        return announced(self.path / "locks" / STUDY_LOCK)

    def alone(self) -> AbstractContextManager[bool]:
        """Keep processes from beginning here; yields False where one is at work."""
        return claimed(self.path / "locks" / STUDY_LOCK)

    def record_failure(self, key: str, kind: str, message: str, log_text: str) -> Path:
        """Store why an adapter or a cell failed; returns the file of its log."""
        return record_failure(self.path, key, kind, message, log_text)

    def clear_failure(self, key: str) -> None:
        """Forget a failure, once its work is being tried again."""
        clear_failure(self.path, key)

    def failures(self) -> list[Failure]:
        """Return the recorded failures, sorted by id."""
        return read_failures(self.path)

    # Care

    def compact(self) -> int:
        """Merge each adapter's finished cells into one file; see `transferlens.results.compact`."""
        from transferlens.results.merge import compact

        return compact(self)

    def collect_garbage(self) -> list[Path]:
        """Remove what dead processes left unfinished; returns what was removed."""
        removed = []
        for file in self.temporary_files():
            # Leaving the claim removes the file.
            with claimed(file, patience=0) as free:
                if free:
                    removed.append(file)
        for folder, adapter_id in self.adapters.temporaries():
            with self.claim("adapter", adapter_id) as free, os_errors("remove", folder):
                if free:
                    shutil.rmtree(folder)
                    removed.append(folder)
        return removed

    def temporary_files(self) -> Iterator[Path]:
        """Return unfinished files, those of living processes too."""
        for folder in (self.path, *(self.path / name for name in _FOLDERS)):
            yield from (path for path in folder.glob(f"{TEMPORARY}*") if path.is_file())

    def verify(self) -> list[str]:
        """Read every file again and return one line for each that is damaged."""
        files = [self.path / "scores.parquet"]
        files += sorted((self.path / "cells").glob("*.parquet"))
        files += sorted((self.path / "examples").glob("*.parquet"))
        problems = [
            f"{file.relative_to(self.path)} {damage}; delete it and run the study again"
            for file in files
            if file.exists() and _visible(file) and (damage := damage_of(file))
        ]
        return problems + self.adapters.verify()


def _refuse_damage(file: Path) -> None:
    if damage := damage_of(file):
        first = "delete it and " if file.exists() else ""
        msg = f"{file} {damage}; {first}run the study again"
        raise ResultsError(msg)


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _state(cell: Cell, done: set[str], failed: set[str], running: set[str]) -> CellState:
    if cell.id in done:
        return "done"
    if cell.id in running or cell.adapter_id in running:
        return "running"
    return "failed" if cell.id in failed or cell.adapter_id in failed else "left"


def _cells_metadata(cells: list[Cell]) -> dict[str, str]:
    return {_CELLS_KEY: json.dumps({cell.id: cell.target for cell in cells})}


def _digest(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
