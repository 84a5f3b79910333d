"""Plans of cells and the order of adapters: what they save, and what decides between equals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planted_problem import planted, problem
from transferlens.errors import AnalysisError
from transferlens.predict import Bayes, next_cells, training_order
from transferlens.predict.plan import _posterior, _State


def rmse(given, whole):
    left = ~given.known
    found = Bayes().fit(given, rng=np.random.default_rng(0)).values
    return float(np.sqrt(((found - whole)[left] ** 2).mean()))


def test_planned_cells_are_unmeasured_distinct_and_not_own_tasks():
    given, _ = planted(12, 10, share=0.4)
    given = replace(
        given, own=np.eye(12, 10, dtype=bool), gains=np.where(np.eye(12, 10), np.nan, given.gains)
    )
    found = next_cells(given, 40)
    places = {tuple(place) for place in found.order.tolist()}
    assert len(places) == 40 == len(found.cells)
    assert not any(given.known[place] or given.own[place] for place in places)
    everything = next_cells(given, 10_000)
    assert len(everything.cells) == int((~given.known & ~given.own).sum())
    assert np.isnan(everything.error_after)


def test_a_longer_plan_begins_with_the_shorter_one_and_expects_less_error():
    given, _ = planted(12, 10, share=0.4)
    short, long = next_cells(given, 5), next_cells(given, 30)
    assert long.cells[:5] == short.cells
    assert long.error_after < short.error_after < short.error_before == long.error_before


def test_each_cell_is_the_one_that_lowers_the_total_variance_most():
    given, _ = planted(9, 8, share=0.5)
    posterior = _posterior(given, Bayes())
    left = ~given.known
    priority = np.ones((9, 1))

    def total_without(cell):
        state = _State(posterior, left, priority)
        state.measure(np.array([cell]))
        # Over the same cells as before, the measured one included.
        return state.total()[left].sum()

    every = [tuple(cell) for cell in np.argwhere(left).tolist()]
    totals = {cell: total_without(cell) for cell in every}
    best = tuple(next_cells(given, 1).order[0].tolist())
    assert totals[best] == pytest.approx(min(totals.values()), rel=1e-6)
    state = _State(posterior, left, priority)
    before = state.total()[left].sum()
    for cell in every[:10]:
        assert state.values()[cell] == pytest.approx(before - totals[cell], rel=1e-6)


def test_measuring_updates_a_posterior_as_the_normal_distribution_does():
    given, _ = planted(9, 8, share=0.5)
    posterior = _posterior(given, Bayes())
    state = _State(posterior, ~given.known, np.ones((9, 1)))
    source, target = np.argwhere(~given.known)[0].tolist()
    noise = state.total()[source, target] - state._variance[0][source, target]
    design = np.concatenate([[1.0], posterior.targets.mean[target, 1:]])
    precision = np.linalg.inv(posterior.sources.covariance[source])
    expected = np.linalg.inv(precision + np.outer(design, design) / noise)
    state.measure(np.array([[source, target]]))
    np.testing.assert_allclose(state._covariances[0][source], expected, rtol=1e-8)


def test_with_nothing_measured_a_plan_balances_sources_and_targets():
    found = next_cells(problem(np.full((6, 5), np.nan)), 30 // 2)
    assert np.ptp(np.bincount(found.order[:, 0], minlength=6)) <= 1
    assert np.ptp(np.bincount(found.order[:, 1], minlength=5)) <= 1
    assert "nothing is measured yet" in found.words


def test_planned_rounds_predict_the_rest_better_than_random_ones():
    ratios = []
    for seed in range(4):
        _, whole = planted(24, 20, seed=seed)
        errors = []
        for planned in (True, False):
            rng = np.random.default_rng(seed)
            measured = rng.random(whole.shape) < 0.15
            for _ in range(3):
                given = problem(np.where(measured, whole, np.nan))
                if planned:
                    cells = next_cells(given, 36).order
                else:
                    left = np.argwhere(~measured)
                    cells = left[rng.permutation(len(left))[:36]]
                measured[cells[:, 0], cells[:, 1]] = True
            errors.append(rmse(problem(np.where(measured, whole, np.nan)), whole))
        ratios.append(errors[0] / errors[1])
    assert np.mean(ratios) < 0.97


def test_no_more_new_sources_are_opened_than_allowed_and_the_given_order_decides():
    given, _ = planted(10, 8, share=0.6)
    gains = given.gains.copy()
    gains[6:] = np.nan
    given = problem(gains)
    order = np.array([8, 9, 7, 6, 0, 1, 2, 3, 4, 5])
    found = next_cells(given, 30, max_new_sources=2, source_order=order)
    assert found.new_sources == ("s08", "s09")
    assert next_cells(given, 30, max_new_sources=0).new_sources == ()
    assert set(next_cells(given, 60).new_sources) == {"s06", "s07", "s08", "s09"}


def test_a_large_plan_chooses_several_cells_at_once_and_is_about_as_good():
    given, _ = planted(16, 14, share=0.2)
    from transferlens.predict import plan

    one = next_cells(given, 60).error_after
    steps, plan._STEPS = plan._STEPS, 10
    try:
        found = next_cells(given, 60)
    finally:
        plan._STEPS = steps
    assert len({tuple(place) for place in found.order.tolist()}) == 60
    assert found.error_after < 1.05 * one


def test_a_negative_number_is_refused():
    with pytest.raises(AnalysisError, match="0 or more"):
        next_cells(problem(np.ones((2, 2))), -1)


def test_each_adapter_is_the_one_that_leaves_least_variance_of_the_untrained_sources(rng):
    of_source = rng.normal(size=(7, 3))
    features = np.broadcast_to(of_source[:, None], (7, 4, 3))
    gains = np.full((7, 4), np.nan)
    gains[2] = 1.0
    z = (of_source - of_source.mean(axis=0)) / of_source.std(axis=0)
    kernel = np.eye(7) + z @ z.T / 3

    def left_variance(seen, untrained):
        seen = np.array(seen)
        inside = kernel[np.ix_(seen, seen)] + 0.1 * np.eye(len(seen))
        across = kernel[:, seen]
        rest = kernel - across @ np.linalg.solve(inside, across.T)
        return np.diag(rest)[untrained].sum()

    untrained, seen, expected = [0, 1, 3, 4, 5, 6], [2], []
    while untrained:
        best = min(untrained, key=lambda one: left_variance([*seen, one], untrained))
        expected.append(best)
        seen.append(best)
        untrained.remove(best)
    assert training_order(problem(gains, features=features)).tolist() == [*expected, 2]


def test_without_features_the_order_is_that_of_the_study():
    gains = np.full((4, 3), np.nan)
    gains[1] = 1.0
    assert training_order(problem(gains)).tolist() == [0, 2, 3, 1]


def test_a_random_part_comes_last_and_only_from_sources_that_have_a_cell(rng):
    given, _ = planted(10, 8, share=0.6)
    gains = given.gains.copy()
    gains[7:] = np.nan
    given = problem(gains)
    found = next_cells(given, 16, max_new_sources=1, random_share=0.25, rng=rng)
    assert [cell.at_random for cell in found.cells] == [False] * 12 + [True] * 4
    assert len({tuple(place) for place in found.order.tolist()}) == 16
    assert len(found.new_sources) <= 1
    assert found.error_after < found.error_before


def test_every_cell_that_the_plan_leaves_is_equally_likely_to_be_drawn():
    given, _ = planted(8, 6, share=0.7)
    drawn = np.zeros((8, 6))
    left = np.zeros((8, 6))
    for seed in range(60):
        found = next_cells(given, 8, random_share=0.5, rng=np.random.default_rng(seed))
        planned = {tuple(p) for p in found.order[:4].tolist()}
        for place in map(tuple, np.argwhere(~given.known).tolist()):
            left[place] += place not in planned
        for place in found.order[4:].tolist():
            drawn[tuple(place)] += 1
    open_cells = left > 30
    share = drawn[open_cells] / left[open_cells]
    expected = drawn.sum() / left.sum()
    error = np.sqrt(expected * (1 - expected) / left[open_cells])
    assert (np.abs(share - expected) < 4 * error).all()


def test_cells_that_are_equally_good_are_not_always_taken_in_the_studys_order():
    nothing = problem(np.full((6, 5), np.nan))
    plans = [next_cells(nothing, 6, rng=np.random.default_rng(seed)) for seed in range(4)]
    assert len({plan.cells[0][:2] for plan in plans}) > 1
    for plan in plans:
        assert np.ptp(np.bincount(plan.order[:, 0], minlength=6)) <= 1


def test_a_random_share_without_a_generator_is_refused():
    with pytest.raises(AnalysisError, match="need rng"):
        next_cells(problem(np.ones((2, 2))), 1, random_share=0.5)
