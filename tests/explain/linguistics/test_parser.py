"""The parser backend on documents whose annotation is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

spacy = pytest.importorskip("spacy")

from spacy.tokens import Doc  # noqa: E402 - only where spaCy is installed

from explain.linguistics.studies import study_of  # noqa: E402 - as above
from transferlens.errors import AnalysisError  # noqa: E402 - as above
from transferlens.explain.linguistic_story import cell_linguistics  # noqa: E402 - as above
from transferlens.explain.linguistics import (  # noqa: E402 - as above
    LexiconBackend,
    ParserBackend,
    linguistic_features,
)
from transferlens.explain.linguistics.catalog import RELATIONS  # noqa: E402 - as above
from transferlens.results import BASE, StudyStore  # noqa: E402 - as above

VOCAB = spacy.blank("en").vocab
FINITE_PAST, FINITE = "Tense=Past|VerbForm=Fin", "Tense=Pres|VerbForm=Fin"
PARTICIPLE = "Aspect=Perf|Tense=Past|VerbForm=Part"


def passive() -> Doc:
    """Return "The letter was not written by him." in the labels of spaCy's English models."""
    return Doc(
        VOCAB,
        words=["The", "letter", "was", "not", "written", "by", "him", "."],
        spaces=[True] * 6 + [False, False],
        heads=[1, 4, 4, 4, 4, 4, 5, 4],
        deps=["det", "nsubjpass", "auxpass", "neg", "ROOT", "agent", "pobj", "punct"],
        pos=["DET", "NOUN", "AUX", "PART", "VERB", "ADP", "PRON", "PUNCT"],
        morphs=["", "", FINITE_PAST, "Polarity=Neg", PARTICIPLE, "", "", ""],
    )


def relative() -> Doc:
    """Return "Dogs that bark sleep. Stay here!": two sentences."""
    return Doc(
        VOCAB,
        words=["Dogs", "that", "bark", "sleep", ".", "Stay", "here", "!"],
        spaces=[True, True, True, False, True, True, False, False],
        heads=[3, 2, 0, 3, 3, 5, 5, 5],
        deps=["nsubj", "nsubj", "relcl", "ROOT", "punct", "ROOT", "advmod", "punct"],
        pos=["NOUN", "PRON", "VERB", "VERB", "PUNCT", "VERB", "ADV", "PUNCT"],
        morphs=["", "", FINITE, FINITE, "", "VerbForm=Inf", "", ""],
    )


class ByHand:
    """Stands for a loaded pipeline; knows two texts, and two relations that do not occur."""

    pipe_names = ("tagger", "parser")
    max_length = 1_000
    meta = {"lang": "en", "name": "by_hand", "version": "1.0"}  # noqa: RUF012 - as in spaCy
    labels = ("ROOT", "det", "nsubjpass", "auxpass", "agent", "pobj", "relcl", "csubj", "oprd")

    def get_pipe(self, name: str) -> Any:
        assert name == "parser"
        return self

    def pipe(self, texts: list[str]) -> Iterator[Doc]:
        docs = {doc.text: doc for doc in (passive(), relative(), Doc(VOCAB, words=[]))}
        return (docs[text] for text in texts)


@pytest.fixture
def table() -> Any:
    texts = [relative().text, passive().text, ""]
    return linguistic_features(texts, backend=ParserBackend(ByHand()))


def test_counts_are_those_of_the_annotation(table: Any) -> None:
    first, second, _ = table.frame.rows(named=True)
    assert (first["n_words"], first["n_sentences"]) == (6, 2)
    assert (second["n_words"], second["n_sentences"]) == (7, 1)
    assert second["passives"] == pytest.approx(1 / 7)
    assert second["past_tense"] == pytest.approx(1 / 7)
    assert second["past_participles"] == pytest.approx(1 / 7)
    assert second["negations"] == pytest.approx(1 / 7)
    assert second["nouns"] == pytest.approx(1 / 7)
    assert first["verbs"] == pytest.approx(3 / 6)
    assert first["present_tense"] == pytest.approx(2 / 6)
    # bark, sleep and stay, in two sentences.
    assert first["clauses"] == pytest.approx(3 / 2)
    assert first["relative_clauses"] == pytest.approx(1 / 2)


