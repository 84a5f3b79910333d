"""``transferlens predict``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, plain_numbers
from transferlens.cli.options import Folder, ValuesOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from transferlens.predict import Completed, Evaluation, Predictor, Problem
    from transferlens.results import TransferStudy

__all__ = ["Confidence", "Own", "Rows", "SeedOfFolds", "named_rows", "predict",
           "print_completed", "problem_for"]  # fmt: skip

Confidence = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="How often an interval is to cover.")
]
Own = Annotated[
    bool,
    typer.Option("--own", help="Let adapters count on their own task; left out by default."),
]
Rows = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE=FILE",
        help="Training rows that the study does not hold (JSONL, CSV or Parquet).",
    ),
]
SeedOfFolds = Annotated[int, typer.Option("--seed", help="Seed of the folds.")]

_MOST_CELLS = 400


def predict(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="A dataset that nothing was trained on (JSONL, CSV or Parquet).",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="A task that nothing was evaluated on."),
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Say how well every predictor predicts hidden cells."),
    ] = False,
    class_scores: Annotated[
        bool,
        typer.Option(
            "--class-scores",
            help="Evaluate LogME, H-score, LEEP, NCE and TransRate: from every adapter's class "
            "scores on half of a task's examples to its gain on the other half.",
        ),
    ] = False,
    predictor: Annotated[
        list[str] | None,
        typer.Option(help="Use this predictor; can be repeated. All that apply by default."),
    ] = None,
    rows: Rows = None,
    values: ValuesOption = "gain",
    own: Own = False,
    confidence: Confidence = 0.9,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps linguistic features between calls.")
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["table", "csv", "json"], typer.Option(help="How to print it.")
    ] = "table",
    seed: SeedOfFolds = 0,
) -> None:
    """Predict what was not measured: cells, a new dataset, a new task.

    Without options it predicts the cells that the study lacks. What predicts is what predicts
    hidden cells of the same kind best; intervals are calibrated on its errors there.
    """
    import numpy as np

    from transferlens.errors import AnalysisError
    from transferlens.predict import (
        Complete,
        Evaluate,
        class_score_predictors,
        class_score_problem,
    )
    from transferlens.results import open_study

    evaluate = evaluate or class_scores
    if evaluate and (source or target):
        msg = "an evaluation hides measured cells; leave --source and --target out"
        raise AnalysisError(msg)
    study, rng = open_study(folder), np.random.default_rng(seed)
    if class_scores:
        problem, chosen = class_score_problem(study, rng=rng), class_score_predictors()
    else:
        problem = problem_for(study, source, target, rows, values=values, own=own, cache=cache)
        chosen = _predictors(predictor or [], problem)
    if evaluate:
        _print_evaluation(
            Evaluate(confidence=confidence)(problem, chosen, rng=rng), problem, format
        )
    else:
        found = Complete(predictors=chosen, confidence=confidence)(problem, rng=rng)
        print_completed(found, format)


def problem_for(
    study: TransferStudy,
    source: Sequence[str] | None,
    target: Sequence[str] | None,
    rows: Sequence[str] | None,
    *,
    values: Literal["gain", "score"] = "gain",
    own: bool = False,
    cache: Path | None = None,
) -> Problem:
    """Return what is measured and known, with datasets and tasks from files beside it."""
    from transferlens.predict import Newcomers, known_problem

    return known_problem(
        study,
        newcomers=Newcomers(sources=named_rows(source or []), targets=named_rows(target or [])),
        rows=named_rows(rows or []),
        values=values,
        own=own,
        cache=cache,
    )


def named_rows(given: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Read files given as ``NAME=FILE``, or by their path alone, which names them."""
    from transferlens.errors import AnalysisError
    from transferlens.explain.cards import rows_of_file

    found: dict[str, pl.DataFrame] = {}
    for part in given:
        name, equals, file = part.partition("=")
        path = Path(file if equals else part)
        name = name if equals else path.stem
        if name in found:
            msg = f"two files are called {name!r}; give one of them as NAME=FILE"
            raise AnalysisError(msg)
        found[name] = rows_of_file(path)
    return found


def _predictors(names: Sequence[str], problem: Problem) -> tuple[Predictor, ...]:
    from transferlens.errors import AnalysisError, did_you_mean
    from transferlens.predict import predictors_for

    known = {predictor.name: predictor for predictor in predictors_for(problem)}
    for name in names:
        if name not in known:
            msg = f"no predictor {name!r} for this study.{did_you_mean(name, known)}"
            raise AnalysisError(msg)
    return tuple(known[name] for name in names)


