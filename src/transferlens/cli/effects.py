"""``transferlens effects``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import compute, interval, p_value, plain_numbers
from transferlens.cli.options import Alpha, Folder, Strict

if TYPE_CHECKING:
    import polars as pl

    from transferlens.stats import AsymmetryTest
    from transferlens.transfer import Effects

__all__ = ["effects"]


def effects(
    folder: Folder,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["table", "csv", "json"], typer.Option(help="How to print it.")
    ] = "table",
    top: Annotated[int, typer.Option(min=0, help="Rows per table at most; 0 prints all.")] = 10,
    strict: Strict = False,
    alpha: Alpha = 0.05,
) -> None:
    """Say what helps, what harms, which pairs are one-way, and who gives and takes.

    Effects are those on other tasks than an adapter's own, in points
    (hundredths). Tables show significant ones; CSV and JSON have every pair.
    """
    from transferlens.results import open_study
    from transferlens.transfer import in_points, transfer_effects

    found = transfer_effects(compute(open_study(folder), strict=strict), level=alpha)
    if format == "csv":
        typer.echo(in_points(found.to_frame()).fill_nan(None).write_csv(), nl=False)
    elif format == "json":
        typer.echo(json.dumps(_document(found), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print_tables(found, top)


def _print_tables(found: Effects, top: int) -> None:
    import polars as pl

    _print_effects(found, top)
    one_way = found.pairs.filter(pl.col("p_adjusted") <= found.level)
    rows = [_pair(row) for row in _rows(one_way)]
    title = f"One-way pairs: {one_way.height} of {found.pairs.height}"
    head = ["A", "B", "A on B", "B on A", "difference", "interval", "adj. p"]
    _print_section(title, head, rows, top, left=2)
    if found.asymmetry is not None:
        plain(_asymmetry_line(found.asymmetry))
        plain("")
    _print_roles(found, top)
    plain(f"significant: adjusted p <= {found.level:g}; points; intervals are not adjusted")
    for note in found.notes:
        plain(note)


def _print_effects(found: Effects, top: int) -> None:
    counted = f"of {found.n_tested} effects on other tasks"
    head = ["trained on", "task", "base", "gain", "interval", "adj. p"]
    rows = [_effect(row) for row in _rows(found.helps)]
    _print_section(f"Helps: {found.helps.height} {counted}", head, rows, top, left=2)
    rows = [[*_effect(row), _share(row["lost"])] for row in _rows(found.harms)]
    head = [*head, "lost of base"]
    _print_section(f"Harms: {found.harms.height} {counted}", head, rows, top, left=2)


def _print_roles(found: Effects, top: int) -> None:
    for title, column, frame in (
        ("Donors: what a source gives beyond an average source", "source", found.donors),
        ("Recipients: what a task takes beyond an average task", "target", found.recipients),
    ):
        rows = [
            [row[column], _signed(row["effect"]), interval(row["low"], row["high"])]
            for row in _rows(frame.filter(frame["effect"].is_not_nan()))
        ]
        _print_section(title, [column, "effect", "interval"], rows, top, left=1)
    rows = [
        [row["task"], row["label"], _signed(row["hub"]), interval(row["hub_low"], row["hub_high"])]
        for row in _rows(found.hubs)
    ]
    title = "Tasks that are both: mean of giving and taking"
    _print_section(title, ["task", "role", "hub", "interval"], rows, top, left=2)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    from transferlens.transfer import in_points

    return in_points(frame).to_dicts()


def _effect(row: dict[str, Any]) -> list[str]:
    from transferlens.results import format_value

    base = format_value(row["base_score"], signed=False)
    ends = interval(row["gain_low"], row["gain_high"])
    return [
        row["source"], row["target"], base, _signed(row["gain"]), ends, p_value(row["p_adjusted"]),
    ]  # fmt: skip


def _pair(row: dict[str, Any]) -> list[str]:
    gains = [_signed(row[name]) for name in ("forward", "backward", "difference")]
    ends = interval(row["low"], row["high"])
    return [row["first"], row["second"], *gains, ends, p_value(row["p_adjusted"])]


def _signed(value: float) -> str:
    from transferlens.results import format_value

    return format_value(value, signed=True)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def _print_section(
    title: str, head: list[str], rows: list[list[str]], top: int, *, left: int
) -> None:
    plain(title)
    shown = rows[:top] if top else rows
    if shown:
        print_table(head, shown, left=left)
    if len(shown) < len(rows):
        plain(f"and {len(rows) - len(shown)} more: --top 0 prints all")
    plain("")


def _asymmetry_line(test: AsymmetryTest) -> str:
    """Say how much of what is specific to pairs is one-way."""
    share = test.skew_share
    what = "nothing beyond noise" if math.isnan(share) else f"{share:.0%} of it is one-way"
    return (
        f"Beyond givers and takers, what is specific to pairs: {what} "
        f"(one-way part p = {p_value(test.skew_p_value)}, "
        f"mutual part p = {p_value(test.symmetric_p_value)})"
    )


def _document(found: Effects) -> dict[str, Any]:
    tables = ("helps", "harms", "pairs", "donors", "recipients", "hubs")
    document: dict[str, Any] = {
        "alpha": found.level,
        "tested": found.n_tested,
        "notes": list(found.notes),
    }
    for name in tables:
        document[name] = [plain_numbers(row) for row in _rows(getattr(found, name))]
    test = found.asymmetry
    document["asymmetry"] = test and plain_numbers(
        {
            "one_way_share": test.skew_share,
            "one_way_p_value": test.skew_p_value,
            "mutual_p_value": test.symmetric_p_value,
        }
    )
    return document
