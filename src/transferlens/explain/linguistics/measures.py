"""Feature values of annotated texts: counts and sums over flat arrays, no loop over tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from transferlens.errors import needs
from transferlens.explain.linguistics.annotation import Annotation, totals
from transferlens.explain.linguistics.catalog import PURPOSE, RELATIONS
from transferlens.explain.linguistics.trees import dependencies
from transferlens.explain.linguistics.words import (
    FIRST_PERSON,
    NEGATIONS,
    SECOND_PERSON,
    THIRD_PERSON,
    WH_WORDS,
)
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["WINDOW", "measure"]

WINDOW = 25
"""Words in a window of the moving type-token ratio."""

_LONG_WORD = 6  # LIX calls a word long if it has more letters


def measure(annotation: Annotation, texts: Sequence[str]) -> dict[str, FloatArray]:
    """Return every feature of every text.

    Parameters
    ----------
    annotation
        Of these texts, in this order.
    texts
        As they were written, for characters and sentiment.

    Returns
    -------
    dict
        Feature name -> values of shape (text,). NaN where it is not defined: a
        share in a text without words, or what the backend cannot tell.

    Raises
    ------
    AnalysisError
        wordfreq or vaderSentiment is not installed.
    """
    n_words = annotation.count(annotation.is_word)
    groups: tuple[Callable[[Annotation], Mapping[str, FloatArray]], ...] = (
        _lengths,
        _shares,
        _clauses,
        _frequencies,
        _diversity,
        dependencies,
    )
    found: dict[str, FloatArray] = {}
    for group in groups:
        found |= group(annotation)
    found |= _readability(annotation) | _sentiment(texts)
    found["n_characters"] = np.array([len(text.strip()) for text in texts], dtype=np.float64)
    found |= _relations(annotation, n_words > 0)
    return found


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide; NaN where there is nothing to divide by."""
    ratio: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def _letters(a: Annotation) -> FloatArray:
    """Return the number of letters and digits of each token."""
    each = np.array([sum(map(str.isalnum, word)) for word in a.words], dtype=np.float64)
    return each[a.word]


def _lengths(a: Annotation) -> dict[str, FloatArray]:
    words, sentences = a.count(a.is_word), a.count(a.first)
    return {
        "n_words": words,
        "n_sentences": sentences,
        "words_per_sentence": _ratio(words, sentences),
        "letters_per_word": _ratio(a.total(_letters(a) * a.is_word), words),
    }


def _shares(a: Annotation) -> dict[str, FloatArray]:
    words, tokens = a.count(a.is_word), a.count(~a.is_pos("SPACE"))
    of_words = {
        "nouns": a.is_pos("NOUN"),
        "proper_nouns": a.is_pos("PROPN"),
        "verbs": a.is_pos("VERB", "AUX"),
        "adjectives": a.is_pos("ADJ"),
        "adverbs": a.is_pos("ADV"),
        "pronouns": a.is_pos("PRON"),
        "determiners": a.is_pos("DET"),
        "prepositions": a.is_pos("ADP"),
        "numerals": a.is_pos("NUM"),
        "past_tense": a.forms.past,
        "present_tense": a.forms.present,
        "gerunds": a.forms.gerund,
        "past_participles": a.forms.past_participle,
        "passives": a.forms.passive,
        "modals": a.forms.modal,
        "comparatives": a.forms.comparative,
        "superlatives": a.forms.superlative,
        "negations": a.is_in(NEGATIONS),
        "wh_words": a.is_in(WH_WORDS),
        "first_person": a.is_in(FIRST_PERSON),
        "second_person": a.is_in(SECOND_PERSON),
        "third_person": a.is_in(THIRD_PERSON),
        "coordination": a.is_pos("CCONJ"),
        "subordination": a.forms.subordinator,
    }
    of_tokens = {
        "punctuation": a.is_pos("PUNCT"),
        "symbols": a.is_pos("SYM"),
        "questions": a.is_in(frozenset({"?"})),
        "exclamations": a.is_in(frozenset({"!"})),
    }
    shares = {name: _ratio(a.count(what), words) for name, what in of_words.items()}
    return shares | {name: _ratio(a.count(what), tokens) for name, what in of_tokens.items()}


def _clauses(a: Annotation) -> dict[str, FloatArray]:
    sentences = a.count(a.first)
    return {
        "clauses": _ratio(a.count(a.forms.clause), sentences),
        "relative_clauses": _ratio(a.count(a.forms.relative), sentences),
    }


