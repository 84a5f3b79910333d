"""TextBlob's tagger as we rely on it, and what the rules find in sentences annotated by hand."""

from __future__ import annotations

import itertools
from importlib.metadata import version

import numpy as np
import pytest
from textblob.en import parser as textblob_parser

from transferlens.errors import MissingExtraError, needs
from transferlens.explain.linguistics import LexiconBackend, linguistic_features
from transferlens.explain.linguistics.lexicon import tag_words
from transferlens.explain.linguistics.tokens import split_words

# Sentence; then how many of each a human counts in it.
ANNOTATED: list[tuple[str, dict[str, int]]] = [
    (
        "The letter was not written by the tall man.",
        {"passives": 1, "negations": 1, "nouns": 2, "adjectives": 1, "determiners": 2},
    ),
    (
        "She has been seen in the garden, but nobody can find her now.",
        {"passives": 1, "modals": 1, "negations": 1, "coordination": 1, "third_person": 2},
    ),
    (
        "He left early because the train would not wait.",
        {"past_tense": 1, "modals": 1, "negations": 1, "subordination": 1, "passives": 0},
    ),
    (
        "My sister is taller than your brother, and I am the tallest.",
        {"comparatives": 1, "superlatives": 1, "first_person": 2, "second_person": 1},
    ),
    (
        "There are 12 apples and three pears in two baskets.",
        {"numerals": 3, "coordination": 1, "nouns": 3, "prepositions": 1, "past_tense": 0},
    ),
    (
        "Who told you where they live?",
        {"wh_words": 2, "past_tense": 1, "second_person": 1, "third_person": 1, "pronouns": 3},
    ),
    (
        "The man who knows them sold his house.",
        {"relative_clauses": 1, "present_tense": 1, "past_tense": 1, "wh_words": 1},
    ),
    (
        "They don't know why it couldn't be done.",
        {"negations": 2, "modals": 1, "passives": 1, "wh_words": 1},
    ),
    (
        "Swimming and running are better than watching.",
        {"gerunds": 3, "comparatives": 1, "present_tense": 1},
    ),
    (
        "The windows were quickly closed, and the lights had been turned off.",
        {"passives": 2, "past_participles": 3},
    ),
    (
        "You should never have believed him!",
        {"modals": 1, "negations": 1, "past_participles": 1, "past_tense": 0},
    ),
    (
        "It is raining; we will stay at home unless you want to go.",
        {"modals": 1, "subordination": 1, "gerunds": 1, "first_person": 1, "third_person": 1},
    ),
]
CASES = [
    pytest.param(text, name, count, id=f"{at}-{name}")
    for at, (text, counts) in enumerate(ANNOTATED)
    for name, count in counts.items()
]


def counted(text: str) -> dict[str, float]:
    row = linguistic_features([text]).frame.row(0, named=True)
    per_sentence = ("clauses", "relative_clauses")
    whole = dict.fromkeys(per_sentence, row["n_sentences"])
    return {name: value * whole.get(name, row["n_words"]) for name, value in row.items()}


@pytest.mark.parametrize(("text", "name", "count"), CASES)
def test_counts_are_those_of_a_human(text: str, name: str, count: int) -> None:
    assert counted(text)[name] == pytest.approx(count)


def test_the_tagger_looks_at_nothing_but_the_word_and_the_beginning_of_the_sentence() -> None:
    for text, _ in ANNOTATED:
        words = split_words(text)
        alone = [*tag_words(words[:1], first=True), *tag_words(words[1:], first=False)]
        assert alone == [tag for _, tag in textblob_parser.find_tags(list(words))]


def test_the_tagger_is_the_one_that_was_looked_at() -> None:
    assert version("textblob").startswith("0.20.")
    known = {"dogs": "NNS", "seen": "VBN", "faster": "RBR", "could": "MD", "of": "IN", "7": "CD"}
    assert dict(zip(known, tag_words(list(known), first=False), strict=True)) == known


def test_rules_do_not_reach_into_the_next_text() -> None:
    texts = ["It was", "written badly", "The man", "who left"]
    together = linguistic_features(texts)
    for name in ("passives", "relative_clauses"):
        assert np.array_equal(together.values(name), np.zeros(4))


def test_any_order_of_texts_gives_the_same_annotation() -> None:
    texts = [text for text, _ in ANNOTATED[:4]]
    first = LexiconBackend().annotate(texts)
    for order in itertools.permutations(range(4)):
        shuffled = LexiconBackend().annotate([texts[at] for at in order])
        passives = shuffled.count(shuffled.forms.passive)
        assert np.array_equal(passives, first.count(first.forms.passive)[list(order)])


def test_a_missing_package_is_one_line_that_says_how_to_install_it() -> None:
    with (
        pytest.raises(MissingExtraError, match=r'pip install "transferlens\[linguistics\]"'),
        needs("no_such_package", extra="linguistics", purpose="this"),
    ):
        __import__("no_such_package")
