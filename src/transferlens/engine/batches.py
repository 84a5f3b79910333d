"""Which rows go through the model together. Plain lists of row numbers, no tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["by_length", "optimizer_steps", "to_write_together"]

_SLACK = 0.15
"""Share of padding above which a batch is closed."""

_FREE = 256
"""Padding tokens that cost less than another forward pass."""

_STEP = 2048
"""Kept tokens, padding included, that cost a step of writing as much as the weights do. Fewer than
for most models, so that little padding is read."""


def optimizer_steps(
    lengths: Sequence[int],
    *,
    batch_tokens: int,
    epochs: float,
    steps: int | None,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Return the rows of every optimizer step.

    The rows run through in a new random order in each epoch; a step takes
    rows until the next one would exceed ``batch_tokens``, at least one.

    Parameters
    ----------
    lengths
        Tokens of each row.
    epochs
        Passes over the rows; a fraction takes that share of the last order.
    steps
        Number of steps, in place of ``epochs``.
    rng
        Source of the orders.
    """
    done: list[list[int]] = []
    batch: list[int] = []
    size, left = 0, round(epochs * len(lengths)) or 1
    while len(done) < steps if steps is not None else left > 0:
        for row in rng.permutation(len(lengths))[: None if steps is not None else left].tolist():
            if batch and size + lengths[row] > batch_tokens:
                done.append(batch)
                batch, size = [], 0
            batch.append(row)
            size += lengths[row]
        left -= len(lengths)
    if batch and steps is None:
        done.append(batch)
    return done[:steps]


def by_length(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Return batches of rows of similar length, longest first.

    The batches depend on nothing but the lengths. A batch holds at most
    ``max_tokens`` tokens with its padding, or one row.
    """
    batches: list[list[int]] = []
    padding = 0
    for row in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches:
            width, count = lengths[batches[-1][0]], len(batches[-1])
            padding += width - lengths[row]
            allowed = max(_SLACK * width * (count + 1), _FREE)
            if (count + 1) * width <= max_tokens and padding <= allowed:
                batches[-1].append(row)
                continue
        batches.append([row])
        padding = 0
    return batches


def to_write_together(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Return batches of rows that write together, longest first, at the least cost of a step each.

    A step reads the weights once for all rows of a batch, and what was kept of
    each row with its padding: few large batches where rows are alike, more
    where they are not. Depends on nothing but the lengths. A batch holds at
    most ``max_tokens`` tokens with its padding, or one row.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    # Cost of the first rows, and where their last batch begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        found = (best[end - 1][0] + _STEP + lengths[order[end - 1]], end - 1)
        for begin in range(end - 2, -1, -1):
            size = (end - begin) * lengths[order[begin]]
            if size > max_tokens:
                break
            found = min(found, (best[begin][0] + _STEP + size, begin))
        best.append(found)
    batches: list[list[int]] = []
    end = len(order)
    while end:
        begin = best[end][1]
        batches.append(order[begin:end])
        end = begin
    return batches[::-1]
