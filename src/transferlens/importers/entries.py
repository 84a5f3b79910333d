"""The cells of a table, one entry each, whatever the table's shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from transferlens.errors import DataError
from transferlens.importers.layout import Layout, Role, split_seed
from transferlens.importers.names import normalise
from transferlens.importers.table import Number, Table

__all__ = ["SCORE", "Entry", "long_entries", "source_families", "unique", "wide_entries"]

SCORE = "score"
"""Name of a metric that nobody named."""


class Entry(NamedTuple):
    """One score."""

    source: str
    target: str
    metric: str
    seed: int
    value: float
    """NaN where the cell is empty."""
    decimals: int
    row: int
    column: int
    """Where it stands in the table."""
    n: float = math.nan
    """Number of examples, where the table says it."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What the score is a score of."""
        return self.source, self.target, self.metric, self.seed


def wide_entries(
    table: Table, layout: Layout, rows: Literal["source", "target"], remarks: list[str]
) -> list[Entry]:
    """Return the cells of a table with a row per source, or per target.

    Raises
    ------
    DataError
        A cell is text, or a row with scores has no name.
    """
    entries: list[Entry] = []
    empty: list[str] = []
    columns = {i: split_seed(table.header[i]) for i in layout.scores}
    for row in range(len(table.rows)):
        numbers = {i: _number(table, row, i) for i in layout.scores}
        label = _text(table, row, layout.label)
        if all(math.isnan(number.value) for number in numbers.values()):
            empty += [label] if label else []
            continue
        name = split_seed(_required(table, row, layout.label))
        metric = _text(table, row, layout.roles["metric"]) if "metric" in layout.roles else SCORE
        for index, number in numbers.items():
            other = columns[index]
            seeds = (name.seed, other.seed, _seed_cell(table, row, layout))
            seed = _one_seed(table, row, index, seeds)
            pair = (name.name, other.name) if rows == "source" else (other.name, name.name)
            entries.append(Entry(*pair, metric, seed, *number, row, index))
    if empty:
        remarks.append(f"rows without any score left out: {', '.join(map(repr, empty[:5]))}")
    return entries


def long_entries(table: Table, layout: Layout) -> list[Entry]:
    """Return the cells of a table with a row per cell, and a column per metric or seed.

    Raises
    ------
    DataError
        A cell is text, or a row has no source or target.
    """
    return [entry for row in range(len(table.rows)) for entry in _long_row(table, layout, row)]


def _long_row(table: Table, layout: Layout, row: int) -> Iterator[Entry]:
    source = split_seed(_required(table, row, layout.roles["source"]))
    target = split_seed(_required(table, row, layout.roles["target"]))
    own = _text(table, row, layout.roles["metric"]) if "metric" in layout.roles else ""
    n = _number(table, row, layout.roles["n"]).value if "n" in layout.roles else math.nan
    for index in layout.scores:
        column = split_seed(table.header[index])
        named = "" if index == layout.roles.get("score") else column.name
        # A column called `score` names no metric.
        metric = own or (named if normalise(named) not in {"score", "value", "result"} else "")
        seeds = (source.seed, target.seed, column.seed, _seed_cell(table, row, layout))
        seed = _one_seed(table, row, index, seeds)
        number = _number(table, row, index)
        yield Entry(source.name, target.name, metric or SCORE, seed, *number, row, index, n)


def source_families(
    table: Table, layout: Layout, rows: Literal["source", "target"]
) -> dict[str, str]:
    """Return source -> family, from a column that says it."""
    if "family" not in layout.roles or (not layout.long and rows == "target"):
        return {}
    label = layout.roles["source"] if layout.long else layout.label
    return {
        split_seed(_text(table, row, label)).name: _text(table, row, layout.roles["family"])
        for row in range(len(table.rows))
    }


def unique(entries: list[Entry], table: Table, remarks: list[str]) -> list[Entry]:
    """Drop repeated cells of equal value, and say so.

    Raises
    ------
    DataError
        A cell occurs twice with different values.
    """
    found: dict[tuple[str, str, str, int], Entry] = {}
    repeated = 0
    for entry in entries:
        first = found.setdefault(entry.key, entry)
        if first is entry:
            continue
        same = first.value == entry.value or (math.isnan(first.value) and math.isnan(entry.value))
        if not same:
            msg = (
                f"{table.place(entry.row, entry.column)}: {entry.source} -> {entry.target} is "
                f"{entry.value:g} here, but {first.value:g} in row {table.places[first.row]}; "
                "remove one, or add a seed column if they are runs"
            )
            raise DataError(msg)
        repeated += 1
    if repeated:
        remarks.append(f"repeated cells of the same value taken once: {repeated}")
    return list(found.values())


def _number(table: Table, row: int, column: int) -> Number:
    number = table.number(row, column)
    if number is None:
        msg = (
            f"{table.place(row, column)}: {str(table.rows[row][column])[:40]!r} is no number; "
            "leave the cell empty if it was not measured"
        )
        raise DataError(msg)
    return number


def _text(table: Table, row: int, column: int) -> str:
    value = table.rows[row][column]
    return "" if value is None else str(value).strip()


def _required(table: Table, row: int, column: int) -> str:
    if not (text := _text(table, row, column)):
        msg = f"{table.place(row, column)}: the name is missing"
        raise DataError(msg)
    return text


def _seed_cell(table: Table, row: int, layout: Layout) -> int | None:
    role: Role = "seed"
    if role not in layout.roles:
        return None
    number = table.number(row, layout.roles[role])
    # Not a whole number, and above all not NaN.
    if number is None or number.value % 1 != 0 or not 0 <= number.value < 2**31:
        place = table.place(row, layout.roles[role])
        msg = f"{place}: {table.rows[row][layout.roles[role]]!r} is no seed; write 0, 1, 2, …"
        raise DataError(msg)
    return int(number.value)


def _one_seed(table: Table, row: int, column: int, seeds: tuple[int | None, ...]) -> int:
    given = {seed for seed in seeds if seed is not None}
    if len(given) > 1:
        msg = f"{table.place(row, column)}: two seeds, {' and '.join(map(str, sorted(given)))}"
        raise DataError(msg)
    return given.pop() if given else 0
