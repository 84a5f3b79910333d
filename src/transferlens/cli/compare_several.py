"""``transferlens compare`` of more than two studies, or of a grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import p_value, plain_numbers
from transferlens.errors import AnalysisError

if TYPE_CHECKING:
    import polars as pl

    from transferlens.explain.replication import GridReplication
    from transferlens.results import TransferStudy

__all__ = ["compare_several"]


def compare_several(
    folder: Path,
    others: list[Path],
    *,
    traits: int | None,
    as_json: bool,
    top: int,
    alpha: float,
) -> None:
    """Compare all pairs of some studies, and print what replicates.

    Raises
    ------
    AnalysisError
        There are fewer than two studies.
    """
    from transferlens.explain.replication import compare_all

    found = compare_all(_studies(folder, others), level=alpha, n_traits=traits)
    if as_json:
        typer.echo(json.dumps(_document(found), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(found, top)


def _studies(folder: Path, others: list[Path]) -> dict[str, TransferStudy]:
    from transferlens.results import is_grid, open_grid, open_study

    if others:
        return {str(path): open_study(path) for path in (folder, *others)}
    if not is_grid(folder):
        msg = f"{folder} is one study: give the folder of another one to compare it with"
        raise AnalysisError(msg)
    return open_grid(folder).studies()


def _print(found: GridReplication, top: int) -> None:
    plain(f"{len(found.labels)} studies, {len(found.pairs)} pairs: {', '.join(found.labels)}")
    plain("")
    for sentence in found.sentences():
        plain(f"- {sentence}")
    plain("")
    rows = found.agreement.iter_rows(named=True)
    head = ["study", "and", "gains of", "r", "interval", "adj. p", "same sign", "chance", "adj. p"]
    print_table(head, [_agreement(row) for row in rows if row["scope"] != "all cells"], left=3)
    if found.traits.height:
        plain("")
        head = ["study", "and", "trait", "partner", "congruence", "interval", "adj. p", "verdict"]
        print_table(head, [_trait(row) for row in found.traits.iter_rows(named=True)], left=2)
    _print_cells(found.cells, top)
    for line in found.not_compared:
        plain(f"not compared: {line}")


def _agreement(row: dict[str, Any]) -> list[str]:
    signs = [row["same_sign"], row["sign_chance"]]
    return [
        row["first"],
        row["second"],
        row["scope"],
        _number(row["r"]),
        _ends(row["low"], row["high"]),
        p_value(row["p_adjusted"]),
        *(_percent(value) for value in signs),
        p_value(row["sign_p_adjusted"]),
    ]


def _trait(row: dict[str, Any]) -> list[str]:
    return [
        row["first"],
        row["second"],
        str(row["trait"]),
        str(row["partner"]),
        _number(row["congruence"]),
        _ends(row["low"], row["high"]),
        p_value(row["p_adjusted"]),
        row["verdict"],
    ]


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"  # noqa: PLR0124 - NaN


def _ends(low: float, high: float) -> str:
    return "-" if low != low else f"{low:.2f} to {high:.2f}"  # noqa: PLR0124 - NaN


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.0f} %"  # noqa: PLR0124 - NaN


def _print_cells(cells: pl.DataFrame, top: int) -> None:
    """Print the gains that are significant in all studies, or with opposite signs."""
    rows = [r for r in cells.iter_rows(named=True) if r["verdict"] in {"everywhere", "opposite"}]
    if not rows:
        return
    plain("")
    plain("Gains that are significant in all studies, or with opposite signs:")
    shown = rows[:top] if top else rows
    head = ["trained on", "task", "helps in", "harms in", "verdict"]
    print_table(
        head,
        [
            [r["source"], r["target"], str(r["n_helps"]), str(r["n_harms"]), r["verdict"]]
            for r in shown
        ],
        left=2,
    )
    if len(shown) < len(rows):
        plain(f"and {len(rows) - len(shown)} more: --top 0 prints all")


def _document(found: GridReplication) -> dict[str, Any]:
    def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
        return [plain_numbers(row) for row in frame.iter_rows(named=True)]

    return {
        "studies": list(found.labels),
        "alpha": found.level,
        "sentences": list(found.sentences()),
        "agreement": rows(found.agreement),
        "traits": rows(found.traits),
        "cells": rows(found.cells),
        "not_compared": list(found.not_compared),
    }
