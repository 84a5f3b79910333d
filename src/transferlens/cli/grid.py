"""A folder of several studies, in the commands that can do something with all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.status import print_failures
from transferlens.errors import SpecError

if TYPE_CHECKING:
    from transferlens.results import StudyStatus
    from transferlens.study import GridSpec, StudySpec

__all__ = ["for_each_variant", "grid_status", "run_the_grid"]

INCOMPLETE = 2


def run_the_grid(
    grid: GridSpec,
    folder: Path,
    *,
    log: Literal["rich", "json", "quiet"],
    active: bool,
    dry_run: Callable[[StudySpec, Path], None] | None,
) -> None:
    """Run every study of a grid, or let ``dry_run`` print the plan of each.

    Raises
    ------
    SpecError
        A part of the cells was asked for, which is chosen within one study.
    """
    if active:
        msg = "--active chooses cells of one study: give it a file without bases and methods"
        raise SpecError(msg)
    if dry_run is not None:
        for name, spec in grid.variants.items():
            plain(f"== {name}")
            dry_run(spec, folder / name)
            plain("")
        return
    from transferlens.engine import run_grid
    from transferlens.results import open_grid

    run_grid(grid, folder, log=log)
    found = list(_statuses(open_grid(folder).variants.values()))
    for one in found:
        print_failures(one)
    total = sum(one.cells.total() for one in found)
    if missing := total - sum(one.cells["done"] for one in found):
        plain(f"{missing} of {total} cells are missing; the same command tries again")
        raise typer.Exit(INCOMPLETE)
    plain(f"{total} cells in {len(found)} studies in {folder}. See: transferlens compare {folder}")


def grid_status(folder: Path) -> None:
    """Say how far each study of a grid is."""
    from transferlens.results import open_grid

    grid = open_grid(folder)
    plain(f"{grid.name} ({folder}): a grid of {len(grid.variants)} studies")
    plain("")
    begun = {one.path: one for one in _statuses(grid.variants.values())}
    rows = [_row(name, begun.get(path)) for name, path in grid.variants.items()]
    print_table(("variant", "adapters", "cells", "failed"), rows)
    for one in begun.values():
        print_failures(one)


def for_each_variant(folder: Path, command: Callable[[Path], bool]) -> bool:
    """Give every study of a grid that was begun to a command; whether it is content with all."""
    from transferlens.results import open_grid

    content = True
    for name, path in open_grid(folder).variants.items():
        plain(f"== {name}")
        if (path / "plan.json").exists():
            content &= command(path)
        else:
            plain("not begun")
    return content


def _statuses(folders: Iterable[Path]) -> Iterable[StudyStatus]:
    from transferlens.results import study_status

    return [study_status(path) for path in folders if (path / "plan.json").exists()]


def _row(name: str, found: StudyStatus | None) -> tuple[str, ...]:
    if found is None:
        return (name, "not begun", "-", "-")
    counts = (found.adapters, found.cells)
    done = (f"{one['done']} of {one.total()}" for one in counts)
    return (name, *done, str(len(found.failures)))
