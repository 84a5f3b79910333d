"""Folders of trained adapters: moved into place whole, with checksums of their files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from transferlens.errors import ResultsError
from transferlens.results.files import TEMPORARY, os_errors, sync_folder, write_atomically
from transferlens.results.plan import PlannedAdapter, checked_name

__all__ = ["ADAPTER_MANIFEST", "AdapterFolders"]

ADAPTER_MANIFEST = "manifest.json"
"""File in which the engine records what an adapter was trained on."""

_CHECKSUMS = "checksums.json"


class AdapterFolders:
    """The folder ``adapters/`` of a study."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, adapter: PlannedAdapter) -> Path:
        """Return the final folder of an adapter."""
        return self.root / adapter.folder

    def temporary(self, adapter: PlannedAdapter) -> Path:
        """Make an empty temporary folder, in place of one that a dead process left."""
        folder = self.root / f"{TEMPORARY}{checked_name(adapter.id)}"
        with os_errors("create", folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return folder

    def temporaries(self) -> list[tuple[Path, str]]:
        """Return temporary folders with the ids of their adapters."""
        folders = self.root.glob(f"{TEMPORARY}*")
        return [(path, path.name.removeprefix(TEMPORARY)) for path in folders if path.is_dir()]

    def commit(self, temporary: Path, adapter: PlannedAdapter) -> Path:
        """Sync a temporary folder, record checksums, and rename it.

        Raises
        ------
        ResultsError
            The system refuses.
        """
        final = self.folder(adapter)
        with os_errors("write", final):
            files = {
                str(file.relative_to(temporary)): _synced_hash(file)
                for file in sorted(temporary.rglob("*"))
                if file.is_file()
            }
            record = {"adapter_id": adapter.id, "sha256": files}
            write_atomically(temporary / _CHECKSUMS, json.dumps(record, indent=1).encode())
            if final.exists():
                # Rename cannot replace a folder that holds files.
                shutil.rmtree(final)
            temporary.rename(final)
            sync_folder(self.root)
        return final

    def done(self, adapter: PlannedAdapter) -> bool:
        """Whether the adapter's folder is complete and of this very adapter."""
        try:
            return bool(self._record(adapter)["adapter_id"] == adapter.id)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def manifest(self, adapter: PlannedAdapter) -> dict[str, Any]:
        """Return what the engine recorded.

        Raises
        ------
        ResultsError
            The adapter is not there, or its record is damaged.
        """
        file = self.folder(adapter) / ADAPTER_MANIFEST
        try:
            value: dict[str, Any] = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            msg = f"{file} cannot be read ({error}); delete its folder and run the study again"
            raise ResultsError(msg) from None
        return value

    def damage(self, adapter: PlannedAdapter) -> str | None:
        """Say what is wrong with the adapter's files, or None if they are whole."""
        return _folder_damage(self.folder(adapter))

    def discard(self, adapter: PlannedAdapter) -> None:
        """Remove an adapter, so that the next run trains it again."""
        with os_errors("remove", self.folder(adapter)):
            shutil.rmtree(self.folder(adapter), ignore_errors=True)

    def verify(self) -> list[str]:
        """Return one line for each damaged adapter."""
        folders = sorted(path for path in self.root.glob("[!.]*") if path.is_dir())
        return [
            f"adapters/{folder.name} {damage}; delete it and run the study again"
            for folder in folders
            if (damage := _folder_damage(folder))
        ]

    def _record(self, adapter: PlannedAdapter) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder(adapter) / _CHECKSUMS).read_bytes())
        return value


def _folder_damage(folder: Path) -> str | None:
    try:
        stated: dict[str, str] = json.loads((folder / _CHECKSUMS).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return "has no readable checksums"
    for name, digest in stated.items():
        file = folder / name
        if not file.is_file():
            return f"lacks {name}"
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            return f"has changed since it was written: {name}"
    return None


def _synced_hash(file: Path) -> str:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
        return hashlib.file_digest(handle, "sha256").hexdigest()
