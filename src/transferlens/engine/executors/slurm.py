"""Workers as jobs of one Slurm array, by submitit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from transferlens.engine.executors.base import Assignment, End, Worker, refuse_little_memory
from transferlens.errors import EngineError, needs
from transferlens.results.files import write_atomically
from transferlens.study import ComputeSpec
from transferlens.study.compute import as_minutes

if TYPE_CHECKING:
    import submitit

__all__ = ["SlurmExecutor", "SlurmWork"]

_MOST = 32
"""Jobs of an array where the study does not say how many."""


class SlurmWork:
    """What a job does; submitit calls `checkpoint` where its time is over, and queues it again."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment

    def __call__(self) -> str | None:
        """Work; returns why that was not possible, or None."""
        from transferlens.engine.executors.worker import work_on

        return work_on(self.assignment)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return the same work again: what is finished stands in the folder."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@dataclass(slots=True)
class _Job:
    """A worker that is a job."""

    name: str
    place: str
    job: submitit.Job[str | None]

    def end(self) -> End | None:
        import submitit

        if not self.job.done():
            return None
        try:
            reason = self.job.result()
        # What a lost job raises is submitit's own, and differs between its executors.
        except (
            submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError, OSError
        ) as error:  # fmt: skip
            first = (str(error).splitlines() or [type(error).__name__])[0]
            return End("died", f"was lost: {first[:200]}; its log: {self.job.paths.stderr}")
        return End("done") if reason is None else End("failed", reason)


class SlurmExecutor:
    """Workers as jobs of an array; they go on when this process ends."""

    def __init__(self, compute: ComputeSpec, folder: Path, n_groups: int) -> None:
        with needs("submitit", extra="slurm", purpose="compute.executor=slurm"):
            import submitit

        self._compute = compute
        self._folder = folder.absolute() / "workers" / "slurm"
        self._record = self._folder / "submitted.json"
        self.n_workers = min(compute.workers or _MOST, n_groups)
        self._cluster = compute.slurm.cluster
        # Slurm is asked once a minute by submitit, however often we look.
        self.poll_seconds = 5.0 if self._cluster == "slurm" else 0.2
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            msg = (
                "compute.executor=slurm: there is no sbatch on this machine; start the study where "
                "jobs are submitted, or try it with compute.slurm.cluster=local"
            )
            raise EngineError(msg)
        self._submitit = submitit.AutoExecutor(folder=self._folder / "%j", cluster=self._cluster)
        self._submitit.update_parameters(**self.parameters())

    def parameters(self) -> dict[str, Any]:
        """Return what is asked for, as submitit names it."""
        compute, slurm = self._compute, self._compute.slurm
        wanted: dict[str, Any] = {
            "name": "transferlens",
            "timeout_min": as_minutes(slurm.time),
            "cpus_per_task": compute.cpus or 1,
        }
        if compute.gpus:
            wanted["gpus_per_node"] = compute.gpus
        if compute.memory is not None:
            wanted["mem_gb"] = compute.memory / 1e9
        if slurm.setup:
            wanted["slurm_setup"] = list(slurm.setup)
        if slurm.partition is not None:
            wanted["slurm_partition"] = slurm.partition
        if slurm.extra:
            wanted["slurm_additional_parameters"] = dict(slurm.extra)
        return wanted

    def check(self, memory_bytes: int) -> None:
        """Refuse too little memory; what a partition has, only Slurm knows, and it says so."""
        refuse_little_memory(self._compute, memory_bytes)

    def start(self, assignments: Sequence[Assignment]) -> list[Worker]:
        """Submit an array."""
        import submitit

        threads = self._compute.threads or self._compute.cpus or 1
        device = None if self._compute.gpus else "cpu"
        work = [SlurmWork(replace(a, threads=threads, device=device)) for a in assignments]
        try:
            jobs = self._submitit.submit_array(work)
        except submitit.core.utils.FailedJobError as error:
            reason = " ".join(str(error).split())[:300]
            msg = f"slurm refuses the jobs: {reason}; mend compute.slurm"
            raise EngineError(msg) from None
        started: list[Worker] = [
            _Job(a.name, f"job {job.job_id}", job) for a, job in zip(assignments, jobs, strict=True)
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(self._record.read_bytes()) if self._record.exists() else {}
        known |= {a.name: job.job_id for a, job in zip(assignments, jobs, strict=True)}
        write_atomically(self._record, json.dumps(known, indent=1).encode())
        return started

    def adopt(self) -> list[Worker]:
        """Return the jobs of earlier calls that wait or run."""
        import submitit

        if self._cluster != "slurm" or not self._record.exists():
            return []
        known: dict[str, str] = json.loads(self._record.read_bytes())
        jobs = [
            _Job(name, f"job {key}", submitit.SlurmJob(folder=self._folder / "%j", job_id=key))
            for name, key in known.items()
        ]
        return [job for job in jobs if not job.job.done(force_check=True)]

    def leave(self, workers: Sequence[Worker]) -> str:
        """Let the jobs go on."""
        if self._cluster != "slurm" or not workers:
            return "the workers end by themselves when nothing is left to do"
        jobs = sorted({worker.place.partition("_")[0].removeprefix("job ") for worker in workers})
        return (
            f"{len(workers)} jobs wait or go on; the same command follows them again, "
            f"`scancel {' '.join(jobs)}` ends them"
        )

    def __enter__(self) -> Self:
        """Nothing is held."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held."""
