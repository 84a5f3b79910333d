"""Confusion matrices and agreement, against scikit-learn and the paper's four matrices."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from transferlens.errors import AnalysisError
from transferlens.explain import Confusion
from transferlens.explain.agreement import agreement, normalised
from transferlens.results import BASE, PREDICTION_SCHEMA, TransferStudy
from transferlens.verify.paper import ACCURACIES, confusion_study, shipped_paper


def study(cells, gold):
    """Return a study from (source, target, seed) -> answers."""
    frames = [
        pl.DataFrame(
            {
                "source": source, "target": target, "seed": seed, "example": range(len(gold)),
                "gold": gold, "prediction": answers,
                "score": [float(a == g) for a, g in zip(answers, gold, strict=True)],
                "example_hash": "",
            },
            schema_overrides={"prediction": pl.String},
        )
        for (source, target, seed), answers in cells.items()
    ]  # fmt: skip
    rows = pl.concat(frames)
    missing = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in PREDICTION_SCHEMA.items()
        if name not in rows.columns
    ]
    return TransferStudy.from_predictions(rows.with_columns(missing))


def drawn(rng, gold, right, labels, unreadable=0.0):
    other = rng.choice(labels, len(gold))
    answers = np.where(rng.random(len(gold)) < right, gold, other)
    return [None if rng.random() < unreadable else str(answer) for answer in answers]


LABELS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(1)
    gold = rng.choice(LABELS, 300, p=[0.6, 0.3, 0.1]).tolist()
    cells = {(BASE, "t", 0): drawn(rng, gold, 0.3, LABELS, 0.1)}
    cells["s", "t", 0] = drawn(rng, gold, 0.6, LABELS, 0.02)
    cells["s", "t", 1] = drawn(rng, gold, 0.6, LABELS)
    return gold, cells


def test_measures_equal_those_of_scikit_learn_with_unreadable_answers_as_a_class(three):
    gold, cells = three
    found = Confusion(n_resamples=50)(study(cells, gold), rng=np.random.default_rng(0))
    answers = [answer or "<none>" for answer in cells[BASE, "t", 0]]
    table = found.tables["t"].sel(model="base")
    expected = {
        "accuracy": metrics.accuracy_score(gold, answers),
        "balanced_accuracy": metrics.recall_score(gold, answers, labels=LABELS, average="macro"),
        "macro_f1": metrics.f1_score(gold, answers, labels=LABELS, average="macro"),
        "kappa": metrics.cohen_kappa_score(gold, answers),
        "mcc": metrics.matthews_corrcoef(gold, answers),
    }
    assert {name: float(table[name]) for name in expected} == pytest.approx(expected)
    counts = metrics.confusion_matrix(gold, answers, labels=[*LABELS, "<none>"])[:3]
    np.testing.assert_array_equal(found.matrix("base", "t"), counts)


@pytest.mark.parametrize(("by", "theirs"), [("row", "true"), ("column", "pred"), ("all", "all")])
def test_normalised_matrices_equal_those_of_scikit_learn(three, by, theirs):
    gold, cells = three
    answers = cells["s", "t", 1]
    found = Confusion(n_resamples=20)(
        study({(BASE, "t", 0): answers, ("s", "t", 0): answers}, gold),
        rng=np.random.default_rng(0),
    )
    ours = found.matrix("s", "t", normalise=by).values[:, :3]
    expected = metrics.confusion_matrix(gold, answers, labels=LABELS, normalize=theirs)
    np.testing.assert_allclose(ours, expected)
    assert (found.difference("s", "t", normalise=by).fillna(0.0) == 0).all()


def test_the_difference_is_adapter_minus_base_and_rows_of_it_sum_to_zero(three):
    gold, cells = three
    found = Confusion(n_resamples=20)(study(cells, gold), rng=np.random.default_rng(0))
    difference = found.difference("s", "t")
    adapter, base = (found.matrix(m, "t", normalise="row").values for m in ("s", "base"))
    np.testing.assert_allclose(difference.values, adapter - base)
    np.testing.assert_allclose(difference.sum("answer"), 0.0, atol=1e-12)


def test_counts_of_several_seeds_are_their_mean(three):
    gold, cells = three
    found = Confusion(n_resamples=20)(study(cells, gold), rng=np.random.default_rng(0))
    runs = [
        metrics.confusion_matrix(gold, [a or "?" for a in cells["s", "t", seed]],
                                 labels=[*LABELS, "?"])[:3]
        for seed in (0, 1)
    ]  # fmt: skip
    np.testing.assert_allclose(found.matrix("s", "t"), np.mean(runs, axis=0))


def test_the_papers_four_matrices_have_its_accuracies():
    paper = confusion_study(shipped_paper()[2])
    found = Confusion(n_resamples=50)(paper, rng=np.random.default_rng(0))
    for source, target, published in ACCURACIES:
        table = found.tables[target].sel(model=source)
        assert float(table["accuracy"]) == float(published)
        assert float(table["accuracy_low"]) < float(published) < float(table["accuracy_high"])
        assert found.matrix(source, target).sum() == 2000
    skewed = found.matrix("Flipkart-balanced", "IMDB", normalise="all").sum("gold")
    assert float(skewed.sel(answer="1")) == pytest.approx(0.074, abs=1e-3)
    flipkart = found.matrix("IMDB", "Flipkart").sum("gold")
    assert flipkart.sel(answer="<unreadable>") == 0


def test_the_interval_of_accuracy_is_that_of_a_proportion():
    rng = np.random.default_rng(3)
    gold = ["a", "b"] * 500
    cells = {(s, "t", 0): drawn(rng, gold, 0.4, ["a", "b"]) for s in (BASE, "s")}
    table = Confusion(n_resamples=2000)(study(cells, gold), rng=rng).tables["t"].sel(model="s")
    p = float(table["accuracy"])
    half = 1.96 * np.sqrt(p * (1 - p) / 1000)
    assert float(table["accuracy_low"]) == pytest.approx(p - half, abs=0.004)
    assert float(table["accuracy_high"]) == pytest.approx(p + half, abs=0.004)


def test_an_undefined_measure_is_nan_and_not_zero():
    constant = np.array([[5.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    found = agreement(constant)
    assert np.isnan(found.mcc)
    assert found.kappa == 0.0
    assert np.isnan(agreement(np.zeros((2, 3))).accuracy)
    assert np.isnan(normalised(constant, "column")[0, 1])


def test_a_created_confusion_is_found_across_targets_and_no_other():
    rng = np.random.default_rng(5)
    gold = rng.choice(LABELS, 400).tolist()
    cells = {}
    for target in ("t", "u", "v"):
        base = drawn(rng, gold, 0.8, LABELS)
        cells[BASE, target, 0] = base
        moved = rng.random(400) < 0.5
        cells["habit", target, 0] = [
            "c" if g == "a" and m else b for g, b, m in zip(gold, base, moved, strict=True)
        ]
        noise = rng.random(400) < 0.03
        cells["none", target, 0] = [
            str(rng.choice(LABELS)) if x else b for b, x in zip(base, noise, strict=True)
        ]
    found = Confusion(n_resamples=20)(study(cells, gold), rng=rng)
    habits = found.habits()
    assert habits.row(0)[:5] == ("habit", "a", "c", 3, 3)
    assert habits["targets"][1:].sum() == 0
    one = found.created.filter(
        (pl.col("source") == "habit") & (pl.col("target") == "t") & (pl.col("gold") == "a")
        & (pl.col("answer") == "c")
    ).row(0, named=True)  # fmt: skip
    matrix = found.difference("habit", "t").sel(gold="a", answer="c")
    assert one["difference"] == pytest.approx(float(matrix))


def test_where_nothing_is_created_the_test_keeps_its_level():
    rng = np.random.default_rng(8)
    gold = ["a", "b"] * 100
    cells = {
        (source, f"t{number}", 0): drawn(rng, gold, 0.5, ["a", "b"])
        for number in range(200)
        for source in (BASE, "s")
    }
    found = Confusion(n_resamples=20)(study(cells, gold), rng=rng)
    swaps = found.created.filter(pl.col("answer") == "b")
    assert swaps.height == 200
    assert 0.02 < (swaps["p_value"] <= 0.05).mean() < 0.08


def test_a_target_without_labels_says_why():
    gold = [str(number) for number in range(60)]
    found = Confusion(n_resamples=20)(
        study({(BASE, "t", 0): gold, ("s", "t", 0): gold}, gold), rng=np.random.default_rng(0)
    )
    with pytest.raises(AnalysisError, match="no labels in common"):
        found.matrix("s", "t")


def test_labels_are_recognised_whatever_their_case_and_white_space():
    gold = ["Yes", "No"] * 20
    messy = [" yes", "NO\n"] * 20
    found = Confusion(n_resamples=20)(
        study({(BASE, "t", 0): gold, ("s", "t", 0): messy}, gold), rng=np.random.default_rng(0)
    )
    assert found.tables["t"].sel(model="s")["accuracy"] == 1.0
