"""``transferlens twins``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, p_value, plain_numbers
from transferlens.cli.options import Alpha, Folder

if TYPE_CHECKING:
    import polars as pl

    from transferlens.explain import TwinEffects
    from transferlens.results import SourceInfo

__all__ = ["twins"]


def twins(
    folder: Folder,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers instead of tables.")
    ] = False,
    alpha: Alpha = 0.05,
) -> None:
    """Say what the property does in which each twin differs from its source.

    A twin is an adapter under `controls` in the study file. Per target the difference of
    twin and source: of the score, of the share of each label among the answers (the table
    shows the label that changes most), and of the length of written answers.
    """
    from transferlens.explain import TwinEffect
    from transferlens.results import open_study

    study = open_study(folder)
    found = TwinEffect()(study)
    if as_json:
        typer.echo(_as_json(found, alpha))
        return
    for twin in study.twins:
        _print_twin(twin, found.frame, alpha)
    for line in (*_findings(found, alpha), *found.notes):
        plain(line)


def _print_twin(twin: SourceInfo, frame: pl.DataFrame, alpha: float) -> None:
    import polars as pl

    from transferlens.results import format_value
    from transferlens.transfer import in_points

    rows = in_points(_most_changed(frame.filter(pl.col("twin") == twin.name)))
    value = f" ({twin.control_value})" if twin.control_value else ""
    plain(f"{twin.name}: {twin.twin_of}, {twin.control}{value}")
    table = [
        [
            row["target"],
            row["measure"] + (f" of '{row['label']}'" if row["label"] else ""),
            format_value(row["original"], signed=False),
            format_value(row["changed"], signed=False),
            format_value(row["difference"], signed=True)
            + ("*" if row["p_adjusted"] <= alpha else " "),
            interval(row["low"], row["high"]),
            p_value(row["p_adjusted"]),
            format_value(row["floor"], signed=False),
            row["unit"],
        ]
        for row in rows.iter_rows(named=True)
    ]
    head = ["task", "measure", "source", "twin", "difference ", "interval", "adj. p", "floor"]
    print_table([*head, "unit"], table, left=2)
    plain("")


def _most_changed(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep of each target's labels the one whose share changes most."""
    import polars as pl

    size = pl.col("difference").abs().fill_nan(-1.0)
    first = size.rank("ordinal", descending=True).over("target", "measure") == 1
    return rows.filter(first)


def _findings(found: TwinEffects, alpha: float) -> list[str]:
    """Return what was found and what was not, a line each."""
    lines = [f"* {sentence}" for sentence in found.sentences(alpha)]
    tested = found.frame.filter(found.frame["p_adjusted"].is_not_nan())
    none = tested.filter(tested["p_adjusted"] > alpha)
    lines.append(
        f"{len(lines)} of {tested.height} differences are significant (adjusted p <= {alpha:g}, "
        "false-discovery rate by Benjamini-Hochberg)"
    )
    silent = [name for name in _names(tested) if name not in _names(tested, below=alpha)]
    if silent and none.height:
        lines.append(f"nothing found: {', '.join(silent)}")
    return lines


def _names(frame: pl.DataFrame, below: float = 1.0) -> list[str]:
    import polars as pl

    return frame.filter(pl.col("p_adjusted") <= below)["twin"].unique(maintain_order=True).to_list()


def _as_json(found: TwinEffects, alpha: float) -> str:
    import polars as pl

    from transferlens.transfer import in_points

    frame = in_points(found.frame).with_columns(significant=pl.col("p_adjusted") <= alpha)
    document: dict[str, Any] = {
        "confidence": found.evidence.confidence,
        "alpha": alpha,
        "adjust": found.evidence.adjust,
        "sentences": list(found.sentences(alpha)),
        "notes": list(found.notes),
        "effects": [plain_numbers(row) for row in frame.iter_rows(named=True)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
