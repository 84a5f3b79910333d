"""What to train on for each target, what is predicted, and what to measure next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.predict import (
    Additive,
    Bayes,
    Complete,
    Completed,
    Expected,
    Options,
    Recommend,
    TargetMean,
    Zero,
    next_cells,
    options_of,
    problem_of,
)
from transferlens.report.analysis import Analyses
from transferlens.report.claim import Claim, Lacking, counted, listed
from transferlens.report.svg import Table, number

__all__ = ["Advice", "DecideView", "PredictedCell", "decide_view"]

_MOST = 10
# Those that take no time: a page must not wait for the others.
_PREDICTORS = (Zero(), TargetMean(), Additive(), Bayes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The source that serves a target best, its own task aside."""

    target: str
    source: str
    """Empty where no other source is expected to help."""
    gain: float
    low: float
    high: float
    measured: bool
    supported: bool
    """Whether the evidence says that it helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCell:
    """A cell that is not measured."""

    source: str
    target: str
    predicted: float
    low: float
    """Minus infinity where too little is measured for an interval."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideView:
    """Decisions that the study supports, in points where the unit is a fraction."""

    unit: str
    confidence: float
    claims: tuple[Claim, ...]
    advice: tuple[Advice, ...]
    """One per target, in the order of the study."""
    next: tuple[PredictedCell, ...]
    """What to measure next, the most telling cell first; empty where all is measured."""
    n_missing: int
    """Cells that are predicted, not measured."""

    @property
    def advice_table(self) -> Table:
        """What to train on, as a table."""
        return Table(
            head=("target", "train on", "gain", "from", "to", "evidence"),
            rows=tuple(_advice_row(one) for one in self.advice),
        )

    @property
    def next_table(self) -> Table:
        """What to measure next, as a table."""
        return Table(
            head=("trained on", "target", "predicted", "from", "to"),
            rows=tuple(
                (c.source, c.target, number(c.predicted), number(c.low), number(c.high))
                for c in self.next
            ),
        )


def decide_view(found: Analyses) -> DecideView | Lacking:
    """Arrange what the measured and predicted gains say about what to do."""
    if isinstance(found.matrix, Lacking):
        return found.matrix
    try:
        problem = problem_of(found.study)
        rng = np.random.default_rng(found.depth.seed)
        completed = Complete(predictors=_PREDICTORS)(problem, rng=rng)
    except AnalysisError as error:
        return Lacking(why=f"{str(error)[:1].upper()}{str(error)[1:]}.")
    options = options_of(found.study, found.matrix, completed, level=found.depth.level)
    advice = tuple(_advice(options))
    missing = int((~np.isnan(completed.values)).sum())
    cells = tuple(_next(completed)) if missing else ()
    return DecideView(
        unit=problem.unit,
        confidence=completed.confidence,
        claims=tuple(_claims(advice, completed, cells, missing)),
        advice=advice,
        next=cells,
        n_missing=missing,
    )


def _advice(options: Options) -> Iterator[Advice]:
    # With one adapter the greedy choice is the exact one.
    choose = Recommend(k=1, exact_up_to=0)
    for target in options.targets:
        others = options.without([target])
        best = choose(others, [target]).helps if others.sources else ()
        yield _of(best[0]) if best else Advice(
            target=target, source="", gain=math.nan, low=math.nan, high=math.nan,
            measured=False, supported=False,
        )  # fmt: skip


def _advice_row(one: Advice) -> tuple[str, ...]:
    if not one.source:
        return one.target, "nothing", number(one.gain), number(one.low), number(one.high), "–"
    kind = "measured" if one.measured else "predicted"
    how = f"{kind}, {'above 0' if one.supported else 'not enough'}"
    return one.target, one.source, number(one.gain), number(one.low), number(one.high), how


def _of(one: Expected) -> Advice:
    return Advice(
        target=one.target,
        source=one.source,
        gain=one.gain,
        low=one.low,
        high=one.high,
        measured=one.measured,
        supported=one.supported,
    )


def _next(completed: Completed) -> Iterator[PredictedCell]:
    problem = completed.problem
    for source, target in next_cells(problem, _MOST).order.tolist():
        yield PredictedCell(
            source=problem.sources[source],
            target=problem.targets[target],
            predicted=float(completed.values[source, target]),
            low=float(completed.low[source, target]),
            high=float(completed.high[source, target]),
        )


def _claims(
    advice: tuple[Advice, ...],
    completed: Completed,
    cells: tuple[PredictedCell, ...],
    missing: int,
) -> Iterator[Claim]:
    sure = [one for one in advice if one.supported]
    yield Claim(
        text=f"For {len(sure):,} of {counted(len(advice), 'target')} there is evidence that "
        "another source helps."
        if sure
        else "For no target is there evidence that a source other than its own helps.",
        verdict="significant" if sure else "cannot tell",
        section="decide",
    )
    if not missing:
        yield Claim(
            text="Everything is measured. For data or a task that the study does not have: "
            "`transferlens predict DIR --source FILE`, `transferlens recommend DIR --for FILE`.",
            section="decide",
        )
        return
    errors = [choice.rmse for choice in completed.choices if not math.isnan(choice.rmse)]
    error = f", with an error of {max(errors):.1f} on hidden cells" if errors else ""
    yield Claim(
        text=f"{counted(missing, 'cell')} {'is' if missing == 1 else 'are'} predicted, not "
        f"measured{error}; `transferlens predict DIR` lists them. No other number of this page "
        "rests on a prediction.",
        section="decide",
    )
    names = [f"{cell.source} → {cell.target}" for cell in cells[:3]]
    yield Claim(text=f"Measure next: {listed(names)}.", section="decide")
