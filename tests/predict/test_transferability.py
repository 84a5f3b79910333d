"""LogME and others: reference numbers, invariances, and class scores of a study."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from transferlens.errors import AnalysisError
from transferlens.predict import Evaluate, class_score_predictors, class_score_problem
from transferlens.predict.transferability import (
    h_score,
    leep,
    log_me,
    log_me_regression,
    nce,
    trans_rate,
)
from transferlens.testing import Sampling, Structure, simulate_study


@pytest.fixture
def cases(shared):
    return json.loads((shared / "oracles" / "transferability.json").read_text("utf-8"))["cases"]


def test_all_numbers_are_those_of_the_transfer_learning_library(cases):
    for case in cases:
        features, labels = np.array(case["features"]), np.array(case["labels"])
        probabilities = np.array(case["source_probs"])
        found = {
            "logme": log_me(features, labels),
            "logme_reg": log_me_regression(features, np.array(case["y_reg"])),
            "h_score": h_score(features, labels),
            "leep": leep(probabilities, labels),
            "nce": nce(probabilities.argmax(axis=1), labels),
            "transrate": trans_rate(features, labels),
        }
        for name, value in found.items():
            assert value == pytest.approx(case[name], abs=1e-6), name


def drawn(seed=0, n=120, width=5, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    labels[:classes] = np.arange(classes)
    return rng.normal(size=(n, width)) + 1.5 * labels[:, None], labels


@pytest.mark.parametrize("score", [log_me, h_score, trans_rate], ids=lambda f: f.__name__)
def test_order_of_examples_and_names_of_classes_do_not_matter(score):
    features, labels = drawn()
    order = np.random.default_rng(1).permutation(len(labels))
    value = score(features, labels)
    assert score(features[order], labels[order]) == pytest.approx(value)
    assert score(features, np.array([7, 2, 30])[labels]) == pytest.approx(value)


@pytest.mark.parametrize("score", [log_me, trans_rate], ids=lambda f: f.__name__)
def test_turning_the_features_changes_nothing(score):
    features, labels = drawn()
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    assert score(features @ turn, labels) == pytest.approx(score(features, labels))


def test_the_h_score_does_not_depend_on_the_units_of_the_features():
    features, labels = drawn()
    assert h_score(features * [1, 10, 0.1, 3, 7], labels) == pytest.approx(
        h_score(features, labels)
    )


@pytest.mark.parametrize("score", [log_me, h_score, trans_rate], ids=lambda f: f.__name__)
def test_features_that_know_the_labels_score_above_shuffled_ones(score):
    features, labels = drawn()
    shuffled = np.random.default_rng(3).permutation(labels)
    assert score(features, labels) > score(features, shuffled)


def test_conditional_entropy_is_what_mutual_information_leaves_of_the_entropy():
    rng = np.random.default_rng(4)
    first, second = rng.integers(4, size=300), rng.integers(3, size=300)
    share = np.bincount(second) / 300
    entropy = -(share * np.log(share)).sum()
    expected = metrics.mutual_info_score(first, second) - entropy
    assert nce(first, second) == pytest.approx(expected)


def test_of_certain_predictions_leep_is_the_negative_conditional_entropy():
    rng = np.random.default_rng(5)
    labels, classes = rng.integers(3, size=200), rng.integers(4, size=200)
    assert leep(np.eye(4)[classes], labels) == pytest.approx(nce(classes, labels))


def test_a_direction_without_variance_is_no_evidence():
    features, labels = drawn()
    again = np.column_stack([features, features[:, 0]])
    assert np.isfinite(log_me(again, labels))
    assert np.isfinite(trans_rate(again, labels))


def test_one_class_and_unequal_lengths_are_refused():
    features, labels = drawn()
    with pytest.raises(AnalysisError, match="1 class"):
        log_me(features, np.zeros_like(labels))
    with pytest.raises(AnalysisError, match="differ in their examples"):
        h_score(features[:-1], labels)


@pytest.fixture(scope="module")
def study():
    return simulate_study(
        Structure(n_sources=8, n_targets=7, strengths=(0.08,), source_sd=0.05),
        Sampling(n_examples=400, likelihoods=True),
        rng=np.random.default_rng(0),
    ).study


def test_class_scores_come_from_other_examples_than_the_gains(study):
    given = class_score_problem(study, rng=np.random.default_rng(0))
    whole = 100 * (study.scores["score"] - study.scores["base_score"]).mean("seed").values
    here = given.known
    # The two halves average to the gain on all examples, up to their unequal sizes.
    both = (given.gains + given.features[:, :, 0]) / 2
    np.testing.assert_allclose(both[here], whole[here], atol=1.0)
    assert np.abs(given.gains - given.features[:, :, 0])[here].max() > 1.0
    assert not here[np.eye(8, 7, dtype=bool)].any()


def test_class_scores_order_the_sources_of_a_study_in_which_right_answers_are_likelier(study):
    given = class_score_problem(study, rng=np.random.default_rng(0))
    found = Evaluate(protocols=("cells",))(
        given, class_score_predictors(), rng=np.random.default_rng(0)
    )
    rank = dict(found.table.select("predictor", "spearman").iter_rows())
    assert rank["gain on the sample"] > 0.5
    assert rank["NCE"] > 0.3
    assert rank["random order"] == 0.0


def test_scores_alone_have_no_class_scores():
    from factor_study import study_of_gains

    with pytest.raises(AnalysisError, match="scores only"):
        class_score_problem(study_of_gains(np.zeros((4, 4))), rng=np.random.default_rng(0))
