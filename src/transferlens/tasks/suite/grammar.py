"""Sentences that are grammatical, or that one small slip has spoilt."""

from __future__ import annotations

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import Agent, draw_agent, draw_event
from transferlens.tasks.suite.language import article, number_word, plural, sentence
from transferlens.tasks.suite.lexicon.actions import INTRANSITIVE, PLACES, REASONS, TIMES
from transferlens.tasks.suite.lexicon.things import ADJECTIVES

__all__ = ["acceptability", "draw_judged"]


def _frames(draw: Draw) -> tuple[str, str]:
    """Return a clause and its minimally spoilt twin."""
    event = draw_event(draw, detail=0.3, named=0.5)
    who: Agent = event.agent
    name, verb, thing, where = who.name, event.verb, event.object, event.circumstances
    walk, adjective, noun = draw.pick(INTRANSITIVE), draw.pick(ADJECTIVES), event.noun
    many, friend = plural(noun), draw_agent(draw, named=0.3)
    helper = draw.pick(("will", "can", "must", "should", "may"))
    selves = {"she": "herself", "he": "himself"}
    myself, other = selves[who.subject], selves["he" if who.subject == "she" else "she"]
    wrong_article = (
        thing.replace("an ", "a ", 1) if thing.startswith("an ") else thing.replace("a ", "an ", 1)
    )
    pairs = [
        (f"{name} {verb.third} {thing}{where}", f"{name} {verb.plain} {thing}{where}"),
        (f"the {many} {draw.pick(('look', 'seem'))} {adjective}", f"the {many} looks {adjective}"),
        (
            f"{name} {helper} {verb.plain} {thing}{where}",
            f"{name} {helper} {verb.past} {thing}{where}",
        ),
        (
            f"{name} has {verb.participle} {thing}{where}",
            f"{name} has {verb.gerund} {thing}{where}",
        ),
        (f"{name} is {verb.gerund} {thing}{where}", f"{name} is {verb.plain} {thing}{where}"),
        (
            f"{name} did not {verb.plain} {thing}{where}",
            f"{name} did not {verb.gerund} {thing}{where}",
        ),
        (f"these {many} belong to {friend.name}", f"these {noun} belong to {friend.name}"),
        (f"this {noun} belongs to {friend.name}", f"this {many} belongs to {friend.name}"),
        (
            f"{name} {verb.past} {number_word(draw.number(2, 9))} {many}{where}",
            f"{name} {verb.past} {number_word(draw.number(2, 9))} {noun}{where}",
        ),
        (
            f"{name} {verb.past} it for {who.object}{where}",
            f"{name} {verb.past} it for {who.subject}{where}",
        ),
        (
            f"after that, {who.subject} {verb.past} the {noun}{where}",
            f"after that, {who.object} {verb.past} the {noun}{where}",
        ),
        (
            f"{name} prepared {myself} and {verb.past} {thing}{where}",
            f"{name} prepared {other} and {verb.past} {thing}{where}",
        ),
        (
            f"{name} {walk.past} {draw.pick(PLACES)} {draw.pick(REASONS)}",
            f"{name} {draw.pick(PLACES)} {walk.past} the {draw.pick(REASONS)}",
        ),
        (
            f"the {adjective} {noun} was {verb.participle} by {name}{where}",
            f"the {noun} {adjective} was {verb.participle} by {name}{where}",
        ),
        (
            f"{name} wants to {verb.plain} the {noun}{where}",
            f"{name} wants {verb.plain} to the {noun}{where}",
        ),
        (
            f"there are {many} {draw.pick(PLACES)} {draw.pick(TIMES)}",
            f"there is {many} {draw.pick(PLACES)} {draw.pick(TIMES)}",
        ),
        (
            f"where did {name} {verb.plain} {thing} {draw.pick(TIMES)}",
            f"where {name} did {verb.plain} {thing} {draw.pick(TIMES)}",
        ),
        (
            f"{name} {verb.past} the {noun} that {friend.name} had seen",
            f"{name} {verb.past} the {noun} that had {friend.name} seen",
        ),
        (
            f"{name} was the first to {verb.plain} {article(noun)}{where}",
            f"{name} was first the to {verb.plain} {article(noun)}{where}",
        ),
    ]
    if wrong_article != thing:
        pairs.append(
            (f"{name} {verb.past} {thing}{where}", f"{name} {verb.past} {wrong_article}{where}")
        )
    return draw.pick(pairs)


def _is_clear(pair: tuple[str, str]) -> bool:
    """Say whether only one of the two is English: "read" is its own past, a baker is she or he."""
    right, wrong = pair
    return right != wrong and not (right.startswith("the ") and "self and " in right)


def draw_judged(draw: Draw) -> tuple[str, str]:
    """Draw a grammatical sentence of this partition and its spoilt twin."""

    def whole(clause: str) -> str:
        return sentence(clause, "?" if clause.startswith("where ") else ".")

    right, wrong = draw.until(
        lambda: _frames(draw), lambda pair: _is_clear(pair) and draw.owns(pair[0])
    )
    return whole(right), whole(wrong)


def acceptability(draw: Draw, order: Order) -> Draft:
    """Draft a sentence and whether it is acceptable English."""
    right, wrong = draw_judged(draw)
    shown = right if order.label == "acceptable" else wrong
    return Draft(f"Sentence: {shown}\nGrammar:", order.label, order.label)
