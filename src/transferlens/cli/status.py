"""``transferlens status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transferlens.cli.console import duration, plain, print_table
from transferlens.cli.options import Folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transferlens.results import CellState, Progress, StudyStatus

__all__ = ["print_failures", "status"]

_STATES: tuple[CellState, ...] = ("done", "running", "failed", "left")


def status(folder: Folder) -> None:
    """Say what is done, running, failed and left in a study folder, or in a grid of studies."""
    from transferlens.results import is_grid, study_status

    if is_grid(folder):
        from transferlens.cli.grid import grid_status

        grid_status(folder)
        return
    found = study_status(folder)
    plain(f"{found.name} ({found.path}), begun {found.created}")
    plain(f"adapters: {_counts(found.adapters)}")
    plain(f"cells:    {_counts(found.cells)}")
    plain("")
    header = ("adapter", "seed", "training", "took", *_STATES, "last cell")
    print_table(header, [_row(part) for part in found.progress], left=3)
    print_failures(found)


def print_failures(found: StudyStatus) -> None:
    """Print why adapters and cells failed, and where their logs lie."""
    for failure in found.failures:
        plain("")
        plain(f"failed: {failure.what} ({failure.time})")
        plain(f"  {failure.message}")
        plain(f"  log: {failure.log}")


def _counts(counts: Mapping[CellState, int]) -> str:
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in _STATES)


def _row(part: Progress) -> tuple[str, ...]:
    from transferlens.results import BASE

    base = part.source == BASE
    when = part.updated.astimezone().strftime("%Y-%m-%d %H:%M:%S") if part.updated else "-"
    return (
        part.source,
        "-" if base else str(part.seed),
        "-" if base else part.state,
        duration(part.seconds),
        *(str(part.cells.get(state, 0)) for state in _STATES),
        when,
    )
