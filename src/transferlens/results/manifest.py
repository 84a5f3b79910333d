"""The manifest of a study folder: what format it has, and in which version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transferlens.errors import ResultsError
from transferlens.results.files import TEMPORARY, os_errors, write_atomically
from transferlens.results.schema import FORMAT, VERSION

__all__ = ["GRID_FILE", "check_manifest", "create_folder", "make_folders", "read_json"]

GRID_FILE = "grid.json"
"""File that says that a folder holds the studies of several bases and methods."""

_NEWER = "update transferlens (pip install --upgrade transferlens) to read it"


def create_folder(root: Path, folders: Sequence[str]) -> None:
    """Make a folder with its sub-folders and a manifest, the manifest last.

    Raises
    ------
    ResultsError
        The folder cannot be made, or holds something else.
    """
    with os_errors("create", root):
        root.mkdir(parents=True, exist_ok=True)
        # What an interrupted creation left is ours.
        other = [
            child.name
            for child in root.iterdir()
            if child.name not in folders and not child.name.startswith(TEMPORARY)
        ]
        if other and not (root / "manifest.json").exists():
            msg = f"{root} holds other files ({min(other)}); choose an empty or a new folder"
            raise ResultsError(msg)
    make_folders(root, folders)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: _installed(name) for name in ("transferlens", "polars")},
    }
    write_atomically(root / "manifest.json", json.dumps(manifest, indent=1).encode())


def make_folders(root: Path, folders: Sequence[str]) -> None:
    """Make the sub-folders that are not there; git, zip and rsync lose empty ones.

    Raises
    ------
    ResultsError
        A folder cannot be made.
    """
    with os_errors("create", root):
        for name in folders:
            (root / name).mkdir(exist_ok=True)


def check_manifest(root: Path) -> dict[str, Any]:
    """Return the manifest of a study folder.

    Raises
    ------
    ResultsError
        There is none, or it is damaged, of another program or of a newer version.
    """
    file = root / "manifest.json"
    with os_errors("open", root):
        known = file.exists()
    if not known:
        msg = f"{root} is not a study folder: it has no manifest.json"
        if (root / GRID_FILE).is_file():
            names = read_json(root / GRID_FILE).get("variants") or []
            folders = ", ".join(str(root / str(name)) for name in names)
            msg = f"{root} is a grid of studies; give one of them: {folders}"
        raise ResultsError(msg)
    manifest = read_json(file)
    if manifest.get("format") != FORMAT:
        msg = f"{file} is not of a study: its format is {manifest.get('format')!r}"
        raise ResultsError(msg)
    found = manifest.get("version")
    if not isinstance(found, int) or found < 1:
        msg = f"{file}: {found!r} is no version of {FORMAT}"
        raise ResultsError(msg)
    if found > VERSION:
        msg = f"{root} has version {found}, this program reads up to {VERSION}; {_NEWER}"
        raise ResultsError(msg)
    return manifest


def read_json(file: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises
    ------
    ResultsError
        It cannot be read, or holds something else.
    """
    with os_errors("read", file):
        text = file.read_bytes()
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"{file} is damaged: {error}"
        raise ResultsError(msg) from None
    if not isinstance(value, dict):
        msg = f"{file} is damaged: it holds no JSON object"
        raise ResultsError(msg)
    return value


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