def test_tree_measures_are_those_of_a_count_by_hand(table: Any) -> None:
    first, second, _ = table.frame.rows(named=True)
    # The 1, letter 3, was 2, not 1, by 1, him 1.
    assert second["dependency_distance"] == pytest.approx(9 / 6)
    assert second["left_embedding"] == 4
    assert second["tree_depth"] == 2
    # Dogs 3, that 1, bark 2; here 1. Roots: three words before, none before.
    assert first["dependency_distance"] == pytest.approx(7 / 4)
    assert first["left_embedding"] == pytest.approx(1.5)
    # that -> bark -> Dogs -> sleep; here -> Stay.
    assert first["tree_depth"] == pytest.approx(2)


def test_relations_are_present_absent_or_unknown_to_the_parser(table: Any) -> None:
    first, second, empty = table.frame.rows(named=True)
    assert (first["has_relcl"], second["has_relcl"]) == (1.0, 0.0)
    assert (first["has_auxpass"], second["has_auxpass"]) == (0.0, 1.0)
    assert (first["has_csubj"], second["has_csubj"]) == (0.0, 0.0)
    assert np.isnan(empty["has_relcl"])
    reasons = dict(table.info.select("feature", "reason").iter_rows())
    assert np.isnan(first["has_nsubj:pass"])
    assert "no label 'nsubj:pass'" in reasons["has_nsubj:pass"]
    assert reasons["has_csubj"] == ""


def test_parser_features_of_an_empty_text_are_nan(table: Any) -> None:
    empty = table.frame.row(2, named=True)
    assert np.isnan([empty[n] for n in ("tree_depth", "dependency_distance", "passives")]).all()


def test_both_backends_agree_on_what_needs_no_parser(table: Any) -> None:
    by_words = linguistic_features([relative().text, passive().text], backend=LexiconBackend())
    exact = by_words.info.filter(grade="exact")["feature"]
    assert len(exact) > 10
    for name in exact:
        assert by_words.values(name) == pytest.approx(table.values(name)[:2], nan_ok=True), name


def test_the_backend_is_the_model_with_its_version(table: Any) -> None:
    assert table.backend == "spacy:en_by_hand 1.0"
    assert set(table.info["backend"]) == {"spacy:en_by_hand 1.0"}


def test_a_model_without_a_parser_is_refused() -> None:
    with pytest.raises(AnalysisError, match="has no parser"):
        ParserBackend(spacy.blank("en"))


def test_a_text_that_is_too_long_for_the_model_is_refused() -> None:
    with pytest.raises(AnalysisError, match="1,000"):
        ParserBackend(ByHand()).annotate(["x" * 1_001])


def test_the_papers_relations_are_known_by_name() -> None:
    assert {"oprd", "parataxis", "csubj"} <= set(RELATIONS)


def test_a_story_prints_the_papers_success_ratio_per_relation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    n = 200
    passive_text = np.arange(n) % 2 == 0
    base = (rng.random(n) < 0.4).astype(float)
    adapter = np.where(passive_text, rng.random(n) < 0.8, rng.random(n) < 0.03).astype(float)
    study = study_of({BASE: base[None, None], "s": adapter[None, None]})
    StudyStore.create(tmp_path).write_examples(
        "abc",
        pl.DataFrame(
            {
                "example": range(n),
                "prompt": [(passive() if p else relative()).text for p in passive_text],
            }
        ),
    )
    targets = (replace(study.targets[0], examples_id="abc"),)
    stored = replace(study, path=tmp_path, targets=targets)
    monkeypatch.setattr("transferlens.explain.linguistics.parser._load", lambda _: ByHand())
    found = cell_linguistics(stored, "s", "reading", model="by_hand", cache=None)
    ratios = {row["relation"]: row for row in found.relations}
    right = adapter[passive_text].sum(), base[passive_text].sum()
    assert ratios["nsubjpass"]["success_ratio"] == pytest.approx(right[0] / right[1])
    assert not ratios["relcl"]["ratio_reliable"]
    said = list(found.lines())
    assert "(parser spacy:en_by_hand 1.0)" in said[0]
    last = said[-1]
    counts = f"{right[0]:.0f} against {right[1]:.0f} right"
    assert last.startswith("linguistics: success ratio by relation: ")
    assert f"nsubjpass {right[0] / right[1]:.2f} ({counts})" in last
    assert "too few right answers for a ratio to mean anything" in last
    assert "relcl" not in last
