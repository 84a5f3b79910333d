"""What a page about one cell needs, against the rows themselves."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferlens.errors import AnalysisError
from transferlens.explain import LabelShift, Story, gallery, tell_story
from transferlens.explain.amounts import amount, decimals, span
from transferlens.explain.linguistics import lexicon
from transferlens.explain.linguistics.result import odds
from transferlens.results import (
    BASE,
    SourceInfo,
    StudyStore,
    TargetInfo,
    TransferStudy,
    open_study,
    write_study,
)
from transferlens.testing import Behaviour, simulate_mechanisms

PASSIVE = ["It was seen by nobody.", "She has been invited.", "The letter is written."]
ACTIVE = ["She sees it.", "He invited her to dinner.", "Nobody writes letters here."]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return a study with texts in which passives decide where the adapter wins."""
    rng = np.random.default_rng(4)
    n = 400
    study = simulate_mechanisms(
        Behaviour(skill=0.3, length=12.0, readable=0.9), {"s": Behaviour(skill=0.3, length=20.0)},
        rng=rng, n_examples=n,
    ).study  # fmt: skip
    passive = rng.random(n) < 0.5
    right = np.where(passive, rng.random(n) < 0.85, rng.random(n) < 0.3)
    rows = study.predictions.collect()
    answer = pl.when(pl.col("gold") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    good = pl.col("example").replace_strict(range(n), right.tolist())
    rows = rows.with_columns(
        prediction=pl.when(pl.col("source") == BASE)
        .then("prediction")
        .otherwise(pl.when(good).then("gold").otherwise(answer)),
        score=pl.when(pl.col("source") == BASE).then("score").otherwise(good.cast(pl.Float64)),
    )
    folder = tmp_path_factory.mktemp("story") / "study"
    info = TargetInfo(name="task", metric="accuracy", ceiling=1.0, examples_id="task-1")
    source = SourceInfo(name="s", examples_id="s-1")
    write_study(TransferStudy.from_predictions(rows, targets=[info], sources=[source]), folder)
    store = StudyStore.open(folder)
    prompts = [
        f"Text: {rng.choice(PASSIVE if p else ACTIVE)} {'And so on. ' * rng.integers(0, 4)}Answer:"
        for p in passive
    ]
    texts = pl.DataFrame({"example": range(n), "prompt": prompts, "choices": [["no", "yes"]] * n})
    store.write_examples("task-1", texts)
    training = pl.DataFrame(
        {
            "example": range(50),
            "gold": ["yes"] * 40 + ["no"] * 10,
            "completion": ["it is so"] * 50,
            "n_tokens": [30] * 50,
        }
    )
    store.write_examples("s-1", training)
    return open_study(folder)


@pytest.fixture(scope="module")
def story(stored, tmp_path_factory):
    return tell_story(
        stored, "s", "task", rng=np.random.default_rng(0), n_resamples=60,
        cache=tmp_path_factory.mktemp("features"),
    )  # fmt: skip


def test_the_gallery_shows_what_was_asked_and_what_was_said(stored, story):
    shown = story.examples
    rows = stored.predictions.collect()
    wide = rows.filter(pl.col("source") == BASE).join(
        rows.filter(pl.col("source") == "s"), on="example", suffix="_s"
    )
    won = wide.filter(pl.col("score_s") > pl.col("score"))
    lost = wide.filter(pl.col("score_s") < pl.col("score"))
    assert (shown.n_gained, shown.n_lost, shown.n_scored) == (won.height, lost.height, 400)
    assert len(shown.gained) == len(shown.lost) == 20
    assert [each.example for each in shown.gained] == won["example"].sort()[:20].to_list()
    first = shown.lost[0]
    row = lost.row(by_predicate=pl.col("example") == first.example, named=True)
    assert (first.gold, first.base_answer, first.adapter_answer) == (
        row["gold"], row["prediction"], row["prediction_s"],
    )  # fmt: skip
    assert (first.base_score, first.adapter_score) == (1.0, 0.0)
    assert first.prompt == stored.example_texts("task")["prompt"][first.example]
    assert first.base_text == "written"


def test_largest_changes_come_first_and_are_as_many_as_asked_for():
    rows = simulate_mechanisms(
        Behaviour(), {"s": Behaviour()}, rng=np.random.default_rng(0), n_examples=6
    ).study.predictions.collect()
    scores = {BASE: [0.5] * 6, "s": [0.6, 0.9, 0.5, 0.1, 0.9, float("nan")]}
    graded = rows.with_columns(
        score=pl.Series([scores[s][e] for s, e in rows.select("source", "example").iter_rows()])
    )
    shown = gallery(TransferStudy.from_predictions(graded), "s", "task", most=2)
    assert [each.example for each in shown.gained] == [1, 4]
    assert [each.example for each in shown.lost] == [3]
    assert (shown.n_gained, shown.n_scored) == (3, 5)
    assert shown.gained[0].prompt is None


def test_a_gallery_needs_answers_and_a_cell():
    scores = pl.DataFrame({"source": [BASE, "s"], "target": "t", "score": [0.5, 0.6]})
    with pytest.raises(AnalysisError, match="scores only"):
        gallery(TransferStudy.from_scores(scores), "s", "t")
    study = simulate_mechanisms(
        Behaviour(), {"s": Behaviour()}, rng=np.random.default_rng(0), n_examples=6
    ).study
    with pytest.raises(AnalysisError, match="no cell 's' -> 'other'"):
        gallery(study, "s", "other")


def test_panels_hold_the_counts_shares_and_lengths_of_the_rows(stored, story):
    rows = stored.predictions.collect()
    pair, mixes = story.confusion, story.label_mixes
    own = rows.filter(pl.col("source") == "s")
    for at, gold in enumerate(pair.golds):
        counted = own.filter(pl.col("gold") == gold, pl.col("prediction") == "yes").height
        assert pair.adapter[at][pair.answers.index("yes")] == counted
        assert sum(pair.adapter_by_gold[at]) == pytest.approx(1.0)
        assert sum(pair.difference[at]) == pytest.approx(0.0, abs=1e-12)
    assert mixes.adapter[mixes.labels.index("yes")] == (own["prediction"] == "yes").mean()
    assert mixes.training == {"yes": 0.8, "no": 0.2}
    tokens, words = story.lengths
    assert (tokens.unit, words.unit) == ("tokens", "words")
    assert tokens.gold is None
    for series in (tokens.base, tokens.adapter, tokens.training, words.gold, words.training):
        assert sum(series) == pytest.approx(1.0)
    at = np.flatnonzero(tokens.training)[0]
    assert tokens.edges[at] <= 30 < tokens.edges[at + 1]
    counted, _ = np.histogram(own["n_tokens"].to_numpy(), bins=tokens.edges)
    np.testing.assert_allclose(tokens.adapter, counted / own.height)
    assert words.training[3] == 1.0


def test_the_story_says_how_far_answers_lie_from_the_training_labels(story):
    assert any(
        line.startswith("labels: ") and "bits from the label mix of its training data" in line
        and "[" in line for line in story.lines
    )  # fmt: skip
    low, high = (story.labels[f"shift_from_source_{end}"] for end in ("low", "high"))
    assert 0 < low <= story.labels["shift_from_source"] <= high


def test_free_answers_are_not_called_unknown_training_data(stored, tmp_path):
    source = SourceInfo(name="s", examples_id="free-1")
    rows = stored.predictions.collect()
    study = TransferStudy.from_predictions(rows, targets=stored.targets, sources=[source])
    write_study(study, tmp_path / "study")
    free = pl.DataFrame({"example": range(50), "gold": [f"text {i}" for i in range(50)]})
    StudyStore.open(tmp_path / "study").write_examples("free-1", free)
    stored_texts = StudyStore.open(stored.path).read_examples("task-1")
    StudyStore.open(tmp_path / "study").write_examples("task-1", stored_texts)
    found = LabelShift(n_resamples=20)(open_study(tmp_path / "study"), rng=np.random.default_rng(0))
    assert found.notes == ()
    assert np.isnan(found.data["source_skew"].item())


def test_the_feature_that_decides_is_told_with_backend_grade_and_pairs(story):
    said = [line for line in story.lines if line.startswith("linguistics: ")]
    n = story.examples.n_gained + story.examples.n_lost
    assert f"on {n} examples on which adapter and base differ" in said[0]
    assert "(word lists)" in said[0]
    assert any("passives" in line and "grade fair" in line for line in said[1:])
    assert story.linguistics.kind == "lexicon"
    assert story.linguistics.relations == ()
    passive = next(row for row in story.linguistics.features if row["feature"] == "passives")
    assert passive["p_adjusted"] <= 0.05
    assert passive["odds_low"] > 1


def test_without_texts_or_packages_one_line_says_what_is_missing(stored, monkeypatch):
    bare = TransferStudy.from_predictions(stored.predictions.collect())
    told = tell_story(bare, "s", "task", rng=np.random.default_rng(0), n_resamples=20)
    assert told.linguistics is None
    assert [note for note in told.notes if note.startswith("linguistics: the texts of 'task'")]
    # As if it were not installed and nothing had been loaded yet.
    monkeypatch.setitem(sys.modules, "textblob", None)
    monkeypatch.setattr(lexicon, "_tagger", lexicon._tagger.__wrapped__)
    told = tell_story(stored, "s", "task", rng=np.random.default_rng(0), n_resamples=20)
    assert told.linguistics is None
    note = next(note for note in told.notes if note.startswith("linguistics: "))
    assert 'pip install "transferlens[linguistics]"' in note
    assert "\n" not in note


def test_a_story_is_frozen_and_its_document_is_plain(story):
    assert isinstance(story, Story)
    with pytest.raises(dataclasses.FrozenInstanceError):
        story.source = "other"
    document = story.document()
    again = json.loads(json.dumps(document))
    assert again["confusion"]["golds"] == ["no", "yes"]
    assert len(again["examples"]["gained"]) == 20
    assert set(again) == {field.name for field in dataclasses.fields(Story)}


@given(st.floats(-0.5, 0.5), st.integers(0, 3))
def test_nothing_is_printed_as_a_negative_zero(value, digits):
    row = {"x": value, "x_low": value, "x_high": value}
    for text in (decimals(value, digits), amount(row, "x", 1.0), span(row, "x", digits)):
        for number in text.replace("[", "").replace("]", "").replace(",", "").split():
            assert not (number.startswith("-") and float(number) == 0.0)


@pytest.mark.parametrize(
    ("ratio", "said"), [(0.0123, "0.012"), (2.345, "2.3"), (214.4, "214"), (np.inf, "inf")]
)
def test_odds_have_two_digits_and_no_needless_exponent(ratio, said):
    assert odds(ratio) == said
