"""Studies built from the scores of single examples."""

from __future__ import annotations

import numpy as np
import polars as pl

from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy


def rows(source: str, target: str, scores: np.ndarray, seed: int = 0) -> pl.DataFrame:
    n = len(scores)
    return pl.DataFrame(
        {
            "source": [source] * n,
            "target": [target] * n,
            "seed": [seed] * n,
            "example": list(range(n)),
            "gold": ["a"] * n,
            "prediction": ["a"] * n,
            "completion": [None] * n,
            "score": scores.astype(float),
            "n_tokens": [1] * n,
            "truncated": [False] * n,
            "prompt_hash": [f"p{i}" for i in range(n)],
            "example_hash": [f"{target}{i}" for i in range(n)],
            "choice_logprobs": [None] * n,
        },
        schema_overrides={
            "completion": pl.String,
            "choice_logprobs": pl.List(pl.Float64),
            "n_tokens": pl.Int32,
        },
    )


def study_of(
    cells: dict[tuple[str, str, int], np.ndarray], **targets: dict[str, object]
) -> TransferStudy:
    names = dict.fromkeys(target for _, target, _ in cells)
    sources = dict.fromkeys(source for source, _, _ in cells if source != BASE)
    frame = pl.concat([rows(s, t, scores, seed) for (s, t, seed), scores in cells.items()])
    return TransferStudy.from_predictions(
        frame,
        targets=[TargetInfo(name=t, **{"ceiling": 1.0} | targets.get(t, {})) for t in names],
        sources=[SourceInfo(name=s) for s in sources],
    )


def binary_study(
    seed: int = 0, n: int = 200, seeds: int = 1, tasks: tuple[str, ...] = ("a", "b", "c")
) -> TransferStudy:
    rng = np.random.default_rng(seed)
    cells = {(BASE, t, 0): (rng.random(n) < 0.5).astype(float) for t in tasks}
    for s in tasks:
        for t in tasks:
            for run in range(seeds):
                base = cells[BASE, t, 0]
                better = rng.random(n) < (0.6 if s == t else 0.1)
                worse = rng.random(n) < 0.05
                cells[s, t, run] = np.where(better, 1.0, np.where(worse, 0.0, base))
    return study_of(cells)


def planted_study(seeds: int = 1) -> TransferStudy:
    """Return four tasks on which a helps b and c harms d, and nothing else but the own tasks."""
    rng = np.random.default_rng(5)
    tasks = ("a", "b", "c", "d")
    cells = {(BASE, t, 0): (rng.random(400) < 0.5).astype(float) for t in tasks}
    for s in tasks:
        for t in tasks:
            for run in range(seeds):
                base = cells[BASE, t, 0]
                draw = rng.random(400)
                rate = {("a", "b"): 0.4}.get((s, t), 0.0) + (0.5 if s == t else 0.0)
                loss = {("c", "d"): 0.4}.get((s, t), 0.0)
                noise = rng.random(400) < 0.02
                value = np.where(draw < rate, 1.0, np.where(draw < loss, 0.0, base))
                cells[s, t, run] = np.where(noise, 1.0 - value, value)
    return study_of(cells)
