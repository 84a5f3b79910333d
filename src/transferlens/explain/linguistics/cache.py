"""Features on disk: a Parquet file for each set of texts, whole or absent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from transferlens.results.files import damage_of, encode_parquet, os_errors, write_atomically

__all__ = ["load", "store", "user_cache"]


def user_cache() -> Path | None:
    """Return the user's folder for computed features; None where it cannot be made or written.

    ``$XDG_CACHE_HOME`` or ``~/.cache``, and ``transferlens/linguistics`` in it. An analysis
    writes nothing into a study, which may not even be the user's own.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = home / "transferlens" / "linguistics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def load(file: Path, *, columns: Sequence[str], height: int) -> pl.DataFrame | None:
    """Return the stored features, or None if there are none or the file is damaged."""
    if not file.exists() or damage_of(file):
        return None
    frame = pl.read_parquet(file)
    return frame if tuple(frame.columns) == tuple(columns) and frame.height == height else None


def store(file: Path, frame: pl.DataFrame, *, identity: str) -> None:
    """Write features in one indivisible step.

    Raises
    ------
    ResultsError
        The system refuses: disk full, folder read-only.
    """
    with os_errors("make the folder", file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, encode_parquet(frame, {"transferlens.linguistics": identity}))
