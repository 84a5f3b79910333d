"""Matrices and studies with traits that were put there, and what decomposing them gives."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import xarray as xr

from transferlens.results import TargetInfo, TransferStudy, write_study
from transferlens.traits import Traits, decompose_traits

FAMILIES = ("arithmetic", "sentiment", "inference", "code")


def planted_matrix(rows: int, columns: int, *, traits: int = 2, noise: float = 1.0) -> xr.DataArray:
    """Return gains in points: each task has one trait, which is the name of its family."""
    rng = np.random.default_rng(11)
    families = [FAMILIES[at % traits] for at in range(columns)]
    loadings = np.zeros((columns, traits))
    loadings[np.arange(columns), np.arange(columns) % traits] = rng.uniform(5, 8, columns)
    loadings *= np.linspace(1.5, 1.0, traits)
    values = rng.normal(size=(rows, traits)) @ loadings.T
    values += rng.normal(0, noise, (rows, columns))
    return xr.DataArray(
        values,
        dims=("source", "target"),
        coords={
            "source": [f"adapter_{at}" for at in range(rows)],
            "target": [f"task_{at}" for at in range(columns)],
            "family": ("target", families),
        },
    )


@cache
def planted_traits(
    rows: int,
    columns: int,
    *,
    traits: int = 2,
    noise: float = 1.0,
    examples: bool = False,
    n_components: int = 2,
) -> Traits:
    """Return the traits of a planted matrix; ``examples``: with resampled matrices."""
    matrix = planted_matrix(rows, columns, traits=traits, noise=noise)
    rng = np.random.default_rng(5)
    drawn = [matrix.values + rng.normal(0, noise / 2, matrix.shape) for _ in range(50)]
    return decompose_traits(
        matrix,
        rng=np.random.default_rng(3),
        n_components=n_components,
        n_resamples=100,
        resamples=drawn if examples else None,
    )


def planted_study(
    path: Path, *, rows: int = 12, columns: int = 8, seeds: int = 2, scores_only: bool = False
) -> Path:
    """Write a study of right and wrong answers whose expected gains have two traits."""
    matrix = planted_matrix(rows, columns)
    chance = np.clip(0.5 + np.vstack([np.zeros(columns), matrix.values]) / 100, 0.02, 0.98)
    infos = [
        TargetInfo(name=name, metric="accuracy", family=family, ceiling=1.0)
        for name, family in zip(
            matrix["target"].values.tolist(), matrix["family"].values.tolist(), strict=True
        )
    ]
    names = ["base", *matrix["source"].values.tolist()]
    if scores_only:
        cells = [
            (name, info.name, float(chance[row, column]))
            for row, name in enumerate(names)
            for column, info in enumerate(infos)
        ]
        frame = pl.DataFrame(cells, schema=["source", "target", "score"], orient="row")
        write_study(TransferStudy.from_scores(frame, targets=infos), path)
        return path
    rng = np.random.default_rng(2)
    parts = [
        _answers(name, info.name, seed, rng.random(150) < chance[row, column])
        for row, name in enumerate(names)
        for column, info in enumerate(infos)
        for seed in range(seeds)
    ]
    write_study(TransferStudy.from_predictions(pl.concat(parts), targets=infos), path)
    return path


def _answers(source: str, target: str, seed: int, right: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source": source,
            "target": target,
            "seed": seed,
            "example": range(len(right)),
            "gold": "yes",
            "prediction": ["yes" if one else "no" for one in right],
            "completion": None,
            "score": right.astype(float),
            "n_tokens": 1,
            "truncated": False,
            "prompt_hash": [f"p{at}" for at in range(len(right))],
            "example_hash": [f"{target}{at}" for at in range(len(right))],
            "choice_logprobs": None,
        },
        schema_overrides={"completion": pl.String, "choice_logprobs": pl.List(pl.Float64)},
    )
