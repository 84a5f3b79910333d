"""Log-likelihoods of choices: the prompt goes through the model once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from transferlens.engine.base import Base
from transferlens.engine.batches import by_length
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.forward import logits_at, refuse_nan, right_padded
from transferlens.engine.memory import read_prefix
from transferlens.engine.packed import Pack, Tree, fill_up, packed, packs

__all__ = ["score_choices", "score_choices_plainly"]

_CACHED_TOKENS = 4096
"""Tokens of a pass beyond which a processor's caches no longer hold what it computes."""

Scores = list[list[float]]
Tick = Callable[[int, int], None]
"""Called after each batch with the items and the tokens in it."""


def _silent(_items: int, _tokens: int) -> None:
    pass


@torch.inference_mode()
def score_choices(
    base: Base, items: Sequence[ChoiceItem], *, batch_tokens: int, tick: Tick = _silent
) -> Scores:
    """Return the log-likelihood of every choice of every item, summed over its tokens, in nats.

    The model is used as it stands: with an adapter in it, the adapter is scored.
    Batches follow from the items alone, so the same items give the same bits.

    Parameters
    ----------
    batch_tokens
        Tokens per forward pass, padding included.

    Raises
    ------
    EngineError
        The model computes NaN.
    """
    scores: Scores = [[] for _ in items]
    for batch, found in (_packed if packs(base.model) else _padded)(base, items, batch_tokens):
        for i, values in zip(batch, found, strict=True):
            scores[i] = values
        tick(len(batch), sum(_cost(items[i]) for i in batch))
    return scores


@torch.inference_mode()
def score_choices_plainly(base: Base, items: Sequence[ChoiceItem]) -> Scores:
    """Return what `score_choices` does, by one forward pass per choice: slow, and plain to see."""
    return [
        [_score_whole(base, [ChoiceItem(item.context, (choice,))])[0][0] for choice in item.choices]
        for item in items
    ]


def _cost(item: ChoiceItem) -> int:
    return len(item.context) + sum(len(choice) for choice in item.choices)


def _packed(
    base: Base, items: Sequence[ChoiceItem], batch_tokens: int
) -> Iterator[tuple[list[int], Scores]]:
    """Score each item as a tree, its choices branching off its prompt."""
    prefix = read_prefix(base, [item.context for item in items])
    shared = prefix.length if prefix else 0
    trees = [
        Tree(item.context[shared:], tuple(c[:-1] for c in item.choices if len(c) > 1))
        for item in items
    ]
    # Each tree is given a copy of the prefix's keys and values, which takes memory but little work.
    sizes = [tree.size + shared // 4 for tree in trees]
    if base.device.type == "cpu":
        batch_tokens = min(batch_tokens, _CACHED_TOKENS)
    for batch in fill_up(sizes, max_tokens=batch_tokens):
        pack = Pack([trees[i] for i in batch], base.device, prefix)
        yield batch, _score_pack(base, pack, [items[i].choices for i in batch])


def _score_pack(base: Base, pack: Pack, choices: Sequence[tuple[tuple[int, ...], ...]]) -> Scores:
    """Return the log-likelihoods of the choices of each tree of a pack."""
    columns: dict[int, int] = {}
    asked: list[tuple[int, int]] = []  # number of a column that is looked at, token expected there
    for start, tree, some in zip(pack.starts, pack.trees, choices, strict=True):
        end = start + len(tree.stem) - 1
        branch = end + 1
        for choice in some:
            read = [end, *range(branch, branch + len(choice) - 1)]
            branch += len(choice) - 1
            asked += [
                (columns.setdefault(c, len(columns)), t) for c, t in zip(read, choice, strict=True)
            ]
    index = torch.tensor(asked, device=base.device)
    with packed(base.model, pack, torch.tensor(list(columns), device=base.device)) as logits:
        picked = logits.log_softmax(-1)[index[:, 0], index[:, 1]]
    refuse_nan(picked)
    # Summed one by one, so that a choice's sum does not depend on its neighbours.
    values = iter(picked.tolist())
    return [[sum(next(values) for _ in choice) for choice in some] for some in choices]


def _padded(
    base: Base, items: Sequence[ChoiceItem], batch_tokens: int
) -> Iterator[tuple[list[int], Scores]]:
    """Score each choice with its own copy of the prompt: right for every causal model."""
    for batch in by_length([item.longest for item in items], max_tokens=batch_tokens):
        yield batch, _score_whole(base, [items[i] for i in batch])


def _score_whole(base: Base, items: Sequence[ChoiceItem]) -> Scores:
    rows = [item.context + choice for item in items for choice in item.choices]
    starts = [len(item.context) for item in items for _ in item.choices]
    tokens = right_padded([row[:-1] for row in rows], pad=base.codec.pad, device=base.device)
    where = [(i, j) for i, row in enumerate(rows) for j in range(starts[i], len(row))]
    index = torch.tensor(where, device=base.device)
    gold = torch.tensor([rows[i][j] for i, j in where], device=base.device)
    logits, _ = logits_at(base.model, tokens, (index[:, 0], index[:, 1] - 1), use_cache=False)
    picked = logits.log_softmax(-1).gather(1, gold[:, None])[:, 0]
    refuse_nan(picked)
    values = iter(picked.tolist())
    return [[sum(next(values) for _ in choice) for choice in item.choices] for item in items]
