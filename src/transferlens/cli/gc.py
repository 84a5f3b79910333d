"""``transferlens gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from transferlens.cli.console import plain, size
from transferlens.cli.options import Folder

__all__ = ["gc"]


def gc(
    folder: Folder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
) -> None:
    """Remove adapters, cells and texts that the study no longer plans, and unfinished files.

    What a running process holds stays, and so does everything it may still need.
    """
    from transferlens.results import collect

    found = collect(folder, dry_run=dry_run)
    for item in found.removed:
        plain(f"{size(item.n_bytes):>10}  {item.path.relative_to(folder)} {item.reason}")
    word = "would be freed" if dry_run else "freed"
    plain(f"{len(found.removed)} files and folders, {size(found.n_bytes)} {word}")
    if found.busy:
        plain("a process is at work here, so that only leftovers of dead ones count; "
              "give the command again when it has ended")  # fmt: skip
