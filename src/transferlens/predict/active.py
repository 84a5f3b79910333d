"""Measure a matrix in rounds: plan, measure what is planned, predict the rest, plan again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from transferlens.errors import AnalysisError, ResultsError
from transferlens.predict.complete import Complete, Completed
from transferlens.predict.plan import next_cells
from transferlens.predict.problem import Predictor, Problem, own_tasks, problem_of
from transferlens.results import SourceInfo, StudyStore, TransferStudy
from transferlens.results.files import write_atomically
from transferlens.stats.arrays import BoolArray

__all__ = ["ACTIVE_FILE", "Active", "ActiveState", "Measured", "Pair", "Round", "read_rounds"]

ACTIVE_FILE = "active.json"
"""File of a study's folder with the rounds that were planned."""

Pair = tuple[str, str]
"""Source and target; all seeds of a cell are measured together."""


Stopped = Literal["budget", "precision", "everything", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Cells that were planned together."""

    planned: tuple[Pair, ...]
    drawn: tuple[Pair, ...]
    """At random from what the plan left."""

    @property
    def cells(self) -> tuple[Pair, ...]:
        """All of them."""
        return (*self.planned, *self.drawn)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActiveState:
    """How far a matrix is."""

    problem: Problem
    rounds: tuple[Round, ...]
    completed: Completed | None
    """Predictions of the rest; None before anything is measured."""
    stopped: Stopped
    """Why no further round followed; ``missing``: planned cells could not be measured."""
    missing: tuple[Pair, ...] = ()

    @property
    def error(self) -> float:
        """Root mean square error of predicting hidden measured cells; NaN where not known."""
        return _error(self.completed)


class Measured(NamedTuple):
    """What measuring some cells left."""

    study: TransferStudy
    done: frozenset[Pair]
    """Cells that are evaluated with all seeds, whether or not anything of them was scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """Measure a part of a matrix, chosen in rounds."""

    budget: int
    """Cells to measure in all, own tasks not counted."""
    precision: float = 0.0
    """Stop once hidden measured cells are predicted with at most this root mean square error,
    in the unit of the gains."""
    n_rounds: int = 4
    """Rounds in which the budget is spent; the first is twice as large as the others."""
    random_share: float = 0.25
    """Share of each later round that is drawn at random, for honest intervals."""
    max_sources: int | None = None
    """Most sources to train on."""
    predictors: Sequence[Predictor] = ()
    """Of the cells that are left, see `Complete`."""
    confidence: float = 0.9
    seed: int = 0

    def __call__(
        self,
        sources: Sequence[SourceInfo],
        targets: Sequence[str],
        *,
        measure: Callable[[frozenset[Pair]], Measured],
        folder: str | Path,
    ) -> ActiveState:
        """Run rounds until the budget is spent or the precision is reached.

        Parameters
        ----------
        sources, targets
            All that can be measured.
        measure
            Measures at least the cells that it is given and are not measured yet.
        folder
            The study's. Each round is written there before it begins, so that a further call
            goes on with it; a larger budget, or another precision, goes on from there too.

        Raises
        ------
        AnalysisError
            The budget is below 1.
        ResultsError
            The folder's record of rounds is damaged, or names what is no source or target.
        """
        if self.budget < 1 or self.n_rounds < 1:
            msg = "a budget must allow one cell at least, and rounds must be 1 or more"
            raise AnalysisError(msg)
        StudyStore.create(folder)
        problem = _blank(sources, targets)
        rounds = _read(Path(folder), problem.sources, targets)
        while True:
            chosen = [cell for done in rounds for cell in done.cells]
            missing: list[Pair] = []
            if chosen:
                found = measure(frozenset(chosen))
                problem = _problem(found.study, problem)
                missing = [cell for cell in chosen if cell not in found.done]
            completed, stopped = self._judged(problem, len(chosen), len(rounds))
            if missing:
                stopped = "missing"
            if stopped is not None:
                return ActiveState(
                    problem=problem,
                    rounds=rounds,
                    completed=completed or self._completed(problem, len(rounds)),
                    stopped=stopped,
                    missing=tuple(missing),
                )
            rounds = (*rounds, self._next(problem, chosen, len(rounds)))
            _write(Path(folder), rounds)

    def _completed(self, problem: Problem, number: int) -> Completed | None:
        if not problem.known.any():
            return None
        rng = np.random.default_rng([self.seed, number, 1])
        complete = Complete(predictors=self.predictors, confidence=self.confidence)
        return complete(problem, rng=rng)

    def _judged(
        self, problem: Problem, n_chosen: int, number: int
    ) -> tuple[Completed | None, Stopped | None]:
        """Return predictions, if the decision needed them, and why it is over, if it is."""
        if n_chosen >= int((~problem.own).sum()):
            return None, "everything"
        if self.precision > 0:
            completed = self._completed(problem, number)
            if _error(completed) <= self.precision:
                return completed, "precision"
        return None, "budget" if n_chosen >= self.budget else None

    def _next(self, problem: Problem, chosen: Sequence[Pair], number: int) -> Round:
        share = (1 if number else 2) / (self.n_rounds + 1)
        n = min(max(1, math.ceil(share * self.budget)), self.budget - len(chosen))
        before = _mask(problem, chosen)
        opened = int(before.any(axis=1).sum())
        plan = next_cells(
            problem,
            n,
            candidates=~problem.own & ~before,
            max_new_sources=None if self.max_sources is None else self.max_sources - opened,
            # Where nothing is measured, the plan is a balanced draw already.
            random_share=self.random_share if number else 0.0,
            rng=np.random.default_rng([self.seed, number, 0]),
        )
        return Round(
            planned=tuple((c.source, c.target) for c in plan.cells if not c.at_random),
            drawn=tuple((c.source, c.target) for c in plan.cells if c.at_random),
        )


def _error(completed: Completed | None) -> float:
    """Return the error of the worst kind of cell that is left."""
    if completed is None or not completed.choices:
        return math.nan
    return max(choice.rmse for choice in completed.choices)


def _blank(sources: Sequence[SourceInfo], targets: Sequence[str]) -> Problem:
    own = own_tasks(sources, targets)
    return Problem(
        gains=np.full(own.shape, np.nan),
        sources=tuple(info.name for info in sources),
        targets=tuple(targets),
        own=own,
    )


def _problem(study: TransferStudy, before: Problem) -> Problem:
    """Return what is measured; where nothing was scored at all, what was known before."""
    try:
        return problem_of(study)
    except AnalysisError:
        return before


def _mask(problem: Problem, cells: Sequence[Pair]) -> BoolArray:
    found = np.zeros(problem.gains.shape, dtype=np.bool_)
    for source, target in cells:
        found[problem.sources.index(source), problem.targets.index(target)] = True
    return found


def read_rounds(folder: str | Path) -> tuple[Round, ...]:
    """Return the rounds that a study's folder records; none where it was run as a whole.

    Raises
    ------
    ResultsError
        The record is damaged.
    """
    file = Path(folder) / ACTIVE_FILE
    if not file.exists():
        return ()
    try:
        return tuple(_round(part) for part in json.loads(file.read_bytes())["rounds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{file} cannot be read ({error}); delete it to plan anew from what is measured"
        raise ResultsError(msg) from None


def _round(part: dict[str, Any]) -> Round:
    planned, drawn = (tuple((str(s), str(t)) for s, t in part[n]) for n in ("planned", "drawn"))
    return Round(planned=planned, drawn=drawn)


def _read(folder: Path, sources: Sequence[str], targets: Sequence[str]) -> tuple[Round, ...]:
    rounds = read_rounds(folder)
    for source, target in (cell for one in rounds for cell in one.cells):
        if source not in sources or target not in targets:
            msg = (
                f"{folder / ACTIVE_FILE} has the cell {source} -> {target}, which the study does "
                "not have; give the changed study another folder"
            )
            raise ResultsError(msg)
    return rounds


def _write(folder: Path, rounds: Sequence[Round]) -> None:
    document = {"rounds": [asdict(one) for one in rounds]}
    write_atomically(folder / ACTIVE_FILE, json.dumps(document, indent=1).encode())
