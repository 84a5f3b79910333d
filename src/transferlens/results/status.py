"""How far a study folder is: what is done, running, failed and left, and since when."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transferlens.errors import ResultsError
from transferlens.results.plan import Cell, Plan, PlannedAdapter
from transferlens.results.store import CellState, Failure, StudyStore
from transferlens.study import BASE

__all__ = ["FailureReport", "Progress", "StudyStatus", "study_status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one adapter is, or the base, which is only evaluated."""

    source: str
    seed: int
    state: CellState
    """State of the training; for the base, of its evaluation."""
    seconds: float
    """Time that the training took; NaN where it is not known."""
    cells: Mapping[CellState, int]
    """Number of cells in each state."""
    updated: datetime | None
    """When its last cell was finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """What failed, why, and where its log lies."""

    what: str
    message: str
    time: str
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """How far a study is."""

    name: str
    path: Path
    created: str
    progress: tuple[Progress, ...]
    """The base first, then every adapter in the plan's order."""
    failures: tuple[FailureReport, ...]

    @property
    def cells(self) -> Counter[CellState]:
        """Number of cells in each state."""
        total: Counter[CellState] = Counter()
        for part in self.progress:
            total.update(part.cells)
        return total

    @property
    def adapters(self) -> Counter[CellState]:
        """Number of adapters whose training is in each state; the base is not one."""
        return Counter(part.state for part in self.progress if part.source != BASE)


def study_status(path: str | Path) -> StudyStatus:
    """Look into a study folder, also while another process works on it.

    Raises
    ------
    ResultsError
        The folder is no study, damaged, or of a newer version.
    """
    store = StudyStore.open(path)
    plan = store.plan
    states = store.cell_states()
    files = store.cell_files()
    owners: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in plan.cells:
        owners.setdefault((cell.adapter_id, cell.source, cell.seed), []).append(cell)
    adapters = {adapter.id: adapter for adapter in plan.adapters}
    progress = [
        _progress(store, adapters.get(owner), cells, states, files)
        for (owner, _, _), cells in owners.items()
    ]
    return StudyStatus(
        name=str(plan.spec.get("name", store.path.name)),
        path=store.path,
        created=str(store.manifest.get("created", "")),
        progress=tuple(sorted(progress, key=lambda part: part.source != BASE)),
        failures=tuple(_report(store, plan, failure) for failure in store.failures()),
    )


def _progress(
    store: StudyStore,
    adapter: PlannedAdapter | None,
    cells: list[Cell],
    states: Mapping[str, CellState],
    files: Mapping[str, Path],
) -> Progress:
    counts = Counter(states[cell.id] for cell in cells)
    trained = adapter is not None and store.adapter_done(adapter)
    return Progress(
        source=cells[0].source,
        seed=cells[0].seed,
        state="done" if trained else _state_of(counts),
        seconds=_seconds(store, adapter) if adapter and trained else math.nan,
        cells=counts,
        updated=_latest(files[cell.id] for cell in cells if cell.id in files),
    )


def _state_of(cells: Mapping[CellState, int]) -> CellState:
    """Return what the cells of something say about it as a whole."""
    if cells.get("running"):
        return "running"
    if cells.get("failed"):
        return "failed"
    return "left" if cells.get("left") else "done"


def _seconds(store: StudyStore, adapter: PlannedAdapter) -> float:
    try:
        return float(store.read_adapter_manifest(adapter)["training"]["seconds"])
    # An adapter that another program trained may not say how long it took.
    except (ResultsError, KeyError, TypeError, ValueError):
        return math.nan


def _latest(files: Iterable[Path]) -> datetime | None:
    # A file may be merged away between listing and looking.
    times = [file.stat().st_mtime for file in set(files) if file.exists()]
    return datetime.fromtimestamp(max(times), tz=UTC) if times else None


def _report(store: StudyStore, plan: Plan, failure: Failure) -> FailureReport:
    named: dict[str, Any] = {a.id: f"adapter {a.source}, seed {a.seed}" for a in plan.adapters}
    named |= {c.id: f"cell {c.source} -> {c.target}, seed {c.seed}" for c in plan.cells}
    return FailureReport(
        what=named.get(failure.id, f"{failure.kind} {failure.id} of an earlier plan"),
        message=failure.message,
        time=failure.time,
        log=store.path / "logs" / f"{failure.id}.log",
    )
