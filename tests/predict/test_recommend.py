"""Choices of sources: exact, within limits, and honest about evidence."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paired_study import planted_study
from transferlens.errors import AnalysisError
from transferlens.predict import Complete, Options, Recommend, options_of, problem_of
from transferlens.transfer import transfer_matrix


def options(gain, **more):
    gain = np.asarray(gain, dtype=float)
    n, p = gain.shape
    start = {
        "sources": tuple(f"s{i}" for i in range(n)),
        "targets": tuple(f"t{i}" for i in range(p)),
        "gain": gain,
        "low": gain - 1,
        "high": gain + 1,
        "measured": np.ones((n, p), dtype=bool),
        "supported": gain > 1,
        "cost": np.ones(n),
    }
    return Options(**{**start, **more})


def value(gain, chosen):
    return np.maximum(gain[list(chosen)].max(axis=0, initial=0.0), 0.0).sum()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 3))
def test_no_other_set_within_the_budget_brings_more(seed, k):
    rng = np.random.default_rng(seed)
    gain, cost = rng.normal(size=(6, 4)), rng.uniform(1, 3, size=6)
    found = Recommend(k=k, budget=4.0)(options(gain, cost=cost), ["t0", "t1", "t2", "t3"])
    best = max(
        value(gain, chosen)
        for size in range(k + 1)
        for chosen in combinations(range(6), size)
        if cost[list(chosen)].sum() <= 4.0
    )
    assert found.total == pytest.approx(best, abs=1e-6)
    assert found.exact
    places = [int(name[1:]) for name in found.chosen]
    assert len(places) <= k
    assert cost[places].sum() <= 4.0
    assert value(gain, places) == pytest.approx(found.total)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_the_greedy_choice_reaches_its_guarantee_and_says_that_it_is_greedy(seed, k):
    gain = np.random.default_rng(seed).normal(size=(8, 6))
    wanted = [f"t{i}" for i in range(6)]
    exact = Recommend(k=k)(options(gain), wanted)
    greedy = Recommend(k=k, exact_up_to=0)(options(gain), wanted)
    assert not greedy.exact
    assert (1 - 1 / np.e) * exact.total - 1e-9 <= greedy.total <= exact.total + 1e-6


def test_for_one_target_the_best_source_is_chosen_and_its_harm_told():
    found = Recommend()(options([[2.0, -3.0], [5.0, -7.0], [1.0, 4.0]]), ["t0"])
    assert found.chosen == ("s1",)
    assert (found.helps[0].gain, found.helps[0].low, found.helps[0].high) == (5.0, 4.0, 6.0)
    assert [(one.source, one.target, one.gain) for one in found.harms] == [("s1", "t1", -7.0)]
    assert found.supported


def test_a_limit_of_harm_rules_sources_out_and_says_which_and_why():
    given_options = options([[2.0, -0.5], [5.0, -7.0], [4.0, np.nan], [3.0, -1.5]])
    found = Recommend(no_harm={"t1": -2.0})(given_options, ["t0"])
    assert found.chosen == ("s3",)
    assert [(one.source, one.gain) for one in found.ruled_out] == [("s1", -7.0)]
    assert found.not_known == ("s2",)
    # The interval of s3 reaches -2.5, that of s0 only -1.5.
    assert Recommend(no_harm={"t1": -2.0}, sure=True)(given_options, ["t0"]).chosen == ("s0",)


def test_where_nothing_helps_nothing_is_chosen():
    found = Recommend(k=2)(options([[-1.0, 2.0], [-2.0, 1.0]]), ["t0"])
    assert found.chosen == ()
    assert found.unserved == ("t0",)
    assert found.total == 0.0
    assert not found.supported


def test_a_choice_without_evidence_is_not_supported():
    assert not Recommend()(options([[0.5], [0.2]]), ["t0"]).supported


def test_a_source_that_serves_no_target_is_not_chosen_for_the_number_s_sake():
    found = Recommend(k=3)(options([[5.0, 5.0], [1.0, 1.0], [2.0, 0.0]]), ["t0", "t1"])
    assert found.chosen == ("s0",)


def test_an_unknown_target_is_named_with_its_nearest():
    with pytest.raises(AnalysisError, match="Did you mean 't1'"):
        Recommend()(options(np.ones((2, 2))), ["t11"])
    with pytest.raises(AnalysisError, match="at least one target"):
        Recommend()(options(np.ones((2, 2))), [])


def test_measured_gains_and_their_evidence_come_before_predictions():
    study = planted_study()
    tested = transfer_matrix(study)
    completed = Complete()(problem_of(study), rng=np.random.default_rng(0))
    found = options_of(study, tested, completed)
    frame = tested.data
    np.testing.assert_allclose(found.gain, 100 * frame["gain"].values)
    np.testing.assert_allclose(found.low, 100 * frame["gain_low"].values)
    assert found.measured.all()
    helped = (frame["p_adjusted"].values <= 0.05) & (frame["gain"].values > 0)
    np.testing.assert_array_equal(found.supported, helped)
    choice = Recommend()(found.without(["b"]), ["b"])
    assert choice.chosen == ("a",)
    with pytest.raises(AnalysisError, match="tokens of 'a' are not stored"):
        options_of(study, tested, completed, cost="tokens")
