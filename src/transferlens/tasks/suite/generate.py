"""Rows of the built-in tasks, in the layout of the project's JSONL files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from transferlens.errors import DataError, did_you_mean
from transferlens.tasks.suite.draft import Draft, Length, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.tasks import DRAFTERS, SUITE, SuiteTask

__all__ = ["MAX_ROWS", "generate"]

MAX_ROWS = {"train": 20_000, "test": 5_000}
"""The most rows of a split; every task has at least as many different ones."""
_MAX_REPEATS = 500


def generate(
    name: str,
    *,
    split: Literal["train", "test"],
    n: int,
    seed: int = 0,
    class_weights: Mapping[str, float] | None = None,
    output_length: Length = "normal",
) -> list[dict[str, Any]]:
    """Generate rows of a built-in task; the same arguments give the same rows.

    Train and test rows are built from disjoint partitions of all content, whatever their seeds.

    Parameters
    ----------
    name
        One of the names in ``SUITE``.
    split
        ``"train"`` or ``"test"``.
    n
        Number of rows, all with different prompts.
    seed
        Seed of the rows and of their order.
    class_weights
        Relative frequencies of the classes, for choice tasks; the counts are exact up to rounding.
        A class that is not named gets none. By default those of the task.
    output_length
        ``"short"``, ``"normal"`` or ``"long"`` completions, for tasks with ``has_length``: word
        problems without rationale, with sums, with sentences; texts of 1, 3–4, 5–6 sentences.

    Returns
    -------
    list of dict
        ``prompt`` (no space at its end), ``completion``, ``label`` (a choice or the short answer;
        None for rewriting) and ``choices`` (None for generation tasks).

    Raises
    ------
    DataError
        Unknown task, split, class or length; more rows than there are.
    """
    task = _known(name)
    _check(task, split, n, output_length)
    rng = np.random.default_rng([seed, zlib.crc32(f"{name}/{split}".encode())])
    draw = Draw(rng, split)
    labels = draw.shuffled(_labels(task, n, class_weights))
    seen: set[str] = set()
    choices = list(task.choices) if task.choices else None
    rows = []
    for label in labels:
        draft = _fresh(task.name, draw, Order(label, output_length), seen)
        rows.append(
            {
                "prompt": draft.prompt,
                "completion": draft.completion,
                "label": draft.label,
                "choices": choices,
            }
        )
    return rows


def _known(name: str) -> SuiteTask:
    if name not in SUITE:
        msg = f"no built-in task is called {name!r}.{did_you_mean(name, SUITE)}"
        raise DataError(msg)
    return SUITE[name]


def _check(task: SuiteTask, split: str, n: int, length: str) -> None:
    """Refuse what the task cannot give."""
    if split not in MAX_ROWS:
        msg = f"{task.name}: unknown split {split!r}: choose 'train' or 'test'"
        raise DataError(msg)
    if not 0 < n <= MAX_ROWS[split]:
        msg = f"{task.name}: {n} {split} rows asked for: choose 1 to {MAX_ROWS[split]}"
        raise DataError(msg)
    if length not in get_args(Length):
        msg = f"{task.name}: unknown output_length {length!r}: choose 'short', 'normal' or 'long'"
        raise DataError(msg)
    if length != "normal" and not task.has_length:
        able = ", ".join(name for name, other in SUITE.items() if other.has_length)
        msg = f"{task.name}: its output length cannot be chosen; that of {able} can"
        raise DataError(msg)


def _labels(task: SuiteTask, n: int, weights: Mapping[str, float] | None) -> list[str]:
    """Return ``n`` classes whose counts follow the weights, by largest remainders."""
    if task.class_weights is None:
        if weights is not None:
            msg = f"{task.name}: class_weights are for choice tasks; leave them out"
            raise DataError(msg)
        return [""] * n
    chosen = task.class_weights if weights is None else weights
    for label, weight in chosen.items():
        if label not in task.class_weights:
            msg = f"{task.name}: no class {label!r}.{did_you_mean(label, task.class_weights)}"
            raise DataError(msg)
        if not 0 <= weight < float("inf"):
            msg = f"{task.name}: the weight of class {label!r} is {weight}: give a number from 0 up"
            raise DataError(msg)
    total = sum(chosen.values())
    if total == 0:
        msg = f"{task.name}: all class_weights are 0: give at least one class a weight"
        raise DataError(msg)
    shares = {label: n * weight / total for label, weight in chosen.items()}
    counts = {label: int(share) for label, share in shares.items()}
    by_remainder = sorted(shares, key=lambda label: counts[label] - shares[label])
    for label in by_remainder[: n - sum(counts.values())]:
        counts[label] += 1
    return [label for label, count in counts.items() for _ in range(count)]


def _fresh(name: str, draw: Draw, order: Order, seen: set[str]) -> Draft:
    """Draft a row whose prompt has not been seen, and remember it."""
    for _ in range(_MAX_REPEATS):
        draft = DRAFTERS[name](draw, order)
        if draft.prompt not in seen:
            seen.add(draft.prompt)
            return draft
    msg = f"{name}: no more than {len(seen)} different rows could be made: ask for fewer"
    raise DataError(msg)
