"""Three ways to say a gain agree with their definitions and with each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transferlens.errors import AnalysisError
from transferlens.metrics import gain, normalized_gain, perfection_gap_factor

SCORES = hnp.arrays(float, 6, elements=st.floats(0, 1) | st.just(np.nan))
BASES = hnp.arrays(float, 6, elements=st.floats(0, 0.99))
FINITE = hnp.arrays(float, 6, elements=st.floats(0, 1))


def test_by_hand():
    assert gain(0.7, 0.4) == pytest.approx(0.3)
    assert normalized_gain(0.7, 0.4) == pytest.approx(0.5)
    assert perfection_gap_factor(0.7, 0.4) == pytest.approx(0.5)
    assert normalized_gain(0.1, 0.4) == pytest.approx(-0.5)
    assert perfection_gap_factor(0.1, 0.4) == pytest.approx(1.5)
    assert normalized_gain(70, 40, ceiling=100) == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(SCORES, BASES)
def test_the_two_shares_of_the_headroom_add_up_to_1(score, base):
    total = normalized_gain(score, base) + perfection_gap_factor(score, base)
    np.testing.assert_array_equal(np.isnan(total), np.isnan(score))
    np.testing.assert_allclose(total[~np.isnan(total)], 1)


@settings(deadline=None, max_examples=50)
@given(SCORES, BASES, st.floats(0.01, 100), st.floats(-100, 100))
def test_another_unit_or_origin_changes_no_share(score, base, unit, origin):
    plain = normalized_gain(score, base)
    moved = normalized_gain(score * unit + origin, base * unit + origin, ceiling=unit + origin)
    np.testing.assert_allclose(moved, plain, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(SCORES, BASES)
def test_exchanging_adapter_and_base_negates_the_gain(score, base):
    np.testing.assert_array_equal(gain(score, base), -gain(base, score))


@settings(deadline=None, max_examples=50)
@given(BASES, BASES, BASES)
def test_factors_of_successive_adaptations_multiply(first, second, third):
    steps = perfection_gap_factor(second, first) * perfection_gap_factor(third, second)
    np.testing.assert_allclose(steps, perfection_gap_factor(third, first), rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(BASES)
def test_no_change_is_no_transfer_and_perfection_is_all_of_it(base):
    np.testing.assert_allclose(normalized_gain(base, base), 0, atol=1e-12)
    np.testing.assert_array_equal(normalized_gain(np.ones(6), base), 1)


@settings(deadline=None, max_examples=50)
@given(FINITE, FINITE)
def test_the_sign_is_that_of_the_raw_gain(score, base):
    share = normalized_gain(score, base)
    clear = ~np.isnan(share) & (np.abs(score - base) > 1e-9)
    np.testing.assert_array_equal(np.sign(share[clear]), np.sign(gain(score, base)[clear]))


def test_without_headroom_or_ceiling_or_score_the_share_is_undefined():
    score = np.array([1.0, 0.5, np.nan, 0.5])
    base = np.array([1.0, 1.0, 0.5, 0.2])
    ceiling = np.array([1.0, 1.0, 1.0, np.nan])
    for function in (normalized_gain, perfection_gap_factor):
        assert np.isnan(function(score, base, ceiling=ceiling)).all()
    assert np.isnan(gain(np.nan, 0.5))


def test_a_score_above_its_ceiling_asks_for_the_unit():
    with pytest.raises(AnalysisError, match=r"a score of 70 exceeds the ceiling 1; is it in perc"):
        normalized_gain(70, 0.4)
    with pytest.raises(AnalysisError, match=r"a base score of 40 exceeds the ceiling 1"):
        perfection_gap_factor(0.7, 40)
    assert normalized_gain(1 + 1e-12, 0.5) == 1


def test_shapes_are_broadcast():
    assert normalized_gain(np.full((3, 4, 2), 0.5), np.full((4, 1), 0.2)).shape == (3, 4, 2)
    ceilings = np.array([1.0, 2.0])
    np.testing.assert_allclose(normalized_gain(0.5, 0.0, ceiling=ceilings), [0.5, 0.25])
