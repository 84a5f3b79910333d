"""McNemar's test, against R, scipy and statsmodels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from transferlens import stats
from transferlens.errors import AnalysisError

counts = st.integers(0, 300)
binary = hnp.arrays(np.float64, (2, 40), elements=st.sampled_from([0.0, 1.0, np.nan]))


def test_all_four_variants_agree_with_r(shared):
    oracle = json.loads((shared / "oracles" / "tests_multiplicity.json").read_text())["mcnemar"]
    (_, gained), (lost, _) = oracle["table"]
    keys = {"mid-p": "midp", "exact": "exact", "chi2": "p_nocc", "chi2-corrected": "p_cc"}
    for method, key in keys.items():
        p = stats.mcnemar_p_value(gained, lost, method=method)
        assert p == pytest.approx(oracle[key], rel=1e-9), method


@given(gained=counts, lost=counts)
def test_the_exact_variant_is_scipys_binomial_test(gained, lost):
    if gained + lost == 0:
        assert stats.mcnemar_p_value(gained, lost, method="exact") == 1.0
        return
    expected = sps.binomtest(gained, gained + lost).pvalue
    assert stats.mcnemar_p_value(gained, lost, method="exact") == pytest.approx(expected)


def test_agrees_with_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[30, 12], [5, 53]]
    for method, settings in {
        "exact": {"exact": True},
        "chi2": {"exact": False, "correction": False},
        "chi2-corrected": {"exact": False, "correction": True},
    }.items():
        expected = mcnemar(table, **settings).pvalue
        assert stats.mcnemar_p_value(12, 5, method=method) == pytest.approx(expected)


@given(gained=counts, lost=counts)
def test_the_mid_p_value_lies_between_half_the_exact_one_and_the_exact_one(gained, lost):
    exact = stats.mcnemar_p_value(gained, lost, method="exact")
    mid = stats.mcnemar_p_value(gained, lost)
    assert exact / 2 - 1e-12 <= mid <= exact + 1e-12


@pytest.mark.parametrize("method", ["mid-p", "exact", "chi2", "chi2-corrected"])
def test_equal_counts_speak_for_no_difference(method):
    assert stats.mcnemar_p_value([0, 1, 7], [0, 1, 7], method=method) == pytest.approx(1.0)


@given(scores=binary, seed=st.integers(0, 99))
def test_swapping_models_negates_the_estimate_and_permuting_examples_changes_nothing(scores, seed):
    adapted, base = scores
    if np.count_nonzero(~np.isnan(adapted + base)) < 2:
        return
    first, swapped = stats.mcnemar_test(adapted, base), stats.mcnemar_test(base, adapted)
    assert swapped.estimate == -first.estimate
    assert swapped.p_value == first.p_value
    assert swapped.low == pytest.approx(-first.high)
    order = np.random.default_rng(seed).permutation(len(adapted))
    assert stats.mcnemar_test(adapted[order], base[order]) == first


def test_unscored_examples_are_counted_and_never_become_wrong_answers():
    adapted, base = [1, 1, np.nan, 0, 1], [0, 1, 1, np.nan, 0]
    test = stats.mcnemar_test(adapted, base)
    assert (test.n_scored, test.n_unscored) == (3, 2)
    assert test.estimate == pytest.approx(2 / 3)


def test_cells_are_the_single_tests_side_by_side():
    rng = np.random.default_rng(1)
    adapted = (rng.random((4, 60)) < 0.6).astype(float)
    adapted[2, :10] = np.nan
    base = (rng.random(60) < 0.5).astype(float)
    cells = stats.mcnemar_cells(adapted, base, method="exact")
    assert len(cells) == 4
    for i in range(4):
        assert cells[i] == stats.mcnemar_test(adapted[i], base, method="exact")


def test_a_cell_without_scores_is_nan_among_cells_and_an_error_alone():
    adapted = np.array([[1.0, 0.0, 1.0], [np.nan, np.nan, 1.0]])
    cells = stats.mcnemar_cells(adapted, np.zeros(3))
    assert np.isnan(cells.p_value[1])
    assert np.isnan(cells.estimate[1])
    assert cells.n_unscored.tolist() == [0, 2]
    with pytest.raises(AnalysisError, match=r"1 of 3 examples .* needs at least 2"):
        stats.mcnemar_test(adapted[1], np.zeros(3))


def test_the_bonett_price_interval_is_its_published_formula():
    # Bonett & Price 2012: add one to each discordant count and two to the total.
    got = stats.paired_proportion_interval(15, 6, n_scored=100)
    up, down = 16 / 102, 7 / 102
    se = np.sqrt((up + down - (up - down) ** 2) / 102)
    assert got.low == pytest.approx(up - down - 1.959964 * se, abs=1e-6)
    assert got.high == pytest.approx(up - down + 1.959964 * se, abs=1e-6)


def test_the_interval_covers_the_truth_at_small_n():
    # Summed over all outcomes of 25 pairs, so that no simulation error enters.
    n, up, down = 25, 0.2, 0.1
    gained, lost = (grid.ravel() for grid in np.mgrid[: n + 1, : n + 1])
    keep = gained + lost <= n
    gained, lost = gained[keep], lost[keep]
    cells = np.stack([gained, lost, n - gained - lost], axis=-1)
    chance = sps.multinomial(n, [up, down, 1 - up - down]).pmf(cells)
    got = stats.paired_proportion_interval(gained, lost, n_scored=np.full(len(gained), n))
    covered = (got.low <= up - down) & (up - down <= got.high)
    assert 0.93 <= chance[covered].sum() <= 0.99


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mcnemar_test([0.5, 1], [0, 1]), r"score 0.5.*sign-flip"),
        (lambda: stats.mcnemar_p_value(1, 2, method="midp"), "Did you mean 'mid-p'"),
        (lambda: stats.mcnemar_test([0, 1, 1], [0, 1]), "does not pair"),
        (lambda: stats.mcnemar_test([[0, 1]], [0, 1]), "2 axes"),
        (lambda: stats.mcnemar_test([0, 1], [0, np.inf]), "infinite"),
        (lambda: stats.mcnemar_test([0, 1], [0, 1], confidence=95), "between 0 and 1"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(AnalysisError, match=message):
        call()
