"""Which tool wrote a file or folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from transferlens.errors import DataError
from transferlens.importers.harness_files import is_harness, read_json_file
from transferlens.importers.inspect_log import is_inspect
from transferlens.importers.mteb import is_mteb
from transferlens.importers.table import READERS

__all__ = ["Kind", "recognise"]

Kind = Literal["matrix", "lm-eval", "mteb", "inspect"]

_LOOKED_AT = 20
"""JSON files of a folder that are opened to find out what it is."""


def recognise(paths: Iterable[str | Path]) -> Kind:
    """Return what kind of results the paths hold.

    Raises
    ------
    DataError
        A path does not exist, is of no known kind, or two paths differ in kind.
    """
    kinds = {path: _kind(Path(path)) for path in paths}
    found = set(kinds.values())
    if len(found) != 1:
        each = ", ".join(f"{path} is {kind}" for path, kind in kinds.items())
        msg = f"import one kind of results at a time: {each or 'no path given'}"
        raise DataError(msg)
    return found.pop()


def _kind(path: Path) -> Kind:
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DataError(msg)
    if path.suffix.lower() in READERS and path.is_file():
        return "matrix"
    if path.suffix == ".eval" or (path.is_dir() and any(path.rglob("*.eval"))):
        return "inspect"
    for file in islice(_json_files(path), _LOOKED_AT):
        if kind := _of_json(read_json_file(file)):
            return kind
    msg = (
        f"{path}: neither a table ({', '.join(READERS)}) nor results of lm-eval, MTEB or "
        "inspect_ai; say what it is with --kind"
    )
    raise DataError(msg)


def _json_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        # The harness names its files; they come first, whatever lies beside them.
        yield from sorted(path.rglob("results*.json"))
        yield from sorted(path.rglob("*.json"))
    elif path.suffix == ".json":
        yield path


def _of_json(data: Any) -> Kind | None:
    if is_harness(data):
        return "lm-eval"
    if is_mteb(data):
        return "mteb"
    return "inspect" if is_inspect(data) else None
