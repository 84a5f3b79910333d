"""Similarity of datasets: the same, the opposite, other routes, and a model that the user names."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.feature_extraction.text import TfidfVectorizer

from factor_study import rows
from transferlens.errors import AnalysisError, MissingExtraError
from transferlens.explain.cards import dataset_card, dataset_of_rows
from transferlens.explain.similarity import (
    embedder,
    linguistic_distance,
    output_divergence,
    similarities,
)


def dataset(prompts, golds=None, name="x"):
    frame = pl.DataFrame({"prompt": prompts, "gold": golds or ["yes"] * len(prompts)})
    return dataset_of_rows(frame, name=name)


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(0)
    return [dataset_of_rows(rows(rng), name=name) for name in "abc"]


def test_a_dataset_is_like_itself_and_unlike_one_of_other_words():
    films = dataset(["great film about love", "dull plot and acting"], ["good", "bad"])
    sums = dataset(["add seven to nine", "take four from ten"], ["16", "6"])
    got = similarities([films, sums], [films, sums])
    for table in (got.vocabulary, got.output_words):
        assert table == pytest.approx(np.eye(2))
    assert output_divergence([films, sums], [films, sums]) == pytest.approx(1 - np.eye(2))


def test_words_of_one_text_make_nothing_alike_and_words_of_many_do():
    apples = dataset(["red apples grow", "green apples fall", "apples rot"])
    trains = dataset(["fast trains leave", "slow trains stop", "trains wait"])
    mixed = dataset(["apples and trains", "trains carry apples"])
    got = similarities([apples, trains, mixed], [apples, trains]).semantic
    assert got[0, 0] == pytest.approx(1.0)
    assert got[1, 0] == pytest.approx(0.0)
    assert 0.3 < got[2, 0] < 0.9


def test_semantic_similarity_is_the_cosine_of_mean_tf_idf_vectors_of_scikit_learn(three):
    texts = [[[w for w in t if w.startswith("word")] for t in d.input_words] for d in three]
    flat = [text for part in texts for text in part]
    vectors = TfidfVectorizer(analyzer=list, sublinear_tf=True, min_df=2).fit_transform(flat)
    means = np.stack([vectors[at * 60 : at * 60 + 60].mean(axis=0).A1 for at in range(3)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    got = similarities(three[:1], three[1:]).semantic
    assert got == pytest.approx(unit[:1] @ unit[1:].T, abs=1e-9)


def test_naming_the_datasets_in_another_order_permutes_the_tables(three):
    cards = [dataset_card(d) for d in three]
    plain = [*similarities(three, three), linguistic_distance(cards, cards)]
    order = [2, 0, 1]
    moved = [three[at] for at in order]
    again = [
        *similarities(moved, three),
        linguistic_distance([cards[at] for at in order], cards),
    ]
    for before, after in zip(plain, again, strict=True):
        assert after == pytest.approx(before[order])


def test_style_follows_function_words_and_not_the_topic():
    # Four topics, two ways of writing; who shares the way is alike in style.
    def text(topic, style):
        plain = [f"{topic}{n} of the {topic} is in a {topic}{n}" for n in range(30)]
        other = [f"{topic}{n}; not, but, if {topic}! why {topic}{n}" for n in range(30)]
        return dataset(other if style else plain)

    data = [text(topic, style) for topic, style in (("sun", 0), ("sea", 0), ("car", 1), ("dog", 1))]
    got = similarities(data, data)
    same = np.kron(np.eye(2), np.ones((2, 2))) > 0
    assert got.style[same].min() > 0.9
    assert got.style[~same].max() < 0.0
    assert got.semantic[0, 1] == pytest.approx(0.0)


def test_output_divergence_is_the_squared_distance_of_scipy():
    one = dataset(["q"] * 10, ["yes"] * 7 + ["no"] * 3)
    other = dataset(["q"] * 10, ["Yes"] * 2 + ["no"] * 5 + ["maybe"] * 3)
    expected = jensenshannon([7, 3, 0], [2, 5, 3], base=2) ** 2
    assert output_divergence([one], [other])[0, 0] == pytest.approx(expected)


def test_the_linguistic_distance_is_zero_to_itself_and_nan_without_profiles(three):
    cards = [dataset_card(d) for d in three]
    got = linguistic_distance(cards, cards)
    assert np.diag(got) == pytest.approx(0.0)
    assert got == pytest.approx(got.T)
    assert got[0, 1] > 0.3
    empty = dataset_card(dataset(["", ""]))
    assert np.isnan(linguistic_distance([empty], [])).size == 0


def test_an_embedding_model_replaces_tf_idf(three):
    def by_first_letter(texts):
        return np.array([[1.0, 0.0] if text[-1] in "0123456789" else [0.0, 2.0] for text in texts])

    got = similarities(three, three, embed=by_first_letter)
    share = np.array([by_first_letter(d.inputs)[:, 0].mean() for d in three])
    means = np.column_stack([share, 1 - share])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert got.semantic == pytest.approx(unit @ unit.T)
    assert got.style == pytest.approx(similarities(three, three).style)


def test_a_missing_package_and_a_wrong_model_are_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"transferlens\[embeddings\]\""):
        embedder("all-MiniLM-L6-v2")

    class Model:
        def __init__(self, name):
            if name != "known":
                msg = f"{name} is not a folder\nand more"
                raise OSError(msg)

        def encode(self, texts, *, show_progress_bar):
            assert not show_progress_bar
            return np.array([[float(len(text)), 1.0] for text in texts], dtype=np.float32)

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    assert embedder("known")(["ab", "c"]).tolist() == [[2.0, 1.0], [1.0, 1.0]]
    with pytest.raises(AnalysisError, match=r"'other' cannot be loaded: other is not a folder$"):
        embedder("other")
