"""The tokenizer without packages against spaCy's, and its sentences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferlens.explain.linguistics.tokens import split_words, tokenize

TEXTS = [
    "The letter wasn't written by Mr. Smith, who'd left at 10:30 a.m. on Monday.",
    "She cannot run faster than 3 dogs, can she?",
    "I'm sure they're late; we've waited (too long) for 2.5 hours!",
    "The shop's owner said: \"Don't touch that vase.\"",
    "It costs $1,250.50 in the U.S. but less elsewhere...",
    "Well, that's what you'd expect of a so-called expert.",
    "He sold 48 clips in April, and then half as many in May.",
    "What is 12 + 30 * 4?",
    "The movie was great - truly great - and I'll see it again.",
    "Dr. Jones won't come; he shouldn't have been invited.",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_spacy(text: str) -> None:
    spacy = pytest.importorskip("spacy")
    expected = [token.text for token in spacy.blank("en")(text)]
    assert split_words(text) == expected


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_no_character_but_white_space_is_lost(text: str) -> None:
    joined = "".join(split_words(text))
    assert "".join(joined.split()) == "".join(text.split())


def sentences(text: str) -> int:
    return int(tokenize([text]).first.sum())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("...", 0),
        ("One.", 1),
        ("No end", 1),
        ("Mr. Smith left. Why?", 2),
        ('He said "Go away." Then he left.', 2),
        ("A line\nand another", 2),
        ("Really?! Yes!!! Of course.", 3),
        ("It costs 2.50 in the U.S. today.", 1),
    ],
)
def test_sentences_end_at_marks_and_line_breaks(text: str, expected: int) -> None:
    assert sentences(text) == expected


def test_every_text_begins_a_sentence_of_its_own() -> None:
    tokens = tokenize(["no end", "- nor here", "", "last"])
    starts = {tokens.words[at] for at in tokens.word[tokens.first]}
    assert starts == {"no", "nor", "last"}
    assert np.array_equal(np.unique(tokens.text), [0, 1, 3])
