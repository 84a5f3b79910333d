"""A folder of studies that differ in base and method: which variants it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transferlens.errors import ResultsError
from transferlens.results.container import TransferStudy, open_study
from transferlens.results.files import os_errors, write_atomically
from transferlens.results.manifest import GRID_FILE, read_json
from transferlens.results.plan import checked_name

__all__ = ["GridFolder", "is_grid", "open_grid", "write_grid"]

_FORMAT, _VERSION = "transferlens.grid", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFolder:
    """A folder with a study for each base and method."""

    path: Path
    name: str
    variants: Mapping[str, Path]
    """Name of the variant -> folder of its study, which need not be there yet."""

    def studies(self) -> dict[str, TransferStudy]:
        """Open every variant that was begun."""
        return {
            name: open_study(path)
            for name, path in self.variants.items()
            if (path / "plan.json").exists()
        }


def is_grid(path: str | Path) -> bool:
    """Whether a folder holds a grid of studies."""
    return (Path(path) / GRID_FILE).is_file()


def open_grid(path: str | Path) -> GridFolder:
    """Read which variants a grid has.

    Raises
    ------
    ResultsError
        The folder is no grid, or its list is damaged or of a newer version.
    """
    root = Path(path)
    if not is_grid(root):
        msg = f"{root} is no grid of studies: it has no {GRID_FILE}"
        raise ResultsError(msg)
    record = read_json(root / GRID_FILE)
    known = record.get("format") == _FORMAT and record.get("version") == _VERSION
    names = record.get("variants")
    if not known or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        msg = f"{root / GRID_FILE} is damaged, or of another version; run the study file again"
        raise ResultsError(msg)
    variants = {name: root / checked_name(name) for name in names}
    return GridFolder(path=root, name=str(record.get("name")), variants=MappingProxyType(variants))


def write_grid(path: str | Path, *, name: str, variants: list[str]) -> GridFolder:
    """Make the folder of a grid, or change its list; studies that it has are left alone.

    Raises
    ------
    ResultsError
        The folder holds a study, or something else, or the system refuses to write.
    """
    root = Path(path)
    if not is_grid(root) and root.is_dir() and any(root.iterdir()):
        what = "a study" if (root / "manifest.json").exists() else "other files"
        msg = f"{root} holds {what}; choose an empty or a new folder for a grid of studies"
        raise ResultsError(msg)
    record: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "name": name}
    with os_errors("create", root):
        root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**record, "variants": variants}, indent=1)
    write_atomically(root / GRID_FILE, text.encode())
    return open_grid(root)
