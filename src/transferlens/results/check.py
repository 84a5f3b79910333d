"""Whether a study folder is what it says: checksums, counts, texts, isolation, leftovers.

Everything is read again. Nothing is believed because of its name: a cell must
hold the rows that the plan counts, answer the examples that are stored for its
target, and an adapter must have been trained on the base of the plan.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl

from transferlens.errors import ResultsError
from transferlens.results.adapters import ADAPTER_MANIFEST
from transferlens.results.failures import read_failure
from transferlens.results.files import damage_of, held, os_errors
from transferlens.results.garbage import find_rubbish, is_busy, keep_only
from transferlens.results.plan import Cell, Plan, PlannedAdapter
from transferlens.results.schema import PREDICTION_SCHEMA
from transferlens.results.store import MERGED, STUDY_LOCK, StudyStore

__all__ = ["CheckedStudy", "Finding", "check_study", "repair_study"]

Remedy = Literal["remove", "run", "gc"]

_HASHES = ("gold", "prompt_hash", "example_hash")
"""Columns in which a cell repeats what is stored for the examples of its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a study folder that is damaged, does not belong, or is of no use."""

    path: Path
    problem: str
    """What is the matter with it, as the rest of a sentence that begins with its name."""
    remedy: Remedy
    """``"remove"``: wrong, and `repair_study` removes it; ``"run"``: missing, and the next
    run writes it; ``"gc"``: of no use, but nothing is wrong."""
    cells: tuple[str, ...] = ()
    """Ids of the cells in the file that are wrong, where the others in it are right."""
    removed: bool = False
    """Whether `repair_study` has removed it."""

    @property
    def wrong(self) -> bool:
        """Whether the study is not what it should be for it."""
        return self.remedy != "gc" and not self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStudy:
    """What `check_study` looked at and found."""

    path: Path
    n_files: int
    """Files whose checksum was compared."""
    n_cells: int
    n_done: int
    """Planned cells, and those of them that are there and right."""
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Findings that need something to be done."""
        return tuple(finding for finding in self.findings if finding.wrong)


def check_study(path: str | Path) -> CheckedStudy:
    """Read every file of a study folder again, and say what is wrong with it.

    A process may be at work in the folder: what it has not finished is no finding.

    Raises
    ------
    ResultsError
        The folder is no study: its manifest is missing, damaged or of a newer version.
    """
    store = StudyStore.open(path)
    try:
        plan = store.plan
    except ResultsError as error:
        return _without_plan(store, error)
    files = [file for file in _parquet_files(store) if file.exists()]
    with ThreadPoolExecutor() as pool:
        damage = dict(zip(files, pool.map(damage_of, files), strict=True))
    whole = [file for file, problem in damage.items() if problem is None]
    folder = _Folder(store, plan, {file: _cells_in(store, file) for file in whole})
    found = [_removable(file, problem) for file, problem in damage.items() if problem]
    found += _foreign_adapters(folder)
    found += _cell_findings(folder)
    found += _missing_texts(folder)
    found += _damaged_adapters(folder)
    found += _damaged_records(store)
    found += [
        Finding(path=item.path, problem=item.reason, remedy="gc") for item in find_rubbish(store)
    ]
    # What another process has renamed or merged away in the meantime was right.
    found = [item for item in found if item.remedy == "run" or item.path.exists()]
    return CheckedStudy(
        path=store.path,
        n_files=len(files) + sum(1 for _ in store.adapters.root.glob("[!.]*/*")),
        n_cells=len(plan.cells),
        n_done=len(folder.done() - {cell for item in found for cell in item.cells}),
        findings=tuple(found),
    )


