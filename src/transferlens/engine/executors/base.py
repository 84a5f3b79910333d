"""What an executor is: it starts workers, and knows whether they still live.

A worker does whatever is unfinished in a study's folder, one adapter after another, and ends when
nothing is left that nobody works on. All that workers have in common is the folder: which adapter
is whose stands in its locks, what is finished in its files. So no executor schedules, and resuming
is the same whatever runs the study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from transferlens.errors import EngineError
from transferlens.study import ComputeSpec

__all__ = ["Assignment", "End", "Executor", "Worker", "refuse_little_memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a worker has to know; plain values, which travel as JSON."""

    run: str
    """Name of the run that it belongs to."""
    number: int
    folder: str
    """The study's folder, as the worker sees it."""
    spec: dict[str, Any]
    root: str
    """Folder at which the relative paths of the spec start."""
    only: list[tuple[str, str]] | None = None
    device: str | None = None
    """In place of the study's own."""
    threads: int | None = None
    """In place of the study's own."""

    @property
    def name(self) -> str:
        """Name of the worker; it stands in the locks that it holds."""
        return f"{self.run}-{self.number}"

    @property
    def log(self) -> Path:
        """File in which the worker says what it does."""
        return Path(self.folder) / "workers" / f"{self.name}.log"

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended."""

    kind: Literal["done", "failed", "died"]
    """``failed``: it could not work at all, and another one could not either; ``died``: something
    ended it."""
    message: str = ""


class Worker(Protocol):
    """A worker that was started."""

    name: str
    """Of its assignment."""
    place: str
    """What the user knows it by: a process, a job."""

    def end(self) -> End | None:
        """Return how it ended; None while it lives, or waits to begin."""


class Executor(Protocol):
    """Starts workers somewhere. Used in a ``with``, which lets go of what it holds."""

    poll_seconds: float
    """How often it can be asked."""
    n_workers: int
    """How many are to work at once."""

    def check(self, memory_bytes: int) -> None:
        """Refuse a request that cannot be granted, before anything is submitted.

        Parameters
        ----------
        memory_bytes
            What a worker is expected to need at its peak.

        Raises
        ------
        EngineError
            It can never be granted, or what it needs is not here.
        """

    def start(self, assignments: Sequence[Assignment]) -> list[Worker]:
        """Start workers, or submit them."""

    def adopt(self) -> list[Worker]:
        """Return workers of an earlier run on this folder that still live or wait to."""

    def leave(self, workers: Sequence[Worker]) -> str:
        """Part with the workers because the user stopped this process; says what keeps running."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of whatever it holds."""


def refuse_little_memory(compute: ComputeSpec, memory_bytes: int) -> None:
    """Refuse to ask a cluster for less memory than a worker is expected to need.

    Raises
    ------
    EngineError
        ``compute.memory`` is less.
    """
    if compute.memory is not None and memory_bytes > compute.memory:
        msg = (
            f"compute.memory={compute.memory / 1e9:.2g} GB: a worker is expected to need about "
            f"{memory_bytes / 1e9:.2g} GB; ask for more, or lower evaluation.batch_tokens or "
            "method.rank"
        )
        raise EngineError(msg)
