"""A simulated study answers its examples as its truth says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transferlens.errors import ResultsError, SpecError
from transferlens.results import BASE, StudyStore, open_study
from transferlens.testing import Sampling, Structure, simulate_study
from transferlens.transfer import transfer_matrix

SMALL = Structure(n_sources=6, n_targets=5, strengths=(0.08, 0.04))
RICH = Sampling(
    n_examples=60,
    n_seeds=2,
    seed_sd=0.02,
    graded=2,
    lower_is_better=1,
    unscored=0.1,
    missing=0.2,
    likelihoods=True,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def rows_of(study):
    return study.predictions.collect().sort("source", "seed", "target", "example")


@settings(max_examples=8, deadline=None)
@given(
    difficulty=st.sampled_from([0.0, 0.5, 0.9]),
    graded=st.integers(0, 5),
    down=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_mean_scores_are_the_true_qualities_within_sampling_error(difficulty, graded, down, seed):
    sampling = Sampling(n_examples=1000, difficulty=difficulty, graded=graded, lower_is_better=down)
    study, truth = simulate_study(SMALL, sampling, rng=rng(seed))
    score = study.scores["score"].values[:, :, 0]
    base = study.scores["base_score"].values[:, 0]
    turned = np.arange(5) < down
    # No score between 0 and 1 has a larger variance than a coin's.
    error = np.sqrt(0.25 / 1000)
    expected = np.where(turned, 1 - truth.quality[:, :, 0], truth.quality[:, :, 0])
    assert np.abs(score - expected).max() < 5 * error
    assert np.abs(base - np.where(turned, 1 - truth.base, truth.base)).max() < 5 * error


@pytest.mark.parametrize("difficulty", [0.0, 0.4, 0.8])
def test_two_models_agree_as_often_as_normal_variables_with_that_correlation(difficulty):
    even = Structure(n_sources=1, n_targets=1, strengths=(), base=(0.5, 0.5))
    sampling = Sampling(n_examples=50_000, difficulty=difficulty)
    study, _ = simulate_study(even, sampling, rng=rng())
    examples = study.examples("task_0")
    both = (examples["score"].values[0, 0] * examples["base_score"].values[0]).mean()
    # Sheppard's formula for the orthant of a bivariate normal distribution.
    assert both == pytest.approx(0.25 + np.arcsin(difficulty) / (2 * np.pi), abs=0.01)


def test_graded_scores_follow_the_beta_distribution_of_their_mean():
    fixed = Structure(n_sources=1, n_targets=1, strengths=(), base=(0.7, 0.7))
    study, _ = simulate_study(fixed, Sampling(n_examples=5000, graded=1), rng=rng())
    scores = study.examples("task_0")["score"].values[0, 0]
    assert stats.kstest(scores, stats.beta(0.7 / 0.3, 1).cdf).pvalue > 0.01
    assert ((scores >= 0) & (scores <= 1)).all()


def test_harder_examples_are_missed_more_often():
    study, truth = simulate_study(SMALL, Sampling(n_examples=3000, difficulty=0.6), rng=rng())
    for at, target in enumerate(truth.matrix.targets):
        share = study.examples(target)["score"].values.mean(axis=(0, 1))
        assert stats.spearmanr(share, truth.difficulty[at]).statistic < -0.7


def test_training_runs_differ_by_the_planted_standard_deviation():
    many = Structure(n_sources=40, n_targets=40, strengths=(0.02,))
    sampling = Sampling(n_examples=1, n_seeds=4, seed_sd=0.03)
    _, truth = simulate_study(many, sampling, rng=rng())
    spread = truth.quality.var(axis=2, ddof=1).mean() ** 0.5
    assert spread == pytest.approx(0.03, rel=0.05)
    assert np.abs(truth.quality.mean(axis=2) - truth.base - truth.gain).mean() < 0.02


def test_evidence_covers_the_true_gains_as_often_as_it_says():
    structure = Structure(n_sources=25, n_targets=25, strengths=(0.05,))
    sampling = Sampling(n_examples=300, n_seeds=3, seed_sd=0.02)
    study, truth = simulate_study(structure, sampling, rng=rng(3))
    data = transfer_matrix(study).data
    low, high = data["gain_low"].values, data["gain_high"].values
    covered = (low <= truth.gain) & (truth.gain <= high)
    # The base's error is shared by a column, so that columns, not cells, are independent.
    error = covered.mean(axis=0).std(ddof=1) / 5
    assert covered.mean() == pytest.approx(0.95, abs=max(3 * error, 0.02))


def test_gains_count_upwards_where_lower_scores_are_better():
    structure = Structure(n_sources=6, n_targets=6, strengths=(0.15,))
    sampling = Sampling(n_examples=4000, lower_is_better=6)
    study, truth = simulate_study(structure, sampling, rng=rng())
    found = transfer_matrix(study).data["gain"].values
    assert np.corrcoef(found.ravel(), truth.gain.ravel())[0, 1] > 0.95


def test_the_planted_shares_are_unscored_missing_and_of_the_majority():
    structure = Structure(n_sources=10, n_targets=10)
    sampling = Sampling(n_examples=500, unscored=0.1, missing=0.3, majority=0.8)
    study, truth = simulate_study(structure, sampling, rng=rng())
    rows = rows_of(study)
    adapters = rows.filter(pl.col("source") != BASE)
    assert adapters["score"].is_nan().mean() == pytest.approx(0.1, abs=0.01)
    assert not rows.filter(pl.col("source") == BASE)["score"].is_nan().any()
    unscored = adapters.filter(pl.col("score").is_nan())
    assert unscored["prediction"].null_count() == unscored.height
    assert truth.missing.sum() == 30
    np.testing.assert_array_equal(np.isnan(study.scores["score"].values[:, :, 0]), truth.missing)
    golds = rows.filter(pl.col("source") == BASE)["gold"]
    assert (golds == "yes").mean() == pytest.approx(0.8, abs=0.02)


def test_a_prediction_is_the_gold_answer_exactly_where_it_is_right():
    rows = rows_of(simulate_study(SMALL, Sampling(n_examples=80), rng=rng()).study)
    assert set(rows["prediction"]) == {"yes", "no"}
    assert ((rows["prediction"] == rows["gold"]) == (rows["score"] == 1.0)).all()


def test_likelihoods_are_of_two_choices_and_the_larger_is_predicted():
    rows = rows_of(simulate_study(SMALL, RICH, rng=rng()).study)
    choice = rows.filter(pl.col("gold") != "reference")
    logs = np.array(choice["choice_logprobs"].to_list())
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
    read = choice["prediction"].is_not_null().to_numpy()
    predicted_yes = (choice["prediction"] == "yes").to_numpy()[read].astype(bool)
    np.testing.assert_array_equal(logs[read, 0] > logs[read, 1], predicted_yes)
    written = rows.filter(pl.col("gold") == "reference")
    assert written["choice_logprobs"].null_count() == written.height > 0


def test_a_gain_that_leaves_the_range_of_scores_is_cut_off_and_says_so():
    wild = Structure(n_sources=8, n_targets=8, strengths=(0.5,))
    _, truth = simulate_study(wild, Sampling(n_examples=2), rng=rng())
    assert truth.clipped.any()
    whole = ~truth.clipped
    np.testing.assert_allclose(truth.gain[whole], truth.matrix.gain[whole])
    assert ((truth.base + truth.gain) > 0).all()
    assert ((truth.base + truth.gain) < 1).all()


def test_a_folder_holds_the_same_study_as_memory(tmp_path):
    in_memory = simulate_study(SMALL, RICH, rng=rng(5))
    stored = simulate_study(SMALL, RICH, rng=rng(5), path=tmp_path / "study")
    opened = open_study(tmp_path / "study")
    assert rows_of(opened).equals(rows_of(in_memory.study), null_equal=True)
    assert opened.targets == in_memory.study.targets == stored.study.targets
    assert opened.sources == in_memory.study.sources
    assert stored.truth.gain.tobytes() == in_memory.truth.gain.tobytes()
    store = StudyStore.open(tmp_path / "study")
    assert store.verify() == []
    assert store.done_cells() == {cell.id for cell in store.plan.cells}


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("first", "again"):
        simulate_study(SMALL, RICH, rng=rng(7), path=tmp_path / name)
    first = sorted((tmp_path / "first" / "cells").iterdir())
    again = sorted((tmp_path / "again" / "cells").iterdir())
    assert [file.name for file in first] == [file.name for file in again]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True))
    assert len(first) == 1 + 6 * 2


def test_a_folder_with_a_study_is_not_overwritten(tmp_path):
    simulate_study(SMALL, Sampling(n_examples=2), rng=rng(), path=tmp_path)
    with pytest.raises(ResultsError, match="holds a study already"):
        simulate_study(SMALL, Sampling(n_examples=2), rng=rng(), path=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_examples": 0}, "one of each is needed"),
        ({"unscored": 1.5}, "unscored=1.5 must be a share"),
        ({"seed_sd": -0.1}, "must be at least 0"),
    ],
)
def test_an_impossible_sampling_is_refused_with_a_reason(change, words):
    with pytest.raises(SpecError, match=words):
        Sampling(**change)
