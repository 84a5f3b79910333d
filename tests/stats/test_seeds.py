"""The two-way standard error over training seeds and examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from transferlens import stats
from transferlens.errors import AnalysisError

tables = hnp.arrays(np.float64, (3, 2, 8), elements=st.integers(-8, 8).map(lambda v: v / 8))


def draw(rng, *, seed_sd=0.1, noise_sd=0.5, sources=40, seeds=4, examples=200):
    """Return differences with known components: example SD 1, seed and noise SD as given."""
    return (
        rng.normal(0, 1, (sources, 1, examples))
        + rng.normal(0, seed_sd, (sources, seeds, 1))
        + rng.normal(0, noise_sd, (sources, seeds, examples))
    )


def test_one_run_is_the_paired_t_test_and_says_that_training_variance_is_unknown():
    d = draw(np.random.default_rng(0), sources=5, seeds=1)
    test = stats.two_way_test(d)
    expected = sps.ttest_1samp(d[:, 0], 0.0, axis=1)
    assert test.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert test.low == pytest.approx(interval.low)
    assert test.high == pytest.approx(interval.high)
    assert test.df == pytest.approx(199.0)
    assert not test.training_known.any()
    assert np.isnan(test.training_variance).all()


def test_planted_variance_components_are_recovered():
    d = draw(np.random.default_rng(1), sources=400)
    test = stats.two_way_test(d)
    # Pooled over 1,200 degrees of freedom: seed variance .01 has SD of about .0005.
    assert test.training_variance == pytest.approx(0.01, abs=0.0015)
    assert test.example_variance.mean() == pytest.approx(1 + 0.25 / 4, rel=0.02)
    assert test.training_known.all()


def test_the_standard_error_is_the_spread_of_the_estimate_over_new_runs_and_examples():
    d = draw(np.random.default_rng(2), sources=2_000, seeds=3, examples=100)
    test = stats.two_way_test(d)
    assert np.sqrt(np.mean(test.standard_error**2)) == pytest.approx(test.estimate.std(), rel=0.05)


def test_the_components_are_those_of_the_analysis_of_variance():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    d = draw(np.random.default_rng(3), sources=1, seeds=3, examples=12, seed_sd=1.0)
    seed, example = np.indices((3, 12))
    data = pd.DataFrame({"d": d[0].ravel(), "seed": seed.ravel(), "example": example.ravel()})
    table = anova_lm(ols("d ~ C(seed) + C(example)", data).fit())["mean_sq"]
    test = stats.two_way_test(d)
    assert test.example_variance[0] == pytest.approx(table["C(example)"] / 3)
    expected = max(table["C(seed)"] - table["Residual"], 0) / 12
    assert test.training_variance[0] == pytest.approx(expected)
    # Cochran's combination of mean squares for the mean of a crossed design.
    square = (table["C(example)"] + table["C(seed)"] - table["Residual"]) / 36
    assert test.standard_error[0] == pytest.approx(np.sqrt(square))
    parts = np.array([table["C(example)"], table["C(seed)"], table["Residual"]]) / 36
    df = square**2 / (parts**2 / np.array([11, 2, 22])).sum()
    assert test.df[0] == pytest.approx(df)


def test_sources_with_one_run_borrow_the_training_variance_of_the_others():
    d = draw(np.random.default_rng(4), sources=6, seeds=3)
    d[5, 1:] = np.nan
    test = stats.two_way_test(d)
    assert test.n_seeds.tolist() == [3, 3, 3, 3, 3, 1]
    assert test.training_known.all()
    assert (test.training_variance == test.training_variance[0]).all()
    alone = stats.two_way_test(d, pool=False)
    assert alone.training_known.tolist() == [True] * 5 + [False]
    assert len(set(alone.training_variance[:5])) > 1


@given(d=tables, seed=st.integers(0, 99))
def test_the_order_of_seeds_and_of_examples_does_not_matter(d, seed):
    rng = np.random.default_rng(seed)
    moved = d[:, rng.permutation(2)][:, :, rng.permutation(8)]
    first, second = stats.two_way_test(d), stats.two_way_test(moved)
    assert second.p_value == pytest.approx(first.p_value, nan_ok=True)
    assert second.standard_error == pytest.approx(first.standard_error, abs=1e-12)


@given(d=tables, scale=st.sampled_from([0.01, 100.0]))
def test_swapping_the_models_or_changing_the_unit_keeps_the_p_value(d, scale):
    first, second = stats.two_way_test(d), stats.two_way_test(-scale * d)
    assert second.p_value == pytest.approx(first.p_value)
    assert second.estimate == pytest.approx(-scale * first.estimate)
    assert second.low == pytest.approx(-scale * first.high, abs=1e-9)


def test_an_example_counts_only_if_every_run_of_the_source_scored_it():
    d = draw(np.random.default_rng(5), sources=2, seeds=2, examples=30)
    d[0, 1, :4] = np.nan
    test = stats.two_way_test(d)
    assert test.n_scored.tolist() == [26, 30]
    assert test.n_unscored.tolist() == [4, 0]
    assert test.estimate[0] == pytest.approx(d[0, :, 4:].mean())


def test_a_source_without_scores_is_nan_and_leaves_the_others_alone():
    d = draw(np.random.default_rng(6), sources=3)
    with_gap = np.concatenate([d, np.full_like(d[:1], np.nan)])
    first, second = stats.two_way_test(d), stats.two_way_test(with_gap)
    assert second.p_value[:3] == pytest.approx(first.p_value)
    for values in (second.p_value, second.estimate, second.low, second.statistic):
        assert np.isnan(values[3])
    assert second.n_scored[3] == 0


def test_models_that_never_differ_have_p_value_one():
    test = stats.two_way_test(np.zeros((1, 2, 10)))
    assert (test.p_value[0], test.standard_error[0]) == (1.0, 0.0)


def test_equal_differences_get_the_exact_sign_flip_p_value_instead_of_zero():
    test = stats.two_way_test(np.full((1, 1, 5), 0.1))
    assert test.p_value[0] == 2 / 2**5
    flip = stats.sign_flip_test(np.full(5, 0.1), np.zeros(5), rng=np.random.default_rng(0))
    assert flip.p_value == test.p_value[0]


def test_wrong_shapes_are_named():
    with pytest.raises(AnalysisError, match="2 axes"):
        stats.two_way_test(np.zeros((2, 10)))
