"""What a run says while it works: bars for a person, JSON lines for a cluster, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from transferlens.results import Cell, PlannedAdapter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from transferlens.engine.train import Step, Training

__all__ = ["Log", "LogKind", "Standing", "Todo", "open_log"]

LogKind = Literal["rich", "json", "quiet"]

_EVERY = 5.0
"""Seconds between two JSON lines about the same training or cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """What is left to do when a run begins."""

    n_adapters: int
    n_cells: int
    work: float
    """All of it, in tokens read forward; see `transferlens.engine.work`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a run is that several workers do."""

    done: int
    """Cells that were finished since it began."""
    failed: int
    """Adapters and cells that failed."""
    workers: int
    """Workers that are at it."""
    work_left: float
    """As in `Todo`."""


class Log:
    """Hears of everything that a run does, and says nothing; others override what they need."""

    def begin(self, todo: Todo, notes: tuple[str, ...]) -> None:
        """Hear what is left to do, and what should be known about the study."""

    def train(self, adapter: PlannedAdapter) -> None:
        """Hear that a training begins."""

    def step(self, step: Step, work: float) -> None:
        """Hear of an optimizer step and of the work that it was."""

    def trained(self, adapter: PlannedAdapter, training: Training) -> None:
        """Hear that an adapter is stored."""

    def evaluate(self, cell: Cell) -> None:
        """Hear that an evaluation begins."""

    def batch(self, items: int, tokens: int, work: float) -> None:
        """Hear of a batch of examples and of the work that it was."""

    def smaller(self, cell: Cell, batch_tokens: int) -> None:
        """Hear that memory was short, and an evaluation begins anew with smaller batches."""

    def evaluated(self, cell: Cell, score: float | None, seconds: float) -> None:
        """Hear that a cell is stored, with its mean score; None where nothing was scored."""

    def failed(self, what: str, message: str, work: float) -> None:
        """Hear of a failure and of the work that is left out for it."""

    def waiting(self, n_groups: int) -> None:
        """Hear that all that is left is being done by other processes."""

    def told(self, line: str) -> None:
        """Hear what happens to the workers of a run."""

    def followed(self, standing: Standing) -> None:
        """Hear how far all workers are together."""


class JsonLog(Log):
    """One JSON object per event and line, on stderr."""

    def __init__(self) -> None:
        self._last = 0.0

    def begin(self, todo: Todo, notes: tuple[str, ...]) -> None:
        """Write a line."""
        _write("begin", adapters=todo.n_adapters, cells=todo.n_cells, notes=list(notes))

    def train(self, adapter: PlannedAdapter) -> None:
        """Write a line."""
        self._last = 0.0
        _write("train", source=adapter.source, seed=adapter.seed)

    def step(self, step: Step, work: float) -> None:  # noqa: ARG002 - a line has no bar to move
        """Write a line now and then."""
        if self._is_due() or step.step == step.n_steps:
            _write(
                "step", step=step.step, steps=step.n_steps, loss=step.loss,
                grad_norm=step.grad_norm, tokens=step.tokens, pass_tokens=step.pass_tokens,
            )  # fmt: skip

    def trained(self, adapter: PlannedAdapter, training: Training) -> None:
        """Write a line."""
        _write(
            "trained", source=adapter.source, seed=adapter.seed, steps=training.n_steps,
            loss=training.losses[-1], seconds=round(training.seconds, 3),
            tokens_per_second=round(training.tokens / training.seconds, 1),
        )  # fmt: skip

    def smaller(self, cell: Cell, batch_tokens: int) -> None:
        """Write a line."""
        _write("smaller", **_place(cell), batch_tokens=batch_tokens)

    def evaluated(self, cell: Cell, score: float | None, seconds: float) -> None:
        """Write a line."""
        _write("evaluated", **_place(cell), score=score, seconds=round(seconds, 3))

    def failed(self, what: str, message: str, work: float) -> None:  # noqa: ARG002 - as in step
        """Write a line."""
        _write("failed", what=what, message=message)

    def waiting(self, n_groups: int) -> None:
        """Write a line, once per wait."""
        if self._is_due():
            _write("waiting", groups=n_groups)

    def told(self, line: str) -> None:
        """Write a line."""
        _write("workers", message=line)

    def followed(self, standing: Standing) -> None:
        """Write a line now and then."""
        if self._is_due():
            _write("standing", done=standing.done, failed=standing.failed, workers=standing.workers)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return False
        self._last = now
        return True


