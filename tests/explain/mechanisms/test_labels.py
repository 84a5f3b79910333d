"""Label mixes and what is left of a gain when they agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import confusion_matrix

from transferlens.errors import AnalysisError
from transferlens.explain import LabelShift
from transferlens.explain.prior import answers_with_shares, counts_with_shares, label_shares
from transferlens.explain.skew import jensen_shannon, skew, skew_test
from transferlens.testing import Behaviour, simulate_mechanisms
from transferlens.verify.paper import confusion_study, shipped_paper

mixes = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3).map(np.array)
tables = st.lists(st.integers(0, 200), min_size=9, max_size=9).map(
    lambda c: np.array(c, dtype=float).reshape(3, 3)
)


@settings(deadline=None)  # a busy machine is no failure
@given(mixes, mixes)
def test_the_divergence_equals_that_of_scipy_and_is_symmetric(p, q):
    ours = float(jensen_shannon(p, q))
    with np.errstate(invalid="ignore"):  # of equal mixes scipy may take the root of -1e-17
        theirs = np.nan_to_num(jensenshannon(p, q, base=2)) ** 2
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert ours == pytest.approx(float(jensen_shannon(q, p)))


def test_divergence_and_skew_have_their_extremes():
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert skew(np.array([5.0, 5.0])) == 0.0
    assert skew(np.array([5.0, 0.0])) == 1.0
    assert np.isnan(skew(np.array([0.0, 0.0])))


@settings(deadline=None)
@given(tables, mixes)
def test_fitted_tables_have_the_wanted_mix_the_same_golds_and_the_same_odds_ratios(table, mix):
    mix = mix / mix.sum()
    fitted = counts_with_shares(table, mix)
    np.testing.assert_allclose(fitted.sum(axis=1), (table + 0.5).sum(axis=1))
    np.testing.assert_allclose(fitted.sum(axis=0) / fitted.sum(), mix, atol=1e-3)
    interactions = []
    for part in (np.log(table + 0.5), np.log(fitted)):
        centred = part - part.mean(axis=0)
        interactions.append(centred - centred.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(*interactions, atol=1e-8)


@settings(deadline=None)
@given(tables)
def test_a_table_with_its_own_mix_is_unchanged(table):
    np.testing.assert_allclose(counts_with_shares(table, label_shares(table)), table + 0.5)


@pytest.mark.parametrize("labels", [2, 4])
def test_preferences_meet_the_wanted_mix_and_keep_the_order_of_the_examples(labels):
    rng = np.random.default_rng(0)
    logs = rng.standard_normal((5, 1000, labels))
    shares = rng.dirichlet(np.full(labels, 3.0), 5)
    answers = answers_with_shares(logs, shares)
    mix = np.stack([(answers == k).mean(axis=1) for k in range(labels)], axis=1)
    np.testing.assert_allclose(mix, shares, atol=0.01)
    if labels == 2:
        margin = logs[..., 1] - logs[..., 0]
        highest_no = np.where(answers == 0, margin, -np.inf).max(axis=1)
        lowest_yes = np.where(answers == 1, margin, np.inf).min(axis=1)
        assert (highest_no <= lowest_yes).all()


@pytest.mark.parametrize("likelihoods", [False, True])
def test_a_gain_of_preference_alone_is_removed_and_a_gain_of_skill_stays(likelihoods):
    base = Behaviour(skill=0.8, bias=2.5)
    adapters = {"prior": Behaviour(skill=0.8), "skill": Behaviour(skill=1.6, bias=2.5)}
    planted = simulate_mechanisms(
        base, adapters, rng=np.random.default_rng(2), n_examples=4000, likelihoods=likelihoods
    )
    found = LabelShift(n_resamples=100)(planted.study, rng=np.random.default_rng(0)).data
    prior, by_skill = (found.sel(source=s, target="task") for s in ("prior", "skill"))
    assert prior["gain"] > 0.1
    assert prior["share_removed"] > 0.8
    assert by_skill["gain_at_gold_mix_low"] > 0.1
    assert prior["shift_from_base_low"] > 0.05
    assert by_skill["shift_from_gold"] < found["base_shift_from_gold"].sel(target="task")


def test_correction_restores_what_a_preference_hides():
    planted = simulate_mechanisms(
        Behaviour(skill=0.5), {"s": Behaviour(skill=0.9, bias=2.5)},
        rng=np.random.default_rng(2), n_examples=4000,
    )  # fmt: skip
    cell = LabelShift(n_resamples=50)(planted.study, rng=np.random.default_rng(0)).data.sel(
        source="s", target="task"
    )
    assert cell["gain_at_gold_mix_low"] > cell["gain_high"]
    assert cell["removed_high"] < 0


def test_the_papers_predicted_shares_and_their_shift():
    paper = confusion_study(shipped_paper()[2])
    found = LabelShift(n_resamples=50)(paper, rng=np.random.default_rng(0))
    shares = found.shares["IMDB"]
    assert float(shares.sel(model="Flipkart-balanced", label="1")) == pytest.approx(0.0745)
    assert float(shares.sel(model="gold", label="1")) == pytest.approx(0.494, abs=1e-3)
    p, q = (shares.sel(model=m).values for m in ("Flipkart-balanced", "gold"))
    cell = found.data.sel(source="Flipkart-balanced", target="IMDB")
    assert float(cell["shift_from_gold"]) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    other = found.data.sel(source="Flipkart", target="IMDB")
    assert cell["shift_from_gold_low"] > other["shift_from_gold_high"]


def test_shares_are_the_columns_of_the_confusion_matrix():
    planted = simulate_mechanisms(
        Behaviour(bias=1.0), {"s": Behaviour()}, rng=np.random.default_rng(3), n_examples=300
    )
    rows = planted.study.predictions.collect()
    # The few that are cut off cannot be read and are no label.
    base = rows.filter((rows["source"] == "base") & rows["prediction"].is_not_null())
    table = confusion_matrix(base["gold"].to_list(), base["prediction"].to_list())
    found = LabelShift(n_resamples=20)(planted.study, rng=np.random.default_rng(0))
    np.testing.assert_allclose(
        found.shares["task"].sel(model="base"), table.sum(axis=0) / table.sum()
    )


def test_the_mix_of_the_training_data_is_projected_on_shared_words():
    planted = simulate_mechanisms(
        Behaviour(), {"s": Behaviour(bias=1.0), "far": Behaviour()},
        rng=np.random.default_rng(3), n_examples=300,
    )  # fmt: skip
    priors = {"s": {"Yes": 30.0, "no": 10.0, "maybe": 60.0}, "far": {"spam": 1.0, "ham": 3.0}}
    found = LabelShift(n_resamples=20)(planted.study, rng=np.random.default_rng(0), priors=priors)
    mix = found.shares["task"].sel(model="s").values
    cell = found.data.sel(source="s", target="task")
    assert float(cell["shift_from_source"]) == pytest.approx(
        jensenshannon(mix, [0.25, 0.75], base=2) ** 2
    )
    far = found.data.sel(source="far", target="task")
    assert np.isnan(far["shift_from_source"])
    assert float(far["source_top_share"]) == 0.75
    assert found.notes == ()


def test_training_data_that_are_not_known_are_named():
    planted = simulate_mechanisms(
        Behaviour(), {"s": Behaviour()}, rng=np.random.default_rng(3), n_examples=100
    )
    found = LabelShift(n_resamples=20)(planted.study, rng=np.random.default_rng(0))
    assert "s; run the study again" in found.notes[0]
    assert found.test is None
    assert found.to_frame().height == 1


def test_skewed_sources_that_make_skewed_answers_are_found():
    rng = np.random.default_rng(0)
    source = rng.random(10)
    answers = source[:, None] * 0.5 + 0.1 * rng.standard_normal((10, 6)) + rng.random(6)
    found = skew_test(source, answers, rng=rng, n=999)
    assert found.p_value < 0.01
    assert found.correlation > 0.7


def test_the_skew_test_keeps_its_level_although_targets_share_the_source():
    rng = np.random.default_rng(1)
    p_values = [
        skew_test(
            rng.random(8),
            rng.random(8)[:, None] + 0.2 * rng.standard_normal((8, 12)),
            rng=rng,
            n=199,
        ).p_value
        for _ in range(400)
    ]
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.08


def test_fewer_than_four_sources_are_refused():
    with pytest.raises(AnalysisError, match="at least four"):
        skew_test(np.ones(3), np.ones((3, 2)), rng=np.random.default_rng(0))
