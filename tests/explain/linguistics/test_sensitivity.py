"""Linguistic sensitivity: planted truth, level, counts by hand, refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from explain.linguistics.studies import draw_texts, right, study_of
from transferlens.errors import AnalysisError, ResultsError
from transferlens.explain.linguistics import (
    LinguisticEvidence,
    LinguisticSensitivity,
    example_features,
    penalized_logit,
    without_template,
)
from transferlens.results import BASE, StudyStore, TransferStudy

N = 600
CHOSEN = ("passives", "sentiment", "numerals", "n_words", "tree_depth")


@pytest.fixture(scope="module")
def planted() -> tuple[TransferStudy, pl.DataFrame, np.ndarray]:
    """One adapter that helps on passives and harms elsewhere, and one that does neither."""
    rng = np.random.default_rng(1)
    texts, passive = draw_texts(N, rng)
    scores = {
        BASE: right(0.5, N, rng),
        "grammar": right(np.where(passive, 0.75, 0.4), N, rng),
        "other": right(0.5, N, rng),
    }
    return study_of(scores), texts, passive


@pytest.fixture(scope="module")
def found(planted: tuple[TransferStudy, pl.DataFrame, np.ndarray]) -> LinguisticEvidence:
    study, texts, _ = planted
    return LinguisticSensitivity()(study, texts={"reading": texts})


def test_the_feature_that_decides_is_found_and_comes_first(found: LinguisticEvidence) -> None:
    best = found.cell("grammar", "reading").row(0, named=True)
    # "Was seen" is a passive and a participle: the two go together.
    assert best["feature"] in {"passives", "past_participles"}
    row = found.data.sel(source="grammar", target="reading", feature="passives")
    assert float(row["p_adjusted"]) < 1e-4
    # Odds of winning: .75/.25 of passives against .4/.6 of others.
    assert float(row["odds_low"]) < (0.75 / 0.25) / (0.4 / 0.6) < float(row["odds_high"])
    assert str(row["coding"].values) == "present"


def test_nothing_is_found_where_nothing_was_planted(found: LinguisticEvidence) -> None:
    cell = found.cell("other", "reading")
    assert (cell["p_adjusted"].fill_nan(1.0) > 0.05).all()
    assert found.significant()["source"].unique().to_list() == ["grammar"]


def test_it_is_logistic_regression_on_the_discordant_examples(
    found: LinguisticEvidence, planted: tuple[TransferStudy, pl.DataFrame, np.ndarray]
) -> None:
    study, texts, passive = planted
    scores = study.examples("reading")
    adapter = scores["score"].sel(source="grammar").values[0]
    differs = adapter != scores["base_score"].values[0]
    words = np.array([len(re.findall(r"\w+", t)) - 2 for t in texts["prompt"]])
    fit = penalized_logit(adapter[differs], passive[None, differs], np.log1p(words)[None, differs])
    row = found.data.sel(source="grammar", target="reading", feature="passives")
    assert float(row["odds_ratio"]) == pytest.approx(np.exp(fit.estimate[0]), rel=1e-3)
    assert float(row["p_value"]) == pytest.approx(fit.p_value[0], rel=1e-2)
    assert float(row["gained"] + row["lost"]) == differs.sum()


def test_success_ratios_are_the_right_answers_counted_by_hand(
    found: LinguisticEvidence, planted: tuple[TransferStudy, pl.DataFrame, np.ndarray]
) -> None:
    study, _, passive = planted
    scores = study.examples("reading")
    adapter = scores["score"].sel(source="grammar").values[0][passive].sum()
    base = scores["base_score"].values[0][passive].sum()
    row = found.data.sel(source="grammar", target="reading", feature="passives")
    counts = (float(row["adapter_right"]), float(row["base_right"]), float(row["n_present"]))
    assert counts == (adapter, base, passive.sum())
    assert float(row["success_ratio"]) == pytest.approx(adapter / base)
    assert bool(row["ratio_reliable"])


def test_a_success_ratio_of_few_answers_is_flagged_and_one_over_none_is_nan() -> None:
    rng = np.random.default_rng(2)
    texts, passive = draw_texts(N, rng)
    base = right(0.3, N, rng)
    base[0, 0, passive] = 0.0
    few, adapter = base.copy(), right(0.5, N, rng)
    few[0, 0, np.flatnonzero(passive)[:3]] = 1.0
    given = {"reading": texts}
    how = LinguisticSensitivity(features=("passives",))
    none = how(study_of({BASE: base, "a": adapter}), texts=given).data.squeeze()
    assert np.isnan(none["success_ratio"])
    assert not none["ratio_reliable"]
    three = how(study_of({BASE: few, "a": adapter}), texts=given).data.squeeze()
    assert float(three["success_ratio"]) > 20
    assert not three["ratio_reliable"]


def test_what_a_backend_does_not_know_is_nan_with_a_reason(found: LinguisticEvidence) -> None:
    frame = found.to_frame()
    silent = frame.filter(pl.col("p_value").is_nan())
    assert (silent["reason"] != "").all()
    assert (frame.filter(pl.col("p_value").is_not_nan())["reason"] == "").all()
    parser = frame.filter(pl.col("feature") == "has_oprd")
    assert parser["reason"].str.contains("needs a parser").all()
    assert set(frame["backend"]) == {"lexicon"}
    assert any("lexicon backend" in note for note in found.notes)


def test_the_level_holds_over_many_cells_and_features() -> None:
    rng = np.random.default_rng(3)
    texts, _ = draw_texts(200, rng)
    # A base for each cell: sources that share one win and lose on the same examples.
    targets = tuple(f"t{at}" for at in range(60))
    base, adapter = (np.concatenate([right(p, 200, rng) for _ in targets]) for p in (0.5, 0.6))
    study = study_of({BASE: base, "a": adapter}, targets=targets)
    tables = dict.fromkeys(
        targets, example_features(study, targets=["t0"], texts={"t0": texts})["t0"]
    )
    chosen = ("n_words", "passives", "numerals", "nouns", "word_frequency", "lix", "negations")
    found = LinguisticSensitivity(features=chosen)(study, tables=tables)
    p = found.data["p_value"].values
    assert not np.isnan(p).any()
    # 420 tests, 3.5 standard errors if they were independent.
    assert 0.012 < np.mean(p < 0.05) < 0.088
    assert (found.data["p_adjusted"] > 0.01).all()


def test_length_alone_does_not_make_other_features_significant() -> None:
    rng = np.random.default_rng(4)
    texts, _ = draw_texts(1_000, rng)
    words = np.array([len(text.split()) for text in texts["prompt"]])
    p = 1 / (1 + np.exp(-3 * (words - words.mean()) / words.std()))
    study = study_of({BASE: right(0.5, 1_000, rng), "long": right(p, 1_000, rng)})
    how = LinguisticSensitivity(features=("n_words", "passives", "numerals", "prepositions"))
    found = how(study, texts={"reading": texts}).data.squeeze()
    p_values = dict(zip(found["feature"].values, found["p_value"].values, strict=True))
    assert p_values.pop("n_words") < 1e-6
    assert min(p_values.values()) > 0.01


def test_rare_features_are_tested_exactly(planted: tuple) -> None:
    study, texts, _ = planted
    rare = texts.with_columns(
        prompt=pl.when(pl.col("example") % 60 == 0)
        .then(pl.col("prompt").str.replace("Text: ", "Text: Which one! "))
        .otherwise("prompt")
    )
    how = LinguisticSensitivity(features=("wh_words", "passives"))
    found = how(study, texts={"reading": rare}).data.sel(source="other", target="reading")
    methods = zip(found["feature"].values, found["method"].values, strict=True)
    assert {name: method.split(",")[0] for name, method in methods} == {
        "passives": "Firth",
        "wh_words": "exact",
    }
    all_exact = replace(how, method="exact")(study, texts={"reading": rare}).data
    assert {str(m).split(",")[0] for m in all_exact["method"].values.ravel()} == {"exact"}


def test_seeds_are_averaged_so_that_an_example_counts_once(planted: tuple) -> None:
    study, texts, _ = planted
    one = study.examples("reading")["score"].sel(source="grammar").values
    base = study.examples("reading")["base_score"].values
    how = LinguisticSensitivity(features=CHOSEN)
    single = how(study_of({BASE: base[None], "a": one[None]}), texts={"reading": texts})
    thrice = how(
        study_of({BASE: base[None], "a": np.repeat(one, 3, axis=0)[None]}),
        texts={"reading": texts},
    )
    assert np.array_equal(single.data["p_value"], thrice.data["p_value"], equal_nan=True)
    assert any("averaged" in note for note in thrice.notes)


def test_where_lower_is_better_the_odds_are_those_of_the_better_model(planted: tuple) -> None:
    study, texts, _ = planted
    scores = study.examples("reading")
    flipped = study_of(
        {BASE: 1 - scores["base_score"].values[None], "a": 1 - scores["score"].values[:1]},
        better=False,
    )
    how = LinguisticSensitivity(features=CHOSEN)
    usual = how(study, texts={"reading": texts}).data.sel(source="grammar")
    down = how(flipped, texts={"reading": texts}).data.sel(source="a")
    assert np.allclose(usual["odds_ratio"], down["odds_ratio"], equal_nan=True)
    assert np.isnan(down["success_ratio"]).all()


def test_the_order_of_examples_and_sources_changes_nothing(
    found: LinguisticEvidence, planted: tuple
) -> None:
    study, texts, _ = planted
    shuffled = texts.sample(fraction=1.0, shuffle=True, seed=1)
    again = LinguisticSensitivity(sources=("other", "grammar"))(study, texts={"reading": shuffled})
    assert np.allclose(again.data["p_value"], found.data["p_value"], equal_nan=True)


def test_cells_that_say_nothing_say_why(planted: tuple) -> None:
    _, texts, _ = planted
    rng = np.random.default_rng(5)
    base = right(0.5, N, rng)
    few, always = base.copy(), np.ones_like(base)
    few[0, 0, :5] = 1 - few[0, 0, :5]
    unscored = np.full_like(base, np.nan)
    scores = {BASE: base, "few": few, "always": always, "unscored": unscored}
    found = LinguisticSensitivity(features=CHOSEN)(study_of(scores), texts={"reading": texts})
    assert found.data["p_value"].isnull().all()
    said = {name: found.sentences(name, "reading")[0] for name in ("few", "always", "unscored")}
    assert "disagree on 5 examples only" in said["few"]
    assert "wins all" in said["always"]
    assert "disagree on 0 examples only" in said["unscored"]
    assert any("2 cells are not tested" in note for note in found.notes)


def test_sentences_say_what_is_significant_in_words(found: LinguisticEvidence) -> None:
    said = found.sentences("grammar", "reading")
    assert any("texts with passives" in sentence for sentence in said)
    assert "none of" in found.sentences("other", "reading")[0]


def test_features_can_be_computed_once_and_given(
    found: LinguisticEvidence, planted: tuple, tmp_path: Path
) -> None:
    study, texts, _ = planted
    tables = example_features(study, texts={"reading": texts}, cache=tmp_path)
    again = LinguisticSensitivity()(study, tables=tables)
    assert np.allclose(again.data["p_value"], found.data["p_value"], equal_nan=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_texts_that_lie_in_the_study_folder_are_read(
    found: LinguisticEvidence, planted: tuple, tmp_path: Path
) -> None:
    study, texts, _ = planted
    StudyStore.create(tmp_path).write_examples("abc", texts)
    targets = (replace(study.targets[0], examples_id="abc"),)
    stored = replace(study, path=tmp_path, targets=targets)
    how = LinguisticSensitivity(features=CHOSEN)
    expected = found.data.sel(feature=list(CHOSEN))
    again = how(stored).data.sel(feature=list(CHOSEN))
    assert np.allclose(again["p_value"], expected["p_value"], equal_nan=True)


def test_backends_are_never_mixed(planted: tuple) -> None:
    study, texts, _ = planted
    scores = np.repeat(study.examples("reading")["score"].values[:1], 2, axis=0)
    two = study_of({BASE: scores, "a": scores}, targets=("one", "two"))
    tables = example_features(two, texts={"one": texts, "two": texts})
    tables["two"] = replace(tables["two"], backend="spacy:en_core_web_sm 3.8")
    with pytest.raises(AnalysisError, match="cannot be compared"):
        LinguisticSensitivity()(two, tables=tables)


def test_the_template_is_left_out() -> None:
    films = ["a film", "be kind", "cat people", "a dog", "ease"]
    prompts = [f"Is it good? Review: {film} Answer: yes or no?" for film in films]
    assert without_template(prompts) == films
    assert without_template(["same text"] * 6) == ["same text"] * 6
    assert without_template(prompts[:3]) == prompts[:3]


@pytest.mark.parametrize(
    ("how", "match"),
    [
        (LinguisticSensitivity(features=("passive",)), "Did you mean 'passives'"),
        (LinguisticSensitivity(targets=("readin",)), "Did you mean 'reading'"),
        (LinguisticSensitivity(sources=("gramar",)), "Did you mean 'grammar'"),
        (LinguisticSensitivity(method="frith"), "Did you mean 'firth'"),
        (LinguisticSensitivity(confidence=95), "strictly between"),
        (LinguisticSensitivity(targets=()), "no target is left"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(
    planted: tuple, how: LinguisticSensitivity, match: str
) -> None:
    study, texts, _ = planted
    with pytest.raises(AnalysisError, match=match):
        how(study, texts={"reading": texts})


def test_missing_texts_and_bare_scores_are_refused(
    found: LinguisticEvidence, planted: tuple
) -> None:
    study, texts, _ = planted
    how = LinguisticSensitivity(features=CHOSEN)
    with pytest.raises(ResultsError, match="texts of 'reading' are not stored"):
        how(study)
    with pytest.raises(AnalysisError, match="example 5 has no text"):
        how(study, texts={"reading": texts.filter(pl.col("example") != 5)})
    with pytest.raises(AnalysisError, match="no column 'prompt'"):
        how(study, texts={"reading": texts.rename({"prompt": "text"})})
    bare = TransferStudy.from_scores(
        pl.DataFrame({"source": ["a"], "target": ["reading"], "score": [0.5]})
    )
    with pytest.raises(ResultsError, match="scores only"):
        how(bare, texts={"reading": texts})
    with pytest.raises(AnalysisError, match="Did you mean 'grammar'"):
        found.cell("gramma", "reading")
