"""Matrices with planted traits, and R's reference numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

ORACLES = ("Thurstone", "Harman74", "ability")


class Planted(NamedTuple):
    """A matrix and what it was made of."""

    matrix: np.ndarray
    loadings: np.ndarray
    labelled: xr.DataArray


def plant(
    n: int = 30, p: int = 30, k: int = 3, *, noise: float = 0.5, seed: int = 0, scale: float = 1.0
) -> Planted:
    """Plant k traits, each on its own block of columns, of decreasing size."""
    rng = np.random.default_rng(seed)
    block = np.arange(p) * max(k, 1) // p
    sizes = np.linspace(2.0, 1.2, k) if k else np.zeros(0)
    loadings = np.eye(k)[block] * sizes * rng.uniform(0.7, 1.3, (p, k)) if k else np.zeros((p, 0))
    matrix = 10 + rng.normal(size=(n, k)) @ loadings.T + noise * rng.normal(size=(n, p))
    labelled = xr.DataArray(
        scale * matrix,
        dims=("source", "target"),
        coords={
            "source": [f"s{i}" for i in range(n)],
            "target": [f"t{j}" for j in range(p)],
            "family": ("target", [f"kind_{at}" for at in block]),
        },
    )
    return Planted(scale * matrix, loadings, labelled)


@pytest.fixture(scope="session")
def planted() -> Callable[..., Planted]:
    return plant


@pytest.fixture(params=ORACLES)
def oracle(request: pytest.FixtureRequest, shared: Path) -> dict[str, Any]:
    return json.loads((shared / "oracles" / f"fa_{request.param}.json").read_text("utf-8"))


@pytest.fixture
def matrices(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "oracles" / "pca_missing_procrustes.json").read_text("utf-8"))
