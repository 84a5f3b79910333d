"""Principal components, their parts by name, and the units they are taken in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition
from sklearn.preprocessing import StandardScaler

from transferlens.errors import AnalysisError
from transferlens.traits import (
    logit_scores,
    non_negative,
    paper_pca,
    pca,
    prepare,
    sparse_components,
    zscores,
)

seeds = st.integers(0, 2**32 - 1)


def table(seed: int, n: int = 9, p: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(5, 3, (n, p)) * rng.uniform(0.5, 4, p)


@given(seed=seeds, standardise=st.booleans())
@settings(max_examples=30, deadline=None)
def test_u_s_and_v_multiply_to_the_matrix(*, seed: int, standardise: bool) -> None:
    X = table(seed)
    parts = pca(X, standardise=standardise)
    again = parts.centre + parts.scale * (parts.left * parts.singular @ parts.right.T)
    np.testing.assert_allclose(again, X, atol=1e-9)
    np.testing.assert_allclose(parts.right.T @ parts.right, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(parts.left.T @ parts.left, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(parts.standard_scores.var(axis=0, ddof=1), 1, atol=1e-9)
    assert parts.explained.sum() == pytest.approx(1)
    np.testing.assert_allclose(parts.communalities, 1, atol=1e-9)


def test_components_are_those_of_scikit_learn() -> None:
    X = table(1)
    theirs = decomposition.PCA(3).fit(StandardScaler().fit_transform(X))
    ours = pca(X, 3, standardise=True)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs(ours.right.T), np.abs(theirs.components_), atol=1e-9)


def test_loadings_of_z_scores_are_correlations_with_the_trait_scores() -> None:
    X = table(2)
    parts = pca(X, 3, standardise=True)
    both = np.corrcoef(np.hstack([X, parts.standard_scores]), rowvar=False)
    np.testing.assert_allclose(parts.loadings, both[:6, 6:], atol=1e-9)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_permuting_rows_permutes_scores_and_leaves_loadings(seed: int) -> None:
    X = table(seed)
    order = np.random.default_rng(seed).permutation(len(X))
    one, other = pca(X, 3), pca(X[order], 3)
    np.testing.assert_allclose(other.loadings, one.loadings, atol=1e-8)
    np.testing.assert_allclose(other.scores, one.scores[order], atol=1e-8)


@given(seed=seeds, factor=st.floats(0.01, 100), shift=st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_a_metric_does_not_matter_to_z_scores(
    seed: int, factor: float, shift: float
) -> None:
    X = table(seed)
    scaled = X.copy()
    scaled[:, 2] = factor * scaled[:, 2] + shift
    one, other = pca(X, 3, standardise=True), pca(scaled, 3, standardise=True)
    np.testing.assert_allclose(np.abs(other.loadings), np.abs(one.loadings), atol=1e-6)
    np.testing.assert_allclose(zscores(scaled), zscores(X), atol=1e-7)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_turning_every_score_round_only_turns_signs(seed: int) -> None:
    X = table(seed)
    np.testing.assert_allclose(np.abs(pca(-X, 3).loadings), np.abs(pca(X, 3).loadings), atol=1e-8)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_raw_scores_and_gains_have_the_same_traits(seed: int) -> None:
    X = table(seed)
    gains = prepare(X, "gain", base=X[0])
    np.testing.assert_allclose(pca(gains, 3).loadings, pca(X, 3).loadings, atol=1e-8)


def test_the_papers_convention_is_the_svd_of_base_and_adapters_with_centred_columns() -> None:
    X = table(3, n=11, p=10)
    ours = paper_pca(X[1:], X[0])
    u, s, vt = np.linalg.svd(X - X.mean(axis=0))
    np.testing.assert_allclose(np.abs(ours.weights), np.abs(u[:, :4]), atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.loadings), np.abs(vt[:4].T), atol=1e-9)
    np.testing.assert_allclose(ours.explained, (s**2 / (s**2).sum())[:4])
    np.testing.assert_allclose(ours.weights.T @ ours.weights, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(ours.weights.sum(axis=0), 0, atol=1e-9)


def test_normalised_gains_are_shares_of_the_headroom() -> None:
    got = prepare(np.array([[0.6, 1.0], [0.4, np.nan]]), "normalized_gain", base=[0.4, 1.0])
    np.testing.assert_allclose(got, [[1 / 3, np.nan], [0, np.nan]])


def test_log_odds_stay_finite_and_know_how_many_examples_there_were() -> None:
    got = logit_scores(np.array([0.0, 0.5, 1.0, np.nan]), n_scored=np.array([10, 10, np.nan, 5]))
    np.testing.assert_allclose(got, [-np.log(21), 0, np.log(2001), np.nan])


def test_z_scores_skip_unscored_cells_and_give_zero_where_nothing_varies() -> None:
    got = zscores(np.array([[1.0, 7.0, np.nan], [3.0, 7.0, np.nan], [np.nan, 7.0, np.nan]]))
    half = np.sqrt(0.5)
    expected = [[-half, 0, np.nan], [half, 0, np.nan], [np.nan, 0, np.nan]]
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: prepare(table(0), "gian"), "Did you mean 'gain'"),
        (lambda: prepare(table(0), "gain"), "needs the base model's scores"),
        (lambda: prepare(table(0), "gain", base=[1.0]), "one score for each of the 6 targets"),
        (lambda: logit_scores(np.array([50.0])), "divide percentages by 100"),
        (lambda: pca(np.full((4, 3), np.nan)), "12 of 12 cells are missing"),
        (lambda: pca(np.full((4, 3), np.inf)), "is infinite"),
        (lambda: pca(table(0), 7), "1 to 6 exist"),
        (lambda: pca(np.zeros(3)), "rows and columns"),
        (lambda: non_negative(-np.eye(4), 2), "raw scores, not gains"),
    ],
)
def test_what_cannot_be_decomposed_is_said_in_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(AnalysisError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_non_negative_traits_add_up_to_the_matrix_they_were_made_of() -> None:
    rng = np.random.default_rng(0)
    W, H = rng.uniform(size=(20, 2)), np.kron(np.eye(2), np.ones(5)) * rng.uniform(0.5, 2, 10)
    parts = non_negative(W @ H, 2)
    assert parts.loadings.min() >= 0
    assert parts.scores.min() >= 0
    np.testing.assert_allclose(parts.scores @ parts.loadings.T, W @ H, atol=1e-2)


def test_sparse_traits_load_on_their_own_block_and_are_zero_elsewhere(
    planted: Callable[..., Any],
) -> None:
    made = planted(30, 12, 2, noise=0.2)
    parts = sparse_components(made.matrix, 2, rng=np.random.default_rng(0))
    blocks = parts.loadings.reshape(2, 6, 2)
    own = int(np.abs(blocks[:, :, 0]).sum(axis=1).argmax())
    assert np.count_nonzero(blocks[own, :, 0]) == np.count_nonzero(blocks[1 - own, :, 1]) == 6
    assert np.count_nonzero(blocks[1 - own, :, 0]) == np.count_nonzero(blocks[own, :, 1]) == 0
    assert parts.explained[0] > parts.explained[1] > 0.1
