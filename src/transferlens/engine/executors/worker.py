"""A worker: does what is unfinished in a study's folder and unclaimed, then ends.

``python -m transferlens.engine.executors.worker`` reads its `Assignment` from the first line of
its input, and ends when that input closes: whoever started it is gone then.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

from transferlens.engine.base import load_base
from transferlens.engine.executors.base import Assignment
from transferlens.engine.outline import outline_study
from transferlens.engine.perplexity import with_base_nll
from transferlens.engine.plan import StudyPlan, prepare_study
from transferlens.engine.progress import Log, open_log
from transferlens.engine.work import Group, Job, attempt, group_work, todo, unfinished
from transferlens.errors import TransferLensError
from transferlens.results import StudyStore
from transferlens.study import StudySpec

__all__ = ["FAILED", "work_on"]

FAILED = 2
"""Exit code of a worker that could not work; its last line says why."""


def work_on(assignment: Assignment) -> str | None:
    """Work until nothing is left that nobody works on; returns why it could not, or None."""
    assignment.log.parent.mkdir(exist_ok=True)
    with (
        assignment.log.open("a", encoding="utf-8") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        try:
            with open_log("json") as log:
                _work(assignment, log)
        except Exception as error:  # noqa: BLE001 - the leader tells the user
            traceback.print_exc()
            known = isinstance(error, TransferLensError)
            return str(error) if known else f"{type(error).__name__}: {error}"
    return None


def _work(assignment: Assignment, log: Log) -> None:
    spec = StudySpec.from_dict(assignment.spec, root=assignment.root)
    store = StudyStore.open(assignment.folder)
    with store.at_work():
        # The plan has the hash of the study as it was written, not as it is placed here.
        outline = outline_study(spec, store.plan.base)
        study = prepare_study(replace(outline, spec=_placed(spec, assignment)))
        base = load_base(study.outline.base, study.outline.spec.compute)
        job = Job(store, study, base, log, owner=assignment.name)
        _know_base_nll(job)
        groups = _by_work(store, study, unfinished(store, study.plan, assignment.only))
        log.begin(todo(store, study, groups), ())
        for group in groups:
            attempt(job, group)


def _placed(spec: StudySpec, assignment: Assignment) -> StudySpec:
    given = {"device": assignment.device, "threads": assignment.threads}
    update = {name: value for name, value in given.items() if value is not None}
    return spec.model_copy(update={"compute": spec.compute.model_copy(update=update)})


def _know_base_nll(job: Job) -> None:
    """Let one of the workers find out how likely the base finds the sources."""
    with job.store.claim("base", "nll", owner=job.owner) as free:
        earlier = job.store.plan
        if free and any(info.base_nll is None for info in earlier.sources):
            sources = job.study.training.values()
            job.store.write_plan(with_base_nll(job.study.plan, job.base, sources, earlier=earlier))


def _by_work(store: StudyStore, study: StudyPlan, groups: list[Group]) -> list[Group]:
    """Return the longest first, so that no worker begins a long one when the others are done."""
    done = store.done_cells()
    return sorted(groups, key=lambda group: -group_work(store, study, group, done))


def _end_with_input() -> None:
    """Interrupt the work once whoever started this process is gone."""

    def watch() -> None:
        sys.stdin.read()
        _thread.interrupt_main(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _stop(*_: object) -> None:
    # As a keyboard's interrupt: claims are released, and no death is counted.
    raise KeyboardInterrupt


def main() -> None:
    """Work on the assignment that the input holds."""
    signal.signal(signal.SIGTERM, _stop)
    assignment = Assignment.from_json(sys.stdin.readline())
    _end_with_input()
    try:
        reason = work_on(assignment)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if reason is not None:
        print(reason)  # noqa: T201 - the leader reads it
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
