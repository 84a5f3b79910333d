"""From a name in a study to a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from transferlens.errors import DataError, SpecError, did_you_mean
from transferlens.study import DataSpec, StudySpec, TaskRef, TaskSpec
from transferlens.tasks.catalog import card_names, load_card, suite_names, suite_spec
from transferlens.tasks.render import Kind
from transferlens.tasks.task import Split, Task, read_rows

__all__ = ["Role", "load_task"]

Role = Literal["sources", "targets"]
_SPLITS: dict[Role, Split] = {"sources": "train", "targets": "test"}


def load_task(ref: TaskRef, study: StudySpec, *, role: Role, index: int) -> Task:
    """Find the task that a study names.

    The name is looked up in the study's own ``tasks``, in the built-in suite,
    among the task cards, and last as a folder with ``train`` and ``test``
    files whose columns are called prompt, completion, label and choices.

    Parameters
    ----------
    ref
        The name, as a source or a target.
    study
        The study, for its own tasks and the folder of its relative paths.
    role, index
        Where the study names the task, for messages.

    Raises
    ------
    SpecError
        No task has this name.
    DataError
        The first row had to be looked at, and its file cannot be read.
    """
    where = study.where(role, index)
    spec, place = _find(ref, study, where)
    # A card means the same whatever the current folder; the others start at the study's.
    try:
        kind = _kind(spec, study.root, _SPLITS[role])
    except DataError as error:
        msg = f"{place('data')}: task {ref.name!r}: {error}"
        raise DataError(msg) from None
    default = "accuracy" if kind == "choice" else "exact_match"
    return Task(
        name=ref.name,
        spec=spec,
        kind=kind,
        metric=spec.metric or default,
        family=spec.family or "other",
        where=where if ref.task not in study.tasks else study.where("tasks", ref.task),
        root=study.root,
        place=place,
    )


def _find(ref: TaskRef, study: StudySpec, where: str) -> tuple[TaskSpec, Callable[[str], str]]:
    name = ref.task
    if name in study.tasks:
        return study.tasks[name], lambda field: study.where("tasks", name, field)
    if name in suite_names():
        return suite_spec(name), lambda _: where
    if name in card_names():
        return load_card(name), lambda _: where
    if (study.root / Path(name).expanduser()).is_dir():
        return TaskSpec(data=DataSpec(path=name)), lambda _: where
    if "/" in name:
        msg = f"{where}: {name!r} is no folder in {study.root}; a task is a name or a folder"
        raise SpecError(msg)
    known = {*study.tasks, *suite_names(), *card_names()}
    msg = f"{where}: unknown task {name!r}.{did_you_mean(name, known)}"
    raise SpecError(msg)


def _kind(spec: TaskSpec, root: Path, split: Split) -> Kind:
    if spec.metric not in {None, "accuracy"}:
        return "generate"
    if spec.choices is None and spec.data.dataset is None:
        rows = read_rows(spec, split, root).records
        return "choice" if rows and isinstance(rows[0].get("choices"), list) else "generate"
    return "choice" if spec.choices is not None else "generate"
