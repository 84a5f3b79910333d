"""What an imported study remembers of where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transferlens.errors import TransferLensError
from transferlens.results import TransferStudy

__all__ = ["origin_of", "remarks_of"]


def origin_of(
    kind: str,
    paths: Sequence[Path],
    *,
    remarks: Sequence[str],
    renamed: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return plain values for `TransferStudy.origin`."""
    return {
        "name": paths[0].resolve().stem if len(paths) == 1 else kind,
        "imported": kind,
        "from": [str(path) for path in paths],
        "settings": dict(settings),
        "remarks": list(remarks),
        "renamed": dict(renamed),
    }


def remarks_of(study: TransferStudy) -> tuple[str, ...]:
    """Return what an importer had to say: how it read the input, and what looks wrong in it.

    Raises
    ------
    TransferLensError
        The study was not imported.
    """
    if "imported" not in study.origin:
        msg = "this study was not imported, so there are no remarks on its import"
        raise TransferLensError(msg)
    return tuple(study.origin["remarks"])
