"""Permutation regression over tasks: R, naive loops, invariances, error rates."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from transferlens.errors import AnalysisError
from transferlens.stats import mantel, mrqap, source_regression, variance_components
from transferlens.stats.orders import task_orders

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def directed(shared):
    return json.loads((shared / "oracles" / "mrqap_directed.json").read_text())


@pytest.fixture(scope="module")
def worlds():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import factors
    finally:
        sys.path.remove(str(BENCHMARKS))
    return factors


def generator(seed=0):
    return np.random.default_rng(seed)


def planted(seed=0, n=9, k=2, missing=0.0):
    rng = generator(seed)
    x = rng.standard_normal((k, n, n))
    y = 0.5 * x[0] + rng.standard_normal((n, 1)) + rng.standard_normal(n)
    y += rng.standard_normal((n, n))
    y[rng.random((n, n)) < missing] = np.nan
    return y, x


def dummies(known, n):
    """Return one column per source and per target, the last of them redundant."""
    rows, columns = np.nonzero(known)
    return np.column_stack([np.eye(n)[rows], np.eye(n)[columns][:, :-1]])


def naive_t(y, x, others, known, n):
    """Return the t statistic of x by least squares with dummy variables."""
    design = np.column_stack([x[known], *(o[known] for o in others), dummies(known, n)])
    beta, *_ = np.linalg.lstsq(design, y[known], rcond=None)
    rest = y[known] - design @ beta
    variance = rest @ rest / (len(rest) - np.linalg.matrix_rank(design))
    return beta[0] / np.sqrt(variance * np.linalg.pinv(design.T @ design)[0, 0])


def test_coefficients_t_and_p_are_those_of_sna_netlm(directed):
    y, *x = (np.array(directed[name], dtype=float) for name in ("Y", "X1", "X2"))
    fit = mrqap(
        y, x, rng=generator(), effects="none", own=np.arange(15), n_permutations=4_999
    )  # fmt: skip
    expected = directed["netlm"]["qapspp"]
    assert fit.coefficient == pytest.approx(expected["coef"][1:], rel=1e-8)
    assert fit.t == pytest.approx(expected["tstat"][1:], rel=1e-8)
    # Both p-values are Monte Carlo: 2,000 permutations there, 4,999 here.
    assert fit.p_value == pytest.approx(expected["pgreqabs"][1:], abs=0.015)
    assert (fit.n_cells, fit.n_sources) == (210, 15)


def test_with_source_and_target_effects_they_are_those_of_r_with_dummy_variables(directed):
    y, *x = (np.array(directed[name], dtype=float) for name in ("Y", "X1", "X2"))
    fit = mrqap(y, x, rng=generator(), own=np.arange(15), n_permutations=99)
    assert fit.coefficient == pytest.approx(directed["twoway_fe"]["coef"], rel=1e-8)
    assert fit.standard_error == pytest.approx(directed["twoway_fe"]["se"], rel=1e-8)


def test_p_values_are_those_of_refitting_every_permutation_with_cells_missing():
    n, m = 9, 99
    y, x = planted(seed=3, n=n, missing=0.15)
    x = x[:1]
    outside = ~np.eye(n, dtype=bool)
    known = ~np.isnan(y) & outside
    fit = mrqap(y, x, rng=generator(5), own=np.arange(n), n_permutations=m)
    # The rest of the factor beyond both levels, on all cells where it is defined.
    design = dummies(outside, n)
    rest = np.zeros((n, n))
    rest[outside] = x[0][outside] - design @ np.linalg.lstsq(design, x[0][outside], rcond=None)[0]
    orders = task_orders(np.arange(n), n, rng=generator(5), n=m, active=outside)
    drawn = [
        naive_t(y, rest[np.ix_(source, target)], [], known, n)
        for source, target in zip(*orders, strict=True)
    ]
    observed = naive_t(y, x[0], [], known, n)
    assert fit.t[0] == pytest.approx(observed)
    assert fit.p_value[0] == pytest.approx((1 + (np.abs(drawn) >= abs(observed)).sum()) / (1 + m))


def test_renaming_the_tasks_changes_no_coefficient():
    y, x = planted(seed=1, n=12, missing=0.1)
    order = generator(2).permutation(12)
    at = np.ix_(order, order)
    before = mrqap(y, x, rng=generator(), own=np.arange(12), n_permutations=19)
    after = mrqap(
        y[at], x[:, order][:, :, order], rng=generator(), own=np.arange(12), n_permutations=19
    )  # fmt: skip
    assert after.coefficient == pytest.approx(before.coefficient)
    assert after.t == pytest.approx(before.t)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_the_unit_of_a_factor_changes_its_coefficient_and_nothing_else(scale, shift, seed):
    y, x = planted(seed=seed, k=1)
    one = mrqap(y, x, rng=generator(), own=np.arange(9), n_permutations=39)
    other = mrqap(y, scale * x + shift, rng=generator(), own=np.arange(9), n_permutations=39)
    assert other.p_value == one.p_value
    assert other.coefficient * scale == pytest.approx(one.coefficient)
    assert other.high * scale == pytest.approx(one.high)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_interval_excludes_0_exactly_if_the_factor_is_significant(seed):
    y, x = planted(seed=seed, k=1)
    fit = mrqap(y, x * 0.3, rng=generator(seed), own=np.arange(9), n_permutations=99)
    assert ((fit.low > 0) | (fit.high < 0)) == (fit.p_value <= 0.05)


@given(seed=st.integers(0, 1_000), n_sources=st.integers(3, 8), n_targets=st.integers(3, 8))
@settings(max_examples=25, deadline=None)
def test_orders_keep_own_cells_own_and_move_every_task_within_its_side(seed, n_sources, n_targets):
    rng = generator(seed)
    own = rng.permutation(n_targets)[:n_sources] if n_sources <= n_targets else np.arange(n_sources)
    own = np.where((own < n_targets) & (rng.random(len(own)) < 0.6), own, -1)
    active = np.ones((n_sources, n_targets), dtype=bool)
    orders = task_orders(own, n_targets, rng=rng, n=20, active=active)
    cells = own[:, None] == np.arange(n_targets)
    for source, target in zip(*orders, strict=True):
        assert sorted(source) == list(range(n_sources))
        assert sorted(target) == list(range(n_targets))
        assert (cells[np.ix_(source, target)] == cells).all()


def test_a_factor_of_sources_has_the_t_of_a_regression_and_the_p_of_scipys_permutations():
    rng = generator(4)
    x, y = rng.standard_normal((2, 7))
    fit = source_regression(y, x[None], rng=rng, n_permutations=9_999)
    plain = sps.linregress(x, y)
    assert fit.coefficient[0] == pytest.approx(plain.slope)
    assert fit.t[0] == pytest.approx(plain.slope / plain.stderr)
    exact = sps.permutation_test(
        (x,), lambda x: abs(np.corrcoef(x, y)[0, 1]),
        permutation_type="pairings", alternative="greater", n_resamples=10_000,
    )  # fmt: skip
    assert fit.p_value[0] == pytest.approx(exact.pvalue, abs=0.015)


def test_too_many_factors_are_refused_in_one_sentence():
    y, _ = planted(n=9)
    x = generator().standard_normal((3, 9, 9))
    with pytest.raises(AnalysisError, match=r"^3 factors at once are too many for 9 sources: at"):
        mrqap(y, x, rng=generator(), own=np.arange(9))


def test_a_factor_that_the_effects_determine_is_refused():
    y, _ = planted(n=9)
    level = np.broadcast_to(np.arange(9.0)[:, None], (9, 9))
    with pytest.raises(AnalysisError, match="determined by the effects"):
        mrqap(y, level[None], rng=generator(), own=np.arange(9))
    assert mrqap(y, level[None], rng=generator(), effects="target").n_cells == 81
    with pytest.raises(AnalysisError, match="names a target twice"):
        mrqap(y, level[None], rng=generator(), own=np.zeros(9, dtype=int))


@pytest.mark.parametrize(
    ("name", "how"),
    [("mantel_pearson", {}), ("mantel_spearman", {"method": "spearman"}), ("mantel_partial", {})],
)
def test_mantel_is_that_of_vegan(shared, name, how):
    oracle = json.loads((shared / "oracles" / "mantel_vegan.json").read_text())
    first, second, third = (np.array(oracle[k]) for k in ("D_bray", "D_env", "D_env3"))
    got = mantel(
        first, second, rng=generator(1), own=np.arange(24), alternative="greater",
        control=third if name == "mantel_partial" else None, n_permutations=1_999, **how,
    )  # fmt: skip
    assert got.r == pytest.approx(oracle[name]["r"], abs=1e-12)
    assert got.p_value == pytest.approx(oracle[name]["p"], abs=0.008)


def test_mantel_of_directed_matrices_with_gaps_correlates_the_complete_cells():
    y, x = planted(seed=6, missing=0.3)
    x[0, 2, 4] = np.nan
    known = ~np.isnan(y) & ~np.isnan(x[0]) & ~np.eye(9, dtype=bool)
    got = mantel(x[0], y, rng=generator(), own=np.arange(9), n_permutations=199)
    assert got.r == pytest.approx(np.corrcoef(x[0][known], y[known])[0, 1])
    assert got.n_cells == known.sum()
    assert np.isnan(mantel(np.ones((9, 9)), y, rng=generator(), n_permutations=19).r)


def test_variances_between_sources_and_targets_are_those_of_lme4(shared):
    oracle = json.loads((shared / "oracles" / "lme4_crossed.json").read_text())["penicillin"]
    data = oracle["data"]
    table = np.full((24, 6), np.nan)
    table[np.array(data["plate"]) - 1, np.array(data["sample"]) - 1] = data["diameter"]
    got = np.sqrt(variance_components(table))
    expected = [oracle["sd_plate"], oracle["sd_sample"], oracle["sigma"]]
    assert got == pytest.approx(expected, rel=1e-4)


def test_variances_are_right_on_average_with_cells_missing():
    rng = generator(8)
    found = []
    for _ in range(300):
        y = 2.0 * rng.standard_normal((8, 1)) + rng.standard_normal(7)
        y = y + 0.5 * rng.standard_normal((8, 7))
        np.fill_diagonal(y, np.nan)
        found.append(variance_components(y))
    # The largest standard error of these means is 0.13.
    assert np.mean(found, axis=0) == pytest.approx([4.0, 1.0, 0.25], rel=0.1)


def test_mrqap_keeps_its_level_where_least_squares_errs_thrice_as_often(worlds):
    got = worlds.dyadic_rates(worlds.World(), 300, generator(0))
    # The standard error over 300 matrices is 1.3 points.
    assert got["MRQAP"] == pytest.approx(0.05, abs=0.03)
    assert got["coverage"] == pytest.approx(0.95, abs=0.03)
    assert got["least squares over cells"] > 0.12


def test_mrqap_keeps_its_level_with_cells_missing(worlds):
    got = worlds.dyadic_rates(worlds.World(missing=0.2), 200, generator(1))
    assert got["MRQAP"] == pytest.approx(0.05, abs=0.04)


def test_permuting_sources_keeps_its_level(worlds):
    assert worlds.source_rates(12, 0.0, 400, generator(2)) == pytest.approx(0.05, abs=0.03)
