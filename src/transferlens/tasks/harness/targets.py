"""From a target that a study names to the tasks of lm-evaluation-harness behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Literal

from transferlens.errors import SpecError, TransferLensError
from transferlens.study import DataSpec, StudySpec, TaskRef, TaskSpec
from transferlens.tasks.example import Example
from transferlens.tasks.harness.build import HarnessTask, load_harness
from transferlens.tasks.harness.examples import examples_of, task_of
from transferlens.tasks.task import Task

__all__ = ["HarnessTarget", "harness_targets", "is_harness"]

_PREFIX = "lm_eval/"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessTarget:
    """One task of lm-eval in the role of a target."""

    name: str
    task: Task
    examples: tuple[Example, ...]
    harness: HarnessTask


def is_harness(ref: TaskRef, study: StudySpec) -> bool:
    """Whether a source or target is a task of lm-eval: as ``lm_eval/NAME`` or by definition."""
    if ref.task in study.tasks:
        return study.tasks[ref.task].data.lm_eval is not None
    return ref.task.startswith(_PREFIX)


def harness_targets(
    ref: TaskRef, study: StudySpec, *, role: Literal["sources", "targets"], index: int
) -> tuple[HarnessTarget, ...]:
    """Return the tasks that a target stands for: one, or all those of a group.

    Those of a group have lm-eval's names, behind the target's own name where it has one.

    Raises
    ------
    SpecError
        There is no such task, it would run code, or it is named as a source.
    DataError
        Its data cannot be read.
    """
    where = study.where(role, index)
    spec = _spec(ref, study)
    if role == "sources":
        msg = f"{where}: {ref.task!r} is a task of lm-eval, which can only be a target"
        raise SpecError(msg)
    try:
        found = load_harness(
            spec.data.lm_eval or "",
            root=study.root,
            metric=spec.metric,
            shots=spec.data.num_fewshot,
            limit=ref.limit or study.limits.test,
            unsafe=spec.unsafe_code,
        )
    except TransferLensError as error:
        msg = f"{where}: {error}"
        raise type(error)(msg) from None
    own = ref.task in study.tasks
    return tuple(
        HarnessTarget(
            name=_name(ref, one, several=len(found) > 1),
            task=task_of(
                one,
                family=spec.family,
                where=study.where("tasks", ref.task) if own else where,
                root=study.root,
                place=partial(study.where, "tasks", ref.task) if own else (lambda _: where),
            ),
            examples=examples_of(one),
            harness=one,
        )
        for one in found
    )


def _spec(ref: TaskRef, study: StudySpec) -> TaskSpec:
    if ref.task in study.tasks:
        return study.tasks[ref.task]
    return TaskSpec(data=DataSpec(lm_eval=ref.task.removeprefix(_PREFIX)))


def _name(ref: TaskRef, found: HarnessTask, *, several: bool) -> str:
    if not several:
        return ref.name
    given = ref.name != TaskRef.model_validate(ref.task).name
    plain = re.sub(r"[^A-Za-z0-9._-]+", ".", found.name)
    return f"{ref.name}.{plain}"[:80] if given else plain[:80]
