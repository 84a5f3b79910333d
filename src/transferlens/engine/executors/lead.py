"""Following the workers of a run: who died, whose work is tried again, how far all are."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from transferlens.engine.executors.base import Assignment, Executor, Worker
from transferlens.engine.plan import StudyPlan
from transferlens.engine.progress import Log, Standing
from transferlens.engine.work import (
    STRIKES,
    Group,
    describe,
    group_work,
    is_settled,
    strikes,
    todo,
    unfinished,
)
from transferlens.errors import EngineError
from transferlens.results import StudyStore

__all__ = ["lead"]


def lead(
    executor: Executor,
    store: StudyStore,
    study: StudyPlan,
    *,
    only: Collection[tuple[str, str]] | None,
    log: Log,
) -> None:
    """Have a study's work done by workers, and follow it to its end.

    A worker that dies loses what it was at. That is tried once more, by another one; then it is
    recorded as failed. What fails without a death is recorded by the worker and left alone until
    the next run.

    Raises
    ------
    EngineError
        Workers cannot work: the reason is that of the first, or they die before they do anything.
    """
    leader = _Leader(executor, store, study, only, log)
    try:
        leader.follow()
    except KeyboardInterrupt:
        log.told(executor.leave(leader.running))
        raise


class _Leader:
    """What is known of a run while it is followed."""

    def __init__(
        self,
        executor: Executor,
        store: StudyStore,
        study: StudyPlan,
        only: Collection[tuple[str, str]] | None,
        log: Log,
    ) -> None:
        self.running: list[Worker] = executor.adopt()
        self._executor, self._store, self._study, self._log = executor, store, study, log
        self._only = None if only is None else sorted(only)
        self._groups = unfinished(store, study.plan, only)
        self._run = os.urandom(4).hex()
        self._hired = 0
        self._hired_in_vain = 0
        self._reasons: list[str] = []

    def follow(self) -> None:
        """Hire, listen and show until everything is finished or has failed."""
        self._log.begin(todo(self._store, self._study, self._groups), self._study.notes)
        if self.running:
            self._log.told(f"{len(self.running)} workers of an earlier call are still there")
        else:
            self._forget_failures()
        self._n_left = sum(len(group.cells) for group in self._groups)
        while True:
            self._hear()
            self._settle()
            if not self.running and (self._reasons or not self._groups):
                break
            self._hire()
            time.sleep(self._executor.poll_seconds)
        if self._reasons:
            raise EngineError(self._reasons[0])

    def _forget_failures(self) -> None:
        """Let what failed before be tried again."""
        for failure in self._store.failures():
            self._store.clear_failure(failure.id)

    def _hear(self) -> None:
        living = []
        for worker in self.running:
            end = worker.end()
            if end is None:
                living.append(worker)
            elif end.kind == "failed":
                self._reasons.append(end.message)
            elif end.kind == "died":
                lost = self._lost_by(worker.name)
                at = f" over {describe(lost.adapter)}" if lost else ""
                self._log.told(f"{worker.place} died{at}: it {end.message}")
        self.running = living

    def _lost_by(self, name: str) -> Group | None:
        return next((g for g in self._groups if name in self._store.owners("adapter", g.id)), None)

    def _settle(self) -> None:
        """Put aside what is finished or has failed, and say how far the rest is."""
        done = self._store.done_cells()
        failed = {failure.id for failure in self._store.failures()}
        left = []
        for group in self._groups:
            if is_settled(group, self._store, done, failed) or self._gave_up(group):
                self._hired_in_vain = 0
            else:
                left.append(group)
        self._groups = left
        work = sum(group_work(self._store, self._study, group, done) for group in left)
        n_done = sum(cell.id in done for cell in self._study.plan.cells)
        self._log.followed(
            Standing(done=n_done, failed=len(failed), workers=len(self.running), work_left=work)
        )

    def _gave_up(self, group: Group) -> bool:
        """Record a group as failed over which as many workers died as may."""
        if len(strikes(self._store, group, self._run)) < STRIKES:
            return False
        with self._store.claim("adapter", group.id) as free:
            # Read again: the last of them may have lived, and just finished.
            dead = strikes(self._store, group, self._run) if free else []
            if len(dead) < STRIKES:
                return False
            self._record_deaths(group, dead)
        return True

    def _record_deaths(self, group: Group, dead: Sequence[str]) -> None:
        message = (
            f"{len(dead)} workers died over it; the system's log may say why, often it is "
            "memory: give a worker more, or lower method.batch_tokens or method.max_length"
        )
        logs = [str(self._assignment(int(name.partition("-")[2])).log) for name in dead]
        log_text = "\n".join(["the workers' own logs:", *logs])
        keys = [group.id] if group.adapter else [cell.id for cell in group.cells]
        for key in keys:
            kind = "adapter" if group.adapter else "cell"
            self._store.record_failure(key, kind, message, log_text)
        self._log.failed(describe(group.adapter), message, 0.0)

    def _hire(self) -> None:
        """Start as many workers as there is unclaimed work for."""
        if self._reasons or not self._groups:
            return
        free = sum(not self._store.is_claimed("adapter", group.id) for group in self._groups)
        wanted = min(self._executor.n_workers - len(self.running), free)
        if wanted <= 0:
            if not self.running:
                self._log.waiting(len(self._groups))
            return
        if self._hired_in_vain > 2 * (self._executor.n_workers + 1):
            self._reasons.append(
                f"workers end before they have done anything; see {self._logs()}, and try with "
                "compute.workers=1"
            )
            return
        hired = [self._assignment(self._hired + i) for i in range(wanted)]
        self._hired += wanted
        self._hired_in_vain += wanted
        workers = self._executor.start(hired)
        places = ", ".join(worker.place for worker in workers[:8])
        more = f" and {len(workers) - 8} more" if len(workers) > 8 else ""
        self._log.told(f"started {len(workers)} workers: {places}{more}; logs in {self._logs()}")
        self.running += workers

    def _logs(self) -> Path:
        return self._store.path / "workers"

    def _assignment(self, number: int) -> Assignment:
        spec = self._study.outline.spec
        return Assignment(
            run=self._run,
            number=number,
            folder=str(self._store.path.absolute()),
            spec=spec.to_dict(),
            root=str(spec.root),
            only=None if self._only is None else list(self._only),
        )
