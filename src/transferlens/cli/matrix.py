"""``transferlens matrix``."""

from __future__ import annotations

import csv
import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import (
    cells_as_csv,
    cells_as_json,
    compute,
    print_cells,
    significance_line,
)
from transferlens.cli.options import Alpha, Folder, Seed, Strict, ValuesOption
from transferlens.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr
    from rich.text import Text

    from transferlens.results import TransferStudy
    from transferlens.transfer import TransferMatrix

__all__ = ["matrix"]


def matrix(  # noqa: PLR0917 - each is an option of the command
    folder: Folder,
    values: ValuesOption = "gain",
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["table", "csv", "json"], typer.Option(help="How to print it.")
    ] = "table",
    seed: Seed = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Test every gain; add intervals, p-values and counts."),
    ] = False,
    strict: Strict = False,
    alpha: Alpha = 0.05,
) -> None:
    """Print the transfer matrix: a row per adapter, a column per task.

    Scores are in points (hundredths); a gain is how many points better than
    the base an adapter is. CSV and JSON have all digits.

    With --evidence, significant gains carry a star, and a row per cell follows;
    CSV and JSON then have a row per cell. --strict implies it.
    """
    from transferlens.results import matrix_values, open_study

    study = open_study(folder)
    if evidence or strict:
        if seed is not None:
            msg = "--evidence is over all seeds: leave --seed out"
            raise AnalysisError(msg)
        tested = compute(study, strict=strict)
        if format == "table":
            _print_table(matrix_values(study, values=values), tested, alpha)
            print_cells(tested, alpha)
            _mention_twins(study)
        else:
            typer.echo(
                {"csv": cells_as_csv, "json": cells_as_json}[format](tested, alpha), nl=False
            )
        return
    data = matrix_values(study, values=values, seed=seed)
    printers = {"table": _print_table, "csv": _print_csv, "json": _print_json}
    printers[format](data)
    if format == "table":
        _mention_twins(study)


def _mention_rows(study: TransferStudy) -> None:
    """Say which rows begin with others, and that cells may be predicted."""
    for info in study.sources:
        if info.merged_of:
            plain(f"{info.name}: merged from {', '.join(info.merged_of)} ({info.merge})")
        elif info.after:
            plain(f"{info.name}: training began with the adapter of {info.after}")
    cells = study.scores["score"]
    if n := int(cells.isnull().all("seed").sum()):
        plain(f"{n} of {cells[..., 0].size} cells have no result: see `transferlens predict`")


def _mention_twins(study: TransferStudy) -> None:
    _mention_rows(study)
    if n := len(study.twins):
        plain(f"{n} twin{'s are' if n > 1 else ' is'} left out: see `transferlens twins`")


def _print_table(
    data: xr.Dataset, tested: TransferMatrix | None = None, alpha: float = 0.05
) -> None:
    import numpy as np

    from transferlens.results import BASE, format_value

    gains = data.attrs["values"] == "gain"
    starred = np.zeros(data["value"].shape, dtype=bool)
    if tested is not None:
        starred = tested.significant(alpha).transpose("source", "target").to_numpy()
        if gains:
            # The gain that was tested, over the examples that both scored.
            scale = np.where(data["unit"] == "points", 100.0, 1.0)
            data = data.assign(value=(data["value"].dims, tested.data["gain"].to_numpy() * scale))
    base = [format_value(x, signed=False) for x in data["base"].to_numpy()]
    rows: list[list[str | Text]] = [[f"{BASE} (score)" if gains else BASE, *base]]
    for name, stars in zip(data["source"].to_numpy(), starred, strict=True):
        row = data.sel(source=name)
        cells = zip(row["value"].to_numpy(), row["own"].to_numpy(), stars, strict=True)
        rows.append(
            [str(name), *(_cell(x, own=own, signed=gains, star=star) for x, own, star in cells)]
        )
    print_table(["trained on", *map(str, data["target"].to_numpy())], rows)
    plain("")
    for line in _legend(data):
        plain(line)
    # What one seed cannot show is among the notes of the tests.
    for line in [significance_line(tested, alpha), *tested.notes] if tested else _caveats(data):
        plain(line)


