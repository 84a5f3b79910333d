"""Workers as processes of this machine, one per accelerator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from transferlens.engine.executors.base import Assignment, End, Worker
from transferlens.engine.executors.worker import FAILED
from transferlens.study import ComputeSpec

__all__ = ["LocalExecutor", "local_devices"]

_GRACE_SECONDS = 10.0


def local_devices(compute: ComputeSpec) -> list[str]:
    """Return the devices over which workers are spread."""
    import torch

    if compute.device != "auto" or compute.device_map is not None:
        return [compute.device]
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cpu"]
    # "auto" keeps an only accelerator's plain name, as without workers.
    count = torch.accelerator.device_count()
    return [f"{found.type}:{i}" for i in range(count)] if count > 1 else ["auto"]


@dataclass(slots=True)
class _Process:
    """A worker that is a process of ours."""

    name: str
    place: str
    device: str
    process: subprocess.Popen[str]
    log: Path

    def end(self) -> End | None:
        code = self.process.poll()
        if code is None:
            return None
        said = self.close()
        if code == 0:
            return End("done")
        if code == FAILED:
            return End("failed", said)
        if code > 0:
            return End("died", f"ended with code {code}; its log: {self.log}")
        name = signal.Signals(-code).name
        why = ", as the system does where memory is short" if name == "SIGKILL" else ""
        return End("died", f"was ended by {name}{why}; its log: {self.log}")

    def close(self) -> str:
        """Close the pipes of a process that has ended; returns what it said last."""
        said = ""
        if self.process.stdout is not None and not self.process.stdout.closed:
            said = self.process.stdout.read().strip()
            self.process.stdout.close()
        if self.process.stdin is not None:
            # What it did not read is lost with it.
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        return said


class LocalExecutor:
    """Workers as processes of this machine, each with a device of its own.

    They end with this process.
    """

    poll_seconds = 0.2

    def __init__(self, compute: ComputeSpec, devices: Sequence[str], n_workers: int) -> None:
        self.n_workers = n_workers
        self._devices = list(devices)
        self._threads = compute.threads
        if compute.threads is None and self._devices[0] == "cpu":
            self._threads = max((os.cpu_count() or 1) // n_workers, 1)
        self._running: list[_Process] = []

    def check(self, memory_bytes: int) -> None:
        """Accept: nothing is asked for that could be refused."""

    def start(self, assignments: Sequence[Assignment]) -> list[Worker]:
        """Start processes."""
        return [self._start(assignment) for assignment in assignments]

    def _start(self, assignment: Assignment) -> Worker:
        used = [w.device for w in self._running if w.process.poll() is None]
        device = min(self._devices, key=used.count)
        placed = replace(assignment, device=device, threads=self._threads)
        placed.log.parent.mkdir(exist_ok=True)
        # The device among the arguments is for whoever looks at the list of processes.
        command = [sys.executable, "-m", "transferlens.engine.executors.worker", device]
        with placed.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        place = f"process {process.pid} ({device})"
        worker = _Process(placed.name, place, device, process, placed.log)
        self._running.append(worker)
        # It may be dead already, which its end will say.
        with suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.write(placed.to_json() + "\n")
                process.stdin.flush()
        return worker

    def adopt(self) -> list[Worker]:
        """No process outlives the one that started it."""
        return []

    def leave(self, workers: Sequence[Worker]) -> str:  # noqa: ARG002 - the interface's
        """End the processes."""
        self._end_all()
        return "the workers have ended"

    def __enter__(self) -> Self:
        """Return itself: nothing is held yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes that still live."""
        self._end_all()

    def _end_all(self) -> None:
        for worker in self._running:
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for worker in self._running:
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.close()
        self._running = []
