"""``transferlens route``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, plain_numbers
from transferlens.cli.options import Folder

if TYPE_CHECKING:
    from transferlens.serve import RoutingQuality

__all__ = ["route"]


def route(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    prompt: Annotated[str | None, typer.Argument(help="Prompt to route.")] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Say how good the router is on prompts kept out.")
    ] = False,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="How often an interval is to cover.")
    ] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of halves and resamples.")] = 0,
) -> None:
    """Say which adapter a prompt should have and why, or how good such choices are.

    The nearest task is found by words, and the adapter by its measured gain there: the one
    with the highest lower bound, or the base where no bound is above 0.
    """
    import numpy as np

    from transferlens.errors import AnalysisError
    from transferlens.results import open_study
    from transferlens.serve import evaluate_routing, fit_router

    if (prompt is None) != evaluate:
        msg = "give a prompt, or --evaluate"
        raise AnalysisError(msg)
    study = open_study(folder)
    if prompt is None:
        rng = np.random.default_rng(seed)
        _print_quality(evaluate_routing(study, rng=rng, confidence=confidence), as_json=as_json)
        return
    found = fit_router(study, seed=seed)(prompt)
    if as_json:
        typer.echo(json.dumps(plain_numbers(found._asdict()), indent=1, ensure_ascii=False))
    else:
        plain(f"{found.adapter or 'base'}: {found.reason}")


def _print_quality(found: RoutingQuality, *, as_json: bool) -> None:
    if as_json:
        document = {
            "accuracy": found.accuracy,
            "confidence": found.confidence,
            "rows": [plain_numbers(row) for row in found.table.to_dicts()],
            "chosen": found.chosen.to_dicts(),
            "notes": list(found.notes),
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
        return
    _print_whole(found)
    plain("")
    _print_tasks(found)
    plain("")
    plain(f"{found.accuracy:.1%} of the prompts have their own task as the nearest")
    plain("p-values are adjusted (Holm): those above over the rivals, those of tasks over all")
    for note in found.notes:
        plain(note)


def _print_whole(found: RoutingQuality) -> None:
    import polars as pl

    from transferlens.results import format_value
    from transferlens.serve.quality import POLICIES

    rows = found.table.filter(pl.col("scope") == "")
    unit, n = rows["unit"][0], rows["n"][0]
    plain(f"all tasks, each weighing the same ({n} prompts kept out), {unit}")
    body = []
    for row in rows.iter_rows(named=True):
        first = math.isnan(row["difference"])
        more = (
            ["", "", ""]
            if first
            else [
                format_value(row["difference"], signed=True),
                interval(row["low"], row["high"]),
                f"{row['p_adjusted']:.2g}",
            ]
        )
        body.append([POLICIES[row["policy"]], format_value(row["score"], signed=False), *more])
    print_table(["", "score", "router less it", f"{found.confidence:.0%} interval", "p"], body)


def _print_tasks(found: RoutingQuality) -> None:
    import polars as pl

    from transferlens.results import format_value

    table = found.table.filter(pl.col("scope") != "")
    wide = table.pivot(on="policy", index="scope", values="score", maintain_order=True)
    names = [name for name in wide.columns if name != "scope"]
    against = {row["scope"]: row for row in table.filter(pl.col("policy") == "base").to_dicts()}
    rows = [
        [
            row["scope"],
            *(format_value(row[name], signed=False) for name in names),
            interval(against[row["scope"]]["low"], against[row["scope"]]["high"]),
        ]
        for row in wide.to_dicts()
    ]
    print_table(["score by task", *names, "router less base"], rows)
