"""``transferlens explain``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import compute, interval, p_value
from transferlens.cli.options import Alpha, Folder

if TYPE_CHECKING:
    import polars as pl

    from transferlens.results import TransferStudy

__all__ = ["explain"]


def explain(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    source: Annotated[
        str | None, typer.Argument(help="Dataset that the adapter was trained on.")
    ] = None,
    target: Annotated[str | None, typer.Argument(help="Task that it is tested on.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers instead of words.")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="Cells to list at most; 0 lists all.")] = 10,
    alpha: Alpha = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
) -> None:
    """Say why an adapter helps or harms a task; without a cell, list the most surprising ones.

    A gain is split into format (answers that can be read), label prior (which labels are
    preferred), length and skill (the rest). Surprising are gains on tasks of another family
    and losses within a family.
    """
    from transferlens.errors import AnalysisError
    from transferlens.results import open_study

    study = open_study(folder)
    if source is None:
        _list_surprises(study, alpha, top, as_json=as_json)
        return
    if target is None:
        msg = f"name the task as well: transferlens explain {folder} {source} TARGET"
        raise AnalysisError(msg)
    _tell(study, source, target, seed, as_json=as_json)


def _tell(study: TransferStudy, source: str, target: str, seed: int, *, as_json: bool) -> None:
    import numpy as np

    from transferlens.explain import tell_story

    story = tell_story(study, source, target, rng=np.random.default_rng(seed))
    if as_json:
        document = {
            "source": source,
            "target": target,
            "sentence": story.sentence,
            "lines": list(story.lines),
            "notes": list(story.notes),
            **story.numbers,
        }
        _print_json(document)
        return
    plain(story.sentence)
    plain("")
    for line in (*story.lines, *story.notes):
        plain(line)


def _list_surprises(study: TransferStudy, alpha: float, top: int, *, as_json: bool) -> None:
    from transferlens.explain import surprises
    from transferlens.transfer import in_points

    matrix = compute(study, strict=False)
    found = in_points(surprises(study, matrix, level=alpha))
    if as_json:
        document = {"alpha": alpha, "notes": list(matrix.notes), "cells": found.to_dicts()}
        _print_json(document)
        return
    _print_surprises(found, top)
    for note in matrix.notes:
        plain(note)


def _print_surprises(found: pl.DataFrame, top: int) -> None:
    from transferlens.results import format_value

    shown = found.head(top) if top else found
    rows = [
        [
            row["source"],
            row["target"],
            row["surprise"],
            format_value(row["base_score"], signed=False),
            format_value(row["gain"], signed=True),
            interval(row["gain_low"], row["gain_high"]),
            p_value(row["p_adjusted"]),
        ]
        for row in shown.iter_rows(named=True)
    ]
    plain(f"Surprising: {found.height} cells")
    if rows:
        head = ["trained on", "task", "surprise", "base", "gain", "interval", "adj. p"]
        print_table(head, rows, left=3)
        plain("")
        plain("transferlens explain DIR SOURCE TARGET tells why")
    if len(rows) < found.height:
        plain(f"and {found.height - len(rows)} more: --top 0 prints all")


def _print_json(document: dict[str, Any]) -> None:
    text = json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(text)


def _plain(value: Any) -> Any:
    """Return a document without NaN and infinity, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
