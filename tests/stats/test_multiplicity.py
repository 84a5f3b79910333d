"""Adjusted p-values, against R and scipy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from statsmodels.stats.multitest import multipletests

from transferlens import stats
from transferlens.errors import AnalysisError
from transferlens.stats import arrays

METHODS = {"bh": "fdr_bh", "by": "fdr_by", "holm": "holm", "bonferroni": "bonferroni"}
p_values = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_agrees_with_r_on_the_table_of_benjamini_and_hochberg(shared):
    oracle = json.loads((shared / "oracles" / "tests_multiplicity.json").read_text())
    for method in ("bh", "by", "holm"):
        got = stats.adjust_p_values(oracle["p"], method=method)
        assert got == pytest.approx(np.array(oracle[method]), rel=1e-13), method
    found = stats.adjust_p_values(oracle["p"]) <= 0.05
    assert found.sum() == oracle["n_bh_05"]


@settings(max_examples=25)
@given(p=p_values)
def test_agrees_with_statsmodels(p):
    for ours, theirs in METHODS.items():
        expected = multipletests(p, method=theirs)[1]
        assert stats.adjust_p_values(p, method=ours) == pytest.approx(expected)


@given(p=p_values, seed=st.integers(0, 99))
def test_the_order_of_the_tests_does_not_matter(p, seed):
    order = generator(seed).permutation(len(p))
    for method in METHODS:
        adjusted = stats.adjust_p_values(p, method=method)
        assert stats.adjust_p_values(p[order], method=method) == pytest.approx(adjusted[order])


@given(p=p_values)
def test_an_unmade_test_stays_nan_and_does_not_count(p):
    with_gaps = np.full(2 * len(p), np.nan)
    with_gaps[::2] = p
    for method in METHODS:
        adjusted = stats.adjust_p_values(with_gaps, method=method)
        assert np.isnan(adjusted[1::2]).all()
        assert np.array_equal(adjusted[::2], stats.adjust_p_values(p, method=method))


def test_the_shape_is_kept_and_all_cells_are_one_family():
    p = np.array([[0.01, 0.04], [0.03, np.nan]])
    got = stats.adjust_p_values(p)
    assert got.shape == (2, 2)
    assert np.array_equal(got[~np.isnan(p)], stats.adjust_p_values([0.01, 0.04, 0.03]))
    assert np.array_equal(stats.adjust_p_values(p, method="none"), p, equal_nan=True)
    assert np.isnan(stats.adjust_p_values([np.nan])).all()


def test_wrong_input_is_named():
    with pytest.raises(AnalysisError, match=r"1\.2 lies outside"):
        stats.adjust_p_values([0.1, 1.2])
    with pytest.raises(AnalysisError, match="Did you mean 'holm'"):
        stats.adjust_p_values([0.1], method="holmm")


def tables(effect: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    rng = generator(seed)
    first = rng.normal(0, 1, (4, 50)) + rng.normal(0, 1, 50)
    second = rng.normal(0, 1, (3, 80))
    first[0] += effect
    return [first, second]


def test_max_t_of_one_cell_is_its_sign_flip_test():
    cell = generator(1).normal(0.25, 1, (1, 60))
    (adjusted,) = stats.max_t([cell], rng=generator(2))
    raw = stats.sign_flip_cells(cell, np.zeros(60), rng=generator(3)).p_value
    # Two Monte-Carlo estimates from 9,999 flips.
    assert adjusted == pytest.approx(raw, abs=0.015)


def test_max_t_of_identical_cells_asks_for_no_correction_where_holm_does():
    cell = generator(1).normal(0.3, 1, (1, 60))
    (alone,) = stats.max_t([cell], rng=generator(2))
    (copies,) = stats.max_t([np.repeat(cell, 20, axis=0)], rng=generator(2))
    assert copies == pytest.approx(np.repeat(alone, 20))
    assert stats.adjust_p_values(np.repeat(alone, 20), method="holm")[0] > 5 * alone[0]


def test_max_t_is_never_below_the_raw_p_value_and_step_down_never_above_single_step():
    data = tables(effect=0.8)
    down = np.concatenate(stats.max_t(data, rng=generator()))
    single = np.concatenate(stats.max_t(data, rng=generator(), step_down=False))
    raw = np.concatenate(
        [stats.sign_flip_cells(t, np.zeros(t.shape[1]), rng=generator(9)).p_value for t in data]
    )
    assert (down <= single).all()
    assert (down >= raw - 0.02).all()
    assert down[0] < 0.01
    assert (down < single).any()


def test_max_t_is_invariant_to_each_targets_unit_and_sign():
    data = tables(effect=0.5)
    first = stats.max_t(data, rng=generator(), n_resamples=499)
    other = stats.max_t([100 * data[0], -0.01 * data[1]], rng=generator(), n_resamples=499)
    for a, b in zip(first, other, strict=True):
        assert np.array_equal(a, b)


def test_max_t_does_not_depend_on_chunks_and_repeats_with_its_seed(monkeypatch):
    first = stats.max_t(tables(), rng=generator(), n_resamples=499)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 8 * 80 * 7)
    second = stats.max_t(tables(), rng=generator(), n_resamples=499)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a, b)


def test_max_t_passes_over_cells_without_scores():
    data = tables()
    data[0][2] = np.nan
    data[1][0] = 0.0
    first, second = stats.max_t(data, rng=generator(), n_resamples=99)
    assert np.isnan(first).tolist() == [False, False, True, False]
    assert second[0] == 1.0
    assert stats.max_t([], rng=generator()) == []
