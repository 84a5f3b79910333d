"""The one metric of a task of lm-evaluation-harness that becomes the score of an example."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transferlens.errors import SpecError, did_you_mean

__all__ = ["HarnessMetric", "choose_metric"]

_SHARES = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
"""Metrics whose best score is known to be 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessMetric:
    """A metric, after one of the task's filters."""

    key: str
    """lm-eval's name, such as ``"acc_norm"``."""
    filter: str
    """Name of the filter that the answers go through first; ``"none"``: no filter."""
    higher_is_better: bool

    @property
    def name(self) -> str:
        """The key, with the filter behind a comma where there is one, as lm-eval writes it."""
        return self.key if self.filter == "none" else f"{self.key},{self.filter}"

    @property
    def unit(self) -> str:
        """``"fraction"`` for shares of right answers, else ``"points"``."""
        return "fraction" if self.key in _SHARES else "points"

    @property
    def ceiling(self) -> float:
        """Best possible score; NaN where there is none."""
        return 1.0 if self.key in _SHARES else math.nan


def choose_metric(task: Any, wanted: str | None) -> HarnessMetric:
    """Return the wanted metric of a task, ``KEY`` or ``KEY,FILTER``; its first one by default.

    Raises
    ------
    SpecError
        The task has no such metric or filter, or the metric is not the mean of
        a number per example, so that two models cannot be compared example by example.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    aggregations = task.aggregation()
    filters = [pipeline.name for pipeline in task._filters]  # noqa: SLF001 - it has no public name
    key, _, chosen = (wanted or next(iter(aggregations), "")).partition(",")
    means = {AGGREGATION_REGISTRY["mean"], AGGREGATION_REGISTRY["nanmean"]}
    usable = [name for name, how in aggregations.items() if how in means]
    if key not in aggregations:
        msg = f"the task has no metric {key!r}.{did_you_mean(key, aggregations)}"
        raise SpecError(msg)
    if key not in usable:
        some = f"; choose in the field metric: {', '.join(usable)}" if usable else ""
        none = "" if usable else ", nor is any other of its metrics, so it cannot be a target"
        msg = f"the metric {key!r} is not a mean of scores of examples{none}{some}"
        raise SpecError(msg)
    if chosen and chosen not in filters:
        msg = f"the task has no filter {chosen!r}.{did_you_mean(chosen, filters)}"
        raise SpecError(msg)
    return HarnessMetric(
        key=key,
        filter=chosen or filters[0],
        higher_is_better=bool(task.higher_is_better()[key]),
    )
