"""The work of a study: an adapter is trained and asked everything, by whoever claims it."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferlens.engine.progress import Log, Todo
from transferlens.engine.scarce import (
    folder_to_train_into,
    is_out_of_memory,
    with_smaller_batches,
)
from transferlens.errors import EngineError, ResultsError, TransferLensError
from transferlens.results import ADAPTER_MANIFEST, Cell, Plan, PlannedAdapter, StudyStore
from transferlens.study import BASE

if TYPE_CHECKING:
    from transferlens.engine.base import Base
    from transferlens.engine.plan import StudyPlan
    from transferlens.engine.train import Step, Training

__all__ = [
    "STRIKES",
    "Group",
    "Job",
    "attempt",
    "describe",
    "group_work",
    "is_settled",
    "strikes",
    "todo",
    "unfinished",
    "wanted",
]

# Tokens have unlike costs; the bar and its time left count them as tokens read forward.
_TRAIN_WORK = 3.0
_WRITE_WORK = 8.0

_POLL_SECONDS = 0.5

STRIKES = 2
"""Workers of one run that may die over a group before it is given up."""


@dataclass(frozen=True, slots=True)
class Group:
    """An adapter, or the base where it is None, with its cells."""

    id: str
    adapter: PlannedAdapter | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What every part of a run needs."""

    store: StudyStore
    study: StudyPlan
    base: Base
    log: Log
    owner: str = ""
    """Name of a worker among several, ``RUN-NUMBER``; what has failed in its run it leaves alone.
    Empty: this process is alone, or one of several that know nothing of each other."""


def wanted(plan: Plan, only: Collection[tuple[str, str]] | None) -> list[Cell]:
    """Return the cells to evaluate: all, or those of the base and the chosen ones."""
    if only is None:
        return list(plan.cells)
    chosen = set(only)
    return [c for c in plan.cells if c.source == BASE or (c.source, c.target) in chosen]


def unfinished(
    store: StudyStore, plan: Plan, only: Collection[tuple[str, str]] | None
) -> list[Group]:
    """Return the base and the adapters that still have something to do, in the plan's order."""
    adapters = {adapter.id: adapter for adapter in plan.adapters}
    cells: dict[str, list[Cell]] = {}
    for cell in wanted(plan, only):
        cells.setdefault(cell.adapter_id, []).append(cell)
    groups = [Group(key, adapters.get(key), tuple(own)) for key, own in cells.items()]
    done = store.done_cells()
    return [
        group
        for group in groups
        if any(cell.id not in done for cell in group.cells)
        or (group.adapter is not None and not store.adapter_done(group.adapter))
    ]


def is_settled(group: Group, store: StudyStore, done: set[str], failed: set[str]) -> bool:
    """Whether a group is finished, or what is left of it has failed."""
    if group.id in failed:
        return True
    trained = group.adapter is None or store.adapter_done(group.adapter)
    return trained and all(cell.id in done or cell.id in failed for cell in group.cells)


def todo(store: StudyStore, study: StudyPlan, groups: Sequence[Group]) -> Todo:
    """Count what is left to do in some groups."""
    done = store.done_cells()
    return Todo(
        n_adapters=sum(g.adapter is not None and not store.adapter_done(g.adapter) for g in groups),
        n_cells=sum(cell.id not in done for group in groups for cell in group.cells),
        work=sum(group_work(store, study, group, done) for group in groups),
    )


def group_work(store: StudyStore, study: StudyPlan, group: Group, done: set[str]) -> float:
    """Return what is left to do in a group, in tokens read forward."""
    work = sum(_cell_work(study, cell) for cell in group.cells if cell.id not in done)
    if group.adapter is not None and not store.adapter_done(group.adapter):
        work += _training_work(study, group.adapter)
    return work


def _training_work(study: StudyPlan, adapter: PlannedAdapter) -> float:
    tokens = {source.name: source.tokens for source in study.sources}
    # A merged adapter is not trained.
    return _TRAIN_WORK * tokens.get(adapter.source, 0)


def _cell_work(study: StudyPlan, cell: Cell) -> float:
    target = study.questions[cell.target]
    return target.read_tokens + _WRITE_WORK * target.written_tokens


def describe(adapter: PlannedAdapter | None) -> str:
    """Name an adapter, or the base."""
    return f"adapter {adapter.source}, seed {adapter.seed}" if adapter else "the base"


def strikes(store: StudyStore, group: Group, run: str) -> list[str]:
    """Return the workers of a run that died over a group, and the one that has it."""
    return [o for o in store.owners("adapter", group.id) if o.startswith(f"{run}-")]


def attempt(job: Job, group: Group) -> bool:
    """Do the work of a group; returns False where another process has it."""
    run = job.owner.partition("-")[0]
    if run and len(strikes(job.store, group, run)) >= STRIKES:
        # The leader of the run writes it down.
        return False
    with job.store.claim("adapter", group.id, owner=job.owner) as free:
        if free:
            _work(job, group)
        return free


def _work(job: Job, group: Group) -> None:
    from transferlens.engine.adapters import with_merged_adapter

    settled = job.store.done_cells()
    if job.owner:
        settled |= {failure.id for failure in job.store.failures()}
    left = [cell for cell in group.cells if cell.id not in settled]
    if group.adapter is None:
        _evaluate(job, left)
        return
    if group.id in settled:
        return
    what = describe(group.adapter)
    lost = sum(_cell_work(job.study, cell) for cell in left)
    with _recorded(job, group.id, "adapter", what, lost):
        _require_adapter(job, group.adapter)
        if left:
            folder = job.store.adapter_dir(group.adapter)
            with with_merged_adapter(job.base.model, folder):
                _evaluate(job, left)