def repair_study(path: str | Path) -> CheckedStudy:
    """Check a study folder and remove what is damaged, so that the next run makes it again.

    Only that: whatever is right stays, byte for byte.

    Raises
    ------
    ResultsError
        The folder is no study, cannot be written to, or a process is at work in it.
    """
    store = StudyStore.open(path)
    with store.alone() as alone:
        if not alone or is_busy(store, but=STUDY_LOCK):
            msg = f"a process is at work in {path}; repair it when that has ended"
            raise ResultsError(msg)
        checked = check_study(path)
        wrong = [finding for finding in checked.findings if finding.remedy == "remove"]
        for file in dict.fromkeys(finding.path for finding in wrong):
            _remove(store, file, [finding for finding in wrong if finding.path == file])
    repaired = [replace(item, removed=item.remedy == "remove") for item in checked.findings]
    return replace(checked, findings=tuple(repaired))


def _remove(store: StudyStore, path: Path, findings: Sequence[Finding]) -> None:
    """Remove what is wrong with a file or a folder, and keep the right cells of a file."""
    kept: list[Cell] = []
    if all(finding.cells for finding in findings):
        wrong = {cell for finding in findings for cell in finding.cells}
        inside = _cells_in(store, path).keys() - wrong
        kept = [cell for cell in store.plan.cells if cell.id in inside]
    with os_errors("remove", path):
        if kept:
            keep_only(store, path, tuple(kept))
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _removable(path: Path, problem: str, cells: tuple[str, ...] = ()) -> Finding:
    return Finding(path=path, problem=problem, remedy="remove", cells=cells)


def _without_plan(store: StudyStore, error: ResultsError) -> CheckedStudy:
    file = store.path / "plan.json"
    if file.exists():
        problem = str(error).removeprefix(f"{file}: ").removeprefix(f"{file} ")
        found = _removable(
            file, f"is damaged ({problem}); everything else is checked once it is back"
        )
    else:
        found = Finding(path=file, problem="is missing: the study has not begun", remedy="run")
    return CheckedStudy(path=store.path, n_files=0, n_cells=0, n_done=0, findings=(found,))


def _parquet_files(store: StudyStore) -> list[Path]:
    files = [store.path / "scores.parquet"]
    for name in ("cells", "examples"):
        files += sorted((store.path / name).glob("[!.]*.parquet"))
    return files


def _cells_in(store: StudyStore, file: Path) -> dict[str, str]:
    if file.parent.name != "cells":
        return {}
    try:
        return store.cells_in(file)
    except ResultsError:
        # Merged away by another process; or damaged, which is a finding of its own.
        return {}


@dataclass(frozen=True)
class _Folder:
    """A study folder with its plan, and the files whose checksums are right."""

    store: StudyStore
    plan: Plan
    whole: Mapping[Path, Mapping[str, str]]
    """Right Parquet files, each with the cells in it; a text has none."""

    def done(self) -> set[str]:
        """Return the ids of the planned cells that are there."""
        return {c for cells in self.whole.values() for c in cells} & {c.id for c in self.plan.cells}

    @cached_property
    def planned(self) -> dict[str, Cell]:
        return {cell.id: cell for cell in self.plan.cells}

    @cached_property
    def texts(self) -> dict[str, pl.DataFrame]:
        """Return the stored examples of each target, where they are right."""
        files = {
            info.name: self.store.path / "examples" / f"{info.examples_id}.parquet"
            for info in self.plan.targets
        }
        return {name: pl.read_parquet(file) for name, file in files.items() if file in self.whole}


# Cells


def _cell_findings(folder: _Folder) -> Iterator[Finding]:
    for file, inside in folder.whole.items():
        if inside and not file.name.startswith(MERGED) and list(inside) != [file.stem]:
            yield _removable(file, f"holds cell {next(iter(inside))} under another name")
        elif cells := [folder.planned[cell] for cell in inside if cell in folder.planned]:
            yield from _wrong_cells(file, cells, folder.texts)


def _wrong_cells(
    file: Path, cells: Sequence[Cell], texts: Mapping[str, pl.DataFrame]
) -> Iterator[Finding]:
    try:
        rows = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError):
        # Merged away since its checksum was compared.
        return
    for cell in cells:
        own = rows.filter(pl.col("target") == cell.target)
        if problem := _cell_problem(cell, own, texts.get(cell.target)):
            place = f"{cell.source} -> {cell.target}, seed {cell.seed}"
            yield _removable(file, f"holds cell {place}: {problem}", (cell.id,))


