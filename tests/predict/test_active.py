"""Rounds of measuring: what is measured, when they stop, and that a kill loses no round."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from planted_problem import planted
from transferlens.errors import AnalysisError, ResultsError
from transferlens.predict import Active, Additive, Measured, TargetMean, read_rounds
from transferlens.results import BASE, SourceInfo, TransferStudy


class Lab:
    """A matrix that is measured cell by cell, as the engine would."""

    def __init__(self, n=9, p=8, broken=()):
        _, self.whole = planted(n, p)
        self.sources = [f"s{i:02d}" for i in range(n)]
        # One task is a source and a target.
        self.targets = ["s00", *(f"t{i:02d}" for i in range(1, p))]
        self.done: set[tuple[str, str]] = set()
        self.calls = 0
        self.broken = set(broken)
        self.dies_at = None

    def measure(self, cells):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        self.done |= cells - self.broken
        rows = [{"source": BASE, "target": t, "score": 0.5} for t in self.targets]
        rows += [
            {"source": s, "target": t, "score": self.score(s, t)}
            if (s, t) in self.done
            else {"source": s, "target": t, "score": float("nan")}
            for s in self.sources
            for t in self.targets
        ]
        return Measured(TransferStudy.from_scores(pl.DataFrame(rows)), frozenset(self.done))

    def score(self, source, target):
        at = self.sources.index(source), self.targets.index(target)
        return 0.5 + self.whole[at] / 100

    def run(self, folder, **how):
        fast = (TargetMean(), Additive())
        active = Active(**{"budget": 30, "predictors": fast, **how})
        return active(
            [SourceInfo(name=s) for s in self.sources],
            self.targets,
            measure=self.measure,
            folder=folder,
        )


def cells_of(found):
    return [cell for one in found.rounds for cell in one.cells]


def test_the_budget_is_measured_in_rounds_and_nothing_else_is(tmp_path):
    lab = Lab()
    found = lab.run(tmp_path / "a")
    assert found.stopped == "budget"
    assert [len(one.cells) for one in found.rounds] == [12, 6, 6, 6]
    assert len(set(cells_of(found))) == 30
    assert lab.done == set(cells_of(found))
    assert ("s00", "s00") not in lab.done


def test_a_quarter_of_each_later_round_is_drawn_from_what_the_plan_left(tmp_path):
    found = Lab().run(tmp_path / "a", budget=40)
    first, *later = found.rounds
    assert first.drawn == ()
    for one in later:
        assert len(one.drawn) == round(0.25 * len(one.cells))
        assert not set(one.planned) & set(one.drawn)


def test_unmeasured_cells_are_predicted_with_intervals_and_measured_ones_are_not(tmp_path):
    lab = Lab()
    found = lab.run(tmp_path / "a")
    known = ~np.isnan(found.problem.gains)
    assert int(known.sum()) == 30
    predicted = ~np.isnan(found.completed.values)
    assert not (predicted & known).any()
    np.testing.assert_array_equal(predicted, ~known & ~found.problem.own)
    assert (found.completed.low <= found.completed.values)[predicted].all()


def test_a_kill_in_any_round_leaves_the_same_rounds_as_none(tmp_path):
    undisturbed = Lab().run(tmp_path / "whole")
    for at in (1, 3):
        lab = Lab()
        lab.dies_at = at
        with pytest.raises(KeyboardInterrupt):
            lab.run(tmp_path / f"killed{at}")
        assert len(read_rounds(tmp_path / f"killed{at}")) == at
        again = lab.run(tmp_path / f"killed{at}")
        assert again.rounds == undisturbed.rounds
        np.testing.assert_array_equal(again.completed.values, undisturbed.completed.values)


def test_a_larger_budget_goes_on_where_the_smaller_one_stopped(tmp_path):
    lab = Lab()
    first = lab.run(tmp_path / "a", budget=20)
    more = lab.run(tmp_path / "a", budget=30)
    assert more.rounds[: len(first.rounds)] == first.rounds
    assert len(cells_of(more)) == 30
    calls = lab.calls
    assert lab.run(tmp_path / "a", budget=30).rounds == more.rounds
    assert lab.calls == calls + 1


def test_it_stops_once_hidden_cells_are_predicted_closely_enough(tmp_path):
    lab = Lab()
    found = lab.run(tmp_path / "a", budget=60, precision=1000.0)
    assert found.stopped == "precision"
    assert len(found.rounds) == 1
    assert found.error <= 1000.0


def test_with_room_for_everything_everything_but_own_tasks_is_measured(tmp_path):
    lab = Lab(4, 3)
    found = lab.run(tmp_path / "a", budget=100)
    assert found.stopped == "everything"
    assert len(lab.done) == 11


def test_no_more_adapters_are_trained_than_allowed(tmp_path):
    found = Lab().run(tmp_path / "a", max_sources=4)
    assert len({source for source, _ in cells_of(found)}) == 4


def test_a_cell_that_cannot_be_measured_stops_it_and_is_tried_again(tmp_path):
    lab = Lab(broken={(f"s{i:02d}", "t01") for i in range(9)})
    found = lab.run(tmp_path / "a", budget=60)
    assert found.stopped == "missing"
    assert {target for _, target in found.missing} == {"t01"}
    lab.broken = set()
    assert lab.run(tmp_path / "a", budget=60).stopped == "budget"


def test_rounds_of_another_study_and_damaged_ones_are_refused(tmp_path):
    lab = Lab()
    lab.run(tmp_path / "a")
    other = Lab(5, 8)
    with pytest.raises(ResultsError, match="another folder"):
        other.run(tmp_path / "a")
    file = tmp_path / "a" / "active.json"
    file.write_text(json.dumps({"rounds": [{"planned": 3}]}), encoding="utf-8")
    with pytest.raises(ResultsError, match="cannot be read"):
        lab.run(tmp_path / "a")


def test_a_budget_of_nothing_is_refused(tmp_path):
    with pytest.raises(AnalysisError, match="one cell at least"):
        Lab().run(tmp_path / "a", budget=0)


def test_the_first_round_is_balanced_and_another_seed_chooses_other_cells(tmp_path):
    lab = Lab()
    one = lab.run(tmp_path / "a", budget=45)
    counts = np.bincount([lab.sources.index(s) for s, _ in one.rounds[0].cells], minlength=9)
    assert np.ptp(counts) <= 1
    found = Lab().run(tmp_path / "b", budget=45, seed=1)
    assert found.rounds[0] != one.rounds[0]
