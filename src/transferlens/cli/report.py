"""``transferlens report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferlens.cli.console import plain, size
from transferlens.cli.options import Alpha, Folder

if TYPE_CHECKING:
    from transferlens.report import Depth, Written
    from transferlens.results import StudyStatus

__all__ = ["report"]


def report(  # noqa: PLR0917 - each is an option of the command
    folder: Folder,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page.", show_default="DIR/report.html"),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write pictures for papers, as SVG and PDF.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it again as cells finish, until all are done.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks with --watch.")
    ] = 10.0,
    cells: Annotated[
        int, typer.Option(min=0, help="Cells whose story is told: the most surprising ones.")
    ] = 10,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also compute hidden factors, and linguistic features of every told cell.",
        ),
    ] = False,
    texts: Annotated[
        bool,
        typer.Option(
            "--texts/--no-texts",
            help="Whether to show examples: their texts may not be yours to publish.",
        ),
    ] = True,
    other: Annotated[
        Path | None,
        typer.Option("--compare", metavar="DIR2", help="Also compare it with this study."),
    ] = None,
    alpha: Alpha = 0.05,
) -> None:
    """Write one page that shows everything that is known of a study.

    The page needs no network. Its data lie beside it in NAME_data, as Parquet, CSV, JSON and
    LaTeX. What the study lacks is left out, with a line on how to get it.
    """
    from transferlens.report import Depth

    page = output or folder / "report.html"
    linguistic = cells if deep else min(cells, 1)
    depth = Depth(level=alpha, cells=cells, linguistic_cells=linguistic, factors=deep, texts=texts)
    if watch:
        _follow(folder, page, depth, every, figures=figures, other=other)
    else:
        _say(_write(folder, page, depth, figures=figures, other=other))


def _write(folder: Path, page: Path, depth: Depth, *, figures: bool, other: Path | None) -> Written:
    from transferlens.report import write_report
    from transferlens.results import open_study, study_status

    progress = _progress(study_status(folder))
    return write_report(
        open_study(folder),
        page,
        depth=depth,
        figures=figures,
        progress=progress,
        other=None if other is None else open_study(other),
    )


def _progress(status: StudyStatus) -> str:
    """Return how far a study is; empty once it is done."""
    cells = status.cells
    done, total = cells["done"], sum(cells.values())
    if done == total:
        return ""
    failed = f", {cells['failed']:,} failed" if cells["failed"] else ""
    return f"Not finished: {done:,} of {total:,} cells{failed}. Everything below is of these."


def _say(written: Written) -> None:
    plain(f"{written.page} ({size(written.page.stat().st_size)})")
    if written.data:
        plain(f"{written.data[0].parent}: {len(written.data) + len(written.figures)} files")


def _follow(
    folder: Path,
    page: Path,
    depth: Depth,
    every: float,
    *,
    figures: bool,
    other: Path | None,
) -> None:
    from transferlens.results import study_status

    seen = -1
    while True:
        cells = study_status(folder).cells
        if cells["done"] != seen:
            seen = cells["done"]
            if seen:
                written = _write(folder, page, depth, figures=figures, other=other)
                plain(f"{written.page}: {seen:,} of {sum(cells.values()):,} cells")
            else:
                plain("no cell is finished yet")
        if not cells["running"] + cells["left"]:
            return
        time.sleep(every)
