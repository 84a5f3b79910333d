"""Log-likelihoods of choices: the prompt goes through the model once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from transferlens.engine.base import Base
from transferlens.engine.batches import by_length
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.forward import (
    left_padded,
    logits_at,
    refuse_nan,
    right_padded,
    shares_prefixes,
)

__all__ = ["score_choices", "score_choices_plainly"]

_FAN_OUT = 4
"""Cached tokens of all choices that may stand beside one token of the prompts."""


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
    short = [i for i, item in enumerate(items) if item.is_short]
    long = [i for i, item in enumerate(items) if not item.is_short]
    shared = shares_prefixes(base.model)
    for places, score in ((short, _score_short), (long, _score_long if shared else _score_whole)):
        some = [items[i] for i in places]
        for batch in _batches(some, batch_tokens):
            found = score(base, [some[i] for i in batch])
            for i, values in zip(batch, found, strict=True):
                scores[places[i]] = values
            tick(len(batch), sum(_cost(some[i]) for i in batch))
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


def _batches(items: Sequence[ChoiceItem], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of similar prompt length; many choices make a batch smaller."""
    for batch in by_length([len(item.context) for item in items], max_tokens=batch_tokens):
        part: list[int] = []
        cached = 0
        for i in batch:
            rows = len(items[i].choices) if not items[i].is_short else 1
            size = rows * items[i].longest
            if part and cached + size > _FAN_OUT * batch_tokens:
                yield part
                part, cached = [], 0
            part.append(i)
            cached += size
        yield part


def _score_short(base: Base, items: Sequence[ChoiceItem]) -> Scores:
    """Score choices of one token: what the model expects after the prompt says it all."""
    contexts = [item.context for item in items]
    tokens = right_padded(contexts, pad=base.codec.pad, device=base.device)
    last = torch.tensor([len(context) - 1 for context in contexts], device=base.device)
    rows = torch.arange(len(items), device=base.device)
    logits, _ = logits_at(base.model, tokens, (rows, last), use_cache=False)
    return _pick_first(logits.log_softmax(-1), items)


def _pick_first(expected: torch.Tensor, items: Sequence[ChoiceItem]) -> Scores:
    """Return the log-probability of the first token of each choice; ``expected`` (item, token)."""
    refuse_nan(expected)
    where = [(i, choice[0]) for i, item in enumerate(items) for choice in item.choices]
    index = torch.tensor(where, device=expected.device)
    return _per_item(expected[index[:, 0], index[:, 1]].tolist(), items)


def _per_item(values: Sequence[float], items: Sequence[ChoiceItem]) -> Scores:
    rest = iter(values)
    return [[next(rest) for _ in item.choices] for item in items]


def _score_long(base: Base, items: Sequence[ChoiceItem]) -> Scores:
    """Score longer choices: keys and values of the prompt are computed once, then continued."""
    tokens, real = left_padded([i.context for i in items], pad=base.codec.pad, device=base.device)
    rows = torch.arange(len(items), device=base.device)
    last = torch.full_like(rows, tokens.shape[1] - 1)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    mask = None if real.all() else real
    logits, output = logits_at(
        base.model, tokens, (rows, last),
        attention_mask=mask, position_ids=positions, use_cache=True,
    )  # fmt: skip
    scores = _pick_first(logits.log_softmax(-1), items)
    longer = [
        (i, j) for i, item in enumerate(items) for j, c in enumerate(item.choices) if len(c) > 1
    ]
    rests = [items[i].choices[j] for i, j in longer]
    owner = torch.tensor([i for i, _ in longer], device=base.device)
    cache = output.past_key_values
    cache.batch_select_indices(owner)
    tails = right_padded([c[:-1] for c in rests], pad=base.codec.pad, device=base.device)
    steps = torch.arange(tails.shape[1], device=base.device)
    added = _gold_logprobs(
        base, tails, rests, skip=1,
        attention_mask=torch.cat([real[owner], torch.ones_like(tails)], dim=1),
        position_ids=real.sum(-1)[owner, None] + steps,
        past_key_values=cache, use_cache=True,
    )  # fmt: skip
    for (i, j), value in zip(longer, added, strict=True):
        scores[i][j] += value
    return scores


def _score_whole(base: Base, items: Sequence[ChoiceItem]) -> Scores:
    """Score choices each with its own copy of the prompt: right for every causal model."""
    whole = [item.context + choice for item in items for choice in item.choices]
    skips = [len(item.context) for item in items for _ in item.choices]
    tokens = right_padded([row[:-1] for row in whole], pad=base.codec.pad, device=base.device)
    return _per_item(_gold_logprobs(base, tokens, whole, skip=skips, use_cache=False), items)


def _gold_logprobs(
    base: Base,
    tokens: torch.Tensor,
    rows: Sequence[tuple[int, ...]],
    *,
    skip: int | Sequence[int],
    **more: object,
) -> list[float]:
    """Return the summed log-probability of each row's tokens from number ``skip`` on.

    Token ``j`` of a row is predicted at column ``j - 1`` of ``tokens``.
    """
    skips = [skip] * len(rows) if isinstance(skip, int) else skip
    where = [(i, j) for i, row in enumerate(rows) for j in range(skips[i], len(row))]
    index = torch.tensor(where, device=base.device)
    gold = torch.tensor([rows[i][j] for i, j in where], device=base.device)
    logits, _ = logits_at(base.model, tokens, (index[:, 0], index[:, 1] - 1), **more)
    picked = logits.log_softmax(-1).gather(1, gold[:, None])[:, 0]
    refuse_nan(picked)
    # Summed one by one, so that a row's sum does not depend on its neighbours.
    sums = [0.0] * len(rows)
    for (i, _), value in zip(where, picked.tolist(), strict=True):
        sums[i] += value
    return sums
