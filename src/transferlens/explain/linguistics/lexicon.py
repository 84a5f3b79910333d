"""The lexicon backend: TextBlob's lexicon tags each word, short rules read its neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from transferlens.errors import needs
from transferlens.explain.linguistics.annotation import UPOS, Annotation, Forms
from transferlens.explain.linguistics.catalog import PURPOSE
from transferlens.explain.linguistics.tokens import Tokens, tokenize
from transferlens.explain.linguistics.words import BE, HAVE, MODALS, RELATIVIZERS, SUBORDINATORS
from transferlens.stats.arrays import BoolArray, IntArray

__all__ = ["LexiconBackend", "tag_words"]

# Changes whenever the rules of this file, the word lists or the tokenizer do, so that no cache
# holds what older rules found.
_RULES = "1"

_LOOK_BACK = 3
_UPOS_OF = {
    "CC": "CCONJ",
    "CD": "NUM",
    "DT": "DET",
    "EX": "PRON",
    "FW": "X",
    "IN": "ADP",
    "LS": "X",
    "MD": "AUX",
    "PDT": "DET",
    "POS": "PART",
    "RP": "ADP",
    "SYM": "SYM",
    "TO": "PART",
    "UH": "INTJ",
    "WDT": "PRON",
    "WRB": "ADV",
}
_UPOS_OF_FIRST_TWO = {
    "JJ": "ADJ",
    "NN": "NOUN",
    "PR": "PRON",
    "RB": "ADV",
    "VB": "VERB",
    "WP": "PRON",
}
_SYMBOLS = frozenset("$#%+=<>*/^&@~|°×÷−€£¥§©®")


@lru_cache(maxsize=1)
def _tagger() -> Any:
    """Load TextBlob's tagger."""
    with needs("textblob", extra="linguistics", purpose=PURPOSE):
        from textblob import en
    with warnings.catch_warnings():
        # TextBlob leaves the file of its lexicon for the garbage collector to close.
        warnings.simplefilter("ignore", ResourceWarning)
        en.lexicon.load()
    return en.parser


def tag_words(words: Sequence[str], *, first: bool) -> list[str]:
    """Return the Penn Treebank tag of each word, alone.

    TextBlob's tagger looks at nothing but the word and whether it begins the sentence, so each
    distinct word needs to be tagged only twice.

    Parameters
    ----------
    words
        Tokens as they are written.
    first
        Whether they begin a sentence: then "The" may be "the".

    Raises
    ------
    AnalysisError
        TextBlob is not installed.
    """
    find = _tagger().find_tags
    return [str(find([word] if first else [".", word])[-1][1]) for word in words]


class _Tagged(NamedTuple):
    """Codes of the tags of all tokens, and the tags."""

    code: IntArray
    tags: tuple[str, ...]

    def among(self, *names: str) -> BoolArray:
        return np.isin(self.code, [at for at, tag in enumerate(self.tags) if tag in names])


class LexiconBackend:
    """English word lists, a lexicon tagger and rules over neighbours; no parser, no model."""

    kind: ClassVar[Literal["lexicon", "parser"]] = "lexicon"
    name: ClassVar[str] = "lexicon"
    relations: ClassVar[frozenset[str]] = frozenset()

    @property
    def identity(self) -> str:
        """What the annotation depends on, for the cache."""
        with needs("textblob", extra="linguistics", purpose=PURPOSE):
            return f"lexicon rules {_RULES}, textblob {version('textblob')}"

    def annotate(self, texts: Sequence[str]) -> Annotation:
        """Annotate texts; see `Annotation`.

        Raises
        ------
        AnalysisError
            TextBlob is not installed.
        """
        tokens = tokenize(texts)
        tagged = _tag(tokens)
        pos = _parts_of_speech(tokens, tagged)
        return Annotation(
            n_texts=len(texts),
            text=tokens.text,
            first=tokens.first,
            word=tokens.word,
            words=tokens.words,
            pos=pos,
            forms=_forms(tokens, tagged, pos),
        )


def _tag(tokens: Tokens) -> _Tagged:
    if not len(tokens.word):
        return _Tagged(np.zeros(0, dtype=np.int64), ())
    words = tokens.words
    # A word that never begins a sentence needs no tag for it.
    begins = set(tokens.word[tokens.first].tolist())
    inside = tag_words(words, first=False)
    at_start = tag_words(
        [word if at in begins else "." for at, word in enumerate(words)], first=True
    )
    tags = tuple(sorted(set(inside) | set(at_start)))
    code = {tag: at for at, tag in enumerate(tags)}
    codes = np.array([[code[tag] for tag in inside], [code[tag] for tag in at_start]])
    return _Tagged(codes[tokens.first.astype(np.int64), tokens.word], tags)


