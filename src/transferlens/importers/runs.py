"""Per-example results of several models, paired by example."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from transferlens.errors import DataError
from transferlens.importers.names import family_of
from transferlens.results import BASE, PREDICTION_SCHEMA, TargetInfo

__all__ = ["Measure", "Sample", "TaskRun", "paired_frame", "target_info"]

_MOST_CLASSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One example, as one model answered it."""

    doc_hash: str
    """Says which example it is, whatever its number."""
    prompt_hash: str
    score: float
    """NaN where it was not scored."""
    gold: str | None = None
    prediction: str | None = None
    completion: str | None = None
    choice_logprobs: list[float] | None = None
    n_tokens: int | None = None
    truncated: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One model on one task."""

    source: str
    """`BASE` for the untuned model."""
    seed: int
    task: str
    origin: str
    """The file, for messages."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The metric of a task that was chosen."""

    metric: str
    higher_is_better: bool


def paired_frame(
    runs: Sequence[TaskRun], targets: Mapping[str, str], remarks: list[str]
) -> pl.DataFrame:
    """Return prediction rows in which an example has the same number for every model.

    Parameters
    ----------
    runs
        Models on tasks.
    targets
        Task -> name of the target.
    remarks
        Gets a line for each task of which some models lack examples.

    Raises
    ------
    DataError
        Two models saw different prompts for an example, or have no example in common.
    """
    by_task: dict[str, list[TaskRun]] = defaultdict(list)
    for run in runs:
        by_task[run.task].append(run)
    rows: list[tuple[object, ...]] = []
    for task, group in by_task.items():
        # The base first: its numbers and prompts are those to compare with.
        group.sort(key=lambda run: (run.source != BASE, run.source, run.seed))
        rows += _rows_of(task, group, targets[task], remarks)
    return pl.DataFrame(rows, schema=PREDICTION_SCHEMA, orient="row")


_Key = tuple[str, int]
"""Hash of an example, and how often it occurred before."""


def _keyed(run: TaskRun) -> dict[_Key, Sample]:
    seen: Counter[str] = Counter()
    keyed: dict[_Key, Sample] = {}
    for sample in run.samples:
        keyed[sample.doc_hash, seen[sample.doc_hash]] = sample
        seen[sample.doc_hash] += 1
    return keyed


def _rows_of(
    task: str, group: list[TaskRun], target: str, remarks: list[str]
) -> list[tuple[object, ...]]:
    keyed = [_keyed(run) for run in group]
    number: dict[_Key, int] = {}
    for samples in keyed:
        for key in samples:
            number.setdefault(key, len(number))
    common = set.intersection(*(set(samples) for samples in keyed))
    if not common:
        msg = (
            f"task {task!r}: {group[0].origin} and {group[-1].origin} have no example in common; "
            "evaluate all models on the same data"
        )
        raise DataError(msg)
    if len(common) < len(number):
        remarks.append(
            f"warning: task {task!r}: {len(common)} of {len(number)} examples were seen by "
            "every model; comparisons use pairs only"
        )
    for run, samples in zip(group[1:], keyed[1:], strict=True):
        _check_prompts(task, group[0], keyed[0], run, samples)
    return [
        _row(run, target, number[key], key, sample)
        for run, samples in zip(group, keyed, strict=True)
        for key, sample in samples.items()
    ]


def _check_prompts(
    task: str, first: TaskRun, one: dict[_Key, Sample], second: TaskRun, two: dict[_Key, Sample]
) -> None:
    shared = [key for key in one if key in two]
    other = sum(one[key].prompt_hash != two[key].prompt_hash for key in shared)
    if other:
        msg = (
            f"task {task!r}: {first.source} and {second.source} were asked with different prompts "
            f"({other} of {len(shared)} examples; {first.origin}, {second.origin}); evaluate both "
            "with the same few-shot examples and chat template"
        )
        raise DataError(msg)


def _row(run: TaskRun, target: str, example: int, key: _Key, sample: Sample) -> tuple[object, ...]:
    doc_hash, repeat = key
    return (
        run.source,
        target,
        run.seed,
        example,
        sample.gold,
        sample.prediction,
        sample.completion,
        sample.score,
        sample.n_tokens,
        sample.truncated,
        sample.prompt_hash,
        doc_hash if not repeat else f"{doc_hash}-{repeat}",
        sample.choice_logprobs,
    )


def target_info(task: str, name: str, measure: Measure, runs: Sequence[TaskRun]) -> TargetInfo:
    """Return what the samples of a task say about it."""
    own = [run for run in runs if run.task == task]
    scores = [sample.score for run in own for sample in run.samples]
    fraction = all(0 <= score <= 1 for score in scores if not math.isnan(score))
    golds = Counter(sample.gold for sample in own[0].samples)
    few = None not in golds and 1 < len(golds) <= min(_MOST_CLASSES, len(own[0].samples) // 2)
    return TargetInfo(
        name=name,
        metric=measure.metric,
        unit="fraction" if fraction else "score",
        higher_is_better=measure.higher_is_better,
        family=family_of(task),
        ceiling=1.0 if fraction and measure.higher_is_better else math.nan,
        n_examples=len(own[0].samples),
        majority_share=max(golds.values()) / golds.total() if few else None,
    )
