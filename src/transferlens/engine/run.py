"""Run a study: whatever is planned and not yet there, one adapter after another.

The work of an adapter is its training and its evaluation on every target; the
process that claims it does all of it, so that its weights are loaded once.
Nothing here decides a result: each part is a function of its own arguments, so
any number of processes, in any order, leave the same folder.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from transferlens.engine.outline import Outline, outline_study
from transferlens.engine.progress import Log, LogKind, open_log
from transferlens.engine.work import Job, attempt, todo, unfinished, wanted
from transferlens.results import Plan, StudyStore, TransferStudy, open_study
from transferlens.study import StudySpec

if TYPE_CHECKING:
    from transferlens.engine.encode import Codec
    from transferlens.engine.plan import StudyPlan

__all__ = ["run"]

_POLL_SECONDS = 0.5


def run(
    spec: StudySpec,
    out: str | Path,
    *,
    log: LogKind = "rich",
    only: Collection[tuple[str, str]] | None = None,
) -> TransferStudy:
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
    only
        Sources and targets of the cells to evaluate, all by default; an adapter without any
        of them is not trained. The base answers every target.

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
    if store is None or not _is_finished(store, outline.plan, only):
        store = StudyStore.create(folder)
        with open_log(log) as listener, store.at_work():
            _finish(store, outline, listener, only)
    study = open_study(folder)
    if log == "quiet":
        _warn_of_missing(folder, outline.plan, only)
    return study


def _stored_plan(store: StudyStore) -> Plan:
    """Return the folder's plan, or an empty one where there is none yet."""
    if (store.path / "plan.json").exists():
        return store.plan
    return Plan(spec={}, study_hash="", base={}, adapters=(), cells=())


def _is_finished(
    store: StudyStore, plan: Plan, only: Collection[tuple[str, str]] | None = None
) -> bool:
    """Whether the folder holds exactly this study, complete; needs no torch."""
    stored, cells = _stored_plan(store), wanted(plan, only)
    owners = {cell.adapter_id for cell in cells}
    return (
        stored.study_hash == plan.study_hash
        and [cell.id for cell in stored.cells] == [cell.id for cell in plan.cells]
        and store.done_cells() >= {cell.id for cell in cells}
        and all(store.adapter_done(a) for a in plan.adapters if a.id in owners)
        and store.has_examples(plan.examples_ids)
    )


def _warn_of_missing(folder: Path, plan: Plan, only: Collection[tuple[str, str]] | None) -> None:
    cells = {cell.id for cell in wanted(plan, only)}
    missing = cells - StudyStore.open(folder).done_cells()
    if missing:
        msg = (
            f"{len(missing)} of {len(cells)} cells are missing; `transferlens status {folder}`"
            " says why, and running again tries again"
        )
        warnings.warn(msg, stacklevel=3)


def _finish(
    store: StudyStore, outline: Outline, log: Log, only: Collection[tuple[str, str]] | None = None
) -> None:
    from transferlens.engine.executors import executor_for, lead
    from transferlens.engine.plan import memory_of, prepare_study

    study = prepare_study(outline)
    store.collect_garbage()
    groups = unfinished(store, study.plan, only)
    executor = executor_for(study, store.path, n_groups=len(groups))
    if executor is None:
        _finish_here(store, study, log, only)
        return
    with executor:
        executor.check(memory_of(study))
        _store_plan(store, study)
        lead(executor, store, study, only=only, log=log)


def _store_plan(store: StudyStore, study: StudyPlan) -> None:
    """Store what several workers need before they begin: the plan, and the texts."""
    from transferlens.engine.base import load_codec
    from transferlens.engine.perplexity import with_known_nll

    earlier = _stored_plan(store)
    store.write_plan(with_known_nll(study.plan, earlier))
    _forget_old_failures(store, study.plan)
    _store_texts(store, study, load_codec(study.outline.base))


def _finish_here(
    store: StudyStore, study: StudyPlan, log: Log, only: Collection[tuple[str, str]] | None
) -> None:
    """Do all the work in this process, beside any others that are at it."""
    from transferlens.engine.base import load_base
    from transferlens.engine.perplexity import with_base_nll

    earlier = _stored_plan(store)
    store.write_plan(study.plan)
    _forget_old_failures(store, study.plan)
    base = load_base(study.outline.base, study.outline.spec.compute)
    sources = study.training.values()
    store.write_plan(with_base_nll(study.plan, base, sources, earlier=earlier))
    _store_texts(store, study, base.codec)
    job = Job(store, study, base, log)
    groups = unfinished(store, study.plan, only)
    log.begin(todo(store, study, groups), study.notes)
    while groups:
        busy = [group for group in groups if not attempt(job, group)]
        if len(busy) == len(groups):
            log.waiting(len(busy))
            time.sleep(_POLL_SECONDS)
        groups = busy


def _store_texts(store: StudyStore, study: StudyPlan, codec: Codec) -> None:
    from transferlens.engine.texts import example_texts, training_texts

    for target in study.questions.values():
        store.write_examples(target.part.examples_id, example_texts(target.part))
    for source in study.training.values():
        store.write_examples(source.part.examples_id, training_texts(source, codec))


def _forget_old_failures(store: StudyStore, plan: Plan) -> None:
    planned = {adapter.id for adapter in plan.adapters} | {cell.id for cell in plan.cells}
    for failure in store.failures():
        if failure.id not in planned:
            store.clear_failure(failure.id)
