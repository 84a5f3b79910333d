"""Greedy generation with kept keys and values; finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from transferlens.engine.base import Base
from transferlens.engine.batches import by_length
from transferlens.engine.encode import Codec
from transferlens.engine.forward import left_padded, logits_at, right_padded, shares_prefixes

__all__ = ["Completion", "generate", "generate_plainly"]

_MARGIN = 8
"""Tokens beyond those of a stop string, for tokenizers that treat a text's first token apart."""

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
        Texts at which a completion ends, whichever comes first.
    batch_tokens
        Tokens per batch, prompts with their allowed completions, padding included.
    max_length
        Longest prompt with its completion; the model's context unless given.
    tick
        Called after each batch with its prompts and the tokens read and written.
    """
    limit = max_length or base.context
    rows = [
        _Row(number, prompt, max(min(max_new_tokens, limit - len(prompt)), 1))
        for number, prompt in enumerate(prompts)
    ]
    write = _write_batch if shares_prefixes(base.model) else _write_whole
    for batch in by_length([len(r.prompt) + r.budget for r in rows], max_tokens=batch_tokens):
        some = [rows[i] for i in batch]
        write(base, some, stop)
        tick(len(some), sum(len(row.prompt) + len(row.written) for row in some))
    return [_completion(base.codec, row, stop) for row in rows]


@torch.inference_mode()
def generate_plainly(
    base: Base, prompts: Sequence[tuple[int, ...]], *, max_new_tokens: int, stop: Sequence[str]
) -> list[Completion]:
    """Return what `generate` does, one prompt at a time and without keeping anything."""
    rows = [_Row(number, prompt, max_new_tokens) for number, prompt in enumerate(prompts)]
    for row in rows:
        _write_whole(base, [row], stop)
    return [_completion(base.codec, row, stop) for row in rows]


def _write_batch(base: Base, rows: Sequence[_Row], stop: Sequence[str]) -> None:
    """Let all rows of a batch write, each step reading only the token before."""
    active = list(rows)
    tokens, real = left_padded([r.prompt for r in rows], pad=base.codec.pad, device=base.device)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    cache = None
    while active:
        places = torch.arange(len(active), device=base.device)
        last = torch.full_like(places, tokens.shape[1] - 1)
        logits, output = logits_at(
            base.model, tokens, (places, last), attention_mask=real,
            position_ids=positions, past_key_values=cache, use_cache=True,
        )  # fmt: skip
        cache = output.past_key_values
        chosen = logits.argmax(-1)
        going = _advance(base.codec, active, chosen.tolist(), stop)
        if len(going) < len(active):
            keep = torch.tensor(going, device=base.device, dtype=torch.long)
            active = [active[i] for i in going]
            if active:
                cache.batch_select_indices(keep)
            chosen, real, positions = chosen[keep], real[keep], positions[keep]
        tokens, positions = chosen[:, None], positions[:, -1:] + 1
        real = torch.cat([real, torch.ones_like(tokens)], dim=1)


def _write_whole(base: Base, rows: Sequence[_Row], stop: Sequence[str]) -> None:
    """Let rows write by reading everything again at each step: right for every causal model."""
    active = list(rows)
    while active:
        texts = [[*row.prompt, *row.written] for row in active]
        tokens = right_padded(texts, pad=base.codec.pad, device=base.device)
        places = torch.arange(len(active), device=base.device)
        last = torch.tensor([len(text) - 1 for text in texts], device=base.device)
        logits, _ = logits_at(base.model, tokens, (places, last), use_cache=False)
        going = _advance(base.codec, active, logits.argmax(-1).tolist(), stop)
        active = [active[i] for i in going]


def _advance(
    codec: Codec, rows: Sequence[_Row], chosen: Sequence[int], stop: Sequence[str]
) -> list[int]:
    """Append a token to each row; return the places of those that go on."""
    going = []
    for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
        if token in codec.stops:
            row.ended = True
            continue
        row.written.append(token)
        row.ended = _has_stop(codec, row.written, stop)
        if not row.ended and len(row.written) < row.budget:
            going.append(place)
    return going


def _has_stop(codec: Codec, written: Sequence[int], stop: Sequence[str]) -> bool:
    if not stop:
        return False
    tail = _BYTES * max(len(text) for text in stop) + _MARGIN
    text = codec.decode(written[-tail:])
    return any(mark in text for mark in stop)


def _completion(codec: Codec, row: _Row, stop: Sequence[str]) -> Completion:
    text = codec.decode(row.written)
    ends = [place for mark in stop if (place := text.find(mark)) >= 0]
    return Completion(text[: min(ends)] if ends else text, len(row.written), not row.ended)
