"""The ten tasks of the suite: what each measures, how it is scored, and which grammar makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from transferlens.tasks.suite.draft import Drafter
from transferlens.tasks.suite.grammar import acceptability
from transferlens.tasks.suite.lexicon.topics import TOPICS
from transferlens.tasks.suite.maths import arithmetic, word_problem
from transferlens.tasks.suite.opinion import POLARITIES, film_sentiment, product_sentiment
from transferlens.tasks.suite.pairs import RELATIONS, inference, paraphrase
from transferlens.tasks.suite.reading import reading
from transferlens.tasks.suite.rewriting import rewriting
from transferlens.tasks.suite.topic import topic

__all__ = ["DRAFTERS", "SUITE", "SuiteTask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTask:
    """What a study needs to know of a built-in task.

    ``class_weights`` are the shares of the classes unless other ones are asked for;
    ``has_length`` says whether the length of the output can be chosen.
    """

    name: str
    family: str
    kind: Literal["choice", "generate"]
    metric: str
    description: str
    choices: tuple[str, ...] | None = None
    class_weights: Mapping[str, float] | None = None
    extractor: str | None = None
    max_new_tokens: int | None = None
    has_length: bool = False


def _choice(name: str, family: str, description: str, weights: Mapping[str, float]) -> SuiteTask:
    return SuiteTask(
        name=name,
        family=family,
        kind="choice",
        metric="accuracy",
        description=description,
        choices=tuple(weights),
        class_weights=MappingProxyType(dict(weights)),
    )


def _even(choices: tuple[str, ...]) -> dict[str, float]:
    return {choice: 1 / len(choices) for choice in choices}


_TASKS = (
    SuiteTask(
        name="arithmetic",
        family="maths",
        kind="generate",
        metric="numeric_match",
        description="Sums, differences and products with a short numeric answer",
        extractor="last_number",
        max_new_tokens=8,
    ),
    SuiteTask(
        name="word_problems",
        family="maths",
        kind="generate",
        metric="numeric_match",
        description="Story sums of one to three steps with a worked rationale",
        extractor="gsm8k",
        max_new_tokens=64,
        has_length=True,
    ),
    _choice("sentiment", "sentiment", "Polarity of film reviews, balanced", _even(POLARITIES)),
    _choice(
        "sentiment_skewed",
        "sentiment",
        "Polarity of comments on products, mostly positive",
        {"negative": 0.15, "positive": 0.85},
    ),
    _choice("topic", "topic", "Topic of a piece of news, six classes", _even(tuple(TOPICS))),
    _choice(
        "inference",
        "inference",
        "Whether a hypothesis follows from a premise, contradicts it, or neither",
        _even(RELATIONS),
    ),
    _choice(
        "paraphrase",
        "inference",
        "Whether two sentences with almost the same words mean the same",
        _even(("no", "yes")),
    ),
    _choice(
        "acceptability",
        "syntax",
        "Whether a sentence is grammatical or holds one small slip",
        _even(("acceptable", "unacceptable")),
    ),
    SuiteTask(
        name="reading",
        family="reading",
        kind="generate",
        metric="f1",
        description="Questions on a short passage, answered in its own words",
        max_new_tokens=12,
    ),
    SuiteTask(
        name="rewriting",
        family="rewriting",
        kind="generate",
        metric="rouge_l",
        description="A text told anew in another tense, voice, order or number of sentences",
        max_new_tokens=110,
        has_length=True,
    ),
)

SUITE: Mapping[str, SuiteTask] = MappingProxyType({task.name: task for task in _TASKS})
"""The built-in tasks by name."""

DRAFTERS: Mapping[str, Drafter] = MappingProxyType(
    {
        "arithmetic": arithmetic,
        "word_problems": word_problem,
        "sentiment": film_sentiment,
        "sentiment_skewed": product_sentiment,
        "topic": topic,
        "inference": inference,
        "paraphrase": paraphrase,
        "acceptability": acceptability,
        "reading": reading,
        "rewriting": rewriting,
    }
)
"""The grammar of each task."""
