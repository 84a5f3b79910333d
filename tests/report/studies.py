"""Studies for the report: one with stories, one whose texts try to do harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from transferlens.results import (
    BASE,
    Cell,
    Plan,
    PlannedAdapter,
    SourceInfo,
    StudyStore,
    TargetInfo,
    TransferStudy,
    open_study,
)

TASKS = ("sums", "words", "mood", "topic")
FAMILIES = {"sums": "maths", "words": "maths", "mood": "opinion", "topic": "opinion"}
N = 120

HOSTILE = (
    "<script>window.harm = 1</script>",
    "</script><script>window.harm = 2</script>",
    "<img src=x onerror='window.harm = 3'>",
    '" onmouseover="window.harm = 4" x="',
    "{{7*7}} {% for x in y %}",
    "\u202egnp.exe \u2067 left and right \u200f\u0000",
    "javascript:window.harm=5//",
    "]]><!-- </style>",
)


def texts_study(path: Path, *, hostile: bool = False, seed: int = 3) -> TransferStudy:
    """Write four classification tasks with prompts; mood helps sums, and words harms topic.

    With ``hostile`` every prompt, label and written answer is code, a template, direction marks,
    or a megabyte long.
    """
    store = StudyStore.create(path)
    rng = np.random.default_rng(seed)
    cells, adapters = [], []
    gold = {task: rng.integers(2, size=N) for task in TASKS}
    base = {task: rng.random(N) < 0.6 for task in TASKS}
    for source in (BASE, *TASKS):
        own = [_cell(source, target) for target in TASKS]
        frames = [
            _rows(source, target, gold[target], _right(source, target, base[target], rng), hostile)
            for target in TASKS
        ]
        store.write_merged(own, pl.concat(frames))
        cells += own
        if source != BASE:
            adapters.append(PlannedAdapter(id=f"{source}0" * 4, source=source, seed=0, n_rows=50))
    for task in TASKS:
        store.write_examples(f"{task}-texts", _texts(task, gold[task], hostile))
    store.write_plan(
        Plan(
            spec={"name": HOSTILE[0] if hostile else "small"},
            study_hash="0" * 64,
            base={"model": "tiny"},
            adapters=tuple(adapters),
            cells=tuple(cells),
            targets=tuple(_target(task, hostile) for task in TASKS),
            sources=tuple(
                SourceInfo(name=task, family=FAMILIES[task], n_rows=50) for task in TASKS
            ),
        )
    )
    return open_study(path)


def _cell(source: str, target: str) -> Cell:
    return Cell(
        id=f"{source}-{target}",
        adapter_id=f"{source}0" * 4,
        source=source,
        target=target,
        seed=0,
        n_examples=N,
    )


def _target(task: str, hostile: bool) -> TargetInfo:  # noqa: FBT001 - passed through
    return TargetInfo(
        name=task,
        metric="accuracy",
        ceiling=1.0,
        family=HOSTILE[2] if hostile and task == "mood" else FAMILIES[task],
        n_examples=N,
        examples_id=f"{task}-texts",
        majority_share=0.55,
    )


def _right(source: str, target: str, base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if source == BASE:
        return base
    draw = rng.random(N)
    gain = {("mood", "sums"): 0.7}.get((source, target), 0.8 if source == target else 0.03)
    loss = {("words", "topic"): 0.6}.get((source, target), 0.03)
    return np.where(base, draw >= loss, draw < gain)


def _label(value: int, hostile: bool) -> str:  # noqa: FBT001 - passed through
    return HOSTILE[int(value)] if hostile else ("no", "yes")[int(value)]


def _rows(
    source: str,
    target: str,
    gold: np.ndarray,
    right: np.ndarray,
    hostile: bool,  # noqa: FBT001 - passed through
) -> pl.DataFrame:
    answers = np.where(right, gold, 1 - gold)
    written = [
        ("x" * 1_000_000 if at == 0 else HOSTILE[at % len(HOSTILE)])
        if hostile
        else f"I say {_label(answer, hostile)}"
        for at, answer in enumerate(answers)
    ]
    return pl.DataFrame(
        {
            "source": source,
            "target": target,
            "seed": 0,
            "example": range(N),
            "gold": [_label(value, hostile) for value in gold],
            "prediction": [_label(value, hostile) for value in answers],
            "completion": written,
            "score": right.astype(float),
            "n_tokens": [3 + at % 5 for at in range(N)],
            "truncated": False,
            "prompt_hash": [f"p{at}" for at in range(N)],
            "example_hash": [f"{target}{at}" for at in range(N)],
            "choice_logprobs": None,
        },
        schema_overrides={"n_tokens": pl.Int32, "choice_logprobs": pl.List(pl.Float64)},
    )


def _texts(task: str, gold: np.ndarray, hostile: bool) -> pl.DataFrame:  # noqa: FBT001 - as above
    prompts = [
        (HOSTILE[at % len(HOSTILE)] * (40_000 if at == 1 else 1))
        if hostile
        else f"Is this {task} number {at} good? It was really {'not ' * (at % 3)}what we wanted."
        for at in range(N)
    ]
    return pl.DataFrame(
        {
            "example": range(N),
            "prompt": prompts,
            "gold": [_label(value, hostile) for value in gold],
            "choices": [[_label(0, hostile), _label(1, hostile)]] * N,
            "prompt_hash": [f"p{at}" for at in range(N)],
            "example_hash": [f"{task}{at}" for at in range(N)],
        }
    )
