"""A tokenizer that needs no package: the conventions of the Penn Treebank, as spaCy has them.

spaCy's own is not used without its parser: spaCy loads torch wherever that is installed, and
takes 200 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from transferlens.stats.arrays import BoolArray, IntArray

__all__ = ["Tokens", "split_words", "tokenize"]

_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Prof Sr Jr St Mt Gen Col Sen Rep Gov Inc Ltd Co Corp Bros vs Jan Feb Mar Apr "
    "Jun Jul Aug Sep Sept Oct Nov Dec"
)

_TOKEN = re.compile(
    "|".join(
        (
            r"\n",
            r"https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.-]+",
            rf"(?:{'|'.join(_ABBREVIATIONS.split())})\.(?!\w)",
            r"(?:[A-Za-z]\.){2,}",
            r"[^\W\d_]+?(?=n['’]t\b)|n['’]t\b",
            r"['’](?:s|re|ve|ll|d|m)\b",
            r"[Cc]an(?=not\b)|(?<=[Cc]an)not\b",
            # 1,000.5 and 10:30 and 1/2, but not the full stop after 1000.
            r"\d+(?:[.,:/]\d+)*(?![^\W\d_])",
            r"[^\W_]+",
            r"\.{2,}|-{2,}",
            r"[^\s]",
        )
    )
)
_ENDERS = frozenset((".", "!", "?", "...", "…", "\n"))


class Tokens(NamedTuple):
    """Texts in pieces; see `Annotation` for what the fields hold."""

    text: IntArray
    first: BoolArray
    word: IntArray
    words: tuple[str, ...]


def split_words(text: str) -> list[str]:
    """Return the tokens of a text; a line break is a token of its own."""
    found: list[str] = _TOKEN.findall(text)
    return found


def tokenize(texts: Iterable[str]) -> Tokens:
    """Split texts into tokens and sentences.

    A sentence ends with a full stop, question mark, exclamation mark or line break, and the
    next one begins with the next word: quotation marks between them change nothing.
    """
    vocabulary: dict[str, int] = {}
    ids: list[int] = []
    lengths: list[int] = []
    for content in texts:
        tokens = split_words(content)
        ids.extend([vocabulary.setdefault(token, len(vocabulary)) for token in tokens])
        lengths.append(len(tokens))
    words = tuple(vocabulary)
    word = np.array(ids, dtype=np.int64)
    text = np.repeat(np.arange(len(lengths)), lengths)
    first = _sentence_starts(text, word, words)
    kept = np.ones(len(word), dtype=np.bool_)
    if "\n" in vocabulary:
        kept = word != vocabulary["\n"]
    return Tokens(text=text[kept], first=first[kept], word=word[kept], words=words)


def _sentence_starts(text: IntArray, word: IntArray, words: tuple[str, ...]) -> BoolArray:
    """Mark the first token of a text, and each word that has an end between it and the last."""
    first = np.zeros(len(word), dtype=np.bool_)
    if not len(word):
        return first
    ends = np.array([token in _ENDERS for token in words])[word]
    spoken = np.array([any(map(str.isalnum, token)) for token in words])[word]
    place = np.flatnonzero(spoken)
    ended = np.cumsum(ends)
    new_text = text[place[1:]] != text[place[:-1]]
    first[place[1:]] = new_text | (ended[place[1:]] > ended[place[:-1]])
    first[place[:1]] = True
    return first
