"""Sign-flip test and paired bootstrap."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from transferlens import stats
from transferlens.errors import AnalysisError
from transferlens.stats import arrays, resampling

# Sixteenths are exact in float32, so that ties are ties.
grades = hnp.arrays(np.float64, 9, elements=st.integers(-16, 16).map(lambda v: v / 16))
TESTS = {"flip": stats.sign_flip_cells, "bootstrap": stats.bootstrap_cells}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(first, second) -> bool:
    return all(
        np.array_equal(getattr(first, f.name), getattr(second, f.name), equal_nan=True)
        for f in fields(first)
        if f.name != "method"
    )


def scores(cells: int, examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed)
    adapted = rng.random((cells, examples))
    adapted[rng.random(adapted.shape) < 0.05] = np.nan
    return adapted, rng.random(examples)


@given(adapted=grades, base=grades)
def test_few_examples_give_the_exact_p_value_by_enumeration(adapted, base):
    difference = adapted - base
    signs = np.array(list(itertools.product([-1, 1], repeat=9)))
    expected = np.mean(np.abs(signs @ difference) >= np.abs(difference.sum()))
    p = stats.sign_flip_test(adapted, base, rng=generator(), n_resamples=999).p_value
    assert p == pytest.approx(expected)


def test_the_monte_carlo_p_value_agrees_with_scipys_permutation_test():
    rng = generator(3)
    adapted, base = rng.normal(0.25, 1, 80), rng.normal(0, 1, 80)
    ours = stats.sign_flip_test(adapted, base, rng=generator(1))
    theirs = sps.permutation_test(
        (adapted, base),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=generator(2),
    )
    # Two Monte-Carlo estimates from 9,999 flips each: SD about 0.004 in all.
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.015)


def test_on_binary_scores_the_exact_sign_flip_test_is_the_exact_mcnemar_test():
    adapted = np.repeat([1.0, 0.0, 1.0], [8, 2, 90])
    base = np.repeat([0.0, 1.0, 1.0], [8, 2, 90])
    flip = stats.sign_flip_test(adapted, base, rng=generator())
    exact = stats.mcnemar_test(adapted, base, method="exact")
    assert flip.p_value == pytest.approx(exact.p_value)


@given(adapted=grades, base=grades)
def test_swapping_the_models_negates_the_estimate_and_keeps_the_p_value(adapted, base):
    for test in (stats.sign_flip_test, stats.paired_bootstrap):
        first = test(adapted, base, rng=generator(), n_resamples=199)
        second = test(base, adapted, rng=generator(), n_resamples=199)
        assert second.estimate == pytest.approx(-first.estimate)
        assert second.p_value == pytest.approx(first.p_value, rel=1e-6)
        assert second.low == pytest.approx(-first.high, abs=1e-6)


@given(adapted=grades, base=grades, constant=st.integers(-3, 3), seed=st.integers(0, 99))
def test_a_constant_added_to_both_models_and_the_order_of_examples_change_nothing(
    adapted, base, constant, seed
):
    order = generator(seed).permutation(9)
    first = stats.sign_flip_test(adapted, base, rng=generator(), n_resamples=999)
    moved = stats.sign_flip_test(
        adapted[order] + constant, base[order] + constant, rng=generator(), n_resamples=999
    )
    assert moved.p_value == pytest.approx(first.p_value)
    assert moved.estimate == pytest.approx(first.estimate)


def test_the_bca_interval_agrees_with_scipys():
    difference = generator(5).exponential(1.0, 60) - 0.7
    ours = stats.paired_bootstrap(difference, np.zeros(60), rng=generator(1))
    theirs = sps.bootstrap(
        (difference,), np.mean, rng=generator(2), method="BCa"
    ).confidence_interval
    percentile = stats.paired_bootstrap(
        difference, np.zeros(60), rng=generator(1), method="percentile"
    )
    # Interval ends from 9,999 resamples move by about 0.005.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.high > percentile.high


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_bootstrap_p_value_is_the_level_whose_interval_ends_at_zero(method):
    rng = generator(8)
    adapted, base = rng.normal(0.3, 1, 70), rng.normal(0, 1, 70)
    p = stats.paired_bootstrap(adapted, base, rng=generator(), method=method).p_value
    test = stats.paired_bootstrap(adapted, base, rng=generator(), method=method, confidence=1.0 - p)
    assert 0.005 < p < 0.5
    assert min(abs(test.low), abs(test.high)) < 0.01


def test_the_sign_flip_interval_inverts_the_sign_flip_test():
    rng = generator(4)
    adapted, base = rng.normal(0.4, 1, 60), rng.normal(0, 1, 60)
    test = stats.sign_flip_test(adapted, base, rng=generator())
    for end in (test.low, test.high):
        at_end = stats.sign_flip_test(adapted - end, base, rng=generator())
        assert at_end.p_value == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("name", TESTS)
def test_the_standard_error_is_the_spread_of_the_differences_over_root_n(name):
    adapted, base = scores(6, 400)
    difference = adapted - base
    expected = sps.sem(difference, axis=1, nan_policy="omit")
    test = TESTS[name](adapted, base, rng=generator(), n_resamples=4_000)
    assert test.standard_error == pytest.approx(expected, rel=0.06)
    assert test.estimate == pytest.approx(np.nanmean(difference, axis=1))
    assert test.n_scored + test.n_unscored == pytest.approx(400)


@pytest.mark.parametrize("name", TESTS)
def test_the_same_seed_gives_the_same_bytes(name):
    adapted, base = scores(5, 70)
    runs = [TESTS[name](adapted, base, rng=generator(), n_resamples=300) for _ in range(2)]
    assert same(*runs)
    other = TESTS[name](adapted, base, rng=generator(1), n_resamples=300)
    assert not same(runs[0], other)


@pytest.mark.parametrize("name", TESTS)
def test_the_size_of_the_chunks_does_not_change_the_result(name, monkeypatch):
    adapted, base = scores(7, 70)
    whole = TESTS[name](adapted, base, rng=generator(), n_resamples=300)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 4 * 300 * 2)
    pieces = TESTS[name](adapted, base, rng=generator(), n_resamples=300)
    # Matrix products of other shapes round in another order.
    assert pieces.p_value == pytest.approx(whole.p_value)
    assert pieces.low == pytest.approx(whole.low, rel=1e-4)


@pytest.mark.parametrize("name", TESTS)
def test_memory_stays_bounded_however_many_resamples_and_cells(name, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 2**20)
    adapted = generator().random((2_000, 100))
    base = generator(1).random(100)
    tracemalloc.start()
    TESTS[name](adapted, base, rng=generator(), n_resamples=2_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All products at once would be 16 MB in float32 and more in the quantiles;
    # the inputs' copies of 1.6 MB each are allowed for.
    assert peak < 14 * 2**20


def test_cells_with_unscored_examples_equal_cells_without_those_examples():
    adapted, base = scores(1, 12, seed=2)
    adapted[0, [1, 5]] = np.nan
    kept = ~np.isnan(adapted[0])
    full = stats.sign_flip_test(adapted[0], base, rng=generator())
    part = stats.sign_flip_test(adapted[0, kept], base[kept], rng=generator())
    assert full.p_value == pytest.approx(part.p_value)
    assert full.n_unscored == 12 - kept.sum()


@pytest.mark.parametrize("name", TESTS)
def test_cells_that_never_differ_have_p_value_one_and_cells_without_scores_are_nan(name):
    adapted = np.ones((3, 20))
    adapted[1] = np.nan
    adapted[2] = 3.0
    test = TESTS[name](adapted, np.ones(20), rng=generator(), n_resamples=99)
    assert test.p_value[0] == pytest.approx(1.0)
    assert (test.low[0], test.high[0]) == (0.0, 0.0)
    assert np.isnan([test.p_value[1], test.low[1], test.high[1], test.standard_error[1]]).all()
    assert test.p_value[2] == pytest.approx(0.01)
    assert test[0].n_scored == 20


@settings(max_examples=30)
@given(adapted=grades, base=grades, n_resamples=st.integers(1, 50))
def test_p_values_are_never_zero(adapted, base, n_resamples):
    for cells in TESTS.values():
        p = cells(adapted[None], base, rng=generator(), n_resamples=n_resamples).p_value
        assert 0.0 < p[0] <= 1.0


def test_one_pair_is_refused():
    with pytest.raises(AnalysisError, match="1 of 2 examples"):
        stats.sign_flip_test([1.0, np.nan], [0.0, 1.0], rng=generator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_resamples": 0}, "at least 1"),
        ({"confidence": 1.0}, "strictly between"),
        ({"method": "bcaa"}, "Did you mean 'bca'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(AnalysisError, match=message):
        stats.paired_bootstrap([1.0, 2.0], [0.0, 1.0], rng=generator(), **settings)


def test_a_result_can_be_written_as_a_dictionary():
    test = stats.sign_flip_test([1.0, 2.0, 0.5], [0.0, 1.0, 1.0], rng=generator())
    assert asdict(test)["method"] == "sign flip"


def test_weights_sum_to_the_number_of_examples_and_signs_are_fair():
    weights = stats.bootstrap_weights(generator(), 500, 70)
    assert (weights.sum(axis=1) == 70).all()
    # A count is binomial(70, 1/70), variance about 0.986; 35,000 of them.
    assert weights.var() == pytest.approx(0.986, abs=0.04)
    signs = stats.random_signs(generator(), 500, 70)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / np.sqrt(signs.size)


@pytest.mark.parametrize("kept_bytes", [0, 4 * 300 * 90, 2**20])
def test_shared_weights_leave_each_cell_what_its_own_generator_gives_it(kept_bytes, monkeypatch):
    monkeypatch.setattr(resampling, "_KEPT_BYTES", kept_bytes)
    shared = stats.SharedWeights(5, 300)
    # Weights of 70 examples are kept, given up for those of 40 if need be, and read again.
    for target, examples in enumerate((70, 40, 70, 70)):
        adapted, base = scores(4, examples, seed=target)
        beside = stats.bootstrap_cells(adapted, base, rng=shared)
        alone = stats.bootstrap_cells(adapted, base, rng=shared.rng(examples), n_resamples=300)
        assert same(beside, alone)


def test_sums_in_single_precision_move_an_interval_far_less_than_chance_does():
    adapted, base = scores(20, 1_000)
    adapted = np.nan_to_num(adapted, nan=0.5)
    test = stats.bootstrap_cells(adapted, base, rng=generator(), n_resamples=999,
                                 method="percentile")  # fmt: skip
    weights = stats.bootstrap_weights(generator().spawn(1)[0], 999, 1_000).astype(np.float64)
    means = (adapted - base) @ weights.T / 1_000
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    # The Monte-Carlo error of such an end is 0.08 standard errors with 999 resamples.
    assert np.abs(test.low - low).max() < 1e-4 * test.standard_error.min()
    assert np.abs(test.high - high).max() < 1e-4 * test.standard_error.min()
    assert test.standard_error == pytest.approx(means.std(axis=1, ddof=1), rel=1e-5)


@pytest.mark.parametrize("draw", [stats.random_signs, stats.bootstrap_weights])
def test_drawing_in_two_parts_gives_the_same_rows(draw):
    rng = generator()
    parts = np.concatenate([draw(rng, 3, 70), draw(rng, 5, 70)])
    assert np.array_equal(parts, draw(generator(), 8, 70))
