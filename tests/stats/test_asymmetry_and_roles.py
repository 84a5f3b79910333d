"""Additive effects, the symmetric/skew split, and donor and recipient roles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from statsmodels.formula.api import ols

from transferlens import stats
from transferlens.errors import AnalysisError

squares = hnp.arrays(np.float64, (5, 5), elements=st.integers(-16, 16).map(lambda v: v / 16))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_gaps(seed: int = 0, shape: tuple[int, int] = (6, 5)) -> np.ndarray:
    rng = generator(seed)
    gains = rng.normal(0, 1, shape)
    gains[[0, 1, 3], [2, 1, 4]] = np.nan
    return gains


def test_effects_with_missing_cells_are_those_of_least_squares():
    gains = with_gaps()
    fitted = stats.AdditiveModel(~np.isnan(gains)).fit(gains)
    s, t = np.nonzero(~np.isnan(gains))
    data = pd.DataFrame({"g": gains[s, t], "s": s, "t": t})
    model = ols("g ~ C(s, Sum) + C(t, Sum)", data).fit()
    assert fitted.residual[s, t] == pytest.approx(np.asarray(model.resid))
    assert fitted.grand == pytest.approx(model.params["Intercept"])
    assert fitted.source[:5] == pytest.approx(model.params.filter(like="C(s").to_numpy())
    assert fitted.target[:4] == pytest.approx(model.params.filter(like="C(t").to_numpy())
    assert fitted.source.sum() == pytest.approx(0.0, abs=1e-12)


def test_many_matrices_at_once_leave_the_same_residuals():
    gains = with_gaps()
    known = ~np.isnan(gains)
    model = stats.AdditiveModel(known)
    many = generator(1).normal(0, 1, (3, *gains.shape))
    for matrix, residual in zip(many, model.residuals(many), strict=True):
        assert residual[known] == pytest.approx(model.fit(matrix).residual[known])
        assert (residual[~known] == 0.0).all()


def test_the_covariance_of_the_effects_is_what_noise_does_to_them():
    gains = with_gaps()
    rng = generator(2)
    error, shared = rng.uniform(0.1, 1.0, gains.shape), rng.uniform(0.5, 1.0, 5)
    model = stats.AdditiveModel(~np.isnan(gains))
    effects = []
    for _ in range(4_000):
        fit = model.fit(rng.normal(0, error) + rng.normal(0, shared))
        effects.append(np.concatenate([fit.source, fit.target]))
    expected = np.cov(np.transpose(effects))
    # 4,000 draws estimate a variance within about 2 percent (one SD).
    got = model.covariance(error**2, shared=shared**2)
    assert np.diag(got) == pytest.approx(np.diag(expected), rel=0.1)
    assert got == pytest.approx(expected, abs=0.05)


def test_cells_that_cannot_be_compared_are_refused():
    known = np.zeros((4, 4), dtype=bool)
    known[:2, :2] = known[2:, 2:] = True
    with pytest.raises(AnalysisError, match="2 groups"):
        stats.AdditiveModel(known)


def test_a_source_without_cells_has_no_effect_and_leaves_the_others_alone():
    gains = with_gaps()
    wide = np.vstack([gains, np.full(5, np.nan)])
    small = stats.AdditiveModel(~np.isnan(gains)).fit(gains)
    large = stats.AdditiveModel(~np.isnan(wide)).fit(wide)
    assert np.isnan(large.source[-1])
    assert large.source[:-1] == pytest.approx(small.source)
    assert large.grand == pytest.approx(small.grand)


@given(gains=squares)
def test_a_mutual_matrix_has_no_one_way_part_and_a_one_way_matrix_no_mutual_part(gains):
    mutual = stats.split_asymmetry(gains + gains.T)
    one_way = stats.split_asymmetry(gains - gains.T)
    assert mutual.skew_square == pytest.approx(0.0, abs=1e-20)
    assert one_way.symmetric_square == pytest.approx(0.0, abs=1e-20)


@given(gains=squares, effects=hnp.arrays(np.float64, (2, 5), elements=st.integers(-9, 9)))
def test_source_effects_target_effects_and_the_diagonal_do_not_enter_the_split(gains, effects):
    first = stats.split_asymmetry(gains)
    moved = gains + effects[0][:, None] + effects[1] + np.diag(effects[0])
    second = stats.split_asymmetry(moved)
    assert second.skew_square == pytest.approx(first.skew_square, abs=1e-9)
    assert second.symmetric_square == pytest.approx(first.symmetric_square, abs=1e-9)


@given(gains=squares)
def test_turning_the_matrix_round_flips_the_one_way_part(gains):
    first, second = stats.split_asymmetry(gains), stats.split_asymmetry(gains.T)
    assert second.skew == pytest.approx(-first.skew, nan_ok=True)
    assert second.skew_square == pytest.approx(first.skew_square)


def planted(skew: float, seed: int, n: int = 8) -> np.ndarray:
    """Return mutual structure plus a share of one-way structure, without noise."""
    rng = generator(seed)
    mutual, one_way = rng.normal(0, 1, (2, n, n))
    return (mutual + mutual.T) + skew * (one_way - one_way.T)


def test_the_noise_corrected_share_recovers_the_planted_one():
    rng = generator(1)
    truth = planted(0.7, seed=5, n=20)
    noisy = truth + rng.normal(0, 0.8, truth.shape)
    got = stats.asymmetry_test(noisy, np.full(truth.shape, 0.8), rng=rng)
    assert got.skew_share == pytest.approx(stats.split_asymmetry(truth).skew_share, abs=0.06)
    assert got.skew_p_value == pytest.approx(0.001)
    assert got.skew_share < got.split.skew_share


def test_a_mutual_truth_with_noise_is_called_one_way_in_five_percent_of_studies():
    rng = generator(3)
    truth, shared = planted(0.0, seed=1), np.full(8, 0.5)
    error = np.sqrt(rng.uniform(0.2, 0.8, truth.shape) ** 2 + shared**2)
    p = []
    for _ in range(400):
        own = rng.normal(0, np.sqrt(error**2 - shared**2))
        noisy = truth + own + rng.normal(0, shared)
        test = stats.asymmetry_test(noisy, error, rng=rng, shared=shared, n_resamples=199)
        p.append(test.skew_p_value)
    # Binomial(400, .05): SD 1.1 points, so the band is three of them.
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.033)


def test_without_any_structure_both_parts_look_like_noise():
    rng = generator(4)
    test = stats.asymmetry_test(rng.normal(0, 1, (9, 9)), np.ones((9, 9)), rng=rng)
    assert min(test.skew_p_value, test.symmetric_p_value) > 0.05
    # 36 pairs less 8 degrees of freedom for the one-way effects; both directions count.
    assert test.skew_noise == pytest.approx(28, rel=0.1)


def test_the_same_seed_gives_the_same_test():
    gains, error = planted(0.5, seed=2), np.full((8, 8), 0.5)
    first, second = (stats.asymmetry_test(gains, error, rng=generator(7)) for _ in range(2))
    assert first.skew_p_value == second.skew_p_value
    assert first.skew_noise == second.skew_noise


def test_a_planted_one_way_pair_is_found_and_the_others_are_not():
    rng = generator(5)
    gains = rng.normal(0, 0.01, (6, 6))
    gains[1, 4] += 0.10
    got = stats.pair_directions(gains, np.full((6, 6), 0.01))
    found = got.p_adjusted <= 0.05
    assert list(zip(got.first[found], got.second[found], strict=True)) == [(1, 4)]
    pair = np.flatnonzero(found)[0]
    assert got.low[pair] <= 0.10 <= got.high[pair]
    assert got.standard_error == pytest.approx(0.01 * np.sqrt(2))


def test_pair_directions_use_welchs_degrees_of_freedom():
    gains, error, df = np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), 4.0)
    gains[0, 1] = 3.0
    got = stats.pair_directions(gains, error, df=df)
    # Equal errors with 4 degrees each make 8 in all.
    from scipy.stats import t

    assert got.p_value[0] == pytest.approx(2 * t.sf(3 / np.sqrt(2), 8))
    assert got.p_value[1] == pytest.approx(1.0)


def test_turning_the_pairs_round_negates_the_difference_and_unknown_pairs_are_left_out():
    gains = with_gaps(shape=(5, 5))
    first = stats.pair_directions(gains, np.ones((5, 5)))
    second = stats.pair_directions(gains.T, np.ones((5, 5)))
    assert second.difference == pytest.approx(-first.difference)
    assert second.p_value == pytest.approx(first.p_value)
    assert len(first.difference) == 10 - 2


@pytest.mark.parametrize(
    ("gains", "error", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 4)), "at least three tasks"),
        (np.zeros((3, 3)), np.zeros((4, 4)), r"standard_error has shape \(4, 4\)"),
        (np.zeros((3, 3)), np.full((3, 3), np.nan), "6 known gains have no standard error"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(gains, error, message):
    with pytest.raises(AnalysisError, match=message):
        stats.pair_directions(gains, error)


def square_roles(**settings):
    n = 10
    rng = generator(11)
    gives, takes = np.zeros(n), np.zeros(n)
    gives[[0, 1]], takes[[0, 2]] = 0.2, 0.2
    gives[3] = takes[3] = -0.2
    gains = gives[:, None] + takes + rng.normal(0, 0.02, (n, n))
    np.fill_diagonal(gains, np.nan)
    return stats.roles(gains, np.full((n, n), 0.02), **settings)


def test_planted_roles_are_found():
    labels = stats.hubs(square_roles()).label
    assert labels[:4] == ("hub", "donor", "recipient", "isolate")


def test_hub_and_balance_intervals_follow_from_the_joint_errors():
    found = square_roles()
    got = stats.hubs(found)
    n = len(got.hub)
    for sign, low, high, value, scale in (
        (1, got.hub_low, got.hub_high, got.hub, 2),
        (-1, got.balance_low, got.balance_high, got.balance, 1),
    ):
        contrast = np.hstack([np.eye(n), sign * np.eye(n)]) / scale
        error = np.sqrt(np.diag(contrast @ found.covariance @ contrast.T))
        assert high - value == pytest.approx(1.959964 * error)
        assert value - low == pytest.approx(1.959964 * error)


def test_role_intervals_cover_the_truth_when_targets_share_noise():
    rng = generator(12)
    gives, takes = rng.normal(0, 0.1, 6), rng.normal(0, 0.1, 7)
    gives -= gives.mean()
    takes -= takes.mean()
    shared, own = np.full(7, 0.04), 0.03
    error = np.full((6, 7), np.hypot(0.04, own))
    covered = []
    for _ in range(600):
        noise = rng.normal(0, own, (6, 7)) + rng.normal(0, shared)
        got = stats.roles(gives[:, None] + takes + noise, error, shared=shared)
        for role, truth in ((got.donor, gives), (got.recipient, takes)):
            covered.append(np.mean((role.low <= truth) & (truth <= role.high)))
    # About 6,600 correlated intervals; two points are far outside their error.
    assert np.mean(covered[::2]) == pytest.approx(0.95, abs=0.02)
    assert np.mean(covered[1::2]) == pytest.approx(0.95, abs=0.02)


def test_without_standard_errors_the_effects_stand_and_the_intervals_are_nan():
    gains = with_gaps()
    got = stats.roles(gains)
    assert np.isfinite(got.donor.estimate).all()
    assert np.isnan(got.donor.low).all()
    # The other error comes from the residuals and needs no measurement error.
    assert np.isfinite(got.donor.standard_error_tasks).all()


def test_roles_refuse_what_does_not_fit():
    with pytest.raises(AnalysisError, match="shape"):
        stats.roles(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(AnalysisError, match="12 known gains"):
        stats.roles(np.zeros((3, 4)), np.full((3, 4), np.nan))
    with pytest.raises(AnalysisError, match="3 sources and 4 targets"):
        stats.hubs(stats.roles(np.zeros((3, 4)), np.ones((3, 4))))


def test_the_shared_error_is_that_of_the_common_base_model():
    rng = generator(13)
    base = rng.normal(0, 2, 500)
    d = rng.normal(0, 1, (30, 500)) - base
    assert stats.shared_standard_error(d) == pytest.approx(2 / np.sqrt(500), rel=0.1)
    assert stats.shared_standard_error(-d) == pytest.approx(stats.shared_standard_error(d))
    assert np.isnan(stats.shared_standard_error(d[:1]))
    opposed = np.array([[1.0, 2.0, 4.0], [-1.0, -2.0, -4.0]])
    assert stats.shared_standard_error(opposed) == 0.0