def _cell(value: float, *, own: bool, signed: bool, star: bool) -> Text:
    from rich.text import Text

    from transferlens.results import format_value

    text = format_value(value, signed=signed)
    style = "bold" if own else ""
    if signed and text[0] in "+-":
        # The two ends of the pictures' palette, which the colour-blind can tell apart.
        style += " medium_purple" if text[0] == "+" else " dark_orange"
    text += "*" if star else ""
    return Text(f"[{text}]" if own else f"{text} ", style=style.strip())


def _legend(data: xr.Dataset) -> list[str]:
    """Return what the numbers are."""
    what = "gain over the base" if data.attrs["values"] == "gain" else "score"
    lines = [f"{what} in points; [ ] own task; - no result"]
    lines += [
        f"{name}: {metric}, {'points' if unit == 'points' else unit}"
        f"{'' if better else ', lower is better'}"
        for name, metric, unit, better in zip(
            *(data[key].to_numpy() for key in ("target", "metric", "unit", "higher_is_better")),
            strict=True,
        )
        if unit != "points" or not better
    ]
    return lines


def _caveats(data: xr.Dataset) -> list[str]:
    """Return what the numbers cannot show."""
    seeds = data.attrs["seeds"]
    lines = []
    if len(seeds) == 1:
        lines.append(f"one seed ({seeds[0]}): training variance unknown")
    else:
        lines.append(f"mean of {len(seeds)} seeds")
        lines += _missing_seeds(data)
    unscored = int(data["n_unscored"].sum() + data["base_n_unscored"].sum())
    if unscored:
        lines.append(f"{unscored} examples have no score and count neither as right nor as wrong")
    return lines


def _missing_seeds(data: xr.Dataset) -> list[str]:
    counts = data["n_seeds"].to_numpy()
    short = int(((counts > 0) & (counts < len(data.attrs["seeds"]))).sum())
    return [f"{short} cells lack a seed: their mean is over fewer"] if short else []


def _print_csv(data: xr.Dataset) -> None:
    from transferlens.results import BASE

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["source", *data["target"].to_numpy()])
    # Among gains the scores of the base would be taken for gains.
    if data.attrs["values"] == "score":
        writer.writerow([BASE, *map(_number, data["base"].to_numpy())])
    for name, row in zip(data["source"].to_numpy(), data["value"].to_numpy(), strict=True):
        writer.writerow([name, *map(_number, row)])


def _print_json(data: xr.Dataset) -> None:
    targets = [str(name) for name in data["target"].to_numpy()]

    def named(row: Any) -> dict[str, Any]:
        return dict(zip(targets, map(_number, row), strict=True))

    def matrix_of(variable: str) -> dict[str, dict[str, Any]]:
        names, rows = data["source"].to_numpy(), data[variable].to_numpy()
        return {str(name): named(row) for name, row in zip(names, rows, strict=True)}

    document = {
        "values": data.attrs["values"],
        "seeds": data.attrs["seeds"],
        "unit": dict(zip(targets, map(str, data["unit"].to_numpy()), strict=True)),
        "metric": dict(zip(targets, map(str, data["metric"].to_numpy()), strict=True)),
        "base_score": named(data["base"].to_numpy()),
        "base_unscored": named(data["base_n_unscored"].to_numpy()),
        data.attrs["values"]: matrix_of("value"),
        "sd_over_seeds": matrix_of("sd"),
        "unscored": matrix_of("n_unscored"),
    }
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def _number(value: Any) -> float | int | None:
    """Return a plain number; None, which is empty or null, for NaN."""
    number = value.item()
    return None if math.isnan(number) else number
