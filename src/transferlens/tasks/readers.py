"""Rows out of files: JSONL, CSV and Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferlens.errors import DataError

__all__ = ["FORMATS", "Rows", "find_split", "read_file"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one split, and what to call each of them in a message."""

    origin: str
    """The file, or the dataset with its split."""
    records: Sequence[Row]
    places: Sequence[int] | None = None
    """Number of each row within the origin; None counts from 1."""
    unit: str = "row"
    complete: bool = True
    """Whether every row is checked, or only those that are drawn: a dataset
    of the hub can have millions, and rendering them all takes minutes."""

    def name(self, index: int) -> str:
        """Return where a row stands, as ``train.jsonl:17``."""
        place = self.places[index] if self.places is not None else index + 1
        return f"{self.origin}:{place}" if self.unit == "line" else f"{self.origin}, row {place}"


def read_file(path: Path) -> Rows:
    """Read all rows of a .jsonl, .csv or .parquet file.

    The rows of a JSONL file need not have the same fields. The values of a
    CSV file stay text: ``label | int`` in a task makes a number of one.

    Raises
    ------
    DataError
        The file is missing, of another format, or damaged; the message names
        the line where there are lines.
    """
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(FORMATS)
        msg = f"{path}: unknown file format {path.suffix!r}; use one of {known}"
        raise DataError(msg)
    if not path.is_file():
        msg = f"{path}: no such file"
        raise DataError(msg)
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(msg) from None


def find_split(folder: Path, split: str) -> Path:
    """Return the file ``train.*`` or ``test.*`` of a task's folder.

    Raises
    ------
    DataError
        There is no such folder, no such file in it, or more than one.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder"
        raise DataError(msg)
    found = [folder / f"{split}{suffix}" for suffix in FORMATS]
    found = [path for path in found if path.is_file()]
    if len(found) == 1:
        return found[0]
    names = " or ".join(f"{split}{suffix}" for suffix in FORMATS)
    has = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    if found:
        msg = f"{folder}: both {found[0].name} and {found[1].name} are here; remove one"
    else:
        msg = f"{folder}: has no {names}; it holds {has}"
    raise DataError(msg)


def _read_jsonl(path: Path) -> Rows:
    records, places = [], []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                records.append(_parse_line(line, f"{path}:{number}"))
                places.append(number)
    return Rows(origin=str(path), records=records, places=places, unit="line")


def _parse_line(line: str, place: str) -> Row:
    try:
        row = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        msg = f"{place}: not valid JSON: {error.msg} at column {error.colno}"
        raise DataError(msg) from None
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond all measure
        msg = f"{place}: not valid JSON: {error}"
        raise DataError(msg) from None
    if not isinstance(row, dict):
        msg = f"{place}: a row is a JSON object such as {{'prompt': …}}, not {type(row).__name__}"
        raise DataError(msg)
    return row


def _read_csv(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as lines, _long_fields():
        reader = csv.DictReader(lines, strict=True)
        try:
            found = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            msg = f"{path}:{reader.line_num}: not valid CSV: {error}"
            raise DataError(msg) from None
    _refuse_repeated(reader.fieldnames or (), f"{path}:1")
    for line, row in found:
        if None in row or None in row.values():
            width = len(reader.fieldnames or ())
            msg = (
                f"{path}:{line}: not {width} fields as in the first line; quote fields with commas"
            )
            raise DataError(msg)
    return Rows(
        origin=str(path),
        records=[row for _, row in found],
        places=[line for line, _ in found],
        unit="line",
    )


def _refuse_repeated(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            msg = f"{where}: the column {name!r} stands twice; rename one"
            raise DataError(msg)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the limit of 131,072 characters per field, which articles exceed."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _refuse_repeated(file.schema_arrow.names, str(path))
        records = file.read().to_pylist()
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        msg = f"{path}: not a readable Parquet file: {reason}"
        raise DataError(msg) from None
    return Rows(origin=str(path), records=records)


FORMATS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""Reader of each file format, by the ending of the name."""
