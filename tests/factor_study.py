"""Studies of scores with the rows of all datasets, in which a factor of the data is planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from transferlens.results import (
    BASE,
    Plan,
    SourceInfo,
    StudyStore,
    TargetInfo,
    TransferStudy,
    open_study,
)

WORDS = np.array([f"word{at}" for at in range(400)])
MARKS = np.array(["the", "of", "and", "is", "not", ",", ";", "!", "in", "a"])


def rows(rng: np.random.Generator, *, n: int = 60, longer: float = 1.0) -> pl.DataFrame:
    """Draw questions of content and function words with yes/no answers."""
    skew = rng.uniform(0.2, 0.8)
    # Words and marks are as frequent as the dataset likes, so that datasets differ.
    content, style = rng.dirichlet(np.full(len(WORDS), 0.05)), rng.dirichlet(np.ones(len(MARKS)))
    length = int(12 * longer)
    prompts = [
        " ".join(
            part
            for pair in zip(
                rng.choice(WORDS, length, p=content),
                rng.choice(MARKS, length, p=style),
                strict=True,
            )
            for part in pair
        )
        for _ in range(n)
    ]
    gold = rng.choice(["yes", "no"], n, p=[skew, 1 - skew])
    return pl.DataFrame(
        {"prompt": prompts, "gold": gold, "completion": gold, "n_tokens": np.ones(n, dtype=int)}
    ).with_columns(choices=pl.lit(["yes", "no"]))


def scores(gain: np.ndarray, *, names: list[str], targets: list[str]) -> pl.DataFrame:
    table = [{"source": BASE, "target": target, "score": 0.4} for target in targets]
    table += [
        {"source": source, "target": target, "score": 0.4 + float(gain[i, j])}
        for i, source in enumerate(names)
        for j, target in enumerate(targets)
    ]
    return pl.DataFrame(table)


def study_of_gains(gain: np.ndarray) -> TransferStudy:
    """Return a study of bare scores whose first tasks are sources and targets."""
    names = [f"task_{at:02d}" for at in range(max(gain.shape))]
    sources, targets = names[: gain.shape[0]], names[: gain.shape[1]]
    return TransferStudy.from_scores(scores(gain, names=sources, targets=targets))


def written_study(path: Path, gain: np.ndarray, *, rng: np.random.Generator) -> TransferStudy:
    """Write a square study of scores whose folder holds the rows of every dataset."""
    names = [f"task_{at:02d}" for at in range(len(gain))]
    store = StudyStore.create(path)
    sources, targets = [], []
    for at, name in enumerate(names):
        # Training and test rows come from the same words.
        table = rows(rng, n=100, longer=1.0 + at / len(names))
        for role, part in (("train", table[:60]), ("test", table[60:])):
            numbered = part.with_row_index("example").cast({"example": pl.Int64})
            store.write_examples(f"{name}-{role}", numbered)
        sources.append(
            SourceInfo(name=name, n_rows=60, examples_id=f"{name}-train", base_nll=1.0 + 0.1 * at)
        )
        targets.append(TargetInfo(name=name, examples_id=f"{name}-test"))
    store.write_scores(
        TransferStudy.from_scores(scores(gain, names=names, targets=names)).score_rows
    )
    plan = Plan(
        spec={"name": "factors"}, study_hash="0" * 64, base={}, adapters=(), cells=(),
        targets=tuple(targets), sources=tuple(sources),
    )  # fmt: skip
    store.write_plan(plan)
    return open_study(path)
