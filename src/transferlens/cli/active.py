"""``transferlens run --active``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferlens.cli.console import plain
from transferlens.cli.plan import budget_cells
from transferlens.cli.predict import print_completed
from transferlens.cli.status import print_failures

if TYPE_CHECKING:
    from transferlens.engine.progress import LogKind
    from transferlens.predict import ActiveState, Measured
    from transferlens.study import StudySpec

__all__ = ["Wanted", "run_active"]

_REASONS = {
    "budget": "the budget is spent",
    "precision": "hidden measured cells are predicted closely enough",
    "everything": "everything is measured",
    "missing": "some planned cells could not be measured; the same command tries again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    budget: str
    precision: float
    rounds: int
    adapters: int | None


def run_active(spec: StudySpec, folder: Path, wanted: Wanted, *, log: LogKind) -> bool:
    """Measure in rounds, and print what was measured and the rest as predicted.

    Returns False where planned cells could not be measured.
    """
    from transferlens.engine.outline import outline_study
    from transferlens.predict import Active, own_tasks
    from transferlens.results import study_status

    plan = outline_study(spec).plan
    sources = [info for info in plan.sources if info.twin_of is None]
    targets = [info.name for info in plan.targets]
    n_cells = int((~own_tasks(sources, targets)).sum())
    active = Active(
        budget=budget_cells(wanted.budget, n_cells)[0],
        precision=wanted.precision,
        n_rounds=wanted.rounds,
        max_sources=wanted.adapters,
    )
    found = active(sources, targets, measure=_measure(spec, folder, log), folder=folder)
    print_failures(study_status(folder))
    _print(found, n_cells, folder)
    return found.stopped != "missing"


def _measure(spec: StudySpec, folder: Path, log: LogKind) -> Callable[..., Measured]:
    from transferlens.engine import run as run_study
    from transferlens.predict import Measured
    from transferlens.results import StudyStore

    def measure(cells: frozenset[tuple[str, str]]) -> Measured:
        study = run_study(spec, folder, log=log, only=cells)
        store = StudyStore.open(folder)
        done = store.done_cells()
        left = {(c.source, c.target) for c in store.plan.cells if c.id not in done}
        return Measured(study, frozenset(cells - left))

    return measure


def _print(found: ActiveState, n_cells: int, folder: Path) -> None:
    n_chosen = sum(len(one.cells) for one in found.rounds)
    n_drawn = sum(len(one.drawn) for one in found.rounds[1:])
    plain(
        f"{n_chosen} of {n_cells} cells measured; rounds: {len(found.rounds)}; drawn at random "
        f"after the first: {n_drawn}; {_REASONS[found.stopped]}"
    )
    for source, target in found.missing:
        plain(f"not measured: {source} -> {target}")
    plain("")
    if found.completed is not None:
        print_completed(found.completed, "table")
    plain("")
    plain(f"measured cells: transferlens matrix {folder}; without --active all others follow")
