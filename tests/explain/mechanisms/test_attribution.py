"""Gains that are planted one mechanism at a time are found where they were planted."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferlens.errors import AnalysisError
from transferlens.explain import MECHANISMS, Attribution
from transferlens.explain.shapley import shapley
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.testing import Behaviour, simulate_mechanisms

WRITTEN = Behaviour(skill=0.6, bias=2.0, length=12.0, readable=0.6)
ADAPTERS = {
    "format": Behaviour(skill=0.6, bias=2.0, length=12.0, readable=0.98),
    "prior": Behaviour(skill=0.6, bias=0.0, length=12.0, readable=0.6),
    "length": Behaviour(skill=0.6, bias=2.0, length=30.0, readable=0.6),
    "skill": Behaviour(skill=1.6, bias=2.0, length=12.0, readable=0.6),
    "mixed": Behaviour(skill=1.0, bias=0.3, length=25.0, readable=0.9),
    "worse": Behaviour(skill=0.6, bias=4.0, length=12.0, readable=0.6),
}


@pytest.fixture(scope="module")
def planted():
    return simulate_mechanisms(
        WRITTEN, ADAPTERS, rng=np.random.default_rng(0), n_examples=20_000, by_length=1.2
    )


@pytest.fixture(scope="module")
def found(planted):
    return Attribution(n_resamples=50)(planted.study, rng=np.random.default_rng(1)).data


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_gain_with_one_cause_is_credited_to_it(found, planted, mechanism):
    cell = found.sel(source=mechanism, target="task")
    truth = planted.truth[mechanism]
    assert truth[mechanism] == pytest.approx(sum(truth.values()))
    share = float(cell[mechanism] / cell["gain"])
    assert 0.9 <= share <= 1.1
    assert sum(abs(float(cell[name])) for name in MECHANISMS if name != mechanism) < 0.1 * abs(
        float(cell["gain"])
    )


def test_a_gain_with_four_causes_is_credited_to_each(found, planted):
    cell, truth = found.sel(source="mixed", target="task"), planted.truth["mixed"]
    total = sum(truth.values())
    misplaced = sum(abs(float(cell[name]) - truth[name]) for name in MECHANISMS) / 2
    assert min(truth.values()) > 0.1 * total
    assert misplaced < 0.1 * total


def test_a_loss_by_preference_is_credited_to_it(found):
    cell = found.sel(source="worse", target="task")
    assert cell["gain_high"] < 0
    assert 0.9 <= float(cell["prior"] / cell["gain"]) <= 1.1


@pytest.mark.parametrize("mechanism", ["prior", "skill"])
def test_with_likelihoods_too(mechanism):
    base = Behaviour(skill=0.6, bias=8.0)
    adapters = {"prior": Behaviour(skill=0.6), "skill": Behaviour(skill=1.6, bias=8.0)}
    if mechanism == "skill":
        base = Behaviour(skill=0.6, bias=1.0)
        adapters = {"skill": Behaviour(skill=1.6, bias=1.0)}
    planted = simulate_mechanisms(
        base, adapters, rng=np.random.default_rng(4), n_examples=10_000, likelihoods=True
    )
    data = Attribution(n_resamples=50)(planted.study, rng=np.random.default_rng(1)).data
    cell = data.sel(source=mechanism, target="task")
    assert cell["prior_by"] == "likelihoods"
    # A base that answers nearly always the same is one whose counts say little.
    assert 0.9 <= float(cell[mechanism] / cell["gain"]) <= 1.1
    assert float(cell["format"]) == float(cell["length"]) == 0.0


@pytest.mark.parametrize("likelihoods", [True, False])
def test_one_constant_answer_for_another_is_a_matter_of_preference(likelihoods):
    # What small models do on tasks that they cannot solve.
    study = simulate_mechanisms(
        Behaviour(skill=0.0, bias=-40.0), {"s": Behaviour(skill=0.0, bias=40.0)},
        rng=np.random.default_rng(2), n_examples=600, likelihoods=likelihoods,
    ).study  # fmt: skip
    rows = study.predictions.collect()
    assert rows.group_by("source", "prediction").len().height == 2
    uneven = rows.filter((pl.col("gold") == "yes") | (pl.col("example") % 3 == 0))
    data = Attribution(n_resamples=50)(
        TransferStudy.from_predictions(uneven, targets=study.targets), rng=np.random.default_rng(1)
    ).data
    cell = data.sel(source="s", target="task")
    assert cell["gain_low"] > 0.3
    assert 0.9 <= float(cell["prior"] / cell["gain"]) <= 1.1


def test_the_parts_sum_to_the_gain_and_the_gain_is_the_difference_of_the_scores(found, planted):
    total = sum(found[name] for name in MECHANISMS)
    np.testing.assert_allclose(total, found["gain"], atol=1e-12)
    scores = planted.study.scores.isel(seed=0)
    np.testing.assert_allclose(found["gain"], scores["score"] - scores["base_score"], atol=1e-12)


def swapped(study: TransferStudy, source: str) -> TransferStudy:
    rows = study.predictions.collect().filter(pl.col("source").is_in([BASE, source]))
    other = pl.when(pl.col("source") == BASE).then(pl.lit(source)).otherwise(pl.lit(BASE))
    return TransferStudy.from_predictions(rows.with_columns(source=other), targets=study.targets)


def test_exchanging_base_and_adapter_negates_every_part():
    study = simulate_mechanisms(
        WRITTEN, {"mixed": ADAPTERS["mixed"]}, rng=np.random.default_rng(7), n_examples=600,
        by_length=1.2,
    ).study  # fmt: skip
    there = Attribution(n_resamples=20)(study, rng=np.random.default_rng(0)).data
    back = Attribution(n_resamples=20)(swapped(study, "mixed"), rng=np.random.default_rng(0)).data
    for name in ("gain", *MECHANISMS):
        np.testing.assert_allclose(there[name], -back[name], atol=1e-6)


def test_a_cell_does_not_depend_on_the_other_sources():
    adapters = {f"s{at}": replace(ADAPTERS["mixed"], skill=0.5 + at / 30) for at in range(30)}
    study = simulate_mechanisms(
        WRITTEN, adapters, rng=np.random.default_rng(7), n_examples=200, by_length=1.2
    ).study
    rows = study.predictions.collect()
    graded = rows.with_columns(score=pl.col("score") * (0.5 + pl.col("example") / 400))
    every = Attribution(n_resamples=40)(
        TransferStudy.from_predictions(graded), rng=np.random.default_rng(0)
    ).data
    alone = Attribution(n_resamples=40)(
        TransferStudy.from_predictions(graded.filter(pl.col("source").is_in([BASE, "s28"]))),
        rng=np.random.default_rng(0),
    ).data
    for name in ("gain", *MECHANISMS):
        for end in ("", "_low", "_high"):
            np.testing.assert_allclose(
                every[name + end].sel(source="s28"), alone[name + end].sel(source="s28"), atol=1e-12
            )


def test_two_equal_models_differ_in_nothing():
    study = simulate_mechanisms(
        WRITTEN, {"s": WRITTEN}, rng=np.random.default_rng(7), n_examples=300
    ).study
    rows = study.predictions.collect().filter(pl.col("source") == BASE)
    same = pl.concat([rows, rows.with_columns(source=pl.lit("s"))])
    data = Attribution(n_resamples=20)(
        TransferStudy.from_predictions(same), rng=np.random.default_rng(0)
    ).data
    for name in ("gain", *MECHANISMS):
        assert abs(data[name].item()) < 1e-9
        assert data[f"{name}_low"].item() == pytest.approx(0.0, abs=1e-9)


def test_where_lower_is_better_gains_are_counted_upwards():
    study = simulate_mechanisms(
        WRITTEN, {"prior": ADAPTERS["prior"]}, rng=np.random.default_rng(7), n_examples=600
    ).study
    rows = study.predictions.collect()
    errors = TransferStudy.from_predictions(
        rows.with_columns(score=1.0 - pl.col("score")),
        targets=[TargetInfo(name="task", metric="errors", higher_is_better=False)],
    )
    one, other = (
        Attribution(n_resamples=20)(s, rng=np.random.default_rng(0)).data for s in (study, errors)
    )
    for name in ("gain", *MECHANISMS):
        np.testing.assert_allclose(one[name], other[name], atol=1e-12)


def test_intervals_hold_the_planted_part_about_as_often_as_they_say():
    adapter = {"s": Behaviour(skill=1.0, bias=0.5, readable=0.9)}
    base = Behaviour(skill=0.6, bias=1.5, readable=0.7)
    held = []
    for seed in range(40):
        planted = simulate_mechanisms(
            base, adapter, rng=np.random.default_rng(seed), n_examples=400
        )
        data = Attribution(n_resamples=200)(planted.study, rng=np.random.default_rng(seed)).data
        cell = data.sel(source="s", target="task")
        truth = planted.truth["s"]
        held += [
            cell[f"{n}_low"] <= truth[n] <= cell[f"{n}_high"] for n in ("format", "prior", "skill")
        ]
    assert 0.88 <= np.mean(held) <= 1.0


def test_the_sentence_names_the_cause_and_no_other(planted):
    study = planted.study
    found = Attribution(n_resamples=50)(study, rng=np.random.default_rng(1))
    said = found.sentence("prior", "task")
    assert said.startswith("prior gains +")
    assert "points on task" in said
    assert "from which labels it prefers" in said
    assert said.count(" from ") <= 2
    with pytest.raises(AnalysisError, match="Did you mean 'prior'"):
        found.sentence("priro", "task")


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8))
def test_a_shapley_value_is_the_mean_over_all_orders(worths):
    players = ("a", "b", "c")
    value = {
        frozenset(p for i, p in enumerate(players) if code >> i & 1): np.float64(worths[code])
        for code in range(8)
    }
    expected = dict.fromkeys(players, 0.0)
    for order in permutations(players):
        for at, player in enumerate(order):
            before = frozenset(order[:at])
            expected[player] += (value[before | {player}] - value[before]) / 6
    ours = shapley(players, lambda members: value[members])
    assert {k: float(v) for k, v in ours.items()} == pytest.approx(expected, abs=1e-12)
