"""Why an adapter or a cell failed the last time, and where its log lies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from transferlens.errors import ResultsError
from transferlens.results.files import os_errors, write_atomically
from transferlens.results.manifest import read_json
from transferlens.results.plan import checked_name

__all__ = ["Failure", "clear_failure", "read_failure", "read_failures", "record_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an adapter or a cell failed the last time."""

    id: str
    kind: str
    message: str
    time: str


def record_failure(root: Path, key: str, kind: str, message: str, log_text: str) -> Path:
    """Store why something failed; returns the file of its log."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    failure = Failure(id=key, kind=kind, message=message, time=now)
    log = root / "logs" / f"{checked_name(key)}.log"
    write_atomically(log, log_text.encode())
    text = json.dumps(asdict(failure), indent=1, ensure_ascii=False)
    write_atomically(_file(root, key), text.encode())
    return log


def clear_failure(root: Path, key: str) -> None:
    """Forget a failure, once its work is being tried again."""
    with os_errors("remove", _file(root, key)):
        _file(root, key).unlink(missing_ok=True)


def read_failures(root: Path) -> list[Failure]:
    """Return the recorded failures, sorted by id.

    Raises
    ------
    ResultsError
        A record is damaged.
    """
    files = sorted((root / "failures").glob("[!.]*.json"))
    found = [read_failure(file) for file in files]
    return [failure for failure in found if failure is not None]


def _file(root: Path, key: str) -> Path:
    return root / "failures" / f"{checked_name(key)}.json"


def read_failure(file: Path) -> Failure | None:
    """Read a record; None where it has been cleared since it was listed.

    Raises
    ------
    ResultsError
        It is damaged.
    """
    try:
        return Failure(**read_json(file))
    except TypeError:
        msg = f"{file} is damaged: it is no record of a failure; delete it"
        raise ResultsError(msg) from None
    except ResultsError:
        # Cleared since it was listed: another process tries the work again.
        if not file.exists():
            return None
        raise
