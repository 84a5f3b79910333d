"""Orders, intervals and protocols: what the numbers of an evaluation mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import ndcg_score

from planted_problem import planted, problem
from transferlens.errors import AnalysisError
from transferlens.predict import (
    PROTOCOLS,
    Additive,
    Bayes,
    Complete,
    Evaluate,
    Fitted,
    Pivot,
    TargetMean,
    conformal_quantile,
    next_cells,
    problem_of,
)
from transferlens.predict.protocol import folds_of, held_out
from transferlens.predict.ranking import ndcg, rank_scores, regret
from transferlens.results import BASE, TransferStudy

FAST = (TargetMean(), Additive(), Bayes())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 12))
def test_ndcg_and_correlation_are_those_of_scikit_learn_and_scipy(seed, n):
    rng = np.random.default_rng(seed)
    truth, guess = rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
    found = rank_scores(truth, guess, k=(1, n), rng=rng)
    gain = ((truth - truth.min()) / np.ptp(truth)).T
    assert found.ndcg == pytest.approx(ndcg_score(gain, guess.T))
    assert found.spearman == pytest.approx(stats.spearmanr(truth, guess)[0])
    assert found.regret == pytest.approx((truth.max() - truth[guess.argmax(), 0], 0.0))


def test_numbers_of_a_small_order_are_those_by_hand():
    assert regret(np.array([2.0, 5.0, 9.0]), 1) == 7.0
    assert regret(np.array([2.0, 5.0, 9.0]), 2) == 4.0
    # Gains 0.5, 1, 0 in the predicted order.
    by_hand = (0.5 + 1 / np.log2(3)) / (1 + 0.5 / np.log2(3))
    assert ndcg(np.array([3.0, 4.0, 2.0])) == pytest.approx(by_hand)


def test_what_orders_nothing_scores_as_random_orders_do(rng):
    truth = rng.normal(size=(10, 60))
    constant = rank_scores(truth, np.zeros((10, 60)), k=(1,), rng=rng)
    random = [rank_scores(truth, rng.normal(size=(10, 60)), k=(1,), rng=rng) for _ in range(20)]
    assert np.isnan(constant.spearman)
    assert constant.ndcg == pytest.approx(np.mean([one.ndcg for one in random]), abs=0.01)
    expected = np.mean([one.regret[0] for one in random])
    assert constant.regret[0] == pytest.approx(expected, rel=0.05)


def test_the_quantile_leaves_room_for_the_cell_that_was_not_seen():
    errors = np.arange(1.0, 20.0)
    assert conformal_quantile(errors, confidence=0.9) == 18.0
    assert conformal_quantile(errors, confidence=0.95) == 19.0
    assert conformal_quantile(errors, confidence=0.96) == np.inf
    assert conformal_quantile(np.array([]), confidence=0.5) == np.inf
    with pytest.raises(AnalysisError, match="confidence"):
        conformal_quantile(errors, confidence=1.0)


def test_groups_of_one_are_single_errors_and_a_large_group_weighs_as_one(rng):
    errors = rng.exponential(size=50)
    alone = conformal_quantile(errors, confidence=0.8)
    assert conformal_quantile(errors, confidence=0.8, groups=np.arange(50)) == alone
    copies = np.concatenate([errors, np.repeat(errors[0], 500)])
    groups = np.concatenate([np.arange(50), np.zeros(500, dtype=int)])
    assert conformal_quantile(copies, confidence=0.8, groups=groups) == alone


def test_intervals_cover_as_often_as_they_say_for_single_errors_and_for_new_groups():
    rng = np.random.default_rng(1)
    single = [np.abs(rng.standard_t(3, size=40)) for _ in range(4000)]
    inside = [new[-1] <= conformal_quantile(new[:-1], confidence=0.9) for new in single]
    # 39 errors: exactly 36 of 40 places are inside.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)
    covered = []
    groups = np.repeat(np.arange(20), 8)
    for _ in range(1500):
        size = rng.exponential(size=21)
        errors = np.abs(rng.normal(size=(21, 8))) * size[:, None]
        half = conformal_quantile(errors[:20].ravel(), confidence=0.9, groups=groups)
        covered.append((errors[20] <= half).mean())
    assert 0.885 <= np.mean(covered) <= 0.96


@pytest.mark.slow
def test_intervals_of_unmeasured_cells_cover_within_three_points_of_nominal():
    inside = []
    for seed in range(12):
        given, whole = planted(24, 20, seed=seed, share=0.5)
        found = Complete(predictors=FAST)(given, rng=np.random.default_rng(seed))
        hidden = ~given.known
        inside.append(((found.low <= whole) & (whole <= found.high))[hidden].mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_measured_cell_is_tested_once_and_never_shown(protocol, rng):
    given, _ = planted(9, 7, share=0.8)
    folds = folds_of(given.known, protocol, rng=rng)
    tested = np.sum([fold.tested for fold in folds], axis=0)
    single = protocol == "cells"
    # A cell that is the only one of its row or column cannot be hidden alone.
    assert (tested[given.known] <= 1).all()
    assert tested[given.known].mean() == 1.0 or single
    assert not tested[~given.known].any()
    assert all((fold.tested <= fold.hidden).all() for fold in folds)
    for fold in folds:
        rows, columns = np.nonzero(fold.tested)
        if protocol in {"source", "both"}:
            assert fold.hidden[rows].all()
        if protocol in {"target", "both"}:
            assert fold.hidden[:, columns].all()


class Cheat:
    """Predicts what it is shown, and a mark elsewhere."""

    name = "cheat"

    def fit(self, problem, *, rng):
        del rng
        return Fitted(values=np.nan_to_num(problem.gains, nan=-999.0))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_predictor_that_copies_never_sees_what_it_is_to_predict(protocol, rng):
    given, _ = planted(9, 7, share=0.8)
    held = held_out(Cheat(), given, folds_of(given.known, protocol, rng=rng), rng=rng)
    assert (held.values[held.fold >= 0] == -999.0).all()


def evaluated(given, **how):
    return Evaluate(**how)(given, FAST, rng=np.random.default_rng(0)).table


def test_errors_of_new_sources_are_those_of_refitting_by_hand():
    given, _ = planted(8, 6, share=0.9)
    table = evaluated(given, protocols=("source",))
    row = table.row(by_predicate=pl.col("predictor") == "target mean", named=True)
    squares = []
    for source in range(8):
        others = np.delete(given.gains, source, axis=0)
        squares += list((given.gains[source] - np.nanmean(others, axis=0)) ** 2)
    assert row["rmse"] == pytest.approx(np.sqrt(np.nanmean(squares)))
    assert row["n_cells"] == given.known.sum()


def test_a_target_mean_orders_nothing_whatever_is_hidden():
    given, _ = planted(12, 9)
    table = evaluated(given).filter(pl.col("predictor") == "target mean")
    assert table["protocol"].to_list() == list(PROTOCOLS)
    assert table["spearman"].is_nan().all()


def test_baselines_and_a_random_order_are_always_there_and_rank_as_chance():
    given, _ = planted(12, 9)
    found = Evaluate(protocols=("cells",))(given, (Pivot(),), rng=np.random.default_rng(0)).table
    assert found["predictor"].to_list() == [
        "random order",
        "zero",
        "target mean",
        "additive",
        "pivot",
    ]
    by_name = {row["predictor"]: row for row in found.iter_rows(named=True)}
    assert np.isnan(by_name["random order"]["rmse"])
    assert by_name["zero"]["ndcg"] == pytest.approx(by_name["random order"]["ndcg"], abs=0.05)
    assert by_name["pivot"]["spearman"] > 0.3


def test_planted_directions_are_seen_in_hidden_cells_and_in_the_order():
    given, _ = planted(24, 20, share=0.8)
    table = evaluated(given, protocols=("cells",))
    rows = {row["predictor"]: row for row in table.iter_rows(named=True)}
    assert rows["Bayesian low rank"]["rmse"] < 0.6 * rows["additive"]["rmse"]
    assert rows["Bayesian low rank"]["spearman"] > rows["additive"]["spearman"] + 0.1
    assert rows["Bayesian low rank"]["width"] < rows["additive"]["width"]
    for row in rows.values():
        assert np.isnan(row["coverage"]) or row["coverage"] == pytest.approx(0.9, abs=0.03)


def test_the_same_seed_gives_the_same_table():
    given, _ = planted(9, 7, share=0.8)
    first, again = (evaluated(given, protocols=("both", "cells")) for _ in range(2))
    assert first.equals(again, null_equal=True)


def test_too_few_cells_are_said_and_do_not_stop_other_protocols():
    gains = np.full((3, 3), np.nan)
    gains[0, :2] = 1.0, 2.0
    with pytest.raises(AnalysisError, match="cannot be divided"):
        evaluated(problem(gains), protocols=("source",))
    found = Evaluate()(problem(gains), FAST, rng=np.random.default_rng(0))
    assert found.table["protocol"].unique().to_list() == ["target"]
    assert len(found.notes) == 3


def test_measured_cells_are_never_predicted_and_own_tasks_are_neither():
    given, _ = planted(8, 7, share=0.7)
    given = replace(
        given, own=np.eye(8, 7, dtype=bool), gains=np.where(np.eye(8, 7), np.nan, given.gains)
    )
    found = Complete(predictors=FAST)(given, rng=np.random.default_rng(0))
    expected = ~given.known & ~given.own
    np.testing.assert_array_equal(~np.isnan(found.values), expected)
    frame = found.to_frame()
    both = frame.filter(pl.col("measured").is_not_nan() & pl.col("predicted").is_not_nan())
    assert not both.height
    assert (found.low <= found.values)[expected].all()


def test_the_best_on_hidden_cells_of_the_kind_predicts_each_kind():
    given, _ = planted(14, 12)
    gains = given.gains.copy()
    gains[0], gains[:, 0], gains[3, 4] = np.nan, np.nan, np.nan
    found = Complete(predictors=FAST)(problem(gains), rng=np.random.default_rng(0))
    kinds = {choice.protocol: choice for choice in found.choices}
    assert set(kinds) == {"cells", "source", "target", "both"}
    assert kinds["cells"].predictor == "Bayesian low rank"
    for choice in found.choices:
        assert choice.rmse == min(choice.others.values())


def test_too_little_to_hide_gives_a_prediction_without_an_interval():
    gains = np.array([[1.0, 2.0], [3.0, np.nan]])
    found = Complete()(problem(gains), rng=np.random.default_rng(0))
    assert found.values[1, 1] == pytest.approx(4.0, abs=1e-6)
    assert found.low[1, 1] == -np.inf


def test_gains_are_oriented_in_points_and_noise_is_that_between_seeds():
    rng = np.random.default_rng(0)
    rows = [
        {"source": s, "target": t, "seed": seed, "score": 0.5 + 0.1 * rng.normal()}
        for s in (BASE, "a", "b")
        for t in ("a", "c")
        for seed in (0, 1, 2)
    ]
    study = TransferStudy.from_scores(pl.DataFrame(rows))
    given = problem_of(study)
    table = study.scores
    cell = table["score"].sel(source="b", target="c") - table["base_score"].sel(target="c")
    assert given.gains[1, 1] == pytest.approx(100 * cell.mean().item())
    assert np.isnan(given.gains[0, 0])
    assert not np.isnan(problem_of(study, own=True).gains[0, 0])
    gain = 100 * (table["score"] - table["base_score"])
    assert given.noise == pytest.approx(np.sqrt(gain.var("seed", ddof=1).mean()).item())


def test_a_study_without_a_base_names_the_option_for_scores():
    frame = pl.DataFrame([{"source": s, "target": t, "score": 0.5} for s in "ab" for t in "cd"])
    study = TransferStudy.from_scores(frame)
    with pytest.raises(AnalysisError, match="--values score"):
        problem_of(study)
    assert problem_of(study, values="score").known.all()


class Guess:
    """Predicts noise of its own, whatever is measured."""

    def __init__(self, number):
        self.name = f"guess {number}"
        self._number = number

    def fit(self, problem, *, rng):
        del rng
        own = np.random.default_rng([self._number, int(1000 * np.nansum(problem.features))])
        return Fitted(values=own.normal(size=problem.gains.shape))


def test_choosing_the_best_of_many_predictors_does_not_make_intervals_too_short():
    inside, flattered = [], []
    guesses = tuple(Guess(number) for number in range(12))
    for seed in range(120):
        rng = np.random.default_rng(seed)
        whole = rng.normal(size=(6, 7))
        measured = rng.random((6, 7)) < 0.7
        given = problem(np.where(measured, whole, np.nan), features=rng.random((6, 7, 1)))
        found = Complete(predictors=guesses)(given, rng=rng)
        rest = np.isfinite(found.low)
        inside.append(((found.low <= whole) & (whole <= found.high))[rest].mean())
        best = next(g for g in guesses if g.name == found.choices[0].predictor)
        errors = np.abs(whole - best.fit(given, rng=rng).values)
        half = conformal_quantile(errors[measured], confidence=0.9)
        flattered.append((errors[rest] <= half).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)
    assert np.mean(inside) > np.mean(flattered) + 0.01


def test_intervals_cover_at_least_as_they_say_after_rounds_that_are_partly_planned():
    inside = []
    for seed in range(25):
        _, whole = planted(10, 8, seed=seed)
        rng = np.random.default_rng(seed)
        measured = rng.random(whole.shape) < 0.35
        for _ in range(2):
            given = problem(np.where(measured, whole, np.nan))
            cells = next_cells(given, 12, random_share=0.25, rng=rng).order
            measured[cells[:, 0], cells[:, 1]] = True
        given = problem(np.where(measured, whole, np.nan))
        found = Complete(predictors=(TargetMean(), Additive()))(given, rng=rng)
        rest = np.isfinite(found.low)
        inside.append(((found.low <= whole) & (whole <= found.high))[rest].mean())
    # The planned cells are harder than those that are left, which can only widen intervals.
    assert 0.87 <= np.mean(inside) <= 0.97
