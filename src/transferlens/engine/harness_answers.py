"""Answers to questions of lm-evaluation-harness: log-likelihoods, and whether they are greedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from transferlens.engine.base import Base
from transferlens.engine.batches import by_length
from transferlens.engine.choices import score_choices
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.forward import logits_at, refuse_nan, right_padded
from transferlens.tasks import HarnessTask

__all__ = ["answer_choices", "are_greedy"]


def answer_choices(
    base: Base,
    harness: HarnessTask,
    items: Sequence[ChoiceItem],
    *,
    batch_tokens: int,
    tick: Callable[[int, int], None],
) -> list[list[tuple[float, bool]]]:
    """Return the log-likelihood of every continuation of every example, and whether it is greedy.

    Where no score depends on the latter, all are said not to be.
    """
    scored = score_choices(base, items, batch_tokens=batch_tokens, tick=tick)
    sums = [value for some in scored for value in some]
    greedy = [False] * len(sums)
    if harness.wants_greedy:
        greedy = are_greedy(base, items, batch_tokens=batch_tokens)
    answers = zip(sums, greedy, strict=True)
    return [[next(answers) for _ in some] for some in harness.requests]


@torch.inference_mode()
def are_greedy(base: Base, items: Sequence[ChoiceItem], *, batch_tokens: int) -> list[bool]:
    """Return of every choice of every item whether each of its tokens is the most likely one."""
    rows = [(item.context, choice) for item in items for choice in item.choices]
    found = [False] * len(rows)
    lengths = [len(context) + len(choice) for context, choice in rows]
    for batch in by_length(lengths, max_tokens=batch_tokens):
        some = [rows[i] for i in batch]
        tokens = right_padded(
            [(c + a)[:-1] for c, a in some], pad=base.codec.pad, device=base.device
        )
        where = [(i, len(c) - 1 + j) for i, (c, a) in enumerate(some) for j in range(len(a))]
        index = torch.tensor(where, device=base.device)
        logits, _ = logits_at(base.model, tokens, (index[:, 0], index[:, 1]), use_cache=False)
        best, chosen = logits.max(-1)
        refuse_nan(best)
        written = iter(chosen.tolist())
        for i, (_, answer) in zip(batch, some, strict=True):
            found[i] = [next(written) for _ in answer] == list(answer)
    return found
