"""One small study with four adapters, trained once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import transferlens as tl
from engine import small_run
from transferlens.serve.model import Served, open_served


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources with two seeds on a random model, as far apart as training brings them."""
    place = small_run.make_place(tmp_path_factory.mktemp("serve"))
    spec = small_run.spec_of(place, "method.learning_rate=0.05")
    tl.run(spec, place / "out", log="json")
    return place / "out"


@pytest.fixture(scope="session")
def served(study_folder: Path) -> Served:
    return open_served(study_folder)
