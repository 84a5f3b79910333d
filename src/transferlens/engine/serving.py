"""Requests that write at the same time: rows come and go while the others go on.

A row is one request. Rows are read packed, keep their keys and values, and write one token per
step; new rows join between two steps. Where a model cannot be packed, every step reads the rows
again. Each row's answer is that of the row alone, whoever its neighbours are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from transferlens.engine.adapters import with_merged_adapter
from transferlens.engine.base import Base
from transferlens.engine.encode import Codec
from transferlens.engine.forward import logits_at, right_padded
from transferlens.engine.memory import Memory, read_pack
from transferlens.engine.mixing import Factors, Mixture, read_factors
from transferlens.engine.packed import Pack, Tree, packs

__all__ = ["AdapterPool", "Rows", "Writing"]


@dataclass(eq=False, slots=True, kw_only=True)
class Writing:
    """One request: what it reads, how it writes, and what it has written."""

    prompt: tuple[int, ...]
    adapter: str | None
    """Name of its adapter; None for the base."""
    budget: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    """0 takes the most likely token."""
    top_p: float = 1.0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    written: list[int] = field(default_factory=list)
    finish: Literal["", "stop", "length", "nan"] = ""
    """How it ended; ``nan``: the model did not compute numbers for it."""
    text: str = ""
    """What it has written, without the stop text and what follows it."""

    def take(self, token: int, codec: Codec) -> bool:
        """Write a token; returns whether the row goes on."""
        marks = tuple(mark for mark in self.stop if mark)
        if token in codec.stops or token in codec.special_tokens(marks):
            self.finish = "stop"
            return False
        self.written.append(token)
        whole = codec.decode(self.written)
        ends = [place for mark in marks if (place := whole.find(mark)) >= 0]
        self.text = whole[: min(ends)] if ends else whole
        if ends:
            self.finish = "stop"
        elif len(self.written) >= self.budget:
            self.finish = "length"
        return not self.finish


class Rows:
    """Requests under way on one base model."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._mixture = Mixture(base.model)
        self.active: list[Writing] = []
        self._factors: list[Factors | None] = []
        self._logits: torch.Tensor | None = None
        self._memory: Memory | None = None

    @torch.inference_mode()
    def join(self, jobs: Sequence[Writing], adapters: Mapping[str, Factors]) -> None:
        """Read the prompts of new requests; they write from the next step on.

        Parameters
        ----------
        adapters
            Factors of the adapters that they name; one that is missing is in the model itself.
        """
        new = sorted(jobs, key=lambda job: (job.adapter or "", -len(job.prompt)))
        factors = [adapters.get(job.adapter or "") for job in new]
        if not packs(self._base.model):
            self._set([*self.active, *new], [*self._factors, *factors])
            self._logits = self._read_whole()
            return
        room = max(job.budget - len(job.written) for job in (*self.active, *new))
        logits, memory = self._read_new(new, factors, room)
        if self._memory is not None and self._logits is not None and self.active:
            memory = self._memory.join(memory, room=room)
            logits = torch.cat([self._logits, logits])
        order = self._set([*self.active, *new], [*self._factors, *factors])
        places = torch.tensor(order, device=self._base.device)
        memory.keep(places)
        self._memory, self._logits = memory, logits[places]

    @torch.inference_mode()
    def step(self) -> list[Writing]:
        """Let every row write a token; returns those that are done, which leave."""
        if self._logits is None:
            return []
        tokens = _chosen(self._logits, self.active)
        going = [
            at
            for at, (job, token) in enumerate(zip(self.active, tokens, strict=True))
            if not job.finish and job.take(token, self._base.codec)
        ]
        done = [job for job in self.active if job.finish]
        self._leave(going)
        self._logits = self._read_next([tokens[at] for at in going]) if going else None
        return done

    def drop(self, jobs: Collection[Writing]) -> None:
        """Let requests leave that nobody waits for any more."""
        going = [at for at, job in enumerate(self.active) if job not in jobs]
        if len(going) < len(self.active):
            if self._logits is not None:
                self._logits = self._logits[going] if going else None
            self._leave(going)

    def _set(self, jobs: list[Writing], factors: list[Factors | None]) -> list[int]:
        """Take rows in the order of their adapters, and return that order."""
        order = sorted(range(len(jobs)), key=lambda at: jobs[at].adapter or "")
        self.active = [jobs[at] for at in order]
        self._factors = [factors[at] for at in order]
        return order

    def _leave(self, going: Sequence[int]) -> None:
        if len(going) == len(self.active):
            return
        if self._memory is not None and going:
            self._memory.keep(torch.tensor(list(going), device=self._base.device))
        self.active = [self.active[at] for at in going]
        self._factors = [self._factors[at] for at in going]
        if not going:
            self._memory = None

    def _read_new(
        self, new: Sequence[Writing], factors: Sequence[Factors | None], room: int
    ) -> tuple[torch.Tensor, Memory]:
        trees = [Tree(job.prompt) for job in new]
        pack = _InOrder(trees, self._base.device, None, {})
        sizes = [[tree.size for tree in trees], [1] * len(trees)]
        with self._mixture.applied(factors, sizes):
            return read_pack(self._base, pack, room=room)

    def _read_next(self, tokens: Sequence[int]) -> torch.Tensor:
        if self._memory is None:
            return self._read_whole()
        read = torch.tensor(list(tokens), device=self._base.device)
        with self._mixture.applied(self._factors, [[1] * len(tokens)]):
            return self._memory.read(self._base.model, read)

    def _read_whole(self) -> torch.Tensor:
        texts = [[*job.prompt, *job.written] for job in self.active]
        device = self._base.device
        tokens = right_padded(texts, pad=self._base.codec.pad, device=device)
        last = torch.tensor([len(text) - 1 for text in texts], device=device)
        places = (torch.arange(len(texts), device=device), last)
        sizes = [[tokens.shape[1]] * len(texts), [1] * len(texts)]
        with self._mixture.applied(self._factors, sizes):
            return logits_at(self._base.model, tokens, places, use_cache=False)[0]


