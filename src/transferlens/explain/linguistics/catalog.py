"""The linguistic features: what each one means, and how far a backend can be trusted with it.

The grades of the lexicon backend follow the rank correlation over documents between what word
lists and a lexicon tagger count and what a hand-annotated treebank holds: modal verbs .99,
comparatives .94, numerals .94, pronouns .91, wh-words .88, coordination .87, nouns .87, verbs
.85, prepositions .84, negation .81, adjectives .81, past tense .79, adverbs .75, passives .72,
clauses .52, relative clauses .52, subordination .44, left embedding .12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "FEATURES",
    "NAMES",
    "PURPOSE",
    "RELATIONS",
    "Coding",
    "Feature",
    "Grade",
    "relation_of",
]

PURPOSE = "measuring linguistic features"
"""What to call all this where a package is missing."""

Grade = Literal["exact", "good", "fair", "weak", "model", "absent"]
"""``exact``: counted or looked up, nothing is guessed. ``good``, ``fair``, ``weak``: rank
correlation with annotation by hand of at least .85, at least .70, below. ``model``: as good as
the parser that the user named. ``absent``: this backend cannot tell; the value is NaN."""

Coding = Literal["count", "number", "flag"]
"""``count``: 0 means that the text has none of it. ``number``: any number. ``flag``: 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of the feature table."""

    name: str
    group: str
    unit: str
    meaning: str
    """Ends the sentence "texts with a higher ..." or, for counts and flags, "texts with ..."."""
    coding: Coding
    lexicon: Grade
    parser: Grade = "model"

    def grade(self, backend: Literal["lexicon", "parser"]) -> Grade:
        """Return how far a kind of backend can be trusted with the feature."""
        return self.lexicon if backend == "lexicon" else self.parser


_RELATION_NAMES = (
    "acl acl:relcl acomp advcl advmod agent amod appos attr aux aux:pass auxpass case cc ccomp "
    "compound conj cop csubj csubj:pass csubjpass dative dep det discourse expl iobj mark meta "
    "neg nmod npadvmod nsubj nsubj:pass nsubjpass nummod obj obl oprd parataxis pcomp pobj poss "
    "preconj predet prep prt quantmod relcl vocative xcomp"
)
RELATIONS = tuple(_RELATION_NAMES.split())
"""Dependency relations of spaCy's English models (ClearNLP) and of Universal Dependencies."""

_PREFIX = "has_"


def relation_of(name: str) -> str | None:
    """Return the dependency relation whose presence a feature says, None for another feature."""
    relation = name.removeprefix(_PREFIX)
    return relation if name.startswith(_PREFIX) and relation in RELATIONS else None


def _rows(group: str, unit: str, coding: Coding, *rows: tuple[str, Grade, str]) -> list[Feature]:
    return [
        Feature(
            name=name,
            group=group,
            unit=unit,
            meaning=meaning,
            coding=coding,
            lexicon=lexicon,
            parser="exact" if lexicon == "exact" else "model",
        )
        for name, lexicon, meaning in rows
    ]


_SHARE = "share of words"

FEATURES: tuple[Feature, ...] = (
    *_rows(
        "length",
        "number",
        "number",
        ("n_words", "exact", "number of words"),
        ("n_sentences", "good", "number of sentences"),
        ("n_characters", "exact", "number of characters"),
        ("words_per_sentence", "good", "number of words per sentence"),
        ("letters_per_word", "exact", "number of letters per word"),
    ),
    *_rows(
        "parts of speech",
        _SHARE,
        "count",
        ("nouns", "good", "common nouns"),
        ("proper_nouns", "fair", "proper nouns"),
        ("verbs", "good", "verbs"),
        ("adjectives", "fair", "adjectives"),
        ("adverbs", "fair", "adverbs"),
        ("pronouns", "good", "pronouns"),
        ("determiners", "good", "determiners"),
        ("prepositions", "fair", "prepositions"),
        ("numerals", "good", "numerals"),
    ),
    *_rows(
        "verb forms",
        _SHARE,
        "count",
        ("past_tense", "fair", "finite verbs in the past tense"),
        ("present_tense", "fair", "finite verbs in the present tense"),
        ("gerunds", "fair", "-ing forms of verbs"),
        ("past_participles", "fair", "past participles"),
        ("passives", "fair", "passives"),
        ("modals", "good", "modal verbs"),
    ),
    *_rows(
        "words of a kind",
        _SHARE,
        "count",
        ("negations", "fair", "negations"),
        ("comparatives", "good", "comparatives"),
        ("superlatives", "good", "superlatives"),
        ("wh_words", "good", "wh-words"),
        ("first_person", "exact", "first-person pronouns"),
        ("second_person", "exact", "second-person pronouns"),
        ("third_person", "exact", "third-person pronouns"),
    ),
    *_rows(
        "punctuation",
        "share of tokens",
        "count",
        ("punctuation", "exact", "punctuation marks"),
        ("symbols", "exact", "mathematical and other symbols"),
        ("questions", "exact", "question marks"),
        ("exclamations", "exact", "exclamation marks"),
    ),
    *_rows(
        "clauses",
        _SHARE,
        "count",
        ("coordination", "good", "coordinating conjunctions"),
        ("subordination", "weak", "subordinating conjunctions"),
    ),
    *_rows(
        "clauses",
        "per sentence",
        "count",
        ("clauses", "weak", "clauses"),
        ("relative_clauses", "weak", "relative clauses"),
    ),
    *_rows(
        "dependencies",
        "tokens",
        "number",
        ("dependency_distance", "absent", "distance between a word and its head"),
        ("left_embedding", "absent", "number of words before the main verb"),
        ("tree_depth", "absent", "depth of the parse tree"),
    ),
    *_rows(
        "vocabulary",
        "Zipf (log10 per 10^9 words)",
        "number",
        ("word_frequency", "exact", "frequency of words"),
        ("rarest_word", "exact", "frequency of the rarest word"),
    ),
    *_rows(
        "vocabulary",
        _SHARE,
        "count",
        ("unknown_words", "exact", "words outside the frequency list"),
    ),
    *_rows(
        "vocabulary",
        "ratio",
        "number",
        ("type_token_ratio", "exact", "share of words that are new in the text"),
        ("moving_type_token_ratio", "exact", "type-token ratio in windows of 25 words"),
    ),
    *_rows(
        "readability",
        "index",
        "number",
        ("automated_readability", "good", "automated readability index"),
        ("coleman_liau", "good", "Coleman-Liau index"),
        ("lix", "good", "LIX readability index"),
    ),
    *_rows(
        "sentiment",
        "-1 to 1",
        "number",
        ("sentiment", "exact", "positive sentiment (VADER)"),
        ("sentiment_strength", "exact", "strength of sentiment (VADER)"),
    ),
    *_rows(
        "relations",
        "present",
        "flag",
        *((_PREFIX + name, "absent", f"the dependency relation {name}") for name in RELATIONS),
    ),
)
"""Every feature, in the order of the table's columns."""

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
