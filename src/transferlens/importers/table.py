"""A table out of a file: CSV, Parquet or Excel, as cells that know where they stand."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from transferlens.errors import DataError, did_you_mean, needs

__all__ = ["READERS", "Number", "Table", "read_number", "read_table"]

Value = str | float | None

_LARGEST_FILE = 512 * 2**20
_MOST_CELLS = 5_000_000
_MISSING = {"", "-", "--", "–", "—", "?", "na", "n/a", "nan", "none", "null", "missing"}


class Number(NamedTuple):
    """A number as it was written."""

    value: float
    """NaN where the cell says that nothing was measured; a percent sign has been applied."""
    decimals: int
    """Digits after the point, of the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A header and rows of equal length."""

    origin: str
    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    places: tuple[int, ...]
    """Number of each row in the file, counted from 1."""
    decimal_comma: bool = False

    def place(self, row: int, column: int | None = None) -> str:
        """Return where a cell stands, as ``scores.csv, row 3, column 'MNLI'``."""
        where = f"{self.origin}, row {self.places[row]}"
        return where if column is None else f"{where}, column {self.header[column]!r}"

    def column(self, name: str) -> int:
        """Return the index of a column.

        Raises
        ------
        DataError
            There is no such column.
        """
        if name not in self.header:
            hint = did_you_mean(name, self.header)
            msg = f"{self.origin}: there is no column {name!r}.{hint}"
            raise DataError(msg)
        return self.header.index(name)

    def number(self, row: int, column: int) -> Number | None:
        """Return a cell as a number; None where it is other text."""
        return read_number(self.rows[row][column], decimal_comma=self.decimal_comma)


def read_number(cell: Value, *, decimal_comma: bool = False) -> Number | None:
    """Read a cell such as ``0.81``, ``81.4 %``, ``n/a``; None where it is other text."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return Number(math.nan, 0)
    text = str(cell).strip()
    if text.lower() in _MISSING:
        return Number(math.nan, 0)
    percent = text.endswith("%")
    text = text.removesuffix("%").strip().replace("−", "-")  # a typed minus
    try:
        exact = Decimal(text.replace(",", ".") if decimal_comma else text)
    except InvalidOperation:
        return None
    if not exact.is_finite():
        return None
    exponent = exact.as_tuple().exponent
    decimals = max(-exponent, 0) if isinstance(exponent, int) else 0
    return Number(float(exact) / 100, decimals + 2) if percent else Number(float(exact), decimals)


