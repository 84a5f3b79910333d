"""The feature table: one backend, reasons, cache, invariances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from transferlens.errors import AnalysisError, ResultsError
from transferlens.explain.linguistics import (
    FEATURES,
    Feature,
    LexiconBackend,
    backend_for,
    linguistic_features,
)
from transferlens.explain.linguistics.annotation import Annotation

TEXTS = ["She can't see it.", "The old house was sold.", "Why?", "", "He has 3 dogs and a cat!"]


class Counting(LexiconBackend):
    """The lexicon backend, which counts the texts that it annotates."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def annotate(self, texts: list[str]) -> Annotation:  # type: ignore[override]
        self.seen += texts
        return super().annotate(texts)


def test_every_feature_has_its_column_its_backend_and_its_grade() -> None:
    found = linguistic_features(TEXTS)
    names = [feature.name for feature in FEATURES]
    assert found.frame.columns == names
    assert found.info["feature"].to_list() == names
    assert set(found.info["backend"]) == {"lexicon"}
    assert set(found.info["grade"]) == {"exact", "good", "fair", "weak", "absent"}


def test_what_needs_a_parser_is_nan_with_a_reason_and_never_0() -> None:
    found = linguistic_features(TEXTS)
    absent = found.info.filter(pl.col("grade") == "absent", pl.col("unit") != "ratio")
    assert {"tree_depth", "left_embedding", "has_csubj"} <= set(absent["feature"])
    assert all(np.isnan(found.values(name)).all() for name in absent["feature"])
    assert absent["reason"].str.contains("needs a parser").all()


def test_the_order_of_texts_and_copies_of_them_change_nothing() -> None:
    once = linguistic_features(TEXTS).frame
    order = [4, 0, 0, 3, 2, 1, 4]
    again = linguistic_features([TEXTS[at] for at in order]).frame
    assert_frame_equal(again, once[order])


def test_each_distinct_text_is_annotated_once() -> None:
    backend = Counting()
    linguistic_features([*TEXTS, *TEXTS], backend=backend)
    assert sorted(backend.seen) == sorted(TEXTS)


def test_no_texts_give_an_empty_table() -> None:
    found = linguistic_features([])
    assert found.frame.height == 0
    assert len(found.frame.columns) == len(FEATURES)


def test_the_cache_gives_the_same_numbers_without_annotating(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    folder = tmp_path / "new" / "cache"
    stored = linguistic_features(TEXTS, backend=first, cache=folder)
    read = linguistic_features(TEXTS[::-1], backend=second, cache=folder)
    assert second.seen == []
    assert_frame_equal(read.frame, stored.frame[::-1])


def test_another_text_or_another_version_is_measured_anew(tmp_path: Path) -> None:
    linguistic_features(TEXTS, cache=tmp_path)
    changed = Counting()
    linguistic_features([*TEXTS[:-1], "He has 4 dogs and a cat!"], backend=changed, cache=tmp_path)
    assert changed.seen != []

    class Newer(Counting):
        identity = "lexicon rules 2"  # type: ignore[assignment]

    newer = Newer()
    linguistic_features(TEXTS, backend=newer, cache=tmp_path)
    assert newer.seen != []
    assert len(list(tmp_path.glob("linguistics-*.parquet"))) == 3


def test_a_damaged_cache_file_is_made_anew(tmp_path: Path) -> None:
    stored = linguistic_features(TEXTS, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    backend = Counting()
    again = linguistic_features(TEXTS, backend=backend, cache=tmp_path)
    assert len(backend.seen) == len(TEXTS)
    assert_frame_equal(again.frame, stored.frame)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ResultsError, match="cannot"):
        linguistic_features(TEXTS, cache=tmp_path / "file")


def test_no_model_means_the_lexicon_backend() -> None:
    assert backend_for(None).name == "lexicon"


def test_a_model_that_is_not_installed_is_named() -> None:
    pytest.importorskip("spacy")
    with pytest.raises(AnalysisError, match="'en_core_web_smal' is not installed"):
        backend_for("en_core_web_smal")


def test_names_are_unique_and_a_weak_grade_is_said() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    weak = {f.name for f in FEATURES if isinstance(f, Feature) and f.lexicon == "weak"}
    assert weak == {"subordination", "clauses", "relative_clauses"}
