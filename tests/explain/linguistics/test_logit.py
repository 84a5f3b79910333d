"""Penalised logistic regression against R, statsmodels, identities and its nominal level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.discrete.conditional_models import ConditionalLogit

from transferlens.errors import AnalysisError
from transferlens.explain.linguistics import penalized_logit

NOTHING = np.empty((0, 0))


@pytest.fixture
def paired(shared: Path) -> dict[str, np.ndarray]:
    text = (shared / "oracles" / "glm_paired.json").read_text(encoding="utf-8")
    found = json.loads(text)["paired"]
    names = ("x1", "x2", "y_base", "y_adapter")
    return {name: np.array(found[name], dtype=float) for name in names} | {
        "clogit": found["clogit"]
    }


def two_features(paired: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    differs = paired["y_base"] != paired["y_adapter"]
    return paired["y_adapter"][differs], paired["x1"][differs], paired["x2"][differs]


def test_discordant_pairs_give_the_conditional_logit_of_r(paired: dict) -> None:
    y, x1, x2 = two_features(paired)
    of_x1 = penalized_logit(y, x1[None], x2[None], firth=False)
    of_x2 = penalized_logit(y, x2[None], x1[None], firth=False)
    coef = [of_x1.estimate[0], of_x2.estimate[0]]
    assert coef == pytest.approx(paired["clogit"]["coef"][1:], abs=1e-7)
    error = [of_x1.standard_error[0], of_x2.standard_error[0]]
    assert error == pytest.approx(paired["clogit"]["se"][1:], abs=1e-6)


def test_discordant_pairs_give_the_conditional_logit_of_statsmodels(paired: dict) -> None:
    outcome, x1, x2 = two_features(paired)
    n = len(outcome)
    adapted = np.repeat([0.0, 1.0], n)
    x = np.column_stack([adapted, adapted * np.tile(x1, 2), adapted * np.tile(x2, 2)])
    y = np.concatenate([1 - outcome, outcome])
    model = ConditionalLogit(y, x, groups=np.tile(np.arange(n), 2)).fit(disp=0)
    ours = penalized_logit(outcome, x1[None], x2[None], firth=False)
    assert ours.estimate[0] == pytest.approx(model.params[1], abs=1e-4)


def simulated(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, z = rng.standard_normal((2, n))
    y = (rng.random(n) < 1 / (1 + np.exp(-(0.3 + 0.8 * x - 0.5 * z)))).astype(float)
    return y, x, z


def test_likelihood_ratio_test_is_that_of_statsmodels() -> None:
    y, x, z = simulated()
    full = sm.Logit(y, sm.add_constant(np.column_stack([z, x]))).fit(disp=0)
    null = sm.Logit(y, sm.add_constant(z)).fit(disp=0)
    ours = penalized_logit(y, x[None], z[None], firth=False)
    assert ours.estimate[0] == pytest.approx(full.params[2], abs=1e-7)
    assert ours.p_value[0] == pytest.approx(stats.chi2.sf(2 * (full.llf - null.llf), 1), rel=1e-6)


def penalized(beta: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Return minus the penalised log-likelihood, written down directly."""
    eta = x @ beta
    p = 1 / (1 + np.exp(-eta))
    information = x.T @ (x * (p * (1 - p))[:, None])
    return float(-(y @ eta - np.logaddexp(0, eta).sum() + 0.5 * np.linalg.slogdet(information)[1]))


def profile(value: float, y: np.ndarray, x: np.ndarray) -> float:
    """Return the smallest of it with the last coefficient held at a value."""
    found = optimize.minimize(
        lambda rest: penalized(np.append(rest, value), y, x), np.zeros(x.shape[1] - 1), tol=1e-12
    )
    return float(found.fun)


def test_firth_estimate_interval_and_test_are_those_of_a_general_optimiser() -> None:
    y, x, z = simulated(30)
    design = np.column_stack([np.ones(30), z, x])
    best = optimize.minimize(penalized, np.zeros(3), args=(y, design), tol=1e-12)
    ours = penalized_logit(y, x[None], z[None])
    assert ours.estimate[0] == pytest.approx(best.x[2], abs=1e-5)
    ratio = 2 * (profile(0.0, y, design) - best.fun)
    assert ours.p_value[0] == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-4)
    for end in (ours.low[0], ours.high[0]):
        fallen = 2 * (profile(end, y, design) - best.fun)
        assert fallen == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-3)