def _print_evaluation(found: Evaluation, problem: Problem, format: str) -> None:  # noqa: A002
    if format == "csv":
        typer.echo(found.table.fill_nan(None).write_csv(), nl=False)
        return
    if format == "json":
        rows = [plain_numbers(row) for row in found.table.iter_rows(named=True)]
        document = {
            "confidence": found.confidence,
            "unit": found.unit,
            "own_counts": found.own,
            "rows": rows,
            "notes": list(found.notes),
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
        return
    _print_protocols(found, problem)


def _print_protocols(found: Evaluation, problem: Problem) -> None:
    import polars as pl

    from transferlens.predict import PROTOCOLS

    regrets = [name for name in found.table.columns if name.startswith("regret")]
    noise = problem.noise > 0
    head = ["", "RMSE", *(["in seed noise"] if noise else []), "covered", "width", "Spearman",
            "NDCG", *(name.replace("_at_", "@") for name in regrets)]  # fmt: skip
    for protocol in found.table["protocol"].unique(maintain_order=True):
        part = found.table.filter(pl.col("protocol") == protocol)
        plain(f"{PROTOCOLS[protocol]} ({part['n_cells'][-1]} cells)")
        rows = [
            [
                row["predictor"],
                _fixed(row["rmse"], 2),
                *([_fixed(row["rmse_noise"], 1)] if noise else []),
                "-" if math.isnan(row["coverage"]) else f"{row['coverage']:.0%}",
                _fixed(row["width"], 1),
                _fixed(row["spearman"], 2),
                _fixed(row["ndcg"], 2),
                *(_fixed(row[name], 1) for name in regrets),
            ]
            for row in part.iter_rows(named=True)
        ]
        print_table(head, rows)
        plain("")
    for line in _legend(found):
        plain(line)


def _legend(found: Evaluation) -> list[str]:
    own = "counts" if found.own else "does not count"
    return [
        f"RMSE, width and regret in {found.unit}; intervals are to cover {found.confidence:.0%}",
        "order of the sources of a target: Spearman; NDCG with gain (value - lowest) / range",
        "regret@k: best source less the best of the k that are predicted best",
        f"the adapter of the task itself {own}",
        "new sources are ordered among a third of all, single cells among half",
        "- undefined: a constant orders nothing, a random order predicts no gain",
        *found.notes,
    ]


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def print_completed(found: Completed, format: str) -> None:  # noqa: A002
    """Print predicted cells, never measured ones."""
    import polars as pl

    frame = found.to_frame().filter(pl.col("predicted").is_not_nan())
    if format == "csv":
        typer.echo(_finite(frame.drop("measured")).write_csv(), nl=False)
    elif format == "json":
        document: dict[str, Any] = {
            "confidence": found.confidence,
            "unit": found.problem.unit,
            "choices": [plain_numbers(choice._asdict()) for choice in found.choices],
            "cells": [plain_numbers(row) for row in _finite(frame.drop("measured")).to_dicts()],
        }
        for choice in document["choices"]:
            choice["others"] = plain_numbers(choice["others"])
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print_cells(found, frame)


def _finite(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    numbers = pl.col(pl.Float64)
    return frame.with_columns(pl.when(numbers.is_finite()).then(numbers))


def _print_cells(found: Completed, frame: pl.DataFrame) -> None:
    from transferlens.predict import PROTOCOLS
    from transferlens.results import format_value

    if not frame.height:
        plain("Every cell is measured. Give --source or --target for a new dataset or task.")
        return
    rows = [
        [
            row["source"],
            row["target"],
            format_value(row["predicted"], signed=True),
            interval(row["low"], row["high"]) if math.isfinite(row["low"]) else "-",
        ]
        for row in frame.sort("predicted", descending=True).head(_MOST_CELLS).iter_rows(named=True)
    ]
    print_table(
        ["trained on", "task", "predicted", f"{found.confidence:.0%} interval"], rows, left=2
    )
    if frame.height > _MOST_CELLS:
        plain(f"and {frame.height - _MOST_CELLS} more: --format csv or json gives all")
    plain("")
    plain(f"predicted, not measured; {found.problem.unit}")
    for choice in found.choices:
        error = _fixed(choice.rmse, 2)
        rivals = ", ".join(f"{name} {_fixed(rmse, 2)}" for name, rmse in choice.others.items())
        more = f" ({choice.words})" if choice.words else ""
        plain(f"{PROTOCOLS[choice.protocol]}: by {choice.predictor}{more}, error {error} on")
        plain(f"  measured cells that were hidden; tried: {rivals or 'nothing could be hidden'}")
    if any(math.isinf(row) for row in frame["low"]):
        plain("- too few sources or targets are measured to calibrate an interval")
