"""Percent or fraction, and whether more is better."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.entries import Entry
from transferlens.importers.names import normalise
from transferlens.importers.table import Table

__all__ = ["Scale", "Unit", "find_lower", "find_units", "lower_by_name"]

Unit = Literal["auto", "percent", "fraction", "raw"]
Scale = Literal["percent", "fraction", "raw"]

_UNBOUNDED = re.compile(
    r"\b(perplexity|ppl|loss|nll|bpb|bits per byte|bits per char|bpc|mse|mae|rmse)\b"
)
# At the end only: "error detection" is a task of which more is better.
_ERRORS = re.compile(r"\b(wer|cer|ter|error|error rate|err|eer)$")


class _Span(NamedTuple):
    low: float
    high: float


def lower_by_name(*names: str) -> bool:
    """Whether one of the names is that of a metric of which less is better."""
    words = [normalise(name) for name in names]
    return any(_UNBOUNDED.search(text) or _ERRORS.search(text) for text in words)


def find_lower(
    keys: Iterable[tuple[str, str]], asked: Iterable[str], remarks: list[str]
) -> set[tuple[str, str]]:
    """Return the (target, metric) of which less is better, as asked for or by their names.

    Raises
    ------
    DataError
        What was asked for is neither a target nor a metric nor ``all``.
    """
    keys = list(keys)
    wanted = list(asked)
    known = {name for key in keys for name in key} | {"all"}
    for name in wanted:
        if name not in known:
            msg = f"lower is better for {name!r}: no such target or metric."
            raise DataError(msg + did_you_mean(name, known))
    if wanted:
        return {key for key in keys if "all" in wanted or set(key) & set(wanted)}
    found = {key for key in keys if lower_by_name(*key)}
    if found:
        names = ", ".join(sorted({target for target, _ in found}))
        remarks.append(f"lower is better, by their names: {names}")
    return found


def find_units(
    entries: list[Entry], unit: Unit, table: Table, remarks: list[str]
) -> dict[tuple[str, str], Scale]:
    """Say for each (target, metric) whether its scores are percent, fractions or neither.

    Raises
    ------
    DataError
        A score does not fit the unit that the caller asked for.
    """
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if not math.isnan(entry.value):
            groups[entry.target, entry.metric].append(entry)
    if unit != "auto":
        for group in groups.values():
            _check_unit(group, unit, table)
        return dict.fromkeys(groups, unit)
    scales = {key: _scale(key, _span(group)) for key, group in groups.items()}
    _say_units(scales, {key: _span(group) for key, group in groups.items()}, remarks)
    for key, group in groups.items():
        if scales[key] == "percent":
            _say_fractions(group, table, remarks)
    return scales


def _span(group: list[Entry]) -> _Span:
    values = [entry.value for entry in group]
    return _Span(min(values), max(values))


def _scale(key: tuple[str, str], span: _Span) -> Scale:
    if any(_UNBOUNDED.search(normalise(name)) for name in key):
        return "raw"
    if span.low >= -1 and span.high <= 1:
        return "fraction"
    return "percent" if span.low >= -100 and span.high <= 100 else "raw"


def _check_unit(group: list[Entry], unit: Scale, table: Table) -> None:
    limit = {"percent": 100.0, "fraction": 1.0, "raw": math.inf}[unit]
    for entry in group:
        if entry.value > limit:
            msg = (
                f"{table.place(entry.row, entry.column)}: {entry.value:g} is more than "
                f"{limit:g}, so it is no {unit}; choose another unit"
            )
            raise DataError(msg)


def _say_units(
    scales: Mapping[tuple[str, str], Scale],
    spans: Mapping[tuple[str, str], _Span],
    remarks: list[str],
) -> None:
    by_scale: dict[Scale, list[tuple[str, str]]] = defaultdict(list)
    for key, scale in scales.items():
        by_scale[scale].append(key)
    words = {"percent": "percent, divided by 100", "fraction": "fractions", "raw": "kept as it is"}
    common = max(by_scale, key=lambda scale: len(by_scale[scale]), default=None)
    for scale, keys in by_scale.items():
        low = min(spans[key].low for key in keys)
        high = max(spans[key].high for key in keys)
        targets = list(dict.fromkeys(target for target, _ in keys))
        which = "scores" if len(by_scale) == 1 else f"{len(targets)} targets"
        if scale != common:
            which = ", ".join(targets[:5]) + (" …" if len(targets) > 5 else "")
        remarks.append(f"{which}: {words[scale]} (from {low:g} to {high:g})")
    if {"percent", "fraction"} <= set(by_scale):
        remarks.append(
            "warning: percent mixed with fractions between targets, each taken by its own range; "
            "say unit=percent or unit=fraction if all are the same"
        )


def _say_fractions(group: list[Entry], table: Table, remarks: list[str]) -> None:
    """Warn of single cells that look like fractions among percents."""
    values = np.array([entry.value for entry in group])
    usual = values[values > 1]
    for entry in group:
        inside = usual.min() <= 100 * entry.value <= usual.max() if usual.size else False
        if 0 < entry.value <= 1 and inside and usual.min() > 5:
            remarks.append(
                f"warning: {table.place(entry.row, entry.column)}: {entry.value:g} among percents "
                f"from {usual.min():g} to {usual.max():g} looks like a fraction; "
                "it was divided by 100 like the others"
            )
