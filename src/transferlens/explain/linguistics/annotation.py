"""Tokens of many texts with what a backend knows about each of them, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["UPOS", "Annotation", "Forms", "Parse", "totals"]

UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X", "SPACE"),
)
"""Universal parts of speech; a code is a place in this list."""

_NOT_WORDS = tuple(UPOS.index(name) for name in ("PUNCT", "SYM", "SPACE"))


def totals(group: IntArray, values: FloatArray, n: int) -> FloatArray:
    """Return the sum of the values of each of n groups, (group,)."""
    return np.asarray(np.bincount(group, weights=values, minlength=n), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forms:
    """Forms of words, (token,) bool each."""

    past: BoolArray
    """Finite past tense."""
    present: BoolArray
    """Finite present tense."""
    gerund: BoolArray
    past_participle: BoolArray
    passive: BoolArray
    """One token for each passive."""
    modal: BoolArray
    comparative: BoolArray
    superlative: BoolArray
    subordinator: BoolArray
    clause: BoolArray
    """One token for each clause: its head, or where no parser knows it its finite verb."""
    relative: BoolArray
    """One token for each relative clause."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parse:
    """Dependency trees."""

    head: IntArray
    """Place of each token's head, its own for a root, (token,)."""
    relation: IntArray
    """Place of each token's relation in `relations`, (token,)."""
    relations: tuple[str, ...]
    """The labels that occur."""
    known: frozenset[str]
    """The labels that the parser can give, whether they occur or not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotation:
    """Many texts, token after token."""

    n_texts: int
    text: IntArray
    """Number of each token's text, ascending, (token,)."""
    first: BoolArray
    """Whether a sentence begins here, (token,)."""
    word: IntArray
    """Place of each token in `words`, (token,)."""
    words: tuple[str, ...]
    """The distinct tokens as they are written."""
    pos: IntArray
    """Place of each token's part of speech in `UPOS`, (token,)."""
    forms: Forms
    parse: Parse | None = None

    def is_pos(self, *names: str) -> BoolArray:
        """Return which tokens have one of the parts of speech."""
        return np.isin(self.pos, [UPOS.index(name) for name in names])

    @property
    def is_word(self) -> BoolArray:
        """Which tokens are words: not punctuation, symbols or space."""
        return ~np.isin(self.pos, _NOT_WORDS)

    def is_in(self, lower_case: frozenset[str]) -> BoolArray:
        """Return which tokens are in a list of words."""
        known = np.array([word.lower() in lower_case for word in self.words], dtype=np.bool_)
        return known[self.word] if len(known) else np.zeros(0, dtype=np.bool_)

    def count(self, what: BoolArray) -> FloatArray:
        """Return the number of such tokens in each text, (text,)."""
        return totals(self.text, what.astype(np.float64), self.n_texts)

    def total(self, values: FloatArray) -> FloatArray:
        """Return the sum of (token,) values in each text, (text,)."""
        return totals(self.text, values, self.n_texts)
