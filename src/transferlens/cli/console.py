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
_MARKS = "*]"
"""What may follow a number: significant, an adapter's own task, the end of an interval."""


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
        continuation; the others hold numbers and are right-aligned. Stars and brackets
        behind a number do not move its digits.
    """
    from rich.text import Text

    console = output()
    columns = [
        _column([row[at] for row in (header, *rows)], right=at >= left) for at in range(len(header))
    ]
    widths = [column[0].cell_len + _GAP for column in columns]
    for number, block in enumerate(_blocks(widths, console.width)):
        if number:
            console.print()
        for at in range(len(rows) + 1):
            line = Text(" " * _GAP).join(columns[column][at] for column in block)
            line.rstrip()
            if not at:
                line.stylize("bold")
            # Not the table of rich: it does not align cells that it may not cut.
            console.print(line, soft_wrap=True)


def _column(cells: Sequence[str | Text], *, right: bool) -> list[Text]:
    """Bring cells, the head first, to one width; marks behind numbers hang, so digits align."""
    from rich.text import Text

    head, *texts = (Text(cell) if isinstance(cell, str) else cell.copy() for cell in cells)
    if right:
        for text in texts:
            text.rstrip()
        marks = [len(text.plain) - len(text.plain.rstrip(_MARKS)) for text in texts]
        for text, width in zip(texts, marks, strict=True):
            text.pad_right(max(marks) - width)
    width = max(text.cell_len for text in (head, *texts))
    for text in (head, *texts):
        text.align("right" if right else "left", width)
    return [head, *texts]


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