def _write(event: str, **fields: Any) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, "event": event, **fields}), file=sys.stderr, flush=True)  # noqa: T201 - lines on stderr are this log


def _place(cell: Cell) -> dict[str, Any]:
    return {"source": cell.source, "target": cell.target, "seed": cell.seed}


class RichLog(Log):
    """Two bars on stderr, all the work and what is being done, and a line per adapter."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._all: TaskID = bars.add_task("study", total=None, speed="")
        self._now: TaskID | None = None
        self._tokens = 0
        self._began = time.monotonic()

    def begin(self, todo: Todo, notes: tuple[str, ...]) -> None:
        """Say what is left to do, and set the length of the first bar."""
        self._say(f"{todo.n_adapters} adapters to train, {todo.n_cells} cells to evaluate")
        for note in notes:
            self._say(f"note: {note}")
        self._bars.update(self._all, total=todo.work)

    def train(self, adapter: PlannedAdapter) -> None:
        """Begin a bar."""
        self._turn_to(f"train {adapter.source}, seed {adapter.seed}")

    def step(self, step: Step, work: float) -> None:
        """Move the bars."""
        self._move(work, step.tokens, done=step.step, total=step.n_steps)

    def trained(self, adapter: PlannedAdapter, training: Training) -> None:
        """Say how long it took."""
        self._say(
            f"trained {adapter.source}, seed {adapter.seed}: {training.n_steps} steps, loss "
            f"{training.losses[0]:.3f} -> {training.losses[-1]:.3f}, {training.seconds:.1f} s, "
            f"{training.tokens / training.seconds:,.0f} tokens/s"
        )

    def evaluate(self, cell: Cell) -> None:
        """Begin a bar."""
        self._turn_to(f"{cell.source} -> {cell.target}", total=cell.n_examples)

    def batch(self, items: int, tokens: int, work: float) -> None:
        """Move the bars."""
        self._move(work, tokens, advance=items)

    def smaller(self, cell: Cell, batch_tokens: int) -> None:
        """Say so, since the last digits of the answers' likelihoods may differ."""
        place = f"{cell.source} -> {cell.target}"
        self._say(f"{place}: the memory is not enough; trying batches of {batch_tokens} tokens")

    def failed(self, what: str, message: str, work: float) -> None:
        """Say what failed."""
        self._say(f"failed: {what}: {message}")
        self._bars.advance(self._all, work)

    def waiting(self, n_groups: int) -> None:
        """Show it as what is being done."""
        self._turn_to(f"{n_groups} adapters are with other processes")

    def told(self, line: str) -> None:
        """Say it."""
        self._say(line)

    def followed(self, standing: Standing) -> None:
        """Move the first bar to where the run is."""
        total = self._bars.tasks[0].total or 0.0
        self._bars.update(
            self._all,
            completed=total - standing.work_left,
            speed=f"{standing.done} cells done, {standing.failed} failed, "
            f"{standing.workers} workers",
        )

    def _say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _turn_to(self, what: str, total: float | None = None) -> None:
        if self._now is not None:
            self._bars.remove_task(self._now)
        self._now = self._bars.add_task(what, total=total, speed="")
        self._tokens, self._began = 0, time.monotonic()

    def _move(
        self,
        work: float,
        tokens: int,
        *,
        advance: float | None = None,
        done: float | None = None,
        total: float | None = None,
    ) -> None:
        self._bars.advance(self._all, work)
        if self._now is None:
            return
        self._tokens += tokens
        rate = self._tokens / max(time.monotonic() - self._began, 1e-9)
        self._bars.update(
            self._now, advance=advance, completed=done, total=total, speed=f"{rate:,.0f} tokens/s"
        )


@contextmanager
def open_log(kind: LogKind) -> Iterator[Log]:
    """Yield the log of a kind; bars are cleared afterwards."""
    if kind != "rich":
        yield JsonLog() if kind == "json" else Log()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        yield RichLog(bars)
