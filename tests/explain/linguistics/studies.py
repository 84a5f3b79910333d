"""Studies with texts in which one feature decides where an adapter helps, or none does."""

from __future__ import annotations

import numpy as np
import polars as pl

from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy

SUBJECTS = ["The farmer", "My sister", "A tall man", "The old teacher", "Nobody", "She"]
PASSIVES = ["was seen", "was helped", "has been invited", "is written"]
ACTIVES = ["sees it", "helps them", "invited him", "writes books"]
ENDINGS = ["in the garden", "at home on Monday", "", "because of the 3 dogs", "with great care"]


def draw_texts(n: int, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Return texts of changing length, and which of them are passive."""
    passive = rng.random(n) < 0.35
    prompts = []
    for is_passive in passive:
        verb = rng.choice(PASSIVES if is_passive else ACTIVES)
        more = " ".join(rng.choice(ENDINGS, size=rng.integers(1, 5)))
        prompts.append(f"Text: {rng.choice(SUBJECTS)} {verb} {more}. Answer:")
    return pl.DataFrame({"example": np.arange(n), "prompt": prompts}), passive


def study_of(
    scores: dict[str, np.ndarray], *, better: bool = True, targets: tuple[str, ...] = ("reading",)
) -> TransferStudy:
    """Return a study from scores by source, each of shape (target, seed, example)."""
    rows = [
        frame_of(source, target, seed, values)
        for source, cube in scores.items()
        for target, table in zip(targets, cube, strict=True)
        for seed, values in enumerate(table)
    ]
    return TransferStudy.from_predictions(
        pl.concat(rows),
        sources=[SourceInfo(name=name) for name in scores if name != BASE],
        targets=[TargetInfo(name=name, higher_is_better=better) for name in targets],
    )


def frame_of(source: str, target: str, seed: int, values: np.ndarray) -> pl.DataFrame:
    n = len(values)
    return pl.DataFrame(
        {
            "source": source,
            "target": target,
            "seed": seed,
            "example": range(n),
            "gold": "a",
            "prediction": "a",
            "completion": None,
            "score": values,
            "n_tokens": 1,
            "truncated": False,
            "prompt_hash": [f"p{at}" for at in range(n)],
            "example_hash": [f"e{at}" for at in range(n)],
            "choice_logprobs": None,
        },
        schema_overrides={"completion": pl.String, "choice_logprobs": pl.List(pl.Float64)},
    )


def right(p: np.ndarray | float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return scores 0 or 1 of one target and seed, right with probability p."""
    return (rng.random(n) < p).astype(float)[None, None]