@dataclass(frozen=True)
class _InOrder(Pack):
    """Rows end to end as they come: those of one adapter side by side."""

    @cached_property
    def order(self) -> list[int]:
        return list(range(len(self.trees)))


def _chosen(logits: torch.Tensor, jobs: Sequence[Writing]) -> list[int]:
    best, chosen = logits.max(-1)
    tokens: list[int] = chosen.tolist()
    for at, (job, broken) in enumerate(zip(jobs, best.isnan().tolist(), strict=True)):
        if broken:
            # Another request's adapter must not end this one.
            job.finish = "nan"
        elif job.temperature > 0:
            tokens[at] = _drawn(logits[at].double().cpu().numpy(), job)
    return tokens


def _drawn(logits: np.ndarray[tuple[int, ...], np.dtype[np.float64]], job: Writing) -> int:
    """Draw a token: tempered, from the fewest tokens that have a probability of ``top_p``."""
    scaled = (logits - logits.max()) / job.temperature
    order = np.argsort(-scaled, kind="stable")
    shares = np.exp(scaled[order])
    sums = np.cumsum(shares / shares.sum())
    kept = int(np.searchsorted(sums, job.top_p)) + 1
    place = np.searchsorted(sums, job.rng.random() * sums[min(kept, len(sums)) - 1], side="right")
    return int(order[min(int(place), len(order) - 1)])


class AdapterPool:
    """Adapters in memory, loaded when asked for; the least recently used one goes first."""

    def __init__(
        self,
        base: Base,
        folders: Mapping[str, Path],
        *,
        max_adapters: int | None = None,
        max_bytes: float | None = None,
    ) -> None:
        """Know where adapters lie; none is loaded yet.

        Parameters
        ----------
        max_adapters, max_bytes
            Adapters, and bytes of them, in memory at most; None: no limit. One always has room.
        """
        self.base = base
        self._folders = dict(folders)
        self._max_adapters, self._max_bytes = max_adapters, max_bytes
        self._held: OrderedDict[str, Factors] = OrderedDict()
        self._alone: set[str] = set()

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the adapters in memory, the least recently used first."""
        return tuple(self._held)

    def is_alone(self, name: str) -> bool:
        """Whether an adapter must be put into the model itself, so that it serves alone.

        Raises
        ------
        EngineError
            It cannot be loaded.
        """
        if name not in self._held and name not in self._alone:
            factors = read_factors(self.base.model, self._folders[name])
            if factors is None:
                self._alone.add(name)
            else:
                self._held[name] = factors
                # Who asks does not hold it yet, so nobody makes room for it.
                if not self._fits():
                    del self._held[name]
        return name in self._alone

    def hold(self, name: str, *, busy: Collection[str]) -> Factors | None:
        """Return an adapter, loaded where need be; None if those in use leave it no room.

        Raises
        ------
        EngineError
            It cannot be loaded.
        """
        if name not in self._held:
            factors = read_factors(self.base.model, self._folders[name])
            if factors is None:
                msg = f"{self._folders[name].name} is no low-rank adapter"
                raise ValueError(msg)
            self._held[name] = factors
        self._held.move_to_end(name)
        for other in [held for held in self._held if held not in {*busy, name}]:
            if self._fits():
                break
            del self._held[other]
        if self._fits() or not busy:
            return self._held[name]
        if name not in busy:
            del self._held[name]
            return None
        return self._held[name]

    def _fits(self) -> bool:
        count = self._max_adapters is None or len(self._held) <= self._max_adapters
        size = sum(factors.n_bytes for factors in self._held.values())
        return count and (self._max_bytes is None or size <= self._max_bytes)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Put an adapter into the model, and take it out again."""
        with with_merged_adapter(self.base.model, self._folders[name]):
            yield
