"""``transferlens check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.console import plain
from transferlens.cli.options import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from transferlens.results import CheckedStudy, Finding

__all__ = ["check"]

WRONG = 2


def check(
    folder: Folder,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Remove what is damaged; the next run makes it again, and only that."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON instead of lines.")
    ] = False,
) -> None:
    """Read every file of a study again and say what is damaged or does not belong.

    One line per finding. The exit code is 2 where something is wrong. Of a grid of studies,
    each is checked.
    """
    from transferlens.results import is_grid

    if is_grid(folder) and not as_json:
        from transferlens.cli.grid import for_each_variant

        content = for_each_variant(folder, lambda path: _check(path, repair, as_json))
    else:
        content = _check(folder, repair, as_json)
    if not content:
        raise typer.Exit(WRONG)


def _check(folder: Path, repair: bool, as_json: bool) -> bool:
    """Check one study and print what was found; whether nothing is wrong."""
    from transferlens.results import check_study, repair_study

    found = repair_study(folder) if repair else check_study(folder)
    if as_json:
        typer.echo(json.dumps(_document(found), indent=1, ensure_ascii=False))
    else:
        for finding in found.findings:
            plain(_line(found, finding))
        plain(_summary(found))
    return not found.wrong


def _line(found: CheckedStudy, finding: Finding) -> str:
    word = "removed" if finding.removed else "wrong" if finding.wrong else "unused"
    return f"{word}: {finding.path.relative_to(found.path)} {finding.problem}"


def _summary(found: CheckedStudy) -> str:
    counts = f"{found.n_done} of {found.n_cells} cells are there and right"
    files = f"{found.n_files} files checked; {counts}"
    if any(finding.remedy == "remove" for finding in found.wrong):
        return f"{files}. To mend it: transferlens check {found.path} --repair"
    if found.wrong or any(finding.removed for finding in found.findings):
        return f"{files}. The same `transferlens run` makes what is missing."
    if found.findings:
        return f"{files}. To remove what is unused: transferlens gc {found.path}"
    return f"{files}. Nothing is wrong."


def _document(found: CheckedStudy) -> dict[str, Any]:
    return {
        "study": str(found.path),
        "files": found.n_files,
        "cells": found.n_cells,
        "done": found.n_done,
        "wrong": len(found.wrong),
        "findings": [
            {
                "path": str(finding.path.relative_to(found.path)),
                "problem": finding.problem,
                "wrong": finding.wrong,
                "removed": finding.removed,
                "remedy": finding.remedy,
                "cells": list(finding.cells),
            }
            for finding in found.findings
        ],
    }