def _cell_problem(cell: Cell, rows: pl.DataFrame, examples: pl.DataFrame | None) -> str | None:
    """Say why rows are not the answers of a cell, or None if they are."""
    if rows.schema != PREDICTION_SCHEMA:
        return "its columns are not those of predictions"
    if rows.height != cell.n_examples:
        return f"{rows.height} rows, where the plan has {cell.n_examples} examples"
    if rows.select("source", "target", "seed").unique().rows() not in ([], [cell.key]):
        return "its rows are of another adapter"
    if rows["example"].n_unique() != rows.height:
        return "an example occurs twice"
    return None if examples is None else _mismatch(rows, examples)


def _mismatch(rows: pl.DataFrame, examples: pl.DataFrame) -> str | None:
    """Say which example is not the one that is stored for the target, or None."""
    both = rows.join(examples, on="example", how="left", suffix="_stored", maintain_order="left")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_stored")) for name in _HASHES)
    wrong = both.filter(~same)
    if wrong.height:
        return f"example {wrong['example'][0]} is not the one stored for the target"
    return None


def _missing_texts(folder: _Folder) -> Iterator[Finding]:
    """Find texts that are missing although something was made from them."""
    store, plan = folder.store, folder.plan
    done = {folder.planned[cell].target for cell in folder.done()}
    trained = {adapter.source for adapter in plan.adapters if store.adapter_done(adapter)}
    texts = [(info.name, info.examples_id) for info in plan.targets if info.name in done]
    texts += [(info.name, info.examples_id) for info in plan.sources if info.name in trained]
    for name, examples_id in texts:
        file = store.path / "examples" / f"{examples_id}.parquet"
        if examples_id and not file.exists():
            yield Finding(path=file, problem=f"is missing: the texts of {name}", remedy="run")


# Adapters and failures


def _damaged_adapters(folder: _Folder) -> Iterator[Finding]:
    store = folder.store
    for adapter in folder.plan.adapters:
        place = store.adapter_dir(adapter)
        if not place.is_dir() or _is_claimed(store, adapter):
            continue
        if damage := store.adapters.damage(adapter):
            yield _removable(place, damage)
        elif not store.adapter_done(adapter):
            yield _removable(place, f"holds another adapter than {adapter.id}")


def _foreign_adapters(folder: _Folder) -> Iterator[Finding]:
    """Find adapters that were not trained on the plan's base, and the cells that they answered."""
    store, plan = folder.store, folder.plan
    base = plan.base.get("fingerprint")
    for adapter in plan.adapters:
        if not store.adapter_done(adapter) or store.adapters.damage(adapter):
            continue
        own = _recorded_base(store, adapter)
        if own is None or own == base:
            continue
        what = f"on base {own[:12]}, where the plan has {str(base)[:12]}"
        yield _removable(store.adapter_dir(adapter), f"was trained {what}")
        answered = {cell.id for cell in plan.cells if cell.adapter_id == adapter.id}
        for file, inside in folder.whole.items():
            if cells := answered & inside.keys():
                problem = f"was answered by an adapter trained {what}"
                yield _removable(file, problem, tuple(sorted(cells)))


def _recorded_base(store: StudyStore, adapter: PlannedAdapter) -> str | None:
    """Return the fingerprint of the base that an adapter was trained on; None if unknown."""
    if not (store.adapter_dir(adapter) / ADAPTER_MANIFEST).exists():
        return None
    base = store.read_adapter_manifest(adapter).get("base")
    value = base.get("fingerprint") if isinstance(base, dict) else None
    return value if isinstance(value, str) else None


def _is_claimed(store: StudyStore, adapter: PlannedAdapter) -> bool:
    return held(store.path / "locks" / f"adapter-{adapter.id}.lock")


def _damaged_records(store: StudyStore) -> Iterator[Finding]:
    for file in sorted((store.path / "failures").glob("[!.]*.json")):
        try:
            read_failure(file)
        except ResultsError:
            yield _removable(file, "is no readable record of a failure")
