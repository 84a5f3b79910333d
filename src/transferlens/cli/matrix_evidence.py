"""The evidence of a transfer matrix as text: a row per cell."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from transferlens.cli.console import plain, print_table

if TYPE_CHECKING:
    import polars as pl

    from transferlens.results import TransferStudy
    from transferlens.transfer import TransferMatrix

__all__ = [
    "cells_as_csv",
    "cells_as_json",
    "compute",
    "interval",
    "p_value",
    "plain_numbers",
    "print_cells",
    "significance_line",
]

_MOST_CELLS = 400
_ADJUSTMENTS = {
    "bh": "false-discovery rate by Benjamini-Hochberg",
    "holm": "any false discovery by Holm",
    "max-t": "any false discovery by sign-flip max-T",
}


def compute(study: TransferStudy, *, strict: bool) -> TransferMatrix:
    """Return the transfer matrix with evidence, adjusted as the command says."""
    from transferlens.transfer import Evidence, transfer_matrix

    if not strict:
        return transfer_matrix(study)
    # Flips need examples; Holm gives the same guarantee from the p-values alone.
    bare = study.predictions is None
    return transfer_matrix(study, Evidence(adjust="holm" if bare else "max-t"))


def significance_line(tested: TransferMatrix, alpha: float) -> str:
    """Say what a star means."""
    how = _ADJUSTMENTS[tested.data.attrs["adjust"]]
    n = int(tested.data["p_value"].notnull().sum())
    return f"* differs from the base: adjusted p <= {alpha:g} ({how}, {n} cells)"


def print_cells(tested: TransferMatrix, alpha: float) -> None:
    """Print a row per cell, or say where all rows are if they are very many."""
    from transferlens.results import format_value
    from transferlens.transfer import in_points

    frame = in_points(tested.to_frame())
    plain("")
    if frame.height > _MOST_CELLS:
        plain(f"{frame.height} cells: --format csv or json gives a row for each")
        return
    rows = []
    for cell in frame.iter_rows(named=True):
        mark = "*" if cell["p_adjusted"] <= alpha else ""
        rows.append(
            [
                cell["source"],
                cell["target"],
                format_value(cell["base_score"], signed=False),
                format_value(cell["score"], signed=False),
                f"{format_value(cell['gain'], signed=True)}{mark or ' '}",
                interval(cell["gain_low"], cell["gain_high"]),
                _two(cell["normalized_gain"]),
                _two(cell["perfection_gap_factor"]),
                p_value(cell["p_value"]),
                p_value(cell["p_adjusted"]),
                format_value(cell["detectable"], signed=False),
                _count(cell["n_scored"]),
                _count(cell["n_unscored"]),
            ]
        )
    level = f"{tested.evidence.confidence:.0%} interval"
    head = ["trained on", "task", "base", "score", "gain ", level, "norm. gain", "gap factor"]
    print_table([*head, "p", "adj. p", "detectable", "scored", "unscored"], rows, left=2)
    plain("")
    plain(
        "norm. gain: share of the headroom closed; gap factor: what is left of it, 1 is no change"
    )
    plain("detectable: smallest gain that is found with 80 % power, before adjustment")


def cells_as_csv(tested: TransferMatrix, alpha: float) -> str:
    """Return a row per cell with every number; empty where there is none."""
    return _marked(tested, alpha).fill_nan(None).write_csv()


def cells_as_json(tested: TransferMatrix, alpha: float) -> str:
    """Return tests, notes and a record per cell; null where there is no number."""
    frame = _marked(tested, alpha)
    document = {
        "confidence": tested.evidence.confidence,
        "alpha": alpha,
        "adjust": tested.data.attrs["adjust"],
        "notes": list(tested.notes),
        "cells": [plain_numbers(row) for row in frame.iter_rows(named=True)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _marked(tested: TransferMatrix, alpha: float) -> pl.DataFrame:
    import polars as pl

    from transferlens.transfer import in_points

    # NaN sorts above every number, so an untested cell is not significant.
    significant = pl.col("p_adjusted") <= alpha
    return in_points(tested.to_frame()).with_columns(significant=significant)


def plain_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without NaN and infinity, which JSON cannot write."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def interval(low: float, high: float) -> str:
    """Return both ends with their signs; ``-`` where they are not known."""
    from transferlens.results import format_value

    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{format_value(low, signed=True)} to {format_value(high, signed=True)}"


def p_value(value: float) -> str:
    """Return a p-value with the digits that matter; ``-`` where there is none."""
    if math.isnan(value):
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _two(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _count(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"
