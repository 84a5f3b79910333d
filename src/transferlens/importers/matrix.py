"""A score matrix from a table, whatever its shape and unit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.checks import drop_averages, say_hidden_average, say_shifted
from transferlens.importers.entries import (
    SCORE,
    Entry,
    long_entries,
    source_families,
    unique,
    wide_entries,
)
from transferlens.importers.layout import Rows, find_layout, is_base, orientation
from transferlens.importers.names import family_of, normalise, safe_names, say_renamed
from transferlens.importers.origin import origin_of
from transferlens.importers.table import Table, read_table
from transferlens.importers.units import Scale, Unit, find_lower, find_units
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy

__all__ = ["import_matrix"]

Key = tuple[str, str]
"""Target and metric."""


def import_matrix(
    path: str | Path,
    *,
    rows: Rows = "auto",
    base: str | None = None,
    unit: Unit = "auto",
    metric: str | None = None,
    lower_is_better: Iterable[str] = (),
    drop: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    layout: Literal["auto", "long", "wide"] = "auto",
    sheet: str | None = None,
) -> TransferStudy:
    """Read a score matrix from a CSV, Parquet or Excel file.

    What is not said is recognised, and what was recognised is said in the
    remarks (`remarks_of`), together with what looks wrong in the numbers.

    Parameters
    ----------
    path
        A wide table (a row per source or per target) or a long one (a row
        per cell, with columns such as source, target, score, metric, seed).
    rows
        Whether the rows of a wide table are sources or targets.
    base
        Name of the untuned model's row or column.
    unit
        ``percent`` is divided by 100; ``raw`` keeps numbers that are neither
        percent nor fractions.
    metric
        Name of the metric; in a table with several, the one to import.
    lower_is_better
        Targets or metrics of which less is better, or ``"all"``.
    drop
        Columns, sources or targets to leave out.
    columns
        Role (source, target, score, metric, seed, n, family) -> name of the column.
    layout, sheet
        Shape of the table; sheet of an Excel file.

    Returns
    -------
    TransferStudy
        Scores without predictions; a cell that is empty is missing (NaN).

    Raises
    ------
    DataError
        The table cannot be read, is contradictory or ambiguous; the message
        names file and row.
    """
    file, remarks = Path(path), list[str]()
    table = read_table(file, sheet=sheet)
    dropped = tuple(drop)
    found = find_layout(table, columns=columns or {}, drop=dropped, layout=layout, remarks=remarks)
    side: Literal["source", "target"] = "source"
    if found.long:
        remarks.append("a long table: a row per cell")
        entries = long_entries(table, found)
    else:
        side = orientation(table, found, rows, base, remarks)
        entries = wide_entries(table, found, side, remarks)
    entries = _drop_named(entries, dropped, table)
    entries = drop_averages(unique(entries, table, remarks), table, remarks)
    name = _find_base(entries, base, table, remarks)
    say_hidden_average(entries, remarks)
    if side == "source" and not found.long:
        say_shifted(entries, name, remarks)
    entries = _of_metric(entries, metric, table, remarks)
    lower = find_lower(_keys(entries), lower_is_better, remarks)
    scales = find_units(entries, unit, table, remarks)
    settings = {"rows": side, "base": name, "unit": unit, "metric": metric, "file": file.name}
    families = source_families(table, found, side)
    return _study(
        file,
        entries,
        base=name,
        scales=scales,
        lower=lower,
        families=families,
        remarks=remarks,
        settings=settings,
    )


def _drop_named(entries: list[Entry], dropped: tuple[str, ...], table: Table) -> list[Entry]:
    known = {*table.header, *(e.source for e in entries), *(e.target for e in entries)}
    for name in dropped:
        if name not in known:
            msg = f"{table.origin}: nothing to drop is called {name!r}.{did_you_mean(name, known)}"
            raise DataError(msg)
    return [e for e in entries if e.source not in dropped and e.target not in dropped]


def _keys(entries: list[Entry]) -> list[Key]:
    return list(dict.fromkeys((entry.target, entry.metric) for entry in entries))


def _find_base(
    entries: list[Entry], asked: str | None, table: Table, remarks: list[str]
) -> str | None:
    sources = list(dict.fromkeys(entry.source for entry in entries))
    if asked is not None:
        if asked not in sources:
            hint = did_you_mean(asked, sources)
            msg = f"{table.origin}: no source is called {asked!r}, so it cannot be the base.{hint}"
            raise DataError(msg)
        return asked
    found = [source for source in sources if is_base(source)]
    if len(found) > 1:
        msg = (
            f"{table.origin}: {' and '.join(map(repr, found))} could both be the untuned model; "
            "say which with base"
        )
        raise DataError(msg)
    if found:
        remarks.append(f"base: {found[0]!r}")
        return found[0]
    hint = "; 'random' may serve: base=random" if "random" in map(normalise, sources) else ""
    remarks.append(f"no base among the sources, so scores have no gains{hint}")
    return None


def _of_metric(
    entries: list[Entry], asked: str | None, table: Table, remarks: list[str]
) -> list[Entry]:
    """Choose the metric that was asked for; give it its name where the table has none."""
    metrics = list(dict.fromkeys(entry.metric for entry in entries))
    if not entries:
        msg = f"{table.origin}: no score is left to import"
        raise DataError(msg)
    if asked is None:
        if len(metrics) > 1:
            remarks.append(f"metrics: {', '.join(metrics)}; say metric=NAME to import one of them")
        return entries
    if metrics == [SCORE]:
        return [entry._replace(metric=asked) for entry in entries]
    if asked not in metrics:
        msg = f"{table.origin}: there is no metric {asked!r}.{did_you_mean(asked, metrics)}"
        raise DataError(msg)
    return [entry for entry in entries if entry.metric == asked]


def _study(
    file: Path,
    entries: list[Entry],
    *,
    base: str | None,
    scales: Mapping[Key, Scale],
    lower: set[Key],
    families: Mapping[str, str],
    remarks: list[str],
    settings: Mapping[str, object],
) -> TransferStudy:
    keys = _keys(entries)
    several = Counter(target for target, _ in keys)
    labels = {(t, m): f"{t}.{m}" if several[t] > 1 else t for t, m in keys}
    targets = safe_names(labels.values(), reserved=())
    sources = safe_names(e.source for e in entries if e.source != base)
    renamed = say_renamed({**sources, **targets}, remarks)
    infos = [
        _target_info(targets[labels[key]], key, scales.get(key, "fraction"), lower=key in lower)
        for key in keys
    ]
    if known := [info.name for info in infos if info.family]:
        remarks.append(f"families of {len(known)} targets known from task cards of their names")
    missing = _missing(entries, len(keys))
    if missing:
        remarks.append(f"{missing} {'cell is' if missing == 1 else 'cells are'} missing")
    return TransferStudy.from_scores(
        _frame(entries, {**sources, base or BASE: BASE}, targets, labels, scales),
        targets=infos,
        sources=[
            SourceInfo(name=sources[old], family=families.get(old, ""))
            for old in dict.fromkeys(entry.source for entry in entries if entry.source != base)
        ],
        origin=origin_of("matrix", [file], remarks=remarks, renamed=renamed, settings=settings),
    )


def _target_info(name: str, key: Key, scale: Scale, *, lower: bool) -> TargetInfo:
    target, metric = key
    return TargetInfo(
        name=name,
        metric=metric,
        unit="score" if scale == "raw" else "fraction",
        higher_is_better=not lower,
        family=family_of(target),
        ceiling=math.nan if lower or scale == "raw" else 1.0,
    )


def _missing(entries: list[Entry], n_keys: int) -> int:
    rows = {(entry.source, entry.seed) for entry in entries}
    return len(rows) * n_keys - sum(not math.isnan(entry.value) for entry in entries)


def _frame(
    entries: list[Entry],
    sources: Mapping[str, str],
    targets: Mapping[str, str],
    labels: Mapping[Key, str],
    scales: Mapping[Key, Scale],
) -> pl.DataFrame:
    filled = [entry for entry in entries if not math.isnan(entry.value)]
    percent = {key for key, scale in scales.items() if scale == "percent"}
    return pl.DataFrame(
        {
            "source": [sources[e.source] for e in filled],
            "target": [targets[labels[e.target, e.metric]] for e in filled],
            "seed": [e.seed for e in filled],
            "score": [
                e.value / 100 if (e.target, e.metric) in percent else e.value for e in filled
            ],
            "n_scored": [e.n for e in filled],
        },
        schema_overrides={"source": pl.String, "target": pl.String, "n_scored": pl.Float64},
    )
