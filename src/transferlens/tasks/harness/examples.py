"""The questions of a task of lm-evaluation-harness as a task and examples of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from transferlens.study import DataSpec, TaskSpec
from transferlens.tasks.example import Example
from transferlens.tasks.harness.build import HarnessTask
from transferlens.tasks.task import Task

__all__ = ["examples_of", "task_of"]


def task_of(
    harness: HarnessTask, *, family: str | None, where: str, root: Path, place: Callable[[str], str]
) -> Task:
    """Return the task as it stands in a study: what is asked, how, and where it is named."""
    writing: dict[str, Any] = {}
    if harness.writes:
        writing = {"max_new_tokens": harness.max_new_tokens, "stop": harness.stop}
    spec = TaskSpec.model_construct(
        data=DataSpec(lm_eval=harness.record["task"]),
        separator=_separator(harness),
        length_normalized=harness.metric.key == "acc_norm",
        **writing,
    )
    return Task(
        name=harness.name,
        spec=spec,
        kind="generate" if harness.writes else "choice",
        metric=harness.metric.name,
        family=family or harness.group or "other",
        where=where,
        root=root,
        place=place,
    )


def examples_of(harness: HarnessTask) -> tuple[Example, ...]:
    """Return the text of every question, with its choices and its (first) right answer."""
    separator = _separator(harness)
    return tuple(_example(harness, some, separator) for some in harness.requests)


def _separator(harness: HarnessTask) -> str:
    """Return what stands between every prompt and every choice."""
    delimiter = str(harness.task.config.target_delimiter or "")
    asked = [request.args[1] for request in harness.task.instances]
    if harness.writes or not all(text.startswith(delimiter) for text in asked):
        return ""
    return delimiter


def _example(harness: HarnessTask, some: Sequence[Any], separator: str) -> Example:
    if harness.writes:
        gold = _reference(harness.task, some[0].doc)
        return Example(prompt=some[0].args[0], completion=gold, gold=gold)
    contexts = [request.args[0] for request in some[: harness.n_choices(some)]]
    answers = [request.args[1].removeprefix(separator) for request in some[: len(contexts)]]
    # Where each choice has a prompt of its own, a choice is shown as what is not in all of them.
    shared = takewhile(lambda letters: len({*letters}) == 1, zip(*contexts, strict=False))
    prompt = "".join(letters[0] for letters in shared)
    if len(set(contexts)) > 1:
        answers = [c[len(prompt) :] + separator + a for c, a in zip(contexts, answers, strict=True)]
    gold = answers[0] if len(answers) == 1 else _right(harness.task, some[0].doc, answers)
    return Example(prompt=prompt, completion=gold, gold=gold, choices=tuple(answers))


def _right(task: Any, doc: Any, answers: Sequence[str]) -> str:
    gold = task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
    gold = gold[0] if isinstance(gold, list) and gold else gold
    if isinstance(gold, int):
        # A gold that is no choice is wrong for every model, in lm-eval too.
        return answers[gold] if 0 <= gold < len(answers) else ""
    return str(gold)


def _reference(task: Any, doc: Any) -> str:
    gold = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None and isinstance(gold, int):
        gold = task.doc_to_choice(doc)[gold]
    return str(gold[0] if isinstance(gold, list) and gold else gold)
