"""Run a study: whatever is planned and not yet there, one adapter after another.

The work of an adapter is its training and its evaluation on every target; the
process that claims it does all of it, so that its weights are loaded once.
Nothing here decides a result: each part is a function of its own arguments, so
any number of processes, in any order, leave the same folder.
"""

from __future__ import annotations

import json
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferlens.engine.outline import Outline, outline_study
from transferlens.engine.progress import Log, LogKind, Todo, open_log
from transferlens.engine.scarce import (
    folder_to_train_into,
    is_out_of_memory,
    with_smaller_batches,
)
from transferlens.errors import EngineError, ResultsError, TransferLensError
from transferlens.results import (
    ADAPTER_MANIFEST,
    Cell,
    Plan,
    PlannedAdapter,
    StudyStore,
    TransferStudy,
    open_study,
)
from transferlens.study import StudySpec

if TYPE_CHECKING:
    from transferlens.engine.base import Base
    from transferlens.engine.plan import StudyPlan
    from transferlens.engine.train import Step, Training

__all__ = ["run"]

_POLL_SECONDS = 0.5

# Tokens have unlike costs; the bar and its time left count them as tokens read forward.
_TRAIN_WORK = 3.0
_WRITE_WORK = 8.0


@dataclass(frozen=True, slots=True)
class _Group:
    """An adapter, or the base where it is None, with its cells."""

    id: str
    adapter: PlannedAdapter | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """What every part of a run needs."""

    store: StudyStore
    study: StudyPlan
    base: Base
    log: Log


def run(spec: StudySpec, out: str | Path, *, log: LogKind = "rich") -> TransferStudy:
    """Train and evaluate whatever a study folder lacks, and open it.

    Any number of processes may run the same study in the same folder: they
    share the work. One that is killed loses the cell or adapter in work; the
    same call goes on. A failing adapter or cell does not stop the others: it is
    recorded in the folder with its log, and tried again by the next call.

    Parameters
    ----------
    spec
        The study.
    out
        Its folder; made where it does not exist. A study that has changed since
        the last call runs only what is new.
    log
        ``"rich"`` shows progress on stderr, ``"json"`` writes a line per event
        there, ``"quiet"`` says nothing, but warns where cells are missing at
        the end.

    Returns
    -------
    TransferStudy
        The folder's content. Cells that failed are missing: their scores are NaN.

    Raises
    ------
    SpecError
        The study names something that does not exist.
    DataError
        Rows do not fit their task, or prompts do not fit the model's context.
    EngineError
        The base model or the device is not there.
    ResultsError
        The folder holds something else, or the system refuses to write.
    """
    folder = Path(out)
    store = StudyStore.open(folder) if (folder / "manifest.json").exists() else None
    outline = outline_study(spec, _stored_plan(store).base if store else None)
    if store is None or not _is_finished(store, outline.plan):
        store = StudyStore.create(folder)
        with open_log(log) as listener, store.at_work():
            _finish(store, outline, listener)
    study = open_study(folder)
    if log == "quiet":
        _warn_of_missing(folder, outline.plan)
    return study


def _stored_plan(store: StudyStore) -> Plan:
    """Return the folder's plan, or an empty one where there is none yet."""
    if (store.path / "plan.json").exists():
        return store.plan
    return Plan(spec={}, study_hash="", base={}, adapters=(), cells=())


def _is_finished(store: StudyStore, plan: Plan) -> bool:
    """Whether the folder holds exactly this study, complete; needs no torch."""
    stored = _stored_plan(store)
    return (
        stored.study_hash == plan.study_hash
        and [cell.id for cell in stored.cells] == [cell.id for cell in plan.cells]
        and store.done_cells() >= {cell.id for cell in plan.cells}
        and all(store.adapter_done(adapter) for adapter in plan.adapters)
        and store.has_examples(plan.examples_ids)
    )


def _warn_of_missing(folder: Path, plan: Plan) -> None:
    missing = {cell.id for cell in plan.cells} - StudyStore.open(folder).done_cells()
    if missing:
        msg = (
            f"{len(missing)} of {len(plan.cells)} cells are missing; `transferlens status {folder}`"
            " says why, and running again tries again"
        )
        warnings.warn(msg, stacklevel=3)


def _finish(store: StudyStore, outline: Outline, log: Log) -> None:
    from transferlens.engine.base import load_base
    from transferlens.engine.perplexity import with_base_nll
    from transferlens.engine.plan import prepare_study
    from transferlens.engine.texts import example_texts, training_texts

    study = prepare_study(outline)
    store.collect_garbage()
    earlier = _stored_plan(store)
    store.write_plan(study.plan)
    _forget_old_failures(store, study.plan)
    base = load_base(outline.base, outline.spec.compute)
    sources = study.training.values()
    store.write_plan(with_base_nll(study.plan, base, sources, earlier=earlier))
    for target in study.questions.values():
        store.write_examples(target.part.examples_id, example_texts(target.part))
    for source in sources:
        store.write_examples(source.part.examples_id, training_texts(source, base.codec))
    job = _Job(store, study, base, log)
    groups = _unfinished(store, study.plan)
    log.begin(_todo(job, groups), study.notes)
    while groups:
        busy = [group for group in groups if not _attempt(job, group)]
        if len(busy) == len(groups):
            log.waiting(len(busy))
            time.sleep(_POLL_SECONDS)
        groups = busy


