"""Bootstraps, leave-one-out and the warnings about one cell or one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transferlens.errors import AnalysisError
from transferlens.traits import (
    bootstrap_given,
    bootstrap_rows,
    each_alone,
    find_dominance,
    leave_one_row_out,
    pca,
    pca_fit,
)
from transferlens.traits.spectra import leading_triplets


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(5, 20, 8), (5, 8, 20), (3, 90, 110), (3, 110, 90)])
def test_stacked_components_are_those_of_the_svd_one_by_one(shape: tuple[int, int, int]) -> None:
    draw = rng()
    signal = draw.normal(size=(shape[0], shape[1], 2)) * [8, 5] @ draw.normal(size=(2, shape[2]))
    stack = signal + 0.3 * draw.normal(size=shape)
    parts = leading_triplets(stack, 2)
    for at, matrix in enumerate(stack):
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        np.testing.assert_allclose(parts.squared[at], s[:2] ** 2, rtol=1e-7)
        np.testing.assert_allclose(np.abs(parts.right[at].T @ vt[:2].T), np.eye(2), atol=1e-5)
        np.testing.assert_allclose(np.abs(parts.left[at].T @ u[:, :2]), np.eye(2), atol=1e-5)
        assert parts.total[at] == pytest.approx((s**2).sum())


@pytest.mark.parametrize("standardise", [False, True])
def test_the_batched_fit_is_the_single_one(
    *, standardise: bool, planted: Callable[..., Any]
) -> None:
    stack = np.stack([planted(20, 10, 2, seed=seed).matrix for seed in range(3)])
    batched = pca_fit(2, standardise=standardise)(stack)
    alone = each_alone(lambda one: pca(one, 2, standardise=standardise).loadings)(stack)
    np.testing.assert_allclose(np.abs(batched), np.abs(alone), atol=1e-7)


def test_strong_traits_are_stable_and_noise_is_not(planted: Callable[..., Any]) -> None:
    real = bootstrap_rows(planted(30, 12, 2).matrix, pca_fit(2), rng=rng(), n_resamples=200)
    assert (real.recovered > 0.75).all()
    noise = bootstrap_rows(planted(30, 12, 0).matrix, pca_fit(2), rng=rng(), n_resamples=200)
    assert (noise.median < 0.85).all()
    assert real.kind == "sources"


def test_intervals_leave_zero_out_on_the_traits_own_block_only(planted: Callable[..., Any]) -> None:
    made = planted(60, 12, 2, noise=0.8, seed=3)
    found = bootstrap_rows(made.matrix, pca_fit(2), rng=rng(), n_resamples=400)
    own = np.abs(made.loadings[:, 0]) > 0
    first = int(np.abs(pca(made.matrix, 2).loadings[own]).sum(axis=0).argmax())
    assert found.significant[own, first].all()
    assert found.significant[~own, first].mean() < 0.2
    assert (found.low <= found.high).all()


def test_intervals_over_examples_cover_the_truth_about_as_often_as_they_say() -> None:
    """Matrices with known loadings, observed with known error, resampled parametrically."""
    draw = rng(5)
    u = draw.normal(size=(20, 1))
    u = (u - u.mean()) / np.linalg.norm(u - u.mean())
    v = np.linspace(0.2, 1.0, 8)[:, None]
    truth = 10 * u @ v.T
    true = pca(truth, 1).loadings
    inside = []
    for _ in range(60):
        seen = truth + 0.4 * draw.normal(size=truth.shape)
        again = seen + 0.4 * draw.normal(size=(200, *truth.shape))
        found = bootstrap_given(again, pca_fit(1), reference=true)
        inside.append((found.low <= true) & (true <= found.high))
    assert np.mean(inside) > 0.88


def test_a_wider_level_gives_wider_intervals(planted: Callable[..., Any]) -> None:
    X = planted(20, 8, 1).matrix
    wide = bootstrap_rows(X, pca_fit(1), rng=rng(), n_resamples=100, level=0.99)
    narrow = bootstrap_rows(X, pca_fit(1), rng=rng(), n_resamples=100, level=0.8)
    assert (wide.high - wide.low > narrow.high - narrow.low).all()


def test_procrustes_alignment_asks_for_the_space_only() -> None:
    # Two traits of equal size: each is arbitrary, their plane is not.
    draw = rng(1)
    scores = np.linalg.qr(draw.normal(size=(40, 2)))[0] * 40
    X = scores @ np.linalg.qr(draw.normal(size=(10, 2)))[0].T + draw.normal(size=(40, 10))
    matched = bootstrap_rows(X, pca_fit(2), rng=rng(), n_resamples=100)
    turned = bootstrap_rows(X, pca_fit(2), rng=rng(), n_resamples=100, align="procrustes")
    assert turned.median.min() > 0.97
    assert turned.median.min() > matched.median.min()


def test_matrices_and_stacks_of_resamples_are_the_same(planted: Callable[..., Any]) -> None:
    draws = planted(15, 6, 1).matrix + rng().normal(size=(50, 15, 6))
    reference = pca_fit(1)(draws[:1])[0]
    whole = bootstrap_given([draws[:20], draws[20:]], pca_fit(1), reference=reference)
    single = bootstrap_given(iter(draws), pca_fit(1), reference=reference)
    np.testing.assert_allclose(whole.congruence, single.congruence)
    assert whole.kind == "examples"


def test_fits_that_fail_are_counted_not_hidden() -> None:
    def fit_one(matrix: np.ndarray) -> np.ndarray:
        if matrix[0, 0] > 0:
            msg = "no"
            raise AnalysisError(msg)
        return pca(matrix, 1).loadings

    draws = rng().normal(size=(60, 15, 6))
    found = bootstrap_given(draws, each_alone(fit_one), reference=pca(draws[0], 1).loadings)
    assert found.n_failed == int((draws[:, 0, 0] > 0).sum())
    assert len(found.congruence) == 60 - found.n_failed
    with pytest.raises(AnalysisError, match="could be fitted"):
        bootstrap_given(np.abs(draws), each_alone(fit_one), reference=np.ones((6, 1)))
    with pytest.raises(AnalysisError, match="no resampled matrix"):
        bootstrap_given([], pca_fit(1), reference=np.ones((6, 1)))


def test_the_source_without_which_a_trait_goes_is_found(planted: Callable[..., Any]) -> None:
    X = planted(15, 8, 1).matrix
    X[4] += np.where(np.arange(8) % 2, 40.0, -40.0)
    left = leave_one_row_out(X, pca_fit(1))
    assert left.worst_row == (4,)
    assert left.congruence[4, 0] < 0.7 < np.delete(left.congruence, 4, axis=0).min()


def test_a_component_of_one_cell_is_named(planted: Callable[..., Any]) -> None:
    X = planted(12, 10, 1, noise=0.3).matrix
    X[3, 7] -= 60
    (found,) = find_dominance(X, 1)
    assert (found.kind, found.row, found.column) == ("cell", 3, 7)
    assert found.share > 0.7
    assert found.explained_without < found.explained
    sentence = found.sentence([f"s{i}" for i in range(12)], [f"t{j}" for j in range(10)])
    assert "cell s3 → t7" in sentence


def test_a_component_of_one_row_is_named(planted: Callable[..., Any]) -> None:
    X = planted(20, 10, 1, noise=0.3).matrix
    X[5] += np.where(np.arange(10) % 2, 30.0, -30.0)
    (found,) = find_dominance(X, 1)
    assert (found.kind, found.row, found.column) == ("row", 5, None)
    assert found.congruence_without < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_spread_out_traits_raise_no_warning(seed: int, planted: Callable[..., Any]) -> None:
    assert find_dominance(planted(20, 12, 2, seed=seed).matrix, 2) == ()


def test_pure_noise_rarely_raises_a_warning() -> None:
    found = [find_dominance(rng(seed).normal(size=(10, 8)), 2) for seed in range(60)]
    assert np.mean([bool(one) for one in found]) <= 0.1
