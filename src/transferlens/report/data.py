"""The data beside a page: every table as Parquet, CSV and LaTeX, the summary as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from transferlens.report.analysis import Analyses
from transferlens.report.cells import cell_table
from transferlens.report.claim import Lacking
from transferlens.report.latex import latex_table
from transferlens.report.summary import Summary
from transferlens.results.files import write_atomically
from transferlens.transfer import in_points

__all__ = ["plain_values", "write_data"]

_LARGEST_LATEX = 400
"""Rows of a table that is still a table on paper."""


def write_data(found: Analyses, summary: Summary, folder: Path) -> list[tuple[Path, str]]:
    """Write every table and the summary; return the files with a word on each.

    Raises
    ------
    OSError
        The system refuses to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (frame, what) in _tables(found, summary).items():
        frame.write_parquet(folder / f"{name}.parquet")
        frame.fill_nan(None).write_csv(folder / f"{name}.csv")
        written += [(folder / f"{name}.{kind}", what) for kind in ("parquet", "csv")]
    for name, text in _latex(found, summary):
        write_atomically(folder / f"{name}.tex", text.encode())
        written.append((folder / f"{name}.tex", "LaTeX, booktabs"))
    document = json.dumps(
        plain_values(summary.to_dict()), indent=1, ensure_ascii=False, allow_nan=False
    )
    write_atomically(folder / "summary.json", document.encode("utf-8", "replace"))
    written.append((folder / "summary.json", "everything that the page says"))
    return written


def _tables(found: Analyses, summary: Summary) -> dict[str, tuple[pl.DataFrame, str]]:
    cells = cell_table(found.study, found.matrix, found.depth.level)
    tables = {"cells": (cells, "a row per cell, in the metrics' own units")}
    best = [
        {"target": b.target, "source": b.source, "gain": b.gain, "evidence": b.verdict}
        for b in summary.quick.best
    ]
    if best:
        tables["best_sources"] = (pl.DataFrame(best), "the best other source of each task")
    if not isinstance(found.effects, Lacking):
        tables["effects"] = (found.effects.to_frame(), "helps, harms, pairs and roles")
    if not isinstance(found.traits, Lacking):
        tables["loadings"] = (found.traits.to_frame(), "a row per task and trait")
        tables["trait_scores"] = (found.traits.scores_frame(), "a row per source and trait")
    if not isinstance(found.stories, Lacking) and found.stories:
        rows = [dict(story.attribution) for story in found.stories]
        tables["attribution"] = (pl.DataFrame(rows), "what the gains of the told cells consist of")
    return tables


def _latex(found: Analyses, summary: Summary) -> Iterator[tuple[str, str]]:
    view = summary.matrix
    known = any(math.isfinite(value) for row in view.numbers["gain"] for value in row)
    grid = view.numbers["gain" if known else "score"]
    marks = {"significant": "*", "suggestive": "°"}
    if len(view.targets) <= 30:
        rows = [
            [
                name,
                *(
                    _cell(v, marks.get(word, ""), signed=known)
                    for v, word in zip(grid[i], view.verdicts[i], strict=True)
                ),
            ]
            for i, name in enumerate(view.sources)
        ]
        caption = (
            f"{'Gain over the base' if known else 'Score'} ({view.unit}); a row per adapter, "
            f"a column per task. *: adjusted $p \\le {summary.level:g}$; °: unadjusted only."
        )
        yield (
            "matrix",
            latex_table(["", *view.targets], rows, caption=caption, label="tab:transfer"),
        )
    if summary.quick.best:
        rows = [
            [b.target, b.source, b.gain, b.verdict] for b in summary.quick.best[:_LARGEST_LATEX]
        ]
        yield (
            "best_sources",
            latex_table(
                ["task", "best source", "gain", "evidence"], rows,
                caption="Best source of each task, apart from its own.", label="tab:best",
            ),
        )  # fmt: skip
    if not isinstance(found.effects, Lacking):
        harms = in_points(found.effects.harms).head(20)
        rows = [
            [
                r["source"],
                r["target"],
                f"{r['gain']:+.1f}",
                f"[{r['gain_low']:+.1f}, {r['gain_high']:+.1f}]",
                f"{r['p_adjusted']:.2g}",
            ]
            for r in harms.iter_rows(named=True)
        ]
        head = ["trained on", "task", "gain", "interval", "adjusted $p$"]
        yield (
            "harms",
            latex_table(head, rows, caption="Significant harm to other tasks.", label="tab:harms"),
        )


def _cell(value: float, mark: str, *, signed: bool) -> str:
    if math.isnan(value):
        return "--"
    return f"{value:+.1f}{mark}" if signed else f"{value:.1f}{mark}"


def plain_values(value: Any) -> Any:
    """Return dictionaries and lists without NaN and infinity, which JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
