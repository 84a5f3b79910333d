"""News in brief, to be filed under a topic."""

from __future__ import annotations

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.language import sentence
from transferlens.tasks.suite.lexicon.actions import PLACES, TIMES
from transferlens.tasks.suite.lexicon.topics import ANYONE, ANYTHING, TOPICS

__all__ = ["draw_news", "topic"]


def _clause(draw: Draw, name: str) -> str:
    """Return one piece of news; its subject or its predicate may fit any topic."""
    words = TOPICS[name]
    subject, predicate, ending = (
        draw.pick(words.subjects),
        draw.pick(words.predicates),
        draw.pick(words.endings),
    )
    kind = draw.number(0, 5)
    if kind == 0:
        subject = draw.pick(ANYONE)
    elif kind == 1:
        predicate = draw.pick(ANYTHING)
    where = draw.pick(PLACES + TIMES)
    return draw.pick(
        (
            f"{subject} {predicate} {ending}",
            f"{subject} {predicate}",
            f"{subject} {predicate} {where}",
            f"{where}, {subject} {predicate}",
            f"{ending}, {subject} {predicate}",
            f"it was {ending} that {subject} {predicate}",
            f"people say that {subject} {predicate} {ending}",
        )
    )


def draw_news(draw: Draw, name: str) -> str:
    """Draw one or two sentences on a topic, owned by this partition."""
    sentences = [
        draw.owned(lambda: sentence(_clause(draw, name))) for _ in range(draw.number(1, 2))
    ]
    if draw.chance(0.25):
        aside = f"{draw.pick(ANYONE)} {draw.pick(ANYTHING)} {draw.pick(TIMES)}"
        sentences.insert(draw.number(0, len(sentences)), sentence(aside))
    return " ".join(sentences)


def topic(draw: Draw, order: Order) -> Draft:
    """Draft a piece of news with its topic."""
    return Draft(f"News: {draw_news(draw, order.label)}\nTopic:", order.label, order.label)
