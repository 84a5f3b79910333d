"""One thread that writes for all requests: they wait in a queue, and join what is being written.

Only this thread touches the model. Every request carries the name of its adapter to the rows
themselves, so none can get another's, whatever is loaded, dropped or written beside it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from transferlens.errors import EngineError, TransferLensError

if TYPE_CHECKING:
    from transferlens.engine.mixing import Factors
    from transferlens.engine.serving import AdapterPool, Writing

__all__ = ["Batcher", "Piece"]


_PATIENCE = 4
"""Steps between two admissions while others write: joining costs a pass and a copy of what all
remember, so newcomers share it: 6 to 27 % more tokens per second with eight clients."""


class Piece(NamedTuple):
    """What a request has written so far."""

    text: str
    n_tokens: int
    finish: str
    """How it ended; empty while it goes on."""
    error: str = ""


Listener = Callable[[Piece], None]


class Batcher:
    """A queue of requests, and the thread that works on it."""

    def __init__(self, pool: AdapterPool, *, max_rows: int) -> None:
        """Start the thread.

        Parameters
        ----------
        max_rows
            Requests that are written at the same time.
        """
        from transferlens.engine.serving import Rows

        self._pool = pool
        self._rows = Rows(pool.base)
        self._max_rows = max_rows
        self._waiting: deque[Writing] = deque()
        self._listeners: dict[Writing, tuple[Listener, bool]] = {}
        self._dropped: set[Writing] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._steps = 0
        # The adapter that is in the model itself, for which others wait.
        self._alone: str | None = None
        self._inside = ExitStack()
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)
        self._thread.start()

    def submit(self, job: Writing, listener: Listener, *, stream: bool) -> None:
        """Queue a request; the listener is called from the thread, at the end at the latest.

        Parameters
        ----------
        stream
            Whether to call it after every token.
        """
        with self._changed:
            if self._closing:
                listener(Piece("", 0, "", "the server is shutting down"))
                return
            self._listeners[job] = (listener, stream)
            self._waiting.append(job)
            self._changed.notify()

    def drop(self, job: Writing) -> None:
        """Forget a request that nobody waits for any more."""
        with self._changed:
            self._dropped.add(job)
            self._changed.notify()

    def close(self) -> None:
        """Finish what is under way and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._has_work():
            try:
                self._admit()
                done = self._rows.step()
                self._steps += 1
            except Exception as error:  # noqa: BLE001 - the thread must outlive a request
                self._fail(error)
                continue
            for job in [*done, *self._rows.active]:
                self._tell(job)
        self._inside.close()

    def _has_work(self) -> bool:
        """Wait for work; False once there is none and will be none."""
        with self._changed:
            while not (self._waiting or self._rows.active or self._closing):
                self._changed.wait()
            gone, self._dropped = self._dropped, set()
            self._rows.drop(gone)
            self._waiting = deque(job for job in self._waiting if job not in gone)
            for job in gone:
                self._listeners.pop(job, None)
            return bool(self._waiting or self._rows.active or not self._closing)

    def _admit(self) -> None:
        """Let waiting requests join, first come, first served."""
        if self._alone is not None and not self._rows.active:
            self._inside.close()
            self._alone = None
        if self._rows.active and self._steps < _PATIENCE:
            return
        busy = {job.adapter for job in self._rows.active if job.adapter}
        new: list[Writing] = []
        held: dict[str, Factors] = {}
        while self._waiting and len(self._rows.active) + len(new) < self._max_rows:
            job = self._waiting[0]
            try:
                if not self._may_join(job, held, busy, idle=not (self._rows.active or new)):
                    break
            except TransferLensError as error:
                self._pop()
                self._end(job, str(error))
                continue
            new.append(job)
            self._pop()
        if new:
            self._rows.join(new, held)
            self._steps = 0

    def _may_join(
        self, job: Writing, held: dict[str, Factors], busy: set[str], *, idle: bool
    ) -> bool:
        name = job.adapter
        if self._alone is not None:
            return name == self._alone
        if name is None:
            return True
        if self._pool.is_alone(name):
            if idle:
                self._inside.enter_context(self._pool.alone(name))
                self._alone = name
            return idle
        factors = self._pool.hold(name, busy=busy)
        if factors is None:
            return False
        held[name] = factors
        busy.add(name)
        return True

    def _pop(self) -> None:
        with self._changed:
            self._waiting.popleft()

    def _tell(self, job: Writing) -> None:
        if job.finish == "nan":
            self._end(job, "the model's answer is not made of numbers (NaN)")
            return
        piece = Piece(job.text, len(job.written), job.finish)
        listener, stream = self._listeners.get(job, (None, False))
        if listener and (stream or job.finish):
            listener(piece)
        if job.finish:
            self._listeners.pop(job, None)

    def _end(self, job: Writing, message: str) -> None:
        listener, _ = self._listeners.pop(job, (None, False))
        if listener:
            listener(Piece("", 0, "", message))

    def _fail(self, error: Exception) -> None:
        """End the requests under way with an error; those that wait are tried."""
        known = isinstance(error, EngineError)
        message = str(error) if known else f"unexpected {type(error).__name__} in the engine"
        jobs = [job for job in self._listeners if job not in self._waiting]
        self._rows.drop(jobs)
        for job in jobs:
            self._end(job, message)