@lru_cache(maxsize=1)
def _frequency_list() -> Mapping[str, float]:
    with needs("wordfreq", extra="linguistics", purpose=PURPOSE):
        from wordfreq import get_frequency_dict
    frequencies: Mapping[str, float] = get_frequency_dict("en")
    return frequencies


def _frequencies(a: Annotation) -> dict[str, FloatArray]:
    """Zipf frequencies of the words that are made of letters; clitics are no words here."""
    frequencies = _frequency_list()
    each = np.array([_zipf(word, frequencies) for word in a.words], dtype=np.float64)
    zipf = each[a.word]
    counted: BoolArray = a.is_word & ~np.isnan(zipf)
    n = a.count(counted)
    rarest = np.full(a.n_texts, np.inf)
    np.minimum.at(rarest, a.text[counted], zipf[counted])
    return {
        "word_frequency": _ratio(a.total(np.where(counted, zipf, 0.0)), n),
        "rarest_word": np.where(n > 0, rarest, np.nan),
        "unknown_words": _ratio(a.count(counted & (zipf == 0.0)), n),
    }


def _zipf(word: str, frequencies: Mapping[str, float]) -> float:
    """Return log10 of the frequency per 10^9 words, 0 if it is not listed, NaN for no word."""
    if not word.isalpha():
        return math.nan
    frequency = frequencies.get(word.lower(), 0.0)
    return max(math.log10(frequency) + 9.0, 0.0) if frequency > 0 else 0.0


def _diversity(a: Annotation) -> dict[str, FloatArray]:
    lower: dict[str, int] = {}
    types = np.array([lower.setdefault(word.lower(), len(lower)) for word in a.words])
    is_word = a.is_word
    text = a.text[is_word]
    kind = types.astype(np.int64)[a.word[is_word]]
    n = totals(text, np.ones(len(text)), a.n_texts)
    # Place of the same word before, in the same text; -1 if there is none.
    order = np.lexsort((np.arange(len(text)), kind, text))
    repeats = (text[order][1:] == text[order][:-1]) & (kind[order][1:] == kind[order][:-1])
    previous = np.full(len(text), -1)
    previous[order[1:][repeats]] = order[:-1][repeats]
    new = totals(text, (previous < 0).astype(np.float64), a.n_texts)
    # A window that begins here holds whatever did not occur in it before.
    starts = np.flatnonzero(text[: max(len(text) - WINDOW + 1, 0)] == text[WINDOW - 1 :])
    distinct = np.zeros(len(starts))
    for offset in range(WINDOW):
        distinct += previous[starts + offset] < starts
    windows = totals(text[starts], np.ones(len(starts)), a.n_texts)
    total = totals(text[starts], distinct / WINDOW, a.n_texts)
    return {
        "type_token_ratio": _ratio(new, n),
        "moving_type_token_ratio": _ratio(total, windows),
    }


def _readability(a: Annotation) -> dict[str, FloatArray]:
    """Return the indices that count letters; those that count syllables would have to guess."""
    letters = _letters(a)
    words, sentences = a.count(a.is_word), a.count(a.first)
    per_word = _ratio(a.total(letters * a.is_word), words)
    per_sentence = _ratio(words, sentences)
    long_words = _ratio(a.count(a.is_word & (letters > _LONG_WORD)), words)
    return {
        "automated_readability": 4.71 * per_word + 0.5 * per_sentence - 21.43,
        "coleman_liau": 5.88 * per_word - 29.6 * _ratio(sentences, words) - 15.8,
        "lix": per_sentence + 100.0 * long_words,
    }


@lru_cache(maxsize=1)
def _analyser() -> Any:
    with needs("vaderSentiment", extra="linguistics", purpose=PURPOSE):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    return SentimentIntensityAnalyzer()


def _sentiment(texts: Sequence[str]) -> dict[str, FloatArray]:
    scores = _analyser().polarity_scores
    compound = np.array(
        [scores(text)["compound"] if text.strip() else math.nan for text in texts],
        dtype=np.float64,
    )
    return {"sentiment": compound, "sentiment_strength": np.abs(compound)}


def _relations(a: Annotation, has_words: BoolArray) -> dict[str, FloatArray]:
    """Say which dependency relations occur; NaN where the parser does not know the label."""
    unknown = np.full(a.n_texts, np.nan)
    names = {name: f"has_{name}" for name in RELATIONS}
    if a.parse is None:
        return dict.fromkeys(names.values(), unknown)
    place = {name: at for at, name in enumerate(a.parse.relations)}
    return {
        feature: np.where(has_words, a.count(a.parse.relation == place.get(name, -1)) > 0, np.nan)
        if name in a.parse.known
        else unknown
        for name, feature in names.items()
    }
