"""Greedy generation with kept keys and values; finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from transferlens.engine.base import Base
from transferlens.engine.batches import by_length, to_write_together
from transferlens.engine.encode import Codec
from transferlens.engine.forward import logits_at, refuse_nan, right_padded
from transferlens.engine.memory import read_prompts
from transferlens.engine.packed import packs

__all__ = ["Completion", "generate", "generate_plainly"]

_MARGIN = 8
"""Tokens beyond those of a stop string, for tokenizers that treat a text's first token apart."""

_CROWD = 0.85
"""Share of rows that are still writing below which those that have finished leave the batch."""

_BYTES = 4
"""Most tokens that one character can take: its bytes in UTF-8."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prompt."""

    text: str
    """Without the stop string and what follows it, and without end token."""
    n_tokens: int
    """Tokens written, those of a stop string included, an end token not."""
    truncated: bool
    """Whether neither an end token nor a stop string came before the last allowed token."""


@dataclass(slots=True)
class _Row:
    number: int
    prompt: tuple[int, ...]
    budget: int
    written: list[int] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Ending:
    """What ends a completion: some tokens, and some texts in what is written."""

    codec: Codec
    tokens: frozenset[int]
    marks: tuple[str, ...]

    @classmethod
    def at(cls, codec: Codec, stop: Sequence[str]) -> _Ending:
        marks = tuple(mark for mark in stop if mark)
        return cls(codec, codec.stops | codec.special_tokens(marks), marks)

    def is_in(self, written: Sequence[int]) -> bool:
        """Whether one of the texts ends what is written."""
        if not self.marks:
            return False
        tail = _BYTES * max(map(len, self.marks)) + _MARGIN
        text = self.codec.decode(written[-tail:])
        return any(mark in text for mark in self.marks)

    def completion(self, row: _Row) -> Completion:
        text = self.codec.decode(row.written)
        ends = [place for mark in self.marks if (place := text.find(mark)) >= 0]
        return Completion(text[: min(ends)] if ends else text, len(row.written), not row.ended)


@torch.inference_mode()
def generate(
    base: Base,
    prompts: Sequence[tuple[int, ...]],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_tokens: int,
    max_length: int | None = None,
    tick: Callable[[int, int], None] = lambda _items, _tokens: None,
) -> list[Completion]:
    """Return the most likely continuation, token by token, of every prompt.

    The model is used as it stands: with an adapter in it, the adapter writes.

    Parameters
    ----------
    stop
        Texts at which a completion ends, whichever comes first; an empty one
        has no effect. The text of a special token means that token.
    batch_tokens
        Tokens per batch, prompts with their allowed completions, padding included.
    max_length
        Longest prompt with its completion; the model's context unless given.
    tick
        Called after each batch with its prompts and the tokens read and written.

    Raises
    ------
    EngineError
        The model computes NaN.
    """
    limit = max_length or base.context
    ending = _Ending.at(base.codec, stop)
    rows = [
        _Row(number, prompt, max(min(max_new_tokens, limit - len(prompt)), 1))
        for number, prompt in enumerate(prompts)
    ]
    # Packed prompts are read without padding, so unlike ones may share a batch.
    write, together = (
        (_write_batch, to_write_together) if packs(base.model) else (_write_whole, by_length)
    )
    for batch in together([len(r.prompt) + r.budget for r in rows], max_tokens=batch_tokens):
        some = [rows[i] for i in batch]
        write(base, some, ending)
        tick(len(some), sum(len(row.prompt) + len(row.written) for row in some))
    return [ending.completion(row) for row in rows]


@torch.inference_mode()
def generate_plainly(
    base: Base, prompts: Sequence[tuple[int, ...]], *, max_new_tokens: int, stop: Sequence[str]
) -> list[Completion]:
    """Return what `generate` does, one prompt at a time and without keeping anything."""
    ending = _Ending.at(base.codec, stop)
    rows = [_Row(number, prompt, max_new_tokens) for number, prompt in enumerate(prompts)]
    for row in rows:
        _write_whole(base, [row], ending)
    return [ending.completion(row) for row in rows]


def _write_batch(base: Base, rows: Sequence[_Row], ending: _Ending) -> None:
    """Let all rows of a batch write, each step reading only the token before."""
    longest = max(row.budget for row in rows)
    logits, memory = read_prompts(base, [row.prompt for row in rows], room=longest)
    active, alive = list(rows), list(range(len(rows)))
    while True:
        chosen = _most_likely(logits)
        going = _advance([active[i] for i in alive], chosen[alive].tolist(), ending)
        alive = [alive[i] for i in going]
        if not alive:
            return
        # Leaving costs a copy of what the others remember, so rows leave together.
        if len(alive) <= _CROWD * len(active):
            keep = torch.tensor(alive, device=base.device)
            memory.keep(keep)
            chosen, active = chosen[keep], [active[i] for i in alive]
            alive = list(range(len(active)))
        logits = memory.read(base.model, chosen)


def _write_whole(base: Base, rows: Sequence[_Row], ending: _Ending) -> None:
    """Let rows write by reading everything again at each step: right for every causal model."""
    active = list(rows)
    while active:
        texts = [[*row.prompt, *row.written] for row in active]
        tokens = right_padded(texts, pad=base.codec.pad, device=base.device)
        places = torch.arange(len(active), device=base.device)
        last = torch.tensor([len(text) - 1 for text in texts], device=base.device)
        logits, _ = logits_at(base.model, tokens, (places, last), use_cache=False)
        going = _advance(active, _most_likely(logits).tolist(), ending)
        active = [active[i] for i in going]


def _most_likely(logits: torch.Tensor) -> torch.Tensor:
    best, chosen = logits.max(-1)
    refuse_nan(best)
    return chosen


def _advance(rows: Sequence[_Row], chosen: Sequence[int], ending: _Ending) -> list[int]:
    """Append a token to each row; return the places of those that go on."""
    going = []
    for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
        if token in ending.tokens:
            row.ended = True
            continue
        row.written.append(token)
        row.ended = ending.is_in(row.written)
        if not row.ended and len(row.written) < row.budget:
            going.append(place)
    return going