def _parts_of_speech(tokens: Tokens, tagged: _Tagged) -> IntArray:
    if not len(tokens.word):
        return np.zeros(0, dtype=np.int64)
    pos = np.array([UPOS.index(_upos(tag)) for tag in tagged.tags])[tagged.code]
    # What a token is made of is certain, whatever the lexicon says of it.
    plain = np.array([_of_characters(word) for word in tokens.words])[tokens.word]
    pos = np.where(plain >= 0, plain, pos)
    modal = np.array([word.lower() in MODALS for word in tokens.words])[tokens.word]
    subordinates = np.array([word.lower() in SUBORDINATORS for word in tokens.words])[tokens.word]
    pos = np.where(subordinates & (pos == UPOS.index("ADP")), UPOS.index("SCONJ"), pos)
    return np.where(modal & tagged.among("MD"), UPOS.index("AUX"), pos).astype(np.int64)


def _upos(tag: str) -> str:
    if tag.startswith("NNP"):
        return "PROPN"
    return _UPOS_OF.get(tag) or _UPOS_OF_FIRST_TWO.get(tag[:2], "X")


def _of_characters(word: str) -> int:
    """Return the part of speech that the characters decide, -1 where they do not."""
    if word[0].isdigit() and not any(map(str.isalpha, word)):
        return UPOS.index("NUM")
    if any(map(str.isalnum, word)):
        return -1
    return UPOS.index("SYM" if word in _SYMBOLS else "PUNCT")


def _forms(tokens: Tokens, tagged: _Tagged, pos: IntArray) -> Forms:
    after_be, after_have = (_follows(tokens, pos, auxiliaries) for auxiliaries in (BE, HAVE))
    ed = tagged.among("VBD", "VBN")
    participle = ed & (after_be | after_have)
    # "She sold", "the man sold his", but not "the sold house": without an auxiliary a subject
    # or an object makes it finite.
    finite = _beside(tokens, pos, ("PRON", "PROPN"), -1)
    finite |= _beside(tokens, pos, ("DET", "PRON", "PROPN", "NUM"), 1)
    past = ed & ~participle & (tagged.among("VBD") | finite)
    present = tagged.among("VBZ", "VBP")
    modal = _is_in(tokens, MODALS) & (pos == UPOS.index("AUX"))
    return Forms(
        past=past,
        present=present,
        gerund=tagged.among("VBG"),
        past_participle=participle | (tagged.among("VBN") & ~past),
        # "Have been seen" is passive: the nearest auxiliary decides.
        passive=ed & after_be,
        modal=modal,
        comparative=tagged.among("JJR", "RBR"),
        superlative=tagged.among("JJS", "RBS"),
        subordinator=_is_in(tokens, SUBORDINATORS),
        clause=past | present | modal,
        relative=_relatives(tokens, pos),
    )


def _is_in(tokens: Tokens, lower_case: frozenset[str]) -> BoolArray:
    known = np.array([word.lower() in lower_case for word in tokens.words], dtype=np.bool_)
    return known[tokens.word] if len(known) else np.zeros(0, dtype=np.bool_)


def _sentence(tokens: Tokens) -> IntArray:
    return np.cumsum(tokens.first).astype(np.int64)


def _before(values: BoolArray, sentence: IntArray, distance: int) -> BoolArray:
    """Return the value so many tokens before, False beyond the sentence."""
    moved = np.zeros_like(values)
    if distance < len(values):
        moved[distance:] = values[:-distance] & (sentence[distance:] == sentence[:-distance])
    return moved


def _beside(tokens: Tokens, pos: IntArray, names: Sequence[str], offset: int) -> BoolArray:
    """Mark tokens whose neighbour, the last or the next one, is of a part of speech."""
    wanted = np.isin(pos, [UPOS.index(name) for name in names])
    sentence = _sentence(tokens)
    if offset < 0:
        return _before(wanted, sentence, 1)
    return _before(wanted[::-1], sentence[::-1], 1)[::-1]


def _follows(tokens: Tokens, pos: IntArray, auxiliaries: frozenset[str]) -> BoolArray:
    """Mark tokens after an auxiliary with nothing but adverbs and pronouns between."""
    sentence = _sentence(tokens)
    is_auxiliary = _is_in(tokens, auxiliaries)
    between = np.isin(pos, [UPOS.index(name) for name in ("ADV", "PRON")]) & ~is_auxiliary
    found = np.zeros(len(pos), dtype=np.bool_)
    open_ = np.ones(len(pos), dtype=np.bool_)
    for distance in range(1, _LOOK_BACK + 1):
        found |= open_ & _before(is_auxiliary, sentence, distance)
        open_ &= _before(between, sentence, distance)
    return found


def _relatives(tokens: Tokens, pos: IntArray) -> BoolArray:
    """Mark "who", "which", "that" … after a noun, with or without a comma between."""
    sentence = _sentence(tokens)
    noun = np.isin(pos, [UPOS.index(name) for name in ("NOUN", "PROPN")])
    comma = _is_in(tokens, frozenset({","}))
    after = _before(noun, sentence, 1)
    after |= _before(comma, sentence, 1) & _before(noun, sentence, 2)
    return _is_in(tokens, RELATIVIZERS) & after
