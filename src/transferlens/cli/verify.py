"""``transferlens verify``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain, print_table

if TYPE_CHECKING:
    from transferlens.verify import Figure, Verification

__all__ = ["verify"]

DIFFERS = 1


def verify(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of published matrices that cannot be shipped.",
            show_default="only what is shipped",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["table", "json"], typer.Option(help="How to print it.")
    ] = "table",
) -> None:
    """Compute published numbers again and print them beside ours.

    Ends with exit code 1 if a number differs by more than its printed digits allow.
    """
    from transferlens.verify import verify as run

    found = run(data)
    if format == "json":
        typer.echo(json.dumps(_document(found), indent=1, ensure_ascii=False))
    else:
        _print(found)
    if found.failed:
        raise typer.Exit(DIFFERS)


def _print(found: Verification) -> None:
    header = ("quantity", "published", "ours", "difference", "verdict")
    for origin in dict.fromkeys(figure.origin for figure in found.figures):
        plain(origin)
        rows = [_row(figure) for figure in found.figures if figure.origin == origin]
        print_table(header, rows)
        plain("")
    n = len(found.figures)
    plain(f"{n - len(found.failed)} of {n} figures agree")
    for figure in found.failed:
        plain(f"differs: {figure.origin}: {figure.quantity}")
    if found.left_out:
        plain(f"not checked without --data: {'; '.join(found.left_out)}")


def _row(figure: Figure) -> tuple[str, ...]:
    ours, difference = figure.ours, ""
    if not isinstance(ours, str):
        # Enough digits to see how much of what is allowed is used.
        whole = figure.allowed >= 0.5
        digits = 0 if whole else 2 - math.floor(math.log10(2 * figure.allowed))
        ours, difference = f"{ours:.{digits}f}", f"{figure.difference:+.{digits}f}"
    return figure.quantity, figure.published, ours, difference, figure.verdict


def _document(found: Verification) -> dict[str, Any]:
    return {
        "agree": len(found.figures) - len(found.failed),
        "differ": len(found.failed),
        "not_checked": list(found.left_out),
        "figures": [
            {
                "origin": figure.origin,
                "quantity": figure.quantity,
                "published": figure.published,
                "ours": figure.ours,
                "difference": None if math.isnan(figure.difference) else figure.difference,
                "allowed": figure.allowed,
                "verdict": figure.verdict,
            }
            for figure in found.figures
        ],
    }
