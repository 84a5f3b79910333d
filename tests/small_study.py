"""A small finished study with known numbers, as an engine would leave it in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xarray as xr

from transferlens.results import (
    BASE,
    Cell,
    Plan,
    PlannedAdapter,
    SourceInfo,
    StudyStore,
    TargetInfo,
)

TASKS = ("maths", "mood", "topic")
N_EXAMPLES = 20

# Right answers out of 20; rows: base, maths, mood, topic.
RIGHT = np.array([[4, 10, 8], [18, 9, 8], [4, 20, 10], [2, 12, 17]])


def cell_rows(cell: Cell, right: int, *, unscored: int = 0) -> pl.DataFrame:
    """Return the predictions of a cell: first the right ones, last those without a score."""
    scores = [1.0] * right + [0.0] * (N_EXAMPLES - right - unscored) + [None] * unscored
    return pl.DataFrame(
        {
            "source": cell.source,
            "target": cell.target,
            "seed": cell.seed,
            "example": range(N_EXAMPLES),
            "gold": "yes",
            "prediction": ["yes" if score else "no" for score in scores],
            "completion": None,
            "score": scores,
            "n_tokens": 1,
            "truncated": False,
            "prompt_hash": [f"p{i}" for i in range(N_EXAMPLES)],
            "example_hash": [f"{cell.target}{i}" for i in range(N_EXAMPLES)],
            "choice_logprobs": None,
        },
        schema_overrides={"completion": pl.String, "choice_logprobs": pl.List(pl.Float64)},
        strict=False,
    )


def small_plan(seeds: tuple[int, ...] = (0,)) -> Plan:
    """Return the plan of three sources on the same three targets."""
    adapters = tuple(
        PlannedAdapter(id=f"{task}{seed}" * 4, source=task, seed=seed, n_rows=100, n_tokens=900)
        for task in TASKS
        for seed in seeds
    )
    owners = [("fingerprint", BASE, 0), *((a.id, a.source, a.seed) for a in adapters)]
    return Plan(
        spec={"name": "small", "sources": list(TASKS), "targets": list(TASKS)},
        study_hash="0" * 64,
        base={"model": "embedded", "revision": None, "fingerprint": "fingerprint"},
        adapters=adapters,
        cells=tuple(
            Cell(
                id=f"{source}{seed}-{target}",
                adapter_id=owner,
                source=source,
                target=target,
                seed=seed,
                n_examples=N_EXAMPLES,
            )
            for owner, source, seed in owners
            for target in TASKS
        ),
        targets=tuple(
            TargetInfo(name=task, metric="accuracy", ceiling=1.0, n_examples=N_EXAMPLES)
            for task in TASKS
        ),
        sources=tuple(SourceInfo(name=task, n_rows=100) for task in TASKS),
    )


def finished_folder(path: Path, seeds: tuple[int, ...] = (0,)) -> StudyStore:
    """Write the whole study; seed s has s right answers more than seed 0 where there is room."""
    store = StudyStore.create(path)
    plan = small_plan(seeds)
    store.write_plan(plan)
    for adapter in plan.adapters:
        folder = store.temporary_adapter_dir(adapter)
        (folder / "manifest.json").write_text('{"training": {"seconds": 65.0}}', encoding="utf-8")
        store.commit_adapter(folder, adapter)
    for cell in plan.cells:
        row = (BASE, *TASKS).index(cell.source)
        right = int(RIGHT[row, TASKS.index(cell.target)])
        store.write_cell(cell, cell_rows(cell, min(right + cell.seed, N_EXAMPLES)))
    return store


def random_scores(rows: int, columns: int, *, seeds: int = 1, **coords: Any) -> xr.Dataset:
    """Return scores as those of a study: own tasks at 0.9, others near the base."""
    rng = np.random.default_rng(7)
    dims = ("source", "target", "seed")
    base = np.repeat(rng.uniform(0.2, 0.6, (columns, 1)), seeds, axis=1)
    score = np.clip(base + rng.normal(0, 0.05, (rows, columns, seeds)), 0, 1)
    score[np.arange(min(rows, columns)), np.arange(min(rows, columns))] = 0.9
    counts = np.full((rows, columns, seeds), 50.0)
    return xr.Dataset(
        {
            "score": (dims, score),
            "n_scored": (dims, counts),
            "n_unscored": (dims, np.zeros_like(counts)),
            "base_score": (dims[1:], base),
            "base_n_scored": (dims[1:], counts[0]),
            "base_n_unscored": (dims[1:], np.zeros_like(base)),
        },
        coords={
            "source": [f"task_{i}" for i in range(rows)],
            "target": [f"task_{i}" for i in range(columns)],
            "seed": list(range(seeds)),
            "metric": ("target", ["accuracy"] * columns),
            "unit": ("target", ["fraction"] * columns),
            "higher_is_better": ("target", [True] * columns),
            **coords,
        },
    )
