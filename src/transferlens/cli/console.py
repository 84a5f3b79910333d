"""Printing that is right in a terminal, a pipe and a file."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["duration", "output", "plain", "print_table", "size"]

# Without a terminal nothing may be cut or folded: a program reads it.
_ENDLESS = 100_000
_GAP = 2


def output() -> Console:
    """Return a console for stdout; without a terminal it has no colours and no width."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _ENDLESS
    return Console(file=sys.stdout, width=width, highlight=False, markup=False)


def plain(line: str) -> None:
    """Print a line as it is; a terminal folds it at words."""
    output().print(line)


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    left: int = 1,
) -> None:
    """Print a table; one that is wider than the terminal is continued below.

    Parameters
    ----------
    header, rows
        The cells.
    left
        So many columns are left-aligned, the first of them repeated in every
        continuation; the others hold numbers.
    """
    console = output()
    widths = [
        max(len(str(row[column])) for row in (header, *rows)) + _GAP
        for column in range(len(header))
    ]
    for number, block in enumerate(_blocks(widths, console.width)):
        if number:
            console.print()
        _print_block(console, header, rows, [(column, column < left) for column in block])


def _blocks(widths: Sequence[int], available: int) -> list[list[int]]:
    """Split columns into blocks that fit; the first column stands in each."""
    blocks: list[list[int]] = [[0]]
    used = widths[0]
    for column, width in enumerate(widths[1:], start=1):
        if used + width > available and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(column)
        used += width
    return blocks


def _print_block(
    console: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    columns: Sequence[tuple[int, bool]],
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, is_left in columns:
        table.add_column(
            header[column], justify="left" if is_left else "right", no_wrap=True, overflow="ignore"
        )
    for row in rows:
        table.add_row(*(row[column] for column, _ in columns))
    console.print(table, crop=False)


def duration(seconds: float) -> str:
    """Return a time such as ``1:02:03``; ``-`` where it is not known."""
    if math.isnan(seconds):
        return "-"
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))


def size(n_bytes: float) -> str:
    """Return a number of bytes with a readable unit."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"