def _forget_old_failures(store: StudyStore, plan: Plan) -> None:
    planned = {adapter.id for adapter in plan.adapters} | {cell.id for cell in plan.cells}
    for failure in store.failures():
        if failure.id not in planned:
            store.clear_failure(failure.id)


def _unfinished(store: StudyStore, plan: Plan) -> list[_Group]:
    """Return the base and the adapters that still have something to do, in the plan's order."""
    adapters = {adapter.id: adapter for adapter in plan.adapters}
    cells: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.adapter_id, []).append(cell)
    groups = [_Group(key, adapters.get(key), tuple(own)) for key, own in cells.items()]
    done = store.done_cells()
    return [
        group
        for group in groups
        if any(cell.id not in done for cell in group.cells)
        or (group.adapter is not None and not store.adapter_done(group.adapter))
    ]


def _todo(job: _Job, groups: Sequence[_Group]) -> Todo:
    done = job.store.done_cells()
    cells = [cell for group in groups for cell in group.cells if cell.id not in done]
    adapters = [g.adapter for g in groups if g.adapter and not job.store.adapter_done(g.adapter)]
    training = sum(_training_work(job, adapter) for adapter in adapters)
    return Todo(
        n_adapters=len(adapters),
        n_cells=len(cells),
        work=training + sum(_cell_work(job, cell) for cell in cells),
    )


def _training_work(job: _Job, adapter: PlannedAdapter) -> float:
    tokens = {source.name: source.tokens for source in job.study.sources}
    return _TRAIN_WORK * tokens[adapter.source]


def _cell_work(job: _Job, cell: Cell) -> float:
    target = job.study.questions[cell.target]
    return target.read_tokens + _WRITE_WORK * target.written_tokens


def _attempt(job: _Job, group: _Group) -> bool:
    """Do the work of a group; returns False where another process has it."""
    with job.store.claim("adapter", group.id) as free:
        if free:
            _work(job, group)
        return free


def _work(job: _Job, group: _Group) -> None:
    from transferlens.engine.adapters import with_merged_adapter

    done = job.store.done_cells()
    left = [cell for cell in group.cells if cell.id not in done]
    if group.adapter is None:
        _evaluate(job, left)
        return
    what = f"adapter {group.adapter.source}, seed {group.adapter.seed}"
    lost = sum(_cell_work(job, cell) for cell in left)
    with _recorded(job, group.id, "adapter", what, lost):
        _require_adapter(job, group.adapter)
        if left:
            folder = job.store.adapter_dir(group.adapter)
            with with_merged_adapter(job.base.model, folder):
                _evaluate(job, left)


@contextmanager
def _recorded(job: _Job, key: str, kind: str, what: str, lost: float) -> Iterator[None]:
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


def _require_adapter(job: _Job, adapter: PlannedAdapter) -> None:
    """Train the adapter unless it is stored already, whole."""
    from transferlens.engine.plan import wants_checkpoints
    from transferlens.engine.train import train_adapter

    if job.store.adapter_done(adapter):
        if damage := job.store.adapters.damage(adapter):
            folder = job.store.adapter_dir(adapter)
            msg = f"{folder} {damage}; delete that folder and run the study again"
            raise EngineError(msg)
        return
    job.log.train(adapter)
    with folder_to_train_into(job.store, adapter) as temporary:
        training = train_adapter(
            job.base,
            job.study.training[adapter.source].rows,
            temporary,
            method=job.study.outline.spec.method,
            seed=adapter.seed if adapter.training_seed is None else adapter.training_seed,
            checkpointing=wants_checkpoints(job.study),
            report=partial(_report_step, job.log),
        )
        manifest = _manifest(job, adapter, training)
        (temporary / ADAPTER_MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        job.store.commit_adapter(temporary, adapter)
    job.log.trained(adapter, training)


def _report_step(log: Log, step: Step) -> None:
    log.step(step, _TRAIN_WORK * step.tokens)


def _manifest(job: _Job, adapter: PlannedAdapter, training: Training) -> dict[str, Any]:
    """Return what an adapter was trained on, and how."""
    from transferlens.engine.environment import environment

    part = job.study.training[adapter.source].part
    return {
        "adapter_id": adapter.id,
        "source": adapter.source,
        "content_hash": part.content,
        "control": part.control and part.control.model_dump(mode="json", exclude_none=True),
        "base": job.study.plan.base,
        "method": job.study.outline.spec.method.model_dump(mode="json"),
        "training": training.to_dict(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(job.base),
    }


def _evaluate(job: _Job, cells: Sequence[Cell]) -> None:
    for cell in cells:
        what = f"cell {cell.source} -> {cell.target}, seed {cell.seed}"
        with _recorded(job, cell.id, "cell", what, _cell_work(job, cell)):
            _evaluate_one(job, cell)


def _evaluate_one(job: _Job, cell: Cell) -> None:
    from transferlens.engine.evaluate import evaluate_cell

    began = time.perf_counter()
    job.log.evaluate(cell)
    per_example = _cell_work(job, cell) / cell.n_examples
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
