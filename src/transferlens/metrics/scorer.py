"""The scorer of a task: its extractor, then its metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferlens.errors import SpecError
from transferlens.metrics.base import Metric, get_metric
from transferlens.metrics.extract import Extractor, get_extractor

if TYPE_CHECKING:  # tasks can read datasets, which analysis must not reach
    from transferlens.tasks import Task

__all__ = ["Scorer", "scorer_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """What reads and scores the answers of one task."""

    metric: Metric
    extract: Extractor
    """Completion -> answer; not used for choices."""

    def score(self, prediction: str | None, gold: str) -> float:
        """Return the score of an answer; NaN: not scored."""
        return self.metric.score(prediction, gold)


def scorer_for(task: Task) -> Scorer:
    """Return the scorer of a task.

    Raises
    ------
    SpecError
        Metric or extractor do not exist or do not suit the task; the message
        begins with the line of the study that says so.
    """
    field = "metric"
    try:
        metric = get_metric(task.metric, unsafe_code=task.spec.unsafe_code)
        _check_kind(metric, task.kind)
        field = "extractor"
        extract = get_extractor(task.spec.extractor)
    except SpecError as error:
        msg = f"{task.place(field)}: task {task.name!r}: {error}"
        raise SpecError(msg) from None
    return Scorer(metric=metric, extract=extract)


def _check_kind(metric: Metric, kind: str) -> None:
    if metric.needs not in {"any", kind}:
        wanted = "has choices" if metric.needs == "choice" else "generates its answers"
        msg = f"the metric {metric.name!r} is for a task that {wanted}"
        raise SpecError(msg)
