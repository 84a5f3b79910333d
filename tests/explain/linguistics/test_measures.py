"""Feature values against formulas by hand and independent routes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
from wordfreq import zipf_frequency

from transferlens.explain.linguistics import FEATURES, linguistic_features
from transferlens.explain.linguistics.measures import WINDOW
from transferlens.explain.linguistics.tokens import split_words

WORDS = ["the", "Dog", "dog", "sees", "cats", "quickly", "today", "unbelievably"]
TEXT = "The dog sees two unbelievably large cats. It barks!"


def row(text: str) -> dict[str, float]:
    return linguistic_features([text]).frame.row(0, named=True)


def test_lengths_and_readability_are_the_published_formulas() -> None:
    found = row(TEXT)
    words, sentences, letters = 9, 2, 41
    assert (found["n_words"], found["n_sentences"]) == (words, sentences)
    assert found["n_characters"] == len(TEXT)
    assert found["letters_per_word"] == pytest.approx(letters / words)
    ari = 4.71 * letters / words + 0.5 * words / sentences - 21.43
    assert found["automated_readability"] == pytest.approx(ari)
    per_hundred = 100 / words
    coleman_liau = 0.0588 * letters * per_hundred - 0.296 * sentences * per_hundred - 15.8
    assert found["coleman_liau"] == pytest.approx(coleman_liau)
    # One word of nine has more than six letters.
    assert found["lix"] == pytest.approx(words / sentences + 100 / words)


def test_word_frequencies_are_those_of_wordfreq() -> None:
    zipf = [zipf_frequency(w, "en") for w in split_words(TEXT) if w.isalpha()]
    found = row(TEXT)
    assert found["word_frequency"] == pytest.approx(np.mean(zipf), abs=0.006)
    assert found["rarest_word"] == pytest.approx(min(zipf), abs=0.006)
    assert row("the zzqqxv")["unknown_words"] == 0.5


def test_sentiment_is_vaders() -> None:
    texts = ["A truly wonderful day!", "This is awful and sad.", "The table is made of wood."]
    expected = [SentimentIntensityAnalyzer().polarity_scores(text)["compound"] for text in texts]
    found = linguistic_features(texts)
    assert found.values("sentiment") == pytest.approx(expected)
    assert found.values("sentiment_strength") == pytest.approx(np.abs(expected))


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_type_token_ratios_are_those_of_a_loop(words: list[str]) -> None:
    found = row(" ".join(words))
    lower = [word.lower() for word in words]
    assert found["type_token_ratio"] == pytest.approx(len(set(lower)) / len(lower))
    windows = [lower[at : at + WINDOW] for at in range(len(lower) - WINDOW + 1)]
    moving = np.mean([len(set(each)) / WINDOW for each in windows]) if windows else math.nan
    assert found["moving_type_token_ratio"] == pytest.approx(moving, nan_ok=True)


@given(st.lists(st.sampled_from([*WORDS, ".", ",", "was", "seen", "who", "7"]), max_size=40))
@settings(max_examples=30, deadline=None)
def test_shares_lie_between_0_and_1_and_text_written_twice_keeps_them(words: list[str]) -> None:
    text = " ".join(words)
    once, twice = (linguistic_features([each]) for each in (text, f"{text}\n{text}"))
    for feature in FEATURES:
        if feature.unit in {"share of words", "share of tokens"}:
            share = once.values(feature.name)[0]
            assert math.isnan(share) or 0.0 <= share <= 1.0
            assert twice.values(feature.name)[0] == pytest.approx(share, nan_ok=True)


@pytest.mark.parametrize("text", ["", " \n ", "?!", "+ ="])
def test_a_text_without_words_has_undefined_shares_and_no_words(text: str) -> None:
    found = row(text)
    assert found["n_words"] == 0.0
    undefined = [f.name for f in FEATURES if f.unit == "share of words"]
    undefined += ["word_frequency", "type_token_ratio", "lix", "clauses", "letters_per_word"]
    assert all(math.isnan(found[name]) for name in undefined)