@contextmanager
def _recorded(job: Job, key: str, kind: str, what: str, lost: float) -> Iterator[None]:
    """Record an error in the folder instead of raising it; a former one is forgotten.

    Where the system refuses to write, as on a full disk, nothing else can be done there either:
    that error is raised.
    """
    job.store.clear_failure(key)
    try:
        yield
    except Exception as error:
        if isinstance(error, ResultsError) and isinstance(error.__cause__, OSError):
            raise
        # Whatever else it is, the other adapters go on.
        message = _reason(error)
        job.store.record_failure(key, kind, message, traceback.format_exc())
        job.log.failed(what, message, lost)


def _reason(error: Exception) -> str:
    if isinstance(error, TransferLensError):
        return str(error)
    if is_out_of_memory(error):
        return (
            f"the memory is not enough ({_first_line(error)}); lower method.max_length or "
            "method.rank, end other programs, or take a machine with more"
        )
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _require_adapter(job: Job, adapter: PlannedAdapter) -> None:
    """Train the adapter unless it is stored already, whole."""
    from transferlens.engine.plan import wants_checkpoints
    from transferlens.engine.train import train_adapter

    if job.store.adapter_done(adapter):
        if damage := job.store.adapters.damage(adapter):
            folder = job.store.adapter_dir(adapter)
            msg = f"{folder} {damage}; delete that folder and run the study again"
            raise EngineError(msg)
        return
    if adapter.merge_of:
        _merge(job, adapter)
        return
    first = _parents(job, [adapter.after] if adapter.after else [])
    job.log.train(adapter)
    with folder_to_train_into(job.store, adapter) as temporary:
        training = train_adapter(
            job.base,
            job.study.training[adapter.source].rows,
            temporary,
            method=job.study.outline.spec.method,
            seed=adapter.seed if adapter.training_seed is None else adapter.training_seed,
            checkpointing=wants_checkpoints(job.study),
            after=first[0] if first else None,
            report=partial(_report_step, job.log),
        )
        manifest = _manifest(job, adapter, training)
        (temporary / ADAPTER_MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        job.store.commit_adapter(temporary, adapter)
    job.log.trained(adapter, training)


def _parents(job: Job, ids: Sequence[str]) -> list[Path]:
    """Return the folders of adapters that another one begins with, made if need be."""
    planned = {adapter.id: adapter for adapter in job.study.plan.adapters}
    for adapter in (planned[key] for key in ids):
        while not job.store.adapter_done(adapter):
            # Whoever has it ends some time; nobody waits for an adapter that waits for him.
            with job.store.claim("adapter", adapter.id, owner=job.owner) as free:
                if free:
                    _require_adapter(job, adapter)
            time.sleep(0.0 if free else _POLL_SECONDS)
        _require_adapter(job, adapter)
    return [job.store.adapter_dir(planned[key]) for key in ids]


def _merge(job: Job, adapter: PlannedAdapter) -> None:
    """Make an adapter of others, and store it like one that was trained."""
    from transferlens.engine.environment import environment
    from transferlens.engine.merge import merge_adapters

    merge = next(m for m in job.study.outline.spec.merges if m.name == adapter.source)
    parts = _parents(job, adapter.merge_of)
    with folder_to_train_into(job.store, adapter) as temporary:
        merge_adapters(job.base.model, parts, temporary, merge=merge, seed=adapter.seed)
        manifest = {
            "adapter_id": adapter.id,
            "source": adapter.source,
            "base": job.study.plan.base,
            "merge": merge.model_dump(mode="json"),
            "merge_of": list(adapter.merge_of),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": environment(job.base),
        }
        (temporary / ADAPTER_MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        job.store.commit_adapter(temporary, adapter)


def _report_step(log: Log, step: Step) -> None:
    log.step(step, _TRAIN_WORK * step.tokens)


def _manifest(job: Job, adapter: PlannedAdapter, training: Training) -> dict[str, Any]:
    """Return what an adapter was trained on, and how."""
    from transferlens.engine.environment import environment

    part = job.study.training[adapter.source].part
    return {
        "adapter_id": adapter.id,
        "source": adapter.source,
        "content_hash": part.content,
        "after": adapter.after,
        "control": part.control and part.control.model_dump(mode="json", exclude_none=True),
        "base": job.study.plan.base,
        "method": job.study.outline.spec.method.model_dump(mode="json"),
        "training": training.to_dict(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(job.base),
    }


def _evaluate(job: Job, cells: Sequence[Cell]) -> None:
    for cell in cells:
        what = f"cell {cell.source} -> {cell.target}, seed {cell.seed}"
        with _recorded(job, cell.id, "cell", what, _cell_work(job.study, cell)):
            _evaluate_one(job, cell)


def _evaluate_one(job: Job, cell: Cell) -> None:
    from transferlens.engine.evaluate import evaluate_cell

    began = time.perf_counter()
    job.log.evaluate(cell)
    per_example = _cell_work(job.study, cell) / cell.n_examples
    rows = with_smaller_batches(
        lambda batch_tokens: evaluate_cell(
            job.base,
            job.study.questions[cell.target],
            cell,
            batch_tokens=batch_tokens,
            tick=lambda items, tokens: job.log.batch(items, tokens, per_example * items),
        ),
        job.study.outline.spec.evaluation.batch_tokens,
        smaller=lambda batch_tokens: job.log.smaller(cell, batch_tokens),
    )
    job.store.write_cell(cell, rows)
    score = rows["score"].drop_nans().mean()
    seconds = time.perf_counter() - began
    job.log.evaluated(cell, score if isinstance(score, float) else None, seconds)
