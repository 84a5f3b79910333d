"""Exact stratified odds ratios against scipy, enumeration and their nominal level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.stats.contingency import odds_ratio

from transferlens.errors import AnalysisError
from transferlens.explain.linguistics import exact_odds_ratio

TABLES = [(7, 1, 5, 9), (3, 4, 10, 2), (0, 6, 9, 8), (6, 0, 2, 9), (40, 22, 31, 57)]


def spread(table: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1.0, 0.0, 1.0, 0.0], table), np.repeat([1.0, 1.0, 0.0, 0.0], table)


@pytest.mark.parametrize("table", TABLES)
def test_one_stratum_is_fishers_conditional_odds_ratio(table: tuple[int, ...]) -> None:
    y, x = spread(table)
    ours = exact_odds_ratio(y, x, np.zeros(len(y)))
    theirs = odds_ratio(np.reshape(table, (2, 2)))
    interval = theirs.confidence_interval(0.95)
    assert ours.estimate == pytest.approx(theirs.statistic, rel=1e-6)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    sides = [
        stats.fisher_exact(np.reshape(table, (2, 2)), alternative=side).pvalue
        for side in ("less", "greater")
    ]
    assert ours.p_value == pytest.approx(min(1.0, 2 * min(sides)), rel=1e-9)


def test_several_strata_are_the_enumeration_of_all_ways_to_deal_the_feature() -> None:
    y = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1.0])
    x = np.array([1, 0, 1, 0, 0, 1, 0, 1, 1.0])
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    dealt = [
        itertools.combinations(np.flatnonzero(strata == s), int(x[strata == s].sum()))
        for s in (0, 1)
    ]
    counts = [y[list(itertools.chain(*pieces))].sum() for pieces in itertools.product(*dealt)]
    observed = (x * y).sum()
    upper, lower = np.mean(np.array(counts) >= observed), np.mean(np.array(counts) <= observed)
    expected = min(1.0, 2 * min(upper, lower))
    assert exact_odds_ratio(y, x, strata).p_value == pytest.approx(expected, rel=1e-9)


def test_a_stratum_without_contrast_changes_nothing() -> None:
    y, x = spread((7, 1, 5, 9))
    alone = exact_odds_ratio(y, x, np.zeros(len(y)))
    more = exact_odds_ratio(
        np.append(y, [1.0] * 5), np.append(x, [1.0, 0, 1, 0, 1]), np.append(0 * y, [1.0] * 5)
    )
    assert more == pytest.approx(alone, rel=1e-9)


def test_swapping_outcome_or_feature_inverts_the_odds_ratio() -> None:
    y, x = spread((12, 3, 9, 14))
    strata = np.arange(len(y)) % 3
    one = exact_odds_ratio(y, x, strata)
    for other in (exact_odds_ratio(1 - y, x, strata), exact_odds_ratio(y, 1 - x, strata)):
        assert other.estimate == pytest.approx(1 / one.estimate, rel=1e-6)
        assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low), rel=1e-6)
        assert other.p_value == pytest.approx(one.p_value, rel=1e-9)


def test_the_interval_excludes_1_exactly_where_the_test_rejects() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        y, x = (rng.random((2, 40)) < (0.5, 0.25)[rng.integers(2)]).astype(float)
        found = exact_odds_ratio(y, x, np.arange(40) % 4)
        if not np.isnan(found.p_value):
            assert (found.p_value < 0.05) == (not found.low <= 1 <= found.high)


def test_the_level_is_never_exceeded() -> None:
    rng = np.random.default_rng(4)
    p = [
        exact_odds_ratio(rng.random(60) < 0.6, rng.random(60) < 0.15, np.arange(60) % 4).p_value
        for _ in range(1_000)
    ]
    # Four standard errors above 5 %.
    assert np.mean(np.array(p) < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1_000)


def test_nothing_to_compare_is_nan() -> None:
    assert np.isnan(exact_odds_ratio([1, 0, 1], [1, 1, 1], [0, 0, 0])).all()
    assert np.isnan(exact_odds_ratio([1, 1, 0], [1, 0, 1], [0, 0, 1])).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(AnalysisError, match="0 or 1"):
        exact_odds_ratio([0.5], [1], [0])
    with pytest.raises(AnalysisError, match="as many"):
        exact_odds_ratio([1, 0], [1], [0])
