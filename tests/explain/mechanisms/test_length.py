"""Lengths of answers, whose length an adapter took over, and what that is worth."""

from __future__ import annotations

import numpy as np
import pytest

from transferlens.explain import OutputLength
from transferlens.explain.strata import fill
from transferlens.testing import Behaviour, simulate_mechanisms

BASE = Behaviour(length=10.0, skill=0.8)
ADAPTERS = {
    "longer": Behaviour(length=30.0, skill=0.8),
    "better": Behaviour(length=10.0, skill=1.8),
}


@pytest.fixture(scope="module")
def planted():
    return simulate_mechanisms(
        BASE, ADAPTERS, rng=np.random.default_rng(0), n_examples=10_000, by_length=1.5
    )


@pytest.fixture(scope="module")
def found(planted):
    rng = np.random.default_rng(1)
    lengths = {
        "longer": 40.0 * np.exp(0.5 * rng.standard_normal(500)),
        "better": 10.0 * np.exp(0.5 * rng.standard_normal(5000)),
    }
    return OutputLength(n_resamples=100)(planted.study, rng=rng, lengths=lengths)


def test_what_length_is_worth_and_what_answers_of_equal_length_are_worth(found):
    longer, better = (found.data.sel(source=s, target="task") for s in ("longer", "better"))
    assert float(longer["lengths_changed"] / longer["gain"]) > 0.9
    assert float(better["better_at_equal_length"] / better["gain"]) > 0.9
    assert longer["lengths_changed_low"] > 0


def test_both_parts_sum_to_the_gain(found, planted):
    data = found.data
    np.testing.assert_allclose(
        data["lengths_changed"] + data["better_at_equal_length"], data["gain"], atol=1e-12
    )
    scores = planted.study.scores.isel(seed=0)
    np.testing.assert_allclose(data["gain"], scores["score"] - scores["base_score"], atol=1e-12)


def test_an_adapter_between_base_and_source_is_placed_between_them(found):
    cell = found.data.sel(source="longer", target="task")
    expected = np.log(30 / 10) / np.log(40 / 10)
    assert float(cell["interpolation"]) == pytest.approx(expected, abs=0.04)
    assert cell["interpolation_low"] < cell["interpolation"] < cell["interpolation_high"]


def test_a_source_as_long_as_the_base_gives_no_interpolation(found):
    assert np.isnan(found.data["interpolation"].sel(source="better")).all()


def test_medians_and_cut_off_answers_are_those_of_the_rows(found, planted):
    rows = planted.study.predictions.collect()
    own = rows.filter(rows["source"] == "longer")
    cell = found.data.sel(source="longer", target="task")
    assert float(cell["median"]) == own["n_tokens"].median()
    assert float(cell["truncated"]) == own["truncated"].mean()
    assert float(cell["base_median"]) == rows.filter(rows["source"] == "base")["n_tokens"].median()
    assert float(cell["words"]) == 1.0


def test_training_lengths_that_are_not_known_are_named(planted):
    found = OutputLength(n_resamples=20)(planted.study, rng=np.random.default_rng(0))
    assert "longer, better; run the study again" in found.notes[0]
    assert np.isnan(found.data["interpolation"]).all()
    assert found.to_frame().height == 2


def test_choices_have_no_length():
    planted = simulate_mechanisms(
        BASE, ADAPTERS, rng=np.random.default_rng(0), n_examples=50, likelihoods=True
    )
    found = OutputLength(n_resamples=20)(planted.study, rng=np.random.default_rng(0))
    assert found.data.sizes["target"] == 0
    assert "no target has written answers" in found.notes[0]


def test_unknown_lengths_take_the_own_value_nearby_and_cut_off_ones_the_other_models():
    own = np.array([np.nan, 0.2, np.nan, np.nan, 0.6, np.nan])
    other = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.1])
    np.testing.assert_array_equal(fill(own, other), [0.2, 0.2, 0.2, 0.6, 0.6, 0.1])
    nothing = np.full(3, np.nan)
    np.testing.assert_array_equal(fill(nothing, np.array([0.5, np.nan, np.nan])), [0.5, 0, 0])
