"""Write a report: the page, and its data beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from transferlens.errors import ResultsError
from transferlens.explain import Story
from transferlens.report.analysis import Analyses, Depth, analyse
from transferlens.report.data import write_data
from transferlens.report.page import DataFile, cell_page, report_page
from transferlens.report.summary import Summary, summary_of
from transferlens.report.summary_compare import compare_view, write_comparison
from transferlens.report.summary_why import cell_view
from transferlens.results import TransferStudy
from transferlens.results.files import write_atomically

__all__ = ["Written", "write_cell_page", "write_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written."""

    page: Path
    data: tuple[Path, ...]
    figures: tuple[Path, ...]
    summary: Summary


def write_report(
    study: TransferStudy,
    path: str | Path,
    *,
    depth: Depth | None = None,
    figures: bool = False,
    progress: str = "",
    other: TransferStudy | None = None,
) -> Written:
    """Write a study's report and, beside it, the folder ``<name>_data``.

    Parameters
    ----------
    study
        With whatever it has; what it lacks is left out with a line on how to get it.
    path
        The page, such as ``report.html``.
    depth
        How much is computed.
    figures
        Also write pictures for papers, as SVG and PDF.
    progress
        How far a study that still runs is.
    other
        Another study to compare it with, in a section of its own.

    Raises
    ------
    ResultsError
        The system refuses to write.
    """
    page = Path(path)
    found = analyse(study, depth or Depth())
    summary = summary_of(found, made=datetime.now(UTC).strftime("%Y-%m-%d"))
    folder = page.with_name(f"{page.stem}_data")
    compared, replication = (
        (None, None) if other is None else compare_view(study, other, level=summary.level)
    )
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        files = write_data(found, summary, folder)
        files += [] if replication is None else write_comparison(replication, folder)
        pictures = _pictures(found, folder) if figures else ()
        links = [
            DataFile(name=file.name, href=quote(f"{folder.name}/{file.name}"), what=what)
            for file, what in (*files, *((picture, "picture") for picture in pictures))
        ]
        text = report_page(summary, data_files=links, progress=progress, compared=compared)
        # Last and whole: a page that a browser has open never points to files that are not there.
        write_atomically(page, text.encode())
    except OSError as error:
        msg = f"{page}: cannot write the report ({error.strerror or error})"
        raise ResultsError(msg) from None
    return Written(
        page=page, data=tuple(file for file, _ in files), figures=tuple(pictures), summary=summary
    )


def _pictures(found: Analyses, folder: Path) -> tuple[Path, ...]:
    from transferlens.report.figures import write_figures

    return write_figures(found, folder)


def write_cell_page(study: TransferStudy, story: Story, path: str | Path) -> Path:
    """Write the page of one cell.

    The p-value is adjusted over all cells of the study, as in its report.

    Raises
    ------
    ResultsError
        The system refuses to write.
    """
    from transferlens.transfer import transfer_matrix

    frame = transfer_matrix(study).to_frame()
    row = frame.filter(source=story.source, target=story.target).row(0, named=True)
    page = Path(path)
    name = str(study.origin.get("name") or (study.path or "study"))
    text = cell_page(cell_view(story, row), name=name)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(page, text.encode())
    except OSError as error:
        msg = f"{page}: cannot write the page ({error.strerror or error})"
        raise ResultsError(msg) from None
    return page
