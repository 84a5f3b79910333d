"""Smallest detectable effects, and intervals of one score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.proportion import proportion_confint

from transferlens import stats
from transferlens.errors import AnalysisError

shares = st.floats(0.05, 0.9)


def test_the_smallest_detectable_difference_is_the_rule_of_thumb():
    got = stats.detectable_difference([0.2, 0.2], [200, 1000])
    assert got == pytest.approx(2.8 * np.sqrt(0.2 / np.array([200, 1000])), rel=0.01)
    assert np.round(100 * got, 1).tolist() == pytest.approx([8.8, 4.0], abs=0.11)


@given(psi=shares, n=st.integers(50, 5_000))
def test_power_and_numbers_invert_the_detectable_difference(psi, n):
    difference = stats.detectable_difference(psi, n)
    if difference < psi:
        # The far tail adds a little to the 80 percent of the near one.
        assert stats.mcnemar_power(difference, psi, n_scored=n) == pytest.approx(0.8, abs=1e-4)
        assert stats.examples_needed(difference, psi) == pytest.approx(n, abs=1.001)


def test_mcnemar_power_is_what_a_simulation_shows():
    rng = np.random.default_rng(0)
    gained, lost, _ = rng.multinomial(300, [0.16, 0.09, 0.75], size=20_000).T
    found = stats.mcnemar_p_value(gained, lost) <= 0.05
    # The normal approximation is good to about two points; simulation error is 0.3.
    assert stats.mcnemar_power(0.07, 0.25, n_scored=300) == pytest.approx(found.mean(), abs=0.02)


@given(n=st.integers(20, 5_000))
def test_where_models_hardly_differ_all_disagreements_go_one_way(n):
    for psi in (0.0, 0.5 / n):
        difference = stats.detectable_difference(psi, n)
        power = stats.mcnemar_power(difference, difference * (1 + 1e-9), n_scored=n)
        assert power == pytest.approx(0.8, abs=1e-4)


def test_effects_beyond_the_discordance_cannot_be():
    assert np.isnan(stats.detectable_difference(0.01, 3))
    assert np.isnan(stats.detectable_difference(0.2, 0))
    assert np.isnan(stats.mcnemar_power(0.3, 0.2, n_scored=100))
    assert np.isnan(stats.examples_needed(0.3, 0.2))
    assert np.isinf(stats.examples_needed(0.0, 0.2))
    with pytest.raises(AnalysisError, match=r"1\.5 lies outside"):
        stats.detectable_difference(1.5, 100)


@pytest.mark.parametrize("df", [4, 8, 20, 200])
def test_the_detectable_effect_has_80_percent_power_under_the_noncentral_t(df):
    effect = float(stats.detectable_effect(1.0, df=df))
    limit = sps.t.ppf(0.975, df)
    for factor, compare in ((0.98, np.less), (1.02, np.greater)):
        power = sps.nct.sf(limit, df, factor * effect)
        assert compare(power, 0.8)


def test_the_detectable_effect_of_seeds_uses_the_two_way_standard_error():
    d = np.random.default_rng(0).normal(0, 1, (5, 3, 100))
    test = stats.two_way_test(d)
    effect = stats.detectable_effect(test.standard_error, df=test.df)
    factor = sps.t.ppf(0.975, test.df) + sps.t.ppf(0.8, test.df)
    assert effect == pytest.approx(factor * test.standard_error)
    assert (effect > 2.8 * test.standard_error).all()


def test_wilson_and_clopper_pearson_agree_with_r(shared):
    oracle = json.loads((shared / "oracles" / "tests_multiplicity.json").read_text())["prop_ci"]
    for method, key in {"wilson": "wilson", "clopper-pearson": "clopper"}.items():
        got = stats.proportion_interval(oracle["x"], oracle["n"], method=method)
        assert np.array(got) == pytest.approx(oracle[key], rel=1e-9)


@given(n=st.integers(1, 400), share=st.floats(0, 1), confidence=st.floats(0.5, 0.99))
def test_intervals_agree_with_statsmodels_and_hold_the_score(n, share, confidence):
    x = round(share * n)
    for ours, theirs in {"wilson": "wilson", "clopper-pearson": "beta"}.items():
        got = stats.proportion_interval(x, n, method=ours, confidence=confidence)
        expected = proportion_confint(x, n, alpha=1 - confidence, method=theirs)
        assert np.array(got) == pytest.approx(np.array(expected), abs=1e-9)
        assert got.low <= x / n <= got.high


@given(n=st.integers(1, 400), share=st.floats(0, 1))
def test_counting_wrong_answers_mirrors_the_interval(n, share):
    x = round(share * n)
    for method in ("wilson", "clopper-pearson", "jeffreys"):
        right = stats.proportion_interval(x, n, method=method)
        wrong = stats.proportion_interval(n - x, n, method=method)
        assert right.low == pytest.approx(1 - wrong.high, abs=1e-9)


def test_the_jeffreys_interval_covers_on_average_at_small_n_and_is_closed_at_the_ends():
    x, n = np.arange(11), 10
    got = stats.proportion_interval(x, np.full(11, n), method="jeffreys")
    p = np.linspace(0.005, 0.995, 397)[:, None]
    covered = (sps.binom.pmf(x, n, p) * ((got.low <= p) & (p <= got.high))).sum(axis=1)
    assert covered.mean() == pytest.approx(0.95, abs=0.015)
    assert (got.low[0], got.high[-1]) == (0.0, 1.0)


def test_nothing_scored_has_no_interval_and_impossible_counts_are_refused():
    for method in ("wilson", "clopper-pearson", "jeffreys"):
        assert np.isnan(stats.proportion_interval([0, 3], [0, 10], method=method).low).tolist() == [
            True,
            False,
        ]
    with pytest.raises(AnalysisError, match="counts, not shares"):
        stats.proportion_interval(11, 10)
    with pytest.raises(AnalysisError, match="Did you mean 'wilson'"):
        stats.proportion_interval(1, 10, method="wilsn")


def test_the_interval_of_a_graded_mean_is_students():
    scores = np.random.default_rng(0).normal(0.4, 0.1, (3, 50))
    scores[1, :5] = np.nan
    got = stats.mean_interval(scores)
    for i in range(3):
        kept = scores[i][~np.isnan(scores[i])]
        expected = sps.ttest_1samp(kept, 0).confidence_interval()
        assert (got.low[i], got.high[i]) == pytest.approx((expected.low, expected.high))
    boot = stats.bootstrap_mean_interval(scores, rng=np.random.default_rng(1), n_resamples=4_000)
    assert boot.low == pytest.approx(got.low, abs=0.005)
    assert np.isnan(stats.mean_interval([[0.4, np.nan]]).low[0])
