"""How likely the base finds what a source teaches, before it has learnt any of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from transferlens.engine.batches import by_length
from transferlens.engine.encode import TrainingRow
from transferlens.engine.prepare import PreparedSource
from transferlens.engine.train import padded_loss
from transferlens.results import Plan

if TYPE_CHECKING:
    from transferlens.engine.base import Base

__all__ = ["base_nll", "with_base_nll", "with_known_nll"]

_ROWS = 256
_PASS_TOKENS = 2048


def base_nll(base: Base, rows: Sequence[TrainingRow], *, n_rows: int = _ROWS) -> float:
    """Return the base's mean negative log-likelihood of a completion token, in nats.

    Its exponential is the perplexity. At most ``n_rows`` rows are read, at equal distances;
    the end token counts, as in training. NaN where nothing can be learnt from the rows, or
    where the base's likelihoods are no numbers.
    """
    learnable = [row for row in rows if row.n_learnt]
    places = np.linspace(0, len(learnable) - 1, min(n_rows, len(learnable))).round().astype(int)
    chosen = [learnable[place] for place in places]
    parts = by_length([len(row.tokens) for row in chosen], max_tokens=_PASS_TOKENS)
    total = sum(_summed_nll(base, [chosen[i] for i in part]) for part in parts)
    return total / sum(row.n_learnt for row in chosen) if chosen else math.nan


def _summed_nll(base: Base, rows: Sequence[TrainingRow]) -> float:
    with torch.inference_mode(), padded_loss(base, rows) as loss:
        return float(loss)


def with_known_nll(plan: Plan, earlier: Plan) -> Plan:
    """Return the plan with every `SourceInfo.base_nll` that ``earlier`` knows of the same base."""
    if earlier.base.get("fingerprint") != plan.base["fingerprint"]:
        return plan
    known = {info.content_hash: info.base_nll for info in earlier.sources}
    infos = (replace(info, base_nll=known.get(info.content_hash)) for info in plan.sources)
    return replace(plan, sources=tuple(infos))


def with_base_nll(
    plan: Plan, base: Base, sources: Iterable[PreparedSource], *, earlier: Plan
) -> Plan:
    """Return the plan with `SourceInfo.base_nll`, taken over where ``earlier`` knows it."""
    rows = {source.part.name: source.rows for source in sources}
    infos = []
    for info in with_known_nll(plan, earlier).sources:
        value = info.base_nll
        # Nothing was written for a merged adapter.
        if value is None and info.name in rows:
            measured = base_nll(base, rows[info.name])
            value = measured if math.isfinite(measured) else None
        infos.append(replace(info, base_nll=value))
    return replace(plan, sources=tuple(infos))
