"""Dataset cards: every number by another route, and the same from a table, a task and a file."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from factor_study import rows, written_study
from transferlens.errors import AnalysisError, DataError
from transferlens.explain.cards import (
    MEASURES,
    ClassProbabilities,
    card_frame,
    confident_errors,
    dataset_card,
    dataset_of_examples,
    dataset_of_rows,
    rows_of_file,
    study_cards,
)
from transferlens.explain.cards.measures import expected_types
from transferlens.explain.cards.repetition import near_duplicate_share
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy
from transferlens.study import StudySpec
from transferlens.tasks import load_task


def table(prompts, golds, **columns):
    return pl.DataFrame({"prompt": prompts, "gold": golds, **columns})


def values_of(frame):
    return dataset_card(dataset_of_rows(frame, name="data")).values


@pytest.fixture(scope="module")
def drawn():
    return rows(np.random.default_rng(0), n=80)


def test_entropies_are_those_of_scipy_and_skew_is_the_rest_to_evenness():
    golds = ["a"] * 24 + ["b"] * 6 + ["c"] * 2
    got = values_of(table([f"question {at}" for at in range(32)], golds))
    bits = sps.entropy([24, 6, 2], base=2)
    assert got["label_entropy"] == pytest.approx(bits)
    assert got["label_skew"] == pytest.approx(1 - bits / np.log2(3))
    assert got["output_entropy"] == pytest.approx(bits)
    assert (got["n_rows"], got["n_classes"], got["top_share"]) == (32, 3, 0.75)


def test_choices_that_never_are_right_are_classes_too_and_free_answers_are_none():
    choices = pl.Series([["no", "yes"], ["yes", "no"]] * 4)
    got = values_of(table(["q"] * 8, ["yes"] * 8, choices=choices))
    assert (got["n_classes"], got["label_entropy"], got["label_skew"]) == (2, 0, 1)
    card = dataset_card(
        dataset_of_rows(table([f"q{n}" for n in range(8)], list("abcdefgh")), name="free")
    )
    assert np.isnan(card.values["n_classes"])
    assert card.reasons["label_skew"] == "its outputs are no labels"
    assert card.values["output_entropy"] == pytest.approx(3.0)


def test_lengths_leave_the_template_out_and_count_words_and_marks():
    prompts = [f"Question: {'word ' * n}? Answer:" for n in (1, 2, 3, 4, 9)]
    got = values_of(table(prompts, ["one", "two, 2", "x", "y", "z"]))
    assert got["input_length"] == 3
    assert got["output_length"] == 1
    assert got["output_length_90"] == pytest.approx(2.2)
    assert got["input_spread"] == pytest.approx(np.std(np.log1p([1, 2, 3, 4, 9])))


def test_what_rows_say_twice_is_counted():
    prompts = ["a b c d e", "a b c d e", "a b c d e", "other words stand here", "last of all five"]
    got = values_of(table(prompts, ["x", "x", "y", "x", "y"]))
    assert got["duplicates"] == pytest.approx(1 / 5)
    assert got["conflicts"] == pytest.approx(3 / 5)
    assert got["near_duplicates"] == pytest.approx(2 / 5)


def test_near_duplicates_are_those_of_comparing_all_pairs():
    rng = np.random.default_rng(1)
    texts = [list(rng.choice(list("abcdefghij"), 40)) for _ in range(60)]
    for at in range(30, 60):
        # Copies with up to three words changed: some above, some below a similarity of 0.8.
        texts[at] = list(texts[at - 30])
        for place in rng.choice(40, at % 4, replace=False):
            texts[at][place] = "new"
    sets = [{tuple(text[at : at + 3]) for at in range(38)} for text in texts]
    again = {
        later
        for one, later in combinations(range(60), 2)
        if len(sets[one] & sets[later]) >= 0.8 * len(sets[one] | sets[later])
    }
    assert 5 < len(again) < 30
    assert near_duplicate_share(texts) == pytest.approx(len(again) / 60)


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=30), n=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_expected_types_are_the_sum_of_hypergeometric_chances(counts, n):
    got = expected_types(np.array(counts, dtype=float), n)
    total = sum(counts)
    if total < n:
        assert np.isnan(got)
    else:
        chances = [1 - sps.hypergeom(total, count, n).pmf(0) for count in counts]
        assert got == pytest.approx(sum(chances), abs=1e-9)


def test_diversity_among_500_words_does_not_fall_with_size_as_the_plain_ratio_does():
    big = rows(np.random.default_rng(5), n=400)
    small, large = values_of(big[:100]), values_of(big)
    assert large["type_token_500"] == pytest.approx(small["type_token_500"], rel=0.06)
    assert large["type_token_ratio"] < 0.7 * small["type_token_ratio"]


def test_wrong_labels_are_estimated_where_a_sure_model_contradicts():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 3_000)
    wrong = rng.random(3_000) < 0.1
    given_labels = np.where(wrong, (truth + 1) % 3, truth)
    sure = 0.9 * np.eye(3)[truth] + 0.1 / 3 + 0.02 * rng.random((3_000, 3))
    assert confident_errors(sure, given_labels) == pytest.approx(wrong.mean(), abs=0.01)
    assert confident_errors(np.eye(3)[truth], truth) == 0.0
    with pytest.raises(AnalysisError, match="a label is 3, but there are 3 classes"):
        confident_errors(sure, np.full(3_000, 3))


def test_the_order_of_rows_does_not_matter(drawn):
    one = dataset_card(dataset_of_rows(drawn, name="x"))
    other = dataset_card(
        dataset_of_rows(drawn.sample(fraction=1.0, shuffle=True, seed=1), name="x")
    )
    assert dict(one.values) == pytest.approx(dict(other.values), nan_ok=True)
    assert dict(one.profile) == pytest.approx(dict(other.profile), nan_ok=True)
    assert one.profile["word_frequency"] > 0


def test_a_number_is_nan_exactly_where_there_is_a_reason(drawn):
    for card in (
        dataset_card(dataset_of_rows(drawn, name="x"), base_nll=2.5),
        dataset_card(dataset_of_rows(drawn[:3].drop("n_tokens"), name="x")),
        dataset_card(
            dataset_of_rows(drawn, name="x"),
            probabilities=ClassProbabilities(np.eye(2), np.array([0, 1])),
        ),
    ):
        frame = card.to_frame()
        assert frame["measure"].to_list() == [measure.name for measure in MEASURES]
        assert (frame["value"].is_nan() == (frame["reason"] != "")).all()


def test_a_file_gives_the_card_of_the_table_that_it_holds(drawn, tmp_path):
    plain = drawn.select("prompt", pl.col("gold").alias("label"), "choices")
    place = pl.col("label").replace_strict({"yes": 0, "no": 1}, return_dtype=pl.Int64)
    plain.write_ndjson(tmp_path / "words.jsonl")
    plain.drop("choices").write_csv(tmp_path / "words.csv")
    plain.with_columns(label=place).write_parquet(tmp_path / "words.parquet")
    expected = values_of(drawn.select("prompt", "gold", "choices"))
    for name in ("words.jsonl", "words.csv", "words.parquet"):
        assert values_of(rows_of_file(tmp_path / name)) == pytest.approx(expected, nan_ok=True)
    # A written answer has no label; the column may stand there all the same.
    plain.with_columns(completion=pl.col("label"), label=pl.lit(None)).write_ndjson(
        tmp_path / "written.jsonl"
    )
    assert values_of(rows_of_file(tmp_path / "written.jsonl")) == pytest.approx(
        expected, nan_ok=True
    )
    with pytest.raises(DataError, match=r"words\.txt is no file that can be read; give one of"):
        rows_of_file(tmp_path / "words.txt")
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        rows_of_file(tmp_path / "bad.jsonl")


def test_a_task_that_is_in_no_study_has_a_card():
    spec = StudySpec.from_dict(
        {"name": "s", "base": "embedded", "sources": ["sentiment_skewed"], "targets": ["topic"]}
    )
    task = load_task(spec.sources[0], spec, role="sources", index=0)
    card = dataset_card(dataset_of_examples(task.train(200, seed=0), name="skewed"))
    assert card.values["n_rows"] == 200
    assert card.values["label_skew"] > 0.2
    assert sum(card.label_counts.values()) == 200


def test_rows_without_prompt_or_answer_are_refused():
    for frame, message in (
        (pl.DataFrame({"prompt": ["a"]}), "give prompt, and gold or completion"),
        (table([], []).cast(pl.String), "'x' has no rows"),
        (table(["a", None], ["b", "c"]), "1 values of prompt in 'x' are missing"),
    ):
        with pytest.raises(AnalysisError, match=message):
            dataset_of_rows(frame, name="x")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("cards") / "study"
    return written_study(path, np.zeros((5, 5)), rng=np.random.default_rng(3))


def test_a_study_has_a_card_of_every_dataset_whose_rows_it_holds(stored, tmp_path):
    cards = study_cards(stored, cache=tmp_path)
    assert list(cards.sources) == list(cards.targets) == [info.name for info in stored.sources]
    frame = card_frame(list(cards.sources.values()))
    assert frame["base_nll"].to_list() == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert frame["n_rows"].to_list() == [60] * 5
    assert cards.notes == ()
    kept = list(tmp_path.glob("linguistics-*.parquet"))
    assert len(kept) == 10
    again = study_cards(stored, cache=tmp_path)
    assert list(tmp_path.glob("linguistics-*.parquet")) == kept
    assert again.sources["task_00"].profile == cards.sources["task_00"].profile


def test_a_study_without_rows_says_what_it_lacks_and_takes_given_rows(drawn):
    scores = pl.DataFrame(
        {"source": [BASE, "a", "b"], "target": ["t"] * 3, "score": [0.1, 0.2, 0.3]}
    )
    study = TransferStudy.from_scores(scores)
    assert study_cards(study, rows={"b": drawn}, examples={"t": drawn}).notes[1:] == ()
    cards = study_cards(study, rows={"b": drawn})
    assert list(cards.sources) == ["b"]
    assert cards.notes[0].startswith("training rows not known: a; run the study again")
    assert cards.notes[1].startswith("examples not known: t;")


@pytest.mark.parametrize(("right", "known"), [(0.95, True), (0.6, False)])
def test_wrong_labels_of_a_source_come_from_its_own_task_if_its_adapter_learned_it(right, known):
    rng = np.random.default_rng(4)
    n = 400
    gold = rng.integers(0, 2, n)
    answer = np.where(rng.random(n) < right, gold, 1 - gold)
    # Sure of half of the answers only: a doubt is no error.
    logs = np.where(np.eye(2)[answer] > 0, 0.0, -rng.choice([0.2, 4.0], n)[:, None])
    frame = pl.DataFrame(
        {
            "source": "a", "target": "a", "seed": 0, "example": range(n),
            "gold": np.array(["no", "yes"])[gold], "prediction": np.array(["no", "yes"])[answer],
            "completion": None, "score": (gold == answer).astype(float), "n_tokens": 1,
            "truncated": False, "prompt_hash": "", "example_hash": "",
            "choice_logprobs": logs.tolist(),
        }
    )  # fmt: skip
    study = TransferStudy.from_predictions(
        frame.with_columns(pl.col("completion").cast(pl.String)),
        sources=[SourceInfo(name="a")], targets=[TargetInfo(name="a")],
    )  # fmt: skip
    drawn = rows(np.random.default_rng(0))
    value = study_cards(study, rows={"a": drawn}).sources["a"].values["label_errors"]
    assert np.isnan(value) != known
    if known:
        assert 0.02 < value < 0.08


def test_cards_are_plain_numbers_for_json(stored):
    card = study_cards(stored).sources["task_01"]
    numbers = {name: value for name, value in card.values.items() if value == value}  # noqa: PLR0124 - NaN
    assert json.loads(json.dumps(numbers)) == numbers