@pytest.mark.parametrize("table", [(7, 0, 5, 9), (1, 0, 0, 1), (3, 4, 10, 2), (0, 12, 9, 30)])
def test_firth_of_a_fourfold_table_adds_a_half_to_each_cell(table: tuple[int, ...]) -> None:
    won_with, lost_with, won_without, lost_without = table
    y = np.repeat([1.0, 0.0, 1.0, 0.0], table)
    x = np.repeat([1.0, 1.0, 0.0, 0.0], table)
    ours = penalized_logit(y, x[None], NOTHING)
    expected = (won_with + 0.5) * (lost_without + 0.5) / (lost_with + 0.5) / (won_without + 0.5)
    if len(y) > 2:
        assert np.exp(ours.estimate[0]) == pytest.approx(expected, rel=1e-5)
        assert ours.low[0] < ours.estimate[0] < ours.high[0]
    else:
        assert np.isnan(ours.estimate[0])


def test_separation_is_finite_with_the_penalty_and_nan_without() -> None:
    y = np.repeat([0.0, 1.0], 15)
    x = np.linspace(-1, 1, 30)
    assert np.isfinite(penalized_logit(y, x[None], NOTHING).estimate).all()
    assert np.isnan(penalized_logit(y, x[None], NOTHING, firth=False).estimate).all()


def test_units_change_the_estimate_and_nothing_else() -> None:
    y, x, z = simulated()
    one = penalized_logit(y, x[None], z[None])
    other = penalized_logit(y, 1000 * x[None] + 7, -3 * z[None] + 1)
    assert other.estimate * 1000 == pytest.approx(one.estimate, rel=1e-5)
    assert other.low * 1000 == pytest.approx(one.low, rel=1e-4)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6)


def test_swapping_the_outcome_negates_everything() -> None:
    y, x, z = simulated()
    one, other = (penalized_logit(each, x[None], z[None]) for each in (y, 1 - y))
    assert other.estimate == pytest.approx(-one.estimate, abs=1e-6)
    assert other.low == pytest.approx(-one.high, abs=1e-4)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6)


def test_features_are_fitted_independently_and_missing_values_leave_examples_out() -> None:
    y, x, z = simulated()
    other = np.where(np.arange(80) % 5 == 0, np.nan, z**2)
    flat = np.ones(80)
    together = penalized_logit(y, np.stack([flat, x, other]), z[None])
    kept = ~np.isnan(other)
    alone = penalized_logit(y[kept], other[None, kept], z[None, kept])
    assert np.isnan(together.estimate[0])
    assert together.estimate[1] == pytest.approx(
        penalized_logit(y, x[None], z[None]).estimate[0], abs=1e-7
    )
    assert together.estimate[2] == pytest.approx(alone.estimate[0], abs=1e-6)
    assert together.high[2] == pytest.approx(alone.high[0], abs=1e-4)


@pytest.mark.parametrize("n", [24, 60, 200])
def test_the_level_holds_for_numbers(n: int) -> None:
    rng = np.random.default_rng(n)
    rejected = []
    for _ in range(10):
        z = rng.standard_normal((1, n))
        y = (rng.random(n) < 1 / (1 + np.exp(-0.5 - z[0]))).astype(float)
        rejected.append(
            penalized_logit(y, 0.5 * z + rng.standard_normal((200, n)), z).p_value < 0.05
        )
    # 2,000 tests: 3.5 standard errors are 1.7 points.
    assert 0.033 < np.mean(rejected) < 0.068


def test_the_level_holds_for_rare_flags_and_the_interval_covers() -> None:
    rng = np.random.default_rng(5)
    n, truth = 80, 1.0
    rejected, covered = [], []
    for _ in range(10):
        flags = (rng.random((100, n)) < 0.08).astype(float)
        y = (rng.random(n) < 0.6).astype(float)
        null = penalized_logit(y, flags, np.empty((0, n)))
        rejected += list(null.p_value[~np.isnan(null.p_value)] < 0.05)
        x = rng.standard_normal(n)
        y = (rng.random(n) < 1 / (1 + np.exp(-truth * x))).astype(float)
        fit = penalized_logit(y, x[None], np.empty((0, n)))
        covered.append(fit.low[0] < truth < fit.high[0])
    assert np.mean(rejected) < 0.068
    assert np.mean(covered) >= 0.7


@pytest.mark.parametrize(
    ("outcome", "values", "covariates", "match"),
    [
        ([0, 1, 0.5], [[1, 2, 3]], NOTHING, "0 or 1"),
        ([0, 1, 1], [[1, 2]], NOTHING, "column for each"),
        ([0, 1, 1], [[1, 2, 3]], [[1, np.nan, 2]], "covariate is NaN"),
    ],
)
def test_what_does_not_fit_is_refused(outcome, values, covariates, match) -> None:
    with pytest.raises(AnalysisError, match=match):
        penalized_logit(outcome, values, covariates)
