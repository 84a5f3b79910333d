"""Missing cells are completed better than by effects alone, and never silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import AnalysisError
from transferlens.traits import complete, complete_by_one_component
from transferlens.traits.fill import additive_fit
from transferlens.traits.impute import held_out_folds


def holes(shape: tuple[int, int], share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape) < share


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("method", ["auto", "pca", "soft"])
def test_planted_components_are_used_and_beat_row_and_column_effects(
    method: Any, planted: Callable[..., Any]
) -> None:
    truth = planted(30, 20, 2, noise=0.3).matrix
    gone = holes(truth.shape, 0.15)
    done = complete(np.where(gone, np.nan, truth), rng=rng(), method=method)
    effects = additive_fit(truth[None], gone[None])[0]
    ours = np.sqrt(((done.values - truth)[gone] ** 2).mean())
    assert ours < 0.5 * np.sqrt(((effects - truth)[gone] ** 2).mean())
    # The error that is announced is the error that is made.
    assert done.rmse == pytest.approx(ours, rel=0.35)
    assert done.method != "additive"


def test_where_only_effects_are_real_hardly_anything_is_added_to_them() -> None:
    draw = np.random.default_rng(3)
    truth = draw.normal(size=(20, 1)) + 3 * draw.normal(size=(1, 15))
    seen = truth + 0.5 * draw.normal(size=truth.shape)
    gone = holes(truth.shape, 0.1)
    done = complete(np.where(gone, np.nan, seen), rng=rng())
    assert np.sqrt(((done.values - truth)[gone] ** 2).mean()) < 0.4
    assert done.rmse <= next(one.rmse for one in done.candidates if one.method == "additive")


def test_observed_cells_are_untouched_and_guesses_are_marked_and_said(
    planted: Callable[..., Any],
) -> None:
    matrix = planted(12, 10, 1).matrix
    matrix[2, 3] = np.nan
    done = complete(matrix, rng=rng())
    np.testing.assert_array_equal(done.values[~done.missing], matrix[~done.missing])
    assert np.argwhere(done.missing).tolist() == [[2, 3]]
    assert "1 of 120 cells are missing" in done.sentence()
    assert "take the guesses as known" in done.sentence()


def test_a_complete_matrix_stays_as_it_is() -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    done = complete(matrix, rng=rng())
    np.testing.assert_array_equal(done.values, matrix)
    assert done.sentence() == "no cell is missing"
    assert np.isnan(done.rmse)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_effects_alone_are_found_again_exactly(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=(8, 1)) + draw.normal(size=(1, 6))
    gone = holes(truth.shape, 0.2, seed)
    gone[:, 0] = gone[0] = False
    np.testing.assert_allclose(additive_fit(truth[None], gone[None])[0], truth, atol=1e-8)


@pytest.mark.parametrize(("factor", "shift"), [(100.0, 0.0), (-0.3, 5.0)])
def test_guesses_follow_the_unit_of_the_scores(factor: float, shift: float) -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(10, 2)) @ draw.normal(size=(2, 8))
    matrix = np.where(holes(truth.shape, 0.1), np.nan, truth)
    one = complete(matrix, rng=rng(), max_rank=2)
    other = complete(factor * matrix + shift, rng=rng(), max_rank=2)
    np.testing.assert_allclose(other.values, factor * one.values + shift, atol=2e-2 * abs(factor))


def test_no_fold_hides_the_last_cell_of_a_row_or_column() -> None:
    seen = ~holes((8, 6), 0.6)
    seen[:, 0] = seen[0] = True
    folds = held_out_folds(seen, rng=rng(), n_folds=3)
    for hidden in folds:
        left = seen & ~hidden
        assert left.any(axis=0).all()
        assert left.any(axis=1).all()
    assert (folds.sum(axis=0) <= 1).all()
    assert not (folds & ~seen).any()


def test_an_empty_row_or_column_is_named() -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    matrix[1] = np.nan
    with pytest.raises(AnalysisError, match="row 1 has no scored cell"):
        complete(matrix, rng=rng())
    with pytest.raises(AnalysisError, match="column 1 has no scored cell"):
        complete_by_one_component(matrix.T)


def test_a_matrix_in_which_nothing_can_be_hidden_is_completed_with_an_unknown_error() -> None:
    matrix = np.full((3, 3), np.nan)
    np.fill_diagonal(matrix, [1.0, 2.0, 3.0])
    done = complete(matrix, rng=rng())
    assert done.method == "additive"
    assert np.isnan(done.rmse)
    assert np.isfinite(done.values).all()


def test_large_matrices_are_filled_as_small_ones_are(planted: Callable[..., Any]) -> None:
    truth = planted(80, 70, 2, noise=0.3).matrix
    gone = holes(truth.shape, 0.05)
    done = complete(np.where(gone, np.nan, truth), rng=rng(), method="pca", n_folds=3)
    # What cannot be guessed is the noise.
    assert np.sqrt(((done.values - truth)[gone] ** 2).mean()) < 0.36


def test_regularised_filling_is_near_the_ppca_of_pcamethods(matrices: dict[str, Any]) -> None:
    truth = np.array(matrices["X"])
    gappy = np.array([[np.nan if x is None else x for x in row] for row in matrices["X_missing"]])
    gone = np.isnan(gappy)
    theirs = np.array(matrices["ppca_missing"]["completed"])

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(((values - truth)[gone] ** 2).mean()))

    assert error(complete(gappy, rng=rng()).values) < 1.1 * error(theirs)
