"""Workers as tasks of a Ray cluster, whose machines share the study's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from transferlens.engine.executors.base import Assignment, End, Worker, refuse_little_memory
from transferlens.errors import EngineError, needs
from transferlens.study import ComputeSpec

__all__ = ["RayExecutor"]


@dataclass(slots=True)
class _Task:
    """A worker that is a task."""

    name: str
    place: str
    answer: Any
    """Ray's reference to what the worker will return."""

    def end(self) -> End | None:
        import ray

        ready, _ = ray.wait([self.answer], timeout=0)
        if not ready:
            return None
        try:
            reason = ray.get(self.answer)
        except ray.exceptions.RayError as error:
            first = " ".join(str(error).split())[:300]
            return End("died", f"was lost: {first}")
        return End("done") if reason is None else End("failed", reason)


class RayExecutor:
    """Workers as tasks; they end with the process that started them, as Ray has it."""

    poll_seconds = 1.0

    def __init__(self, compute: ComputeSpec, n_groups: int) -> None:
        with needs("ray", extra="ray", purpose="compute.executor=ray"):
            import ray

        self._compute = compute
        # A program that has connected itself keeps its connection.
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            _connect(compute)
        most = _most_of(_nodes())
        self._wanted = {
            "CPU": float(compute.cpus or 1),
            "GPU": float(min(1, most.get("GPU", 0)) if compute.gpus is None else compute.gpus),
            "memory": float(compute.memory or 0),
        }
        self.n_workers = min(compute.workers or self._room(), n_groups)

    def _room(self) -> int:
        """Return how many workers the cluster can hold at once, at least one."""
        return max(sum(_fits(self._wanted, node) for node in _nodes()), 1)

    def check(self, memory_bytes: int) -> None:
        """Refuse what no machine of the cluster has."""
        refuse_little_memory(self._compute, memory_bytes)
        most = _most_of(_nodes())
        for kind, field in (("CPU", "cpus"), ("GPU", "gpus"), ("memory", "memory")):
            if self._wanted[kind] > most.get(kind, 0):
                msg = (
                    f"compute.{field}={self._wanted[kind]:.0f}: no machine of the ray cluster has "
                    f"more than {most.get(kind, 0):.0f}; ask for less, or add a larger machine"
                )
                raise EngineError(msg)
        if not any(_fits(self._wanted, node) for node in _nodes()):
            msg = (
                "no machine of the ray cluster has all of compute.cpus, compute.gpus and "
                "compute.memory at once; ask for less of one of them"
            )
            raise EngineError(msg)

    def start(self, assignments: Sequence[Assignment]) -> list[Worker]:
        """Submit tasks."""
        import ray

        from transferlens.engine.executors.worker import work_on

        # Declared a number, but no memory at all is not what is meant.
        memory: dict[str, Any] = (
            {"memory": self._wanted["memory"]} if self._wanted["memory"] else {}
        )
        task = ray.remote(
            num_cpus=self._wanted["CPU"],
            num_gpus=self._wanted["GPU"],
            **memory,
            # Whether work is tried again stands in the study's folder.
            max_retries=0,
            # A process per worker: its memory is free again when it ends.
            max_calls=1,
        )(work_on)
        started: list[Worker] = []
        for assignment in assignments:
            threads = self._compute.threads or int(self._wanted["CPU"])
            device = "cpu" if not self._wanted["GPU"] else None
            placed = replace(assignment, threads=threads, device=device)
            name = f"ray task {placed.name}"
            started.append(_Task(placed.name, name, task.options(name=name).remote(placed)))
        return started

    def adopt(self) -> list[Worker]:
        """No task outlives the process that submitted it."""
        return []

    def leave(self, workers: Sequence[Worker]) -> str:
        """Cancel the tasks."""
        import ray

        for worker in workers:
            if isinstance(worker, _Task):
                ray.cancel(worker.answer, force=True)
        return "the tasks on the ray cluster have ended; the cluster keeps running"

    def __enter__(self) -> Self:
        """Return itself: the cluster is connected already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster, or end it where it was started for this run."""
        if self._connected_here:
            import ray

            ray.shutdown()


def _connect(compute: ComputeSpec) -> None:
    """Connect to the cluster that the study names, or start one on this machine."""
    import ray

    address = compute.ray.address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address is None:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        msg = (
            f"compute.ray.address={address!r}: no ray cluster answers there ({first}); start one "
            "with `ray start --head`, or leave the address out"
        )
        raise EngineError(msg) from None


def _nodes() -> list[dict[str, float]]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _most_of(nodes: Sequence[dict[str, float]]) -> dict[str, float]:
    kinds = {kind for node in nodes for kind in node}
    return {kind: max(node.get(kind, 0.0) for node in nodes) for kind in kinds}


def _fits(wanted: dict[str, float], node: dict[str, float]) -> int:
    """Return how many workers a machine can hold at once."""
    return min(int(node.get(kind, 0.0) // amount) for kind, amount in wanted.items() if amount)
