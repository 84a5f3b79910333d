"""Checks that speak: averages that do not match, and rows whose columns are shifted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transferlens.importers.entries import Entry
from transferlens.importers.layout import is_average
from transferlens.importers.names import normalise
from transferlens.importers.table import Table

__all__ = ["drop_averages", "say_hidden_average", "say_shifted"]

Array = NDArray[np.float64]

_FEWEST = 6
"""Columns below which a shifted row cannot be told from an odd one."""
_ALIKE = 0.9
_BETTER = 0.45


def drop_averages(entries: list[Entry], table: Table, remarks: list[str]) -> list[Entry]:
    """Leave out averages over targets and over sources; say which do not match their cells."""
    kept = [e for e in entries if not is_average(e.target) and not is_average(e.source)]
    over_targets = [e for e in entries if is_average(e.target) and not is_average(e.source)]
    over_sources = [e for e in entries if is_average(e.source) and not is_average(e.target)]
    for averages, of, along in (
        (over_targets, lambda e: (e.source, e.metric, e.seed), "target"),
        (over_sources, lambda e: (e.target, e.metric, e.seed), "source"),
    ):
        if averages:
            name = getattr(averages[0], along)
            wrong = list(_mismatches(averages, kept, of, table))
            verdict = (
                f"{len(wrong)} do not match their cells" if wrong else "they match their cells"
            )
            remarks.append(f"averages {name!r} left out; {verdict}")
            remarks += wrong
    return kept


def _mismatches(
    averages: list[Entry],
    cells: list[Entry],
    of: Callable[[Entry], tuple[object, ...]],
    table: Table,
) -> Iterator[str]:
    groups: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for cell in cells:
        groups[of(cell)].append(cell.value)
    slack = _rounding(averages) + _rounding(cells) + 1e-9
    for average in averages:
        values = groups[of(average)]
        # Over what an average runs where cells are missing, nobody knows.
        if math.isnan(average.value) or not values or any(map(math.isnan, values)):
            continue
        mean = math.fsum(values) / len(values)
        if abs(mean - average.value) > slack:
            yield (
                f"warning: {table.place(average.row, average.column)}: the average is given as "
                f"{average.value:g}, but the {len(values)} cells give {mean:.6g}"
            )


def _rounding(entries: list[Entry]) -> float:
    """Return half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -max((entry.decimals for entry in entries), default=0)


def say_hidden_average(entries: list[Entry], remarks: list[str]) -> None:
    """Warn of a target that is the mean of all others, whatever it is called."""
    grid = _grid(entries)
    if grid is None or grid.values.shape[1] < 4 or len(grid.values) < 3:
        return
    slack = 2 * _rounding(entries) + 1e-9
    total = grid.values.sum(axis=1, keepdims=True)
    others = (total - grid.values) / (grid.values.shape[1] - 1)
    whole = np.isfinite(total[:, 0])
    if whole.sum() < 3:
        return
    equal = (np.abs(others - grid.values)[whole] <= slack).all(axis=0)
    # Where all columns are alike, each is the mean of the others.
    if equal.sum() == 1:
        name = grid.targets[int(np.flatnonzero(equal)[0])]
        remarks.append(f"warning: {name!r} is the mean of the other targets in every row; drop it")


class _Grid(NamedTuple):
    rows: list[tuple[str, int]]
    """Source and seed."""
    targets: list[str]
    values: Array


def _grid(entries: list[Entry]) -> _Grid | None:
    """Spread entries over rows and targets in the table's order; None with several metrics."""
    if len({entry.metric for entry in entries}) != 1:
        return None
    rows = list(dict.fromkeys((e.source, e.seed) for e in entries))
    targets = list(dict.fromkeys(e.target for e in entries))
    values = np.full((len(rows), len(targets)), np.nan)
    row_of = {row: i for i, row in enumerate(rows)}
    target_of = {target: i for i, target in enumerate(targets)}
    for entry in entries:
        values[row_of[entry.source, entry.seed], target_of[entry.target]] = entry.value
    return _Grid(rows, targets, values)


def say_shifted(entries: list[Entry], base: str | None, remarks: list[str]) -> None:
    """Warn of rows that fit the base's profile better with their columns moved or sorted.

    Adapters of one base share its profile over the targets, as a rule: what
    is hard for one is hard for all. A row that does not, but does once its
    cells are moved by a column, was probably typed or joined wrongly.
    """
    grid = _grid(entries)
    if grid is None or len(grid.targets) < _FEWEST or len(grid.rows) < 3:
        return
    profile = _profile(grid, base)
    own = np.array([_correlation(row, profile) for row in grid.values])
    for (source, _), row, r in zip(grid.rows, grid.values, own, strict=True):
        if source == base:
            continue
        how, best = max(_moves(row, grid.targets, profile), key=lambda move: move[1])
        if best >= _ALIKE and best - r >= _BETTER:
            remarks.append(
                f"warning: row {source!r} correlates {r:.2f} with the usual profile, but "
                f"{best:.2f} {how}: are its columns shifted?"
            )
            continue
        # Its own task is where an adapter rightly leaves the profile.
        other = [normalise(target) != normalise(source) for target in grid.targets]
        plain = _correlation(row[other], profile[other])
        ordered = _correlation(np.sort(row[other]), np.sort(profile[other]))
        if ordered >= _ALIKE and plain < min(-0.25, float(np.median(own)) - _BETTER):
            remarks.append(
                f"warning: row {source!r} correlates {plain:.2f} with the usual profile, but its "
                f"sorted values {ordered:.2f}: are its columns in another order?"
            )


def _profile(grid: _Grid, base: str | None) -> Array:
    of_base = [i for i, (source, _) in enumerate(grid.rows) if source == base]
    chosen = grid.values[of_base] if of_base else grid.values
    # A column without any value has no median; NaN is right and no warning is due.
    known = np.isfinite(chosen).any(axis=0)
    profile: Array = np.full(chosen.shape[1], np.nan)
    profile[known] = np.nanmedian(chosen[:, known], axis=0)
    return profile


def _moves(row: Array, targets: list[str], profile: Array) -> Iterator[tuple[str, float]]:
    """Yield ways in which cells get into wrong columns, with the correlation once undone."""
    for start in range(len(row) - 3):
        for step, words in ((1, "right"), (-1, "left")):
            moved = np.concatenate([row[:start], np.roll(row[start:], step)])
            how = f"with its cells from {targets[start]!r} on one column to the {words}"
            yield how, _correlation(moved, profile)
    alphabetical = np.argsort(np.argsort([name.lower() for name in targets], kind="stable"))
    yield (
        "with its cells read in the alphabetical order of the targets",
        _correlation(row[alphabetical], profile),
    )


def _correlation(first: Array, second: Array) -> float:
    """Return Pearson's correlation over the pairs without NaN; -1 where it is not defined."""
    known = np.isfinite(first) & np.isfinite(second)
    a, b = first[known], second[known]
    if len(a) < _FEWEST - 1 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return -1.0
    return float(np.corrcoef(a, b)[0, 1])
