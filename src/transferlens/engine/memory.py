"""Keys and values that are kept: of what all prompts begin with, and of rows that go on writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from transferlens.engine.attention import attending, dot_product
from transferlens.engine.base import Base
from transferlens.engine.forward import logits_at
from transferlens.engine.packed import Pack, Prefix, Tree, packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Memory", "read_pack", "read_prefix", "read_prompts"]

_WORTHWHILE = 32
"""Tokens that all prompts must have in common before it pays to read them once and for all."""

_States = tuple[torch.Tensor, torch.Tensor]


def read_prefix(base: Base, prompts: Sequence[tuple[int, ...]]) -> Prefix | None:
    """Read the tokens with which all prompts begin, if those are worth it.

    Every prompt keeps at least one token of its own.
    """
    if len(prompts) < 2:
        return None
    # What the first and the last in order have in common, all have.
    first, last = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - 1
    length = next((i for i in range(limit) if first[i] != last[i]), limit)
    if length < _WORTHWHILE:
        return None
    kept: dict[torch.nn.Module, _States] = {}
    pack = Pack([Tree(first[:length])], base.device, record=kept)
    with packed(base.model, pack, torch.tensor([length - 1], device=base.device)):
        return Prefix(length, kept)


class Memory:
    """Keys and values of rows that end in the same column, with room for what they will write."""

    def __init__(self, states: Mapping[torch.nn.Module, _States], lengths: torch.Tensor) -> None:
        """Keep states (row, head, column, unit) whose first ``lengths.max()`` columns are filled.

        Parameters
        ----------
        lengths
            Tokens of each row; its first one stands ``lengths.max()`` minus that further right.
        """
        self._states = dict(states)
        self._lengths = lengths
        self._end = int(lengths.max())
        self._first = self._end - lengths
        self._masks: dict[tuple[int, int], torch.Tensor] = {}

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but some."""
        self._first, self._lengths = self._first[rows], self._lengths[rows]
        self._states = {m: (k[rows], v[rows]) for m, (k, v) in self._states.items()}

    def join(self, other: Memory, *, room: int) -> Memory:
        """Return a memory of both: first these rows, then the other's, with room for so many."""
        lengths = torch.cat([self._lengths, other._lengths])
        both = Memory({}, lengths)
        for module, own in self._states.items():
            pair = zip(own, other._states[module], strict=True)
            ends = (self._end, other._end, both._end)
            keys, values = (_stacked(a, b, ends, room) for a, b in pair)
            both._states[module] = keys, values
        return both

    def read(self, model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
        """Let each row read one more token; returns the logits after it (row, token)."""
        rows = torch.arange(len(tokens), device=tokens.device)
        self._masks.clear()
        with attending(model, self):
            logits, _ = logits_at(
                model, tokens[:, None], (rows, torch.zeros_like(rows)),
                position_ids=self._lengths[:, None], use_cache=False,
            )  # fmt: skip
        self._end += 1
        self._lengths = self._lengths + 1
        return logits

    def attend(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        dropout: float,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attend to all that a row has read; see `transferlens.engine.attention.Attention`."""
        keys, values = self._states[module]
        end = self._end + 1
        keys[:, :, self._end : end], values[:, :, self._end : end] = key, value
        begin = 0 if window is None else max(end - window, 0)
        states = (query, keys[:, :, begin:end], values[:, :, begin:end])
        seen = self._seen(begin, end)
        return dot_product(module, states, seen, dropout=dropout, scaling=scaling)

    def _seen(self, begin: int, end: int) -> torch.Tensor:
        """Return which columns each row sees (row, 1, 1, column); made once for all layers."""
        if (begin, end) not in self._masks:
            columns = torch.arange(begin, end, device=self._first.device)
            self._masks[begin, end] = (columns >= self._first[:, None])[:, None, None]
        return self._masks[begin, end]


def read_prompts(
    base: Base, prompts: Sequence[tuple[int, ...]], *, room: int
) -> tuple[torch.Tensor, Memory]:
    """Read prompts; returns the logits after each (prompt, token), and what is kept of them.

    Parameters
    ----------
    room
        Tokens that the memory can take on.
    """
    prefix = read_prefix(base, prompts)
    before = prefix.length if prefix else 0
    trees = [Tree(prompt[before:]) for prompt in prompts]
    return read_pack(base, Pack(trees, base.device, prefix, {}), room=room)


def read_pack(base: Base, pack: Pack, *, room: int) -> tuple[torch.Tensor, Memory]:
    """Read the stems of a pack that records; as `read_prompts`."""
    kept = pack.record if pack.record is not None else {}
    ends = zip(pack.starts, pack.trees, strict=True)
    last = [start + tree.size - 1 for start, tree in ends]
    with packed(base.model, pack, torch.tensor(last, device=base.device)) as logits:
        pass
    spread = {}
    for module, states in kept.items():
        start = pack.prefix.kept[module] if pack.prefix else (None, None)
        keys, values = (
            _spread(own, pack, shared, room) for own, shared in zip(states, start, strict=True)
        )
        spread[module] = keys, values
    before = pack.prefix.length if pack.prefix else 0
    lengths = torch.tensor([before + tree.size for tree in pack.trees], device=base.device)
    return logits, Memory(spread, lengths)


def _stacked(
    first: torch.Tensor, second: torch.Tensor, ends: tuple[int, int, int], room: int
) -> torch.Tensor:
    """Return states that end in the first and second column of ``ends`` as ending in the third."""
    last = ends[2]
    n, heads, _, units = first.shape
    rows = first.new_zeros(n + len(second), heads, last + room, units)
    # Columns before the longest row that is left are nobody's any more.
    for part, states, stop in ((rows[:n], first, ends[0]), (rows[n:], second, ends[1])):
        width = min(stop, last)
        part[:, :, last - width : last] = states[:, :, stop - width : stop]
    return rows


def _spread(
    states: torch.Tensor, pack: Pack, before: torch.Tensor | None, room: int
) -> torch.Tensor:
    """Return the states of a pack (1, head, column, unit) row by row, ending in one column."""
    n_before = 0 if before is None else before.shape[2]
    width = n_before + max(tree.size for tree in pack.trees)
    _, heads, _, units = states.shape
    # Zeros and not whatever is there: what nobody sees must still be a number.
    rows = states.new_zeros(len(pack.trees), heads, width + room, units)
    for i, (start, tree) in enumerate(zip(pack.starts, pack.trees, strict=True)):
        own = width - tree.size
        rows[i, :, own:width] = states[0, :, start : start + tree.size]
        if before is not None:
            rows[i, :, own - n_before : own] = before[0]
    return rows
