"""Small random models, one of each kind, for the tests of the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import tiny_models

from transferlens.engine.base import Base
from transferlens.engine.train import train_adapter
from transferlens.study import MethodSpec


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the random model of a family, made once."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tiny_models.save_model(tmp_path_factory.mktemp(family), family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def base_of(model_folder: Callable[[str], Path]) -> Callable[[str], Base]:
    """Give the random model of a family as the engine loads it; loaded once."""
    loaded: dict[str, Base] = {}

    def base(family: str) -> Base:
        if family not in loaded:
            loaded[family] = tiny_models.open_base(model_folder(family))
        return loaded[family]

    return base


@pytest.fixture(params=tiny_models.FAMILIES)
def base(request: pytest.FixtureRequest, base_of: Callable[[str], Base]) -> Base:
    """Every family in turn."""
    return base_of(request.param)


@pytest.fixture
def llama(base_of: Callable[[str], Base]) -> Base:
    return base_of("llama")


@pytest.fixture(scope="session")
def stories(shared: Path) -> Base:
    """The real pretrained model with 260,000 weights."""
    return tiny_models.open_base(shared / "models" / "stories260K")


@pytest.fixture(scope="session")
def adapter_of(
    base_of: Callable[[str], Base], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Path]:
    """Folder of a trained adapter of a family and a seed, made once."""
    made: dict[tuple[str, int], Path] = {}

    def adapter(family: str, seed: int = 0) -> Path:
        if (family, seed) not in made:
            base = base_of(family)
            folder = tmp_path_factory.mktemp(f"adapter-{family}-{seed}")
            rows = base.codec.training_rows(
                [text[:12] for text in tiny_models.TEXTS],
                [text[12:] for text in tiny_models.TEXTS],
                max_length=64,
            )
            method = MethodSpec(rank=4, dropout=0.3, steps=6, batch_tokens=60, learning_rate=3e-2)
            train_adapter(base, rows, folder, method=method, seed=seed)
            made[family, seed] = folder
        return made[family, seed]

    return adapter