def read_table(path: Path, *, sheet: str | None = None) -> Table:
    """Read a table from a .csv, .tsv, .parquet or .xlsx file.

    The first row that is not empty is the header. CSV may be separated by
    commas, semicolons (then with decimal commas) or tabs.

    Parameters
    ----------
    path
        The file.
    sheet
        Sheet of an Excel file; the first one unless given.

    Raises
    ------
    DataError
        The file is missing, too large, damaged or of another format, its
        rows differ in length, or a column's name is missing or occurs twice.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        hint = "save it as .xlsx" if path.suffix.lower() == ".xls" else f"use {', '.join(READERS)}"
        msg = f"{path}: unknown format {path.suffix!r} of a score matrix; {hint}"
        raise DataError(msg)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            msg = f"{path}: larger than 512 MiB; this is no score matrix"
            raise DataError(msg)
        rows, decimal_comma = reader(path, sheet)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(msg) from None
    return _table(str(path), rows, decimal_comma=decimal_comma)


_Numbered = list[tuple[int, tuple[Value, ...]]]


def _table(origin: str, numbered: _Numbered, *, decimal_comma: bool) -> Table:
    filled = [(place, row) for place, row in numbered if any(not _empty(cell) for cell in row)]
    if len(filled) < 2:
        msg = f"{origin}: no rows below a header; a score matrix has names and numbers"
        raise DataError(msg)
    (first, header), *body = filled
    width = len(header)
    for place, row in body:
        if len(row) != width:
            msg = f"{origin}, row {place}: {len(row)} cells, but row {first} has {width}"
            raise DataError(msg)
    if len(body) * width > _MOST_CELLS:
        msg = f"{origin}: {len(body)} × {width} cells are more than 5 million"
        raise DataError(msg)
    kept = [i for i in range(width) if i == 0 or not _blank_column(header, body, i)]
    names = tuple("" if header[i] is None else str(header[i]).strip() for i in kept)
    _check_header(origin, names)
    return Table(
        origin=origin,
        header=names,
        rows=tuple(tuple(row[i] for i in kept) for _, row in body),
        places=tuple(place for place, _ in body),
        decimal_comma=decimal_comma,
    )


def _empty(cell: Value) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _blank_column(header: tuple[Value, ...], body: _Numbered, index: int) -> bool:
    return _empty(header[index]) and all(_empty(row[index]) for _, row in body)


def _check_header(origin: str, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        msg = (
            f"{origin}: only one column; a score matrix has a column of names and columns of scores"
        )
        raise DataError(msg)
    for index, name in enumerate(names):
        # pandas and R leave the name of the first column empty.
        if not name and index:
            msg = f"{origin}: column {index + 1} has numbers but no name"
            raise DataError(msg)
        if name in names[:index]:
            msg = f"{origin}: the column {name!r} occurs twice; rename or remove one"
            raise DataError(msg)


def _read_csv(path: Path, _sheet: str | None) -> tuple[_Numbered, bool]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        raise DataError(msg) from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: _Numbered = []
    try:
        for row in reader:
            rows.append((reader.line_num, tuple(row)))
    except csv.Error as error:
        msg = f"{path}, row {reader.line_num}: not valid CSV: {error}"
        raise DataError(msg) from None
    return rows, separator == ";" and "," in text


def _read_parquet(path: Path, _sheet: str | None) -> tuple[_Numbered, bool]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        shape = pq.read_metadata(path)
        if shape.num_rows * shape.num_columns > _MOST_CELLS:
            msg = f"{path}: {shape.num_rows} × {shape.num_columns} cells are more than 5 million"
            raise DataError(msg)
        table = pq.read_table(path)
    except pa.ArrowException as error:
        msg = f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}"
        raise DataError(msg) from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    # pandas stores an index without a name behind the columns.
    index = [name for name in table.column_names if name not in names]
    columns = [table[name].to_pylist() for name in (*index, *names)]
    header = tuple(["" for _ in index] + names)
    rows = zip(*columns, strict=True)
    numbered = [(i, tuple(_cell(v) for v in row)) for i, row in enumerate(rows, start=1)]
    return [(0, header), *numbered], False


def _read_excel(path: Path, sheet: str | None) -> tuple[_Numbered, bool]:
    with needs("openpyxl", extra="excel", purpose=f"{path}: reading Excel"):
        import openpyxl
    _refuse_bomb(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        msg = f"{path}: not a readable Excel file: {error}"
        raise DataError(msg) from None
    try:
        if sheet is not None and sheet not in book.sheetnames:
            msg = f"{path}: there is no sheet {sheet!r}.{did_you_mean(sheet, book.sheetnames)}"
            raise DataError(msg)
        page = book[sheet or book.sheetnames[0]]
        return list(_excel_rows(path, page)), False
    finally:
        book.close()


def _excel_rows(path: Path, page: Any) -> Iterator[tuple[int, tuple[Value, ...]]]:
    cells = 0
    # A sheet may claim a size; the rows say how large it is.
    page.reset_dimensions()
    rows = [tuple(_cell(value) for value in row) for row in page.iter_rows(values_only=True)]
    width = max((len(row) for row in rows), default=0)
    for number, row in enumerate(rows, start=1):
        cells += width
        if cells > _MOST_CELLS:
            msg = f"{path}: more than 5 million cells"
            raise DataError(msg)
        yield number, (*row, *[None] * (width - len(row)))


def _refuse_bomb(path: Path) -> None:
    """Refuse a file whose compressed parts would fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile:
        msg = f"{path}: not a readable Excel file; save it as .xlsx"
        raise DataError(msg) from None
    if size > _LARGEST_FILE:
        msg = f"{path}: larger than 512 MiB when unpacked; this is no score matrix"
        raise DataError(msg)


def _cell(value: Any) -> Value:
    if value is None or isinstance(value, str):
        return value
    # A whole number stays whole as a name: seed 1, not 1.0.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, float) else str(value)


READERS: dict[str, Callable[[Path, str | None], tuple[_Numbered, bool]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
}
"""Reader of each file format, by the ending of the name."""
