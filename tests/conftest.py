"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real datasets, matrices and reference outputs, beside the project."""
    folder = Path(os.environ.get("TRANSFERLENS_SHARED", ROOT.parent / "shared"))
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no reference data: {folder.name}/ is not beside the project")
    return folder
