"""How many traits: planted numbers are found, and doubts are said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transferlens.errors import AnalysisError
from transferlens.traits import (
    choose_number,
    em_cross_validation,
    match,
    parallel_analysis,
    pca,
    tidy,
    varimax,
    velicer_map,
)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_both_rules_find_the_planted_number_in_30_by_30(
    k: int, planted: Callable[..., Any]
) -> None:
    found = choose_number(planted(30, 30, k, seed=k + 1).matrix, rng=np.random.default_rng(0))
    assert found.n_components == found.parallel.n_components == k
    assert found.agreed
    assert not any("disagree" in word for word in found.words)
    if k == 0:
        assert any("supports no trait" in word for word in found.words)


@pytest.mark.parametrize("seed", range(4))
def test_planted_loadings_come_back_with_a_congruence_of_95(
    seed: int, planted: Callable[..., Any]
) -> None:
    made = planted(30, 30, 3, seed=seed)
    loadings = tidy(varimax(pca(made.matrix, 3).loadings)).loadings
    assert match(made.loadings, loadings).congruence.min() >= 0.95


def test_few_rows_are_said_to_be_too_few(planted: Callable[..., Any]) -> None:
    found = choose_number(planted(10, 10, 1).matrix, rng=np.random.default_rng(0))
    assert any("10 rows are too few to tell" in word for word in found.words)


def test_disagreement_is_said_in_words() -> None:
    # Three traits under much noise: permutations see the first, hidden cells gain by all.
    draw = np.random.default_rng(2)
    X = draw.normal(size=(14, 3)) @ draw.normal(size=(3, 12)) + 1.5 * draw.normal(size=(14, 12))
    found = choose_number(X, rng=np.random.default_rng(0), n_permutations=100)
    assert not found.agreed
    assert (
        "the rules disagree: parallel analysis finds 1 and cross-validation 3;"
        " traits beyond 1 are uncertain"
    ) in found.words


def test_cross_validation_leaves_missing_cells_out(planted: Callable[..., Any]) -> None:
    made = planted(30, 20, 2).matrix
    gone = np.random.default_rng(0).uniform(size=made.shape) < 0.15
    found = em_cross_validation(np.where(gone, np.nan, made), rng=np.random.default_rng(0))
    assert found.n_components == 2


def test_guessed_cells_do_not_vote_for_the_number(planted: Callable[..., Any]) -> None:
    noise = planted(20, 20, 0).matrix
    gone = np.random.default_rng(0).uniform(size=noise.shape) < 0.4
    # Guesses that follow one strong pattern: no evidence, however many they are.
    pattern = np.outer(np.linspace(-9, 9, 20), np.ones(20)) + 10
    filled = np.where(gone, pattern, noise)
    rng = np.random.default_rng(0)
    assert choose_number(filled, rng=rng, guessed=gone).n_components == 0
    assert choose_number(filled, rng=rng).n_components > 0


def test_the_unit_of_all_scores_does_not_change_the_number(planted: Callable[..., Any]) -> None:
    one = choose_number(planted(20, 15, 2).matrix, rng=np.random.default_rng(5))
    other = choose_number(planted(20, 15, 2, scale=1e-3).matrix, rng=np.random.default_rng(5))
    assert one.n_components == other.n_components
    np.testing.assert_allclose(other.cross_validation.rmse, 1e-3 * one.cross_validation.rmse)
    np.testing.assert_allclose(other.parallel.threshold, 1e-6 * one.parallel.threshold)


def test_permuted_eigenvalues_have_the_total_of_the_observed_ones() -> None:
    X = np.random.default_rng(0).normal(size=(12, 20))
    found = parallel_analysis(X, rng=np.random.default_rng(0), n_permutations=20, quantile=0.5)
    assert found.eigenvalues.sum() == pytest.approx(X.var(axis=0, ddof=1).sum())
    assert found.eigenvalues.shape == found.threshold.shape == (11,)
    assert (np.diff(found.threshold) <= 0).all()


def test_large_matrices_go_the_iterated_way_to_the_same_error(planted: Callable[..., Any]) -> None:
    made = planted(70, 70, 2, seed=1).matrix
    found = em_cross_validation(made, rng=np.random.default_rng(0), n_folds=4, n_repeats=1)
    # Rank 2 is the truth: the error is that of the noise, and more components only add to it.
    assert found.n_components == 2
    assert found.rmse[2] == pytest.approx(0.5, rel=0.06)
    assert (np.diff(found.rmse[2:]) > 0).all()


def test_map_is_undefined_where_a_variable_has_no_variance_left() -> None:
    values = velicer_map(np.corrcoef(np.random.default_rng(0).normal(size=(5, 8)), rowvar=False))
    assert np.isfinite(values[0])
    assert np.isnan(values[-1])


def test_a_matrix_without_variation_is_refused() -> None:
    flat = np.ones((6, 4))
    flat[:, 0] = np.arange(6)
    with pytest.raises(AnalysisError, match="1 of 4 columns vary"):
        choose_number(flat, rng=np.random.default_rng(0))
