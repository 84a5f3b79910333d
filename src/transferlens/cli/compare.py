"""``transferlens compare``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.compare_several import compare_several
from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, p_value, plain_numbers
from transferlens.cli.options import Alpha, Folder
from transferlens.errors import AnalysisError

if TYPE_CHECKING:
    import polars as pl

    from transferlens.explain.replication import Replication
    from transferlens.results import TransferStudy

__all__ = ["compare"]


def compare(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    others: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR2",
            help="Folder of the study to compare it with, or several; none for a grid of studies.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of DIR take this seed only.", show_default="all seeds")
    ] = None,
    seed2: Annotated[
        int | None, typer.Option(help="Of DIR2 take this seed only.", show_default="all seeds")
    ] = None,
    traits: Annotated[
        int | None,
        typer.Option(min=1, help="Traits to match.", show_default="what the studies support"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers instead of words.")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="Cells to list at most; 0 lists all.")] = 10,
    alpha: Alpha = 0.05,
) -> None:
    """Say which traits, gains and signs of two studies replicate, and which cells changed.

    The studies may differ in method, base model or seed; sources and targets are the same
    where their names are. Differences are DIR2 less DIR. Of more than two studies, or of the
    folder of a grid, all pairs are compared, with p-values adjusted over the pairs.
    """
    from transferlens.explain.replication import compare_studies
    from transferlens.results import open_study

    if not others or len(others) > 1:
        _refuse_seeds(seed, seed2)
        compare_several(folder, others or [], traits=traits, as_json=as_json, top=top, alpha=alpha)
        return
    (other,) = others
    first, second = (_of(open_study(path), n) for path, n in ((folder, seed), (other, seed2)))
    found = compare_studies(
        first,
        second,
        labels=_labels(first, second, folder, other),
        level=alpha,
        n_traits=traits,
    )
    if as_json:
        typer.echo(json.dumps(_document(found), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(found, top)


def _refuse_seeds(*seeds: int | None) -> None:
    if any(seed is not None for seed in seeds):
        msg = "--seed and --seed2 are for two studies: give DIR and DIR2"
        raise AnalysisError(msg)


def _of(study: TransferStudy, seed: int | None) -> TransferStudy:
    from transferlens.explain.replication import of_seed

    return study if seed is None else of_seed(study, seed)


def _labels(
    first: TransferStudy, second: TransferStudy, folder: Path, other: Path
) -> tuple[str, str] | None:
    """Return folders where two studies have one name; None leaves the names."""
    names = [str(study.origin.get("name")) for study in (first, second)]
    return (str(folder), str(other)) if names[0] == names[1] and folder != other else None


def _print(found: Replication, top: int) -> None:
    plain(f"{found.labels[0]} against {found.labels[1]}")
    plain(f"in both: {len(found.sources)} sources, {len(found.targets)} targets")
    plain("")
    for sentence in found.sentences():
        plain(f"- {sentence}")
    plain("")
    _print_cells(found, top)
    for line in found.left_out:
        plain(f"not compared: {line}")
    for note in found.notes:
        plain(note)


def _print_cells(found: Replication, top: int) -> None:
    changed = found.changed()
    if not changed.height:
        return
    shown = changed.head(top) if top else changed
    head = ["trained on", "task", "gain 1", "gain 2", "difference", "interval", "adj. p"]
    plain(f"Cells that changed: {changed.height}")
    print_table(head, [_row(row) for row in _points(shown).iter_rows(named=True)], left=2)
    if shown.height < changed.height:
        plain(f"and {changed.height - shown.height} more: --top 0 prints all")
    plain("")


def _row(row: dict[str, Any]) -> list[str]:
    from transferlens.results import format_value

    gains = (row["first_gain"], row["second_gain"], row["difference"])
    return [
        row["source"],
        row["target"],
        *(format_value(value, signed=True) for value in gains),
        interval(row["low"], row["high"]),
        p_value(row["p_adjusted"]),
    ]


def _points(cells: pl.DataFrame) -> pl.DataFrame:
    from transferlens.transfer import in_points

    return in_points(cells)


def _document(found: Replication) -> dict[str, Any]:
    rows = _points(found.cells).iter_rows(named=True)
    return {
        "studies": list(found.labels),
        "sources": list(found.sources),
        "targets": list(found.targets),
        "alpha": found.level,
        "confidence": found.confidence,
        "sentences": list(found.sentences()),
        "gains": [plain_numbers(asdict(one)) for one in found.gains],
        "traits": [{**plain_numbers(asdict(one)), "verdict": one.verdict} for one in found.traits],
        "cells": [plain_numbers(row) for row in rows],
        "verdicts": found.counts(),
        "not_compared": list(found.left_out),
        "notes": list(found.notes),
    }
