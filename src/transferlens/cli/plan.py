"""``transferlens plan``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, plain_numbers
from transferlens.cli.options import Folder, ValuesOption
from transferlens.cli.predict import Confidence, Rows, SeedOfFolds, problem_for

if TYPE_CHECKING:
    import polars as pl

    from transferlens.predict import Completed, NextCells, Problem

__all__ = ["budget_cells", "plan"]

_MOST_CELLS = 50


def plan(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    budget: Annotated[
        str,
        typer.Option(
            metavar="30%|CELLS",
            help="Share of all cells to have measured in the end, or number of further cells.",
        ),
    ] = "30%",
    adapters: Annotated[
        int | None,
        typer.Option(min=0, help="Train at most so many further adapters.", show_default="any"),
    ] = None,
    random: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share drawn at random, on which intervals are calibrated."
        ),
    ] = 0.25,
    rows: Rows = None,
    values: ValuesOption = "gain",
    confidence: Confidence = 0.9,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps linguistic features between calls.")
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["table", "csv", "json"], typer.Option(help="How to print it.")
    ] = "table",
    seed: SeedOfFolds = 0,
) -> None:
    """Say which cells to measure next, so that the others are predicted best.

    A source without any measured cell needs an adapter; those come first whose data tell
    most about the others. Cells of own tasks are not planned: they predict nothing else.
    """
    import numpy as np

    from transferlens.predict import Complete, next_cells, training_order
    from transferlens.results import open_study

    problem = problem_for(open_study(folder), None, None, rows, values=values, cache=cache)
    order = training_order(problem)
    of_plan, of_rest = np.random.default_rng(seed).spawn(2)
    found = next_cells(
        problem,
        _further(budget, problem),
        max_new_sources=adapters,
        source_order=order,
        random_share=random,
        rng=of_plan,
    )
    completed = Complete(confidence=confidence)(problem, rng=of_rest)
    if format == "table":
        _print_plan(found, completed)
    elif format == "csv":
        typer.echo(_frame(found, completed).fill_nan(None).write_csv(), nl=False)
    else:
        rows_of_plan = [plain_numbers(row) for row in _frame(found, completed).to_dicts()]
        document = {
            "unit": problem.unit,
            "confidence": confidence,
            "adapters": list(found.new_sources),
            **plain_numbers({"error_now": found.error_before, "error_then": found.error_after}),
            "cells": rows_of_plan,
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def _further(budget: str, problem: Problem) -> int:
    """Return how many cells to measure beyond those that are."""
    amount, is_share = budget_cells(budget, int((~problem.own).sum()))
    return max(0, amount - int(problem.known.sum())) if is_share else amount


def budget_cells(budget: str, n_cells: int) -> tuple[int, bool]:
    """Read a number of cells, or a share of ``n_cells``; returns cells, and whether a share."""
    from transferlens.errors import AnalysisError

    number, percent, rest = budget.strip().partition("%")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if rest or not 0 <= amount < math.inf or (percent and amount > 100):
        msg = f"--budget {budget}: give a share such as 30% or a number of cells such as 40"
        raise AnalysisError(msg)
    return round(amount / 100 * n_cells) if percent else round(amount), bool(percent)


def _frame(found: NextCells, completed: Completed) -> pl.DataFrame:
    import polars as pl

    cells = completed.to_frame().drop("measured")
    place = pl.DataFrame(
        {
            "step": range(1, len(found.cells) + 1),
            "source": [cell.source for cell in found.cells],
            "target": [cell.target for cell in found.cells],
            "new_adapter": [cell.new_source for cell in found.cells],
            "at_random": [cell.at_random for cell in found.cells],
        },
        schema={
            "step": pl.Int64,
            "source": pl.String,
            "target": pl.String,
            "new_adapter": pl.Boolean,
            "at_random": pl.Boolean,
        },
    )
    joined = place.join(cells, on=["source", "target"], how="left", maintain_order="left")
    numbers = pl.col("predicted", "low", "high")
    return joined.with_columns(pl.when(numbers.is_finite()).then(numbers))


def _print_plan(found: NextCells, completed: Completed) -> None:
    from transferlens.results import format_value

    problem = completed.problem
    total, measured = int((~problem.own).sum()), int(problem.known.sum())
    plain(f"measured: {measured} of {total} cells; {len(found.cells)} more are planned")
    if not found.cells:
        plain("Nothing to do: give a larger --budget, or see `transferlens predict`.")
        return
    plain("")
    rows = [
        [
            str(row["step"]),
            row["source"],
            row["target"],
            "train" if row["new_adapter"] else "",
            "at random" if row["at_random"] else "planned",
            *(
                ["-", "-"]
                if row["predicted"] is None
                else [
                    format_value(row["predicted"], signed=True),
                    "-" if row["low"] is None else interval(row["low"], row["high"]),
                ]
            ),
        ]
        for row in _frame(found, completed).head(_MOST_CELLS).iter_rows(named=True)
    ]
    head = ["step", "trained on", "task", "adapter", "chosen", "predicted"]
    print_table([*head, f"{completed.confidence:.0%} interval"], rows, left=5)
    if len(found.cells) > _MOST_CELLS:
        plain(f"and {len(found.cells) - _MOST_CELLS} more: --format csv or json gives all")
    plain("")
    if found.new_sources:
        plain(f"adapters to train, in this order: {', '.join(found.new_sources)}")
    before, after = (
        "-" if math.isnan(error) else f"{error:.1f}"
        for error in (found.error_before, found.error_after)
    )
    plain(
        f"expected error of an unmeasured cell: {before} now, {after} then ({problem.unit}; "
        f"{found.words})"
    )
    plain("predicted, not measured; plan again when these cells are measured")
