"""What rotations and matchings may not change, and what they must find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation as SpatialRotation

from transferlens.errors import AnalysisError
from transferlens.traits import (
    congruence,
    correlation,
    factor_analysis,
    factor_scores,
    match,
    oblimin,
    procrustes,
    promax,
    tidy,
    varimax,
)

seeds = st.integers(0, 2**32 - 1)
ROTATIONS = {
    "varimax": varimax,
    "promax": promax,
    "oblimin": lambda A: oblimin(A, rng=np.random.default_rng(0), n_starts=3),
}


def simple(seed: int, p: int = 12, k: int = 3) -> np.ndarray:
    """Loadings with simple structure: each variable on one factor, and a little elsewhere."""
    rng = np.random.default_rng(seed)
    own = np.eye(k)[np.arange(p) % k] * rng.uniform(0.5, 0.9, (p, 1))
    return own + rng.uniform(-0.05, 0.05, (p, k))


def turn(seed: int) -> np.ndarray:
    return SpatialRotation.random(rng=np.random.default_rng(seed)).as_matrix()


@pytest.mark.parametrize("name", ROTATIONS)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_rotation_explains_the_same_correlations(name: str, seed: int) -> None:
    A = simple(seed)
    turned = ROTATIONS[name](A)
    np.testing.assert_allclose(turned.loadings @ turned.phi @ turned.loadings.T, A @ A.T, atol=1e-8)
    np.testing.assert_allclose(np.diag(turned.phi), 1, atol=1e-8)


@pytest.mark.parametrize("name", ROTATIONS)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_simple_structure_is_found_again_from_any_start(name: str, seed: int) -> None:
    A = simple(seed)
    found = ROTATIONS[name](A @ turn(seed))
    assert match(A, found.loadings).congruence.min() > 0.99


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotated_scores_still_give_the_same_fitted_matrix(name: str) -> None:
    A = simple(0)
    F = np.random.default_rng(0).normal(size=(20, 3))
    turned = ROTATIONS[name](A)
    np.testing.assert_allclose(turned.scores(F) @ turned.loadings.T, F @ A.T, atol=1e-8)


@given(seed=seeds, signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_signs_and_order_of_the_input_do_not_change_a_tidy_solution(
    seed: int, signs: list[float]
) -> None:
    A = simple(seed)
    order = np.random.default_rng(seed).permutation(3)
    np.testing.assert_allclose(
        tidy(varimax((A * signs)[:, order])).loadings, tidy(varimax(A)).loadings, atol=1e-6
    )


def test_random_starts_leave_a_stationary_point_in_which_one_start_stays() -> None:
    # Every variable loads on both factors alike: no step improves this, a turn by 45° does.
    A = np.array([[1.0, 1.0], [1.0, -1.0]] * 3)
    one = oblimin(A, rng=np.random.default_rng(0), n_starts=1)
    many = oblimin(A, rng=np.random.default_rng(0))
    assert one.criterion == pytest.approx(3.0)
    assert many.criterion == pytest.approx(0.0, abs=1e-9)
    assert (np.abs(many.loadings).min(axis=1) < 1e-6).all()


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_matching_undoes_any_order_and_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(8, 3))
    order, sign = rng.permutation(3), rng.choice([-1.0, 1.0], 3)
    matched = match(A, (A * sign)[:, order])
    np.testing.assert_allclose(matched.apply((A * sign)[:, order]), A, atol=1e-12)
    np.testing.assert_allclose(matched.congruence, 1)


def test_congruence_ignores_scale_and_gives_zero_for_an_empty_column() -> None:
    A = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(np.diag(congruence(A, A * [3.0, -0.1])), [1, -1])
    np.testing.assert_array_equal(congruence(A, np.zeros((5, 1))), [[0], [0]])


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_procrustes_undoes_a_turn_a_shift_and_a_scale(seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(7, 3))
    moved = 2.5 * X @ turn(seed) + [1.0, -2.0, 3.0]
    fit = procrustes(X, moved, scale=True, translate=True)
    np.testing.assert_allclose(fit.fitted, X, atol=1e-9)
    assert fit.scale == pytest.approx(1 / 2.5)
    np.testing.assert_allclose(fit.scale * moved @ fit.rotation + fit.translation, X, atol=1e-9)


def test_loadings_on_other_variables_cannot_be_compared() -> None:
    with pytest.raises(AnalysisError, match="5 and 6 variables"):
        congruence(np.ones((5, 1)), np.ones((6, 1)))
    with pytest.raises(AnalysisError, match="cannot be matched"):
        match(np.ones((5, 2)), np.ones((5, 1)))


def test_factors_of_exact_correlations_are_the_planted_ones() -> None:
    A = simple(0)
    R = A @ A.T
    np.fill_diagonal(R, 1.0)
    for method in ("minres", "ml"):
        found = tidy(varimax(factor_analysis(R, 3, method=method).loadings)).loadings
        assert match(A, found).congruence.min() > 0.999
        np.testing.assert_allclose((found**2).sum(axis=1), (A**2).sum(axis=1), atol=1e-4)


def test_factor_scores_follow_the_planted_factors() -> None:
    rng = np.random.default_rng(0)
    A, F = simple(0, p=30), rng.normal(size=(200, 3))
    X = F @ A.T + rng.normal(size=(200, 30)) * np.sqrt(1 - (A**2).sum(axis=1))
    scores = factor_scores((X - X.mean(axis=0)) / X.std(axis=0, ddof=1), A)
    for at in range(3):
        assert np.corrcoef(scores[:, at], F[:, at])[0, 1] > 0.9


def test_a_heywood_case_is_named() -> None:
    R = np.array([[1, 0.9, 0.9], [0.9, 1, 0.7], [0.9, 0.7, 1]])
    assert factor_analysis(R, 1).heywood == (0,)


def test_maximum_likelihood_with_fewer_rows_than_columns_points_to_minres() -> None:
    R = correlation(np.random.default_rng(0).normal(size=(6, 10)))
    with pytest.raises(AnalysisError, match="method='minres'"):
        factor_analysis(R, 2, method="ml")
    assert factor_analysis(R, 2).loadings.shape == (10, 2)
