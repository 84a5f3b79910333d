"""What a metric is, and the table of all metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transferlens.errors import SpecError
from transferlens.registry import Registry

__all__ = ["METRICS", "Metric", "get_metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A scorer of one answer, and how its scores are to be read."""

    name: str
    score: Callable[[str | None, str], float]
    """Answer (None where none could be read) and gold -> score; NaN: not scored."""
    unit: str = "fraction"
    higher_is_better: bool = True
    ceiling: float = 1.0
    """Best possible score; NaN where there is none."""
    needs: Literal["choice", "generate", "any"] = "any"
    """Kind of task that it can score."""
    runs_code: bool = False
    """Whether it runs what a model wrote, which a task must allow."""


METRICS: Registry[Metric] = Registry("metric", "transferlens.metrics")


def get_metric(name: str, *, unsafe_code: bool = False) -> Metric:
    """Return the metric called ``name``.

    Parameters
    ----------
    name
        One of ``METRICS.names()``.
    unsafe_code
        Whether the task allows to run generated code (`TaskSpec.unsafe_code`).

    Raises
    ------
    SpecError
        There is no such metric, or it runs code and the task does not allow it.
    """
    metric = METRICS.get(name)
    if metric.runs_code and not unsafe_code:
        msg = (
            f"the metric {name!r} runs code that a model wrote; allow it with "
            "`unsafe_code: true` in the task, or use code_similarity, which runs nothing"
        )
        raise SpecError(msg)
    return metric
