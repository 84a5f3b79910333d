"""Rows end to end in one long row: no token of padding goes through the model.

A pass reads trees: a stem, such as a prompt, and branches that follow it, such
as its choices; a plain row is a stem alone. Every token has the position it has
in a row of its own and sees the stem before it and its own branch, so the
hidden states are those of separate rows. Attention is the only part of a model
where tokens meet. It is computed tree by tree, those of one length together,
and not under one mask of all against all.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch

from transferlens.engine.attention import attending, dot_product
from transferlens.engine.forward import logits_at, token_wise
from transferlens.engine.scarce import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Pack", "Prefix", "Tree", "fill_up", "packed", "packs", "padded_only"]

_LOG = logging.getLogger(__name__)

_LAYERS = {"full_attention", "sliding_attention"}

_PROBE_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest difference of logits to their spread; other types: 0.1."""


class Tree(NamedTuple):
    """Tokens of a stem, and of the branches that each follow it."""

    stem: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        """Tokens of the stem and of all branches."""
        return len(self.stem) + sum(map(len, self.branches))


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of tokens that stand before every tree of a pass."""

    length: int
    kept: Mapping[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class _Group:
    """Trees of one length that lie side by side."""

    start: int
    count: int
    length: int
    visible: torch.Tensor | None
    """Which token sees which (tree, token, prefix and token); None: those before it, and itself."""
    distance: torch.Tensor | None
    """How far back the seen token is; None without ``visible``."""

    def cut(self, states: torch.Tensor) -> torch.Tensor:
        """Return the group's own part (tree, head, token, unit) of a row's states."""
        end = self.start + self.count * self.length
        own = states[0, :, self.start : end]
        return own.reshape(len(own), self.count, self.length, -1).transpose(0, 1)

    def preceded(self, before: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Put the states of a prefix before those of every tree."""
        return torch.cat([before.expand(self.count, -1, -1, -1), states], dim=2)

    def mask(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Return which token sees which (tree, 1, token, seen token); None where causal."""
        if self.visible is not None and self.distance is not None:
            seen = self.visible if window is None else self.visible & (self.distance < window)
            return seen[:, None]
        if window is None or self.length <= window:
            return None
        square = torch.ones(self.length, self.length, dtype=torch.bool, device=device)
        return (square.tril() & ~square.tril(-window))[None, None]


@dataclass(frozen=True)
class Pack:
    """Trees in one row."""

    trees: Sequence[Tree]
    device: torch.device
    prefix: Prefix | None = None
    record: dict[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]] | None = field(default=None)
    """Filled with the keys and values of a pass where it is given."""

    @cached_property
    def order(self) -> list[int]:
        """Trees as they lie in the row: longest first, so that those of one length touch."""
        return sorted(range(len(self.trees)), key=lambda i: (-self.trees[i].size, i))

    @cached_property
    def starts(self) -> list[int]:
        """Column of the first token of each tree."""
        sizes = [self.trees[i].size for i in self.order]
        starts = [0] * len(sizes)
        for i, start in zip(self.order, itertools.accumulate(sizes, initial=0), strict=False):
            starts[i] = start
        return starts

    @cached_property
    def tokens(self) -> torch.Tensor:
        """All tokens (1, column)."""
        trees = [self.trees[i] for i in self.order]
        flat = [t for tree in trees for part in (tree.stem, *tree.branches) for t in part]
        return torch.tensor([flat], device=self.device)

    @cached_property
    def positions(self) -> torch.Tensor:
        """Position of each token in its own row (1, column)."""
        flat = [p for i in self.order for p in _positions(self.trees[i])]
        return torch.tensor([flat], device=self.device) + self._before

    @property
    def _before(self) -> int:
        return self.prefix.length if self.prefix else 0

    @cached_property
    def groups(self) -> list[_Group]:
        """Trees that go through attention together."""
        groups, start = [], 0
        for length, some in itertools.groupby(self.order, key=lambda i: self.trees[i].size):
            trees = [self.trees[i] for i in some]
            groups.append(self._group(trees, start, length))
            start += length * len(trees)
        return groups

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
        """Attend within each tree; see `transferlens.engine.attention.Attention`."""
        if self.record is not None:
            self.record[module] = (key, value)
        parts = []
        for group in self.groups:
            own, keys, values = (group.cut(states) for states in (query, key, value))
            if self.prefix:
                before, held = self.prefix.kept[module]
                keys, values = group.preceded(before, keys), group.preceded(held, values)
            found = dot_product(
                module, (own, keys, values), group.mask(window, query.device),
                dropout=dropout, scaling=scaling,
            )  # fmt: skip
            parts.append(found.flatten(0, 1))
        return torch.cat(parts)[None]

    def _group(self, trees: Sequence[Tree], start: int, length: int) -> _Group:
        if not self._before and not any(tree.branches for tree in trees):
            return _Group(start, len(trees), length, None, None)
        place = torch.tensor([_positions(tree) for tree in trees], device=self.device)
        branch = torch.tensor([_branches(tree) for tree in trees], device=self.device)
        seen, own = branch[:, None, :], branch[:, :, None]
        order = torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
        visible = order & ((seen == 0) | (seen == own))
        distance = place[:, :, None] - place[:, None, :]
        if self._before:
            shape = (len(trees), length, self._before)
            visible = torch.cat([visible.new_ones(shape), visible], -1)
            ahead = torch.arange(self._before, 0, -1, device=self.device)
            distance = torch.cat([(place[..., None] + ahead).expand(shape), distance], -1)
        return _Group(start, len(trees), length, visible, distance)


def _positions(tree: Tree) -> list[int]:
    stem = len(tree.stem)
    return [*range(stem), *(stem + j for branch in tree.branches for j in range(len(branch)))]


def _branches(tree: Tree) -> list[int]:
    """Return the number of each token's branch, 0 for the stem."""
    numbered = enumerate(tree.branches, start=1)
    return [0] * len(tree.stem) + [i for i, branch in numbered for _ in branch]


def fill_up(sizes: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Return which rows share a pass: longest first, at most ``max_tokens`` tokens or one row."""
    passes: list[list[int]] = []
    left = 0
    for row in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        if not passes or sizes[row] > left:
            passes.append([])
            left = max_tokens
        passes[-1].append(row)
        left -= sizes[row]
    return passes


@contextmanager
def packed(model: PreTrainedModel, pack: Pack, columns: torch.Tensor) -> Iterator[torch.Tensor]:
    """Read a pack; yields the logits at some columns, as float32 or better (column, token).

    A pass back must happen inside the context, where gradient checkpoints can
    read again.

    Parameters
    ----------
    columns
        Columns of ``pack.tokens``, each once. In the last layer nothing but
        keys and values is computed for others.
    """
    rows = torch.zeros_like(columns)
    with attending(model, pack), token_wise(model, columns, pack.tokens.shape[1]):
        logits, _ = logits_at(
            model, pack.tokens, (rows, columns), position_ids=pack.positions, use_cache=False
        )
        yield logits


_fits: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()


def packs(model: PreTrainedModel) -> bool:
    """Whether packed rows give this model what rows of their own give; tried once, on two rows.

    False for models whose attention is their own affair (ALiBi, running
    states): their rows are padded instead.
    """
    if model not in _fits:
        layers = set(getattr(model.config, "layer_types", None) or ())
        _fits[model] = layers <= _LAYERS and _probe(model)
    return _fits[model]


@contextmanager
def padded_only(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that could read packed rows be given padded ones for a while."""
    before = _fits.get(model)
    _fits[model] = False
    try:
        yield
    finally:
        del _fits[model]
        if before is not None:
            _fits[model] = before


@torch.no_grad()
def _probe(model: PreTrainedModel) -> bool:
    """Compare a tree and a row with rows read one by one."""
    training = model.training
    model.train(mode=False)
    trees = [Tree((1, 2, 3, 2), ((1, 0), (3, 1))), Tree((3, 1, 0))]
    whole = [(1, 2, 3, 2, 1, 0), (1, 2, 3, 2, 3, 1), (3, 1, 0)]
    try:
        pack = Pack(trees, model.device)
        columns = torch.tensor([5, 7, 10], device=model.device)
        with packed(model, pack, columns) as logits:
            pass
        plain = [model(torch.tensor([row], device=model.device)).logits[0, -1] for row in whole]
    except Exception as error:
        # Models are other people's code, and what does not fit one fails in an error of its own
        # kind. That memory was short says nothing of the model.
        if is_out_of_memory(error):
            raise
        _LOG.info("%s takes padded rows: packed ones fail (%r)", type(model).__name__, error)
        return False
    finally:
        model.train(mode=training)
    truth = torch.stack(plain).to(logits.dtype)
    allowed = _PROBE_TOLERANCE.get(model.dtype, 0.1) * truth.std()
    return bool((logits - truth).abs().max() <= allowed)
