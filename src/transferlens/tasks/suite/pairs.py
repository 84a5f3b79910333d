"""Pairs of sentences: does one follow from the other, do both mean the same."""

from __future__ import annotations

import dataclasses

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import Agent, Event, draw_agent, draw_event
from transferlens.tasks.suite.language import article, number_word, sentence
from transferlens.tasks.suite.lexicon import phrases
from transferlens.tasks.suite.lexicon.actions import PLACES, REASONS, SYNONYMS, TIMES, TRANSITIVE
from transferlens.tasks.suite.lexicon.people import FEMALE_NAMES, MALE_NAMES
from transferlens.tasks.suite.lexicon.things import COLOURS, KINDS

__all__ = ["RELATIONS", "draw_claim", "draw_pair", "inference", "paraphrase"]

RELATIONS = ("entailment", "neutral", "contradiction")
_ASPECTS = ("place", "time", "companion", "colour", "count", "kind")
_MEANWHILE = phrases("was asleep; was waiting outside; told a joke; made tea; stood by; was away")
_NAMES = FEMALE_NAMES + MALE_NAMES


def _value(draw: Draw, aspect: str) -> str:
    """Draw a value that an event may have in one aspect."""
    if aspect == "count":
        return number_word(draw.number(2, 9))
    pools = {
        "place": PLACES,
        "time": TIMES,
        "companion": _NAMES,
        "colour": COLOURS,
        "kind": tuple(KINDS),
    }
    return draw.pick(pools[aspect])


def _with_value(event: Event, aspect: str, value: str | None) -> Event:
    """Return the event with its place, time, companion or colour set, or left open by None."""
    if aspect == "place":
        return dataclasses.replace(event, place=value)
    if aspect == "time":
        return dataclasses.replace(event, time=value)
    if aspect == "companion":
        return dataclasses.replace(event, companion=value)
    return dataclasses.replace(event, adjective=value)


def _premise(draw: Draw, event: Event, aspect: str, value: str | None) -> str:
    """Tell the event with the aspect's value, or without it."""
    if aspect == "count":
        many = value or draw.pick(("some", "several", "a few"))
        told = dataclasses.replace(event, count=2)
        clause = told.past().replace("two ", f"{many} ", 1)
    elif aspect == "kind":
        clause = event.past()
        if value is None:
            vague = draw.pick(("something", "a present", "exactly what was needed"))
            clause = clause.replace(event.object, vague, 1)
    else:
        clause = _with_value(event, aspect, value).past()
    if draw.chance(0.25):
        clause += f" {draw.pick(REASONS)}"
    elif draw.chance(0.3):
        clause = f"{clause} while {draw_agent(draw).name} {draw.pick(_MEANWHILE)}"
    return sentence(clause)


def _claim(draw: Draw, event: Event, aspect: str, value: str, *, denied: bool) -> str:
    """State, or deny, that the event has a value in one aspect."""
    name, noun = event.agent.name, event.bare_noun
    not_ = "not " if denied else ""
    did = f"did not {event.verb.plain}" if denied else event.verb.past
    it = article(noun)
    if aspect == "companion":
        frames = [f"{name} {did} {it} with {value}", f"{value} was {not_}with {name}"]
    elif aspect == "colour":
        frames = [f"the {noun} was {not_}{value}", f"{name} {did} {article(f'{value} {noun}')}"]
    elif aspect == "count":
        many = dataclasses.replace(event, count=2).bare_noun
        frames = [f"{name} {did} {value} {many}", f"the number of {many} was {not_}{value}"]
    elif aspect == "kind":
        frames = [f"what {name} {event.verb.past} was {not_}{article(value)}"]
    else:
        frames = [
            f"{name} {did} {it} {value}",
            f"it happened {value}" if not denied else f"it did not happen {value}",
        ]
    return sentence(draw.pick(frames))


def draw_claim(draw: Draw, relation: str) -> tuple[str, str]:
    """Draw a premise and a claim about one aspect of it that stand in the given relation.

    The claim is drawn in the same way for each relation, so it alone tells nothing: it is the
    premise that tells the claimed value, another value, or none.
    """
    event = dataclasses.replace(draw_event(draw, detail=0.35), count=1)
    aspect = draw.pick(_ASPECTS)
    denied = draw.chance(0.25)
    claimed = _value(draw, aspect)
    told: str | None = None
    if relation != "neutral":
        same = (relation == "entailment") != denied
        told = claimed if same else draw.until(lambda: _value(draw, aspect), lambda v: v != claimed)
    if aspect == "kind":
        event = _of_kind(draw, event, told or event.kind)
    return _premise(draw, event, aspect, told), _claim(draw, event, aspect, claimed, denied=denied)


def _of_kind(draw: Draw, event: Event, kind: str) -> Event:
    """Return a plain event with an object of the kind and a verb that fits it."""
    return draw.until(
        lambda: dataclasses.replace(
            event,
            agent=draw_agent(draw),
            verb=draw.pick([verb for verb in TRANSITIVE if kind in verb.kinds]),
            kind=kind,
            noun=draw.pick(KINDS[kind]),
        ),
        lambda made: draw.owns(made.content),
    )


def inference(draw: Draw, order: Order) -> Draft:
    """Draft a premise and a hypothesis with their relation."""
    premise, hypothesis = draw_claim(draw, order.label)
    return Draft(
        f"Premise: {premise}\nHypothesis: {hypothesis}\nRelation:", order.label, order.label
    )


def _restate(draw: Draw, event: Event) -> str:
    """Say the same in other words."""
    synonym = SYNONYMS.get(event.verb.plain)
    verb = synonym if synonym and draw.chance(0.6) else event.verb
    told = dataclasses.replace(event, verb=verb)
    fronted = dataclasses.replace(told, time=None)
    frames = [
        told.passive(),
        f"it was {told.agent.name} who {told.verb.past} {told.object}{told.circumstances}",
        f"the one who {told.verb.past} {told.object}{told.circumstances} was {told.agent.name}",
    ]
    if told.time:
        frames += [f"{told.time}, {fronted.past()}", f"{told.time}, {fronted.passive()}"]
    return sentence(draw.pick(frames))


def _altered(draw: Draw, event: Event) -> Event:
    """Change one thing that the event says for another of the same sort."""
    told = [name for name in ("place", "time", "companion") if getattr(event, name)]
    change = draw.pick(("agent", "noun", "verb", "count", *told))

    def make() -> Event:
        if change == "agent":
            return dataclasses.replace(event, agent=draw_agent(draw))
        if change == "noun":
            noun = draw.pick(KINDS[event.kind])
            return dataclasses.replace(event, noun=noun, agent=_sometimes(draw, event))
        if change == "verb":
            verbs = [verb for verb in TRANSITIVE if event.kind in verb.kinds]
            return dataclasses.replace(event, verb=draw.pick(verbs), agent=_sometimes(draw, event))
        if change == "count":
            return dataclasses.replace(event, count=draw.number(1, 9))
        return _with_value(event, change, _value(draw, change))

    return draw.until(make, lambda made: made != event and draw.owns(made.content))


def _sometimes(draw: Draw, event: Event) -> Agent:
    """Return the event's agent, or rarely another, so that some choice is always left."""
    return draw_agent(draw) if draw.chance(0.05) else event.agent


def draw_pair(draw: Draw, *, same: bool) -> tuple[str, str]:
    """Draw two sentences on much the same event, which do or do not mean the same."""
    event = draw_event(draw, detail=0.5)
    told = event if same else _altered(draw, event)
    if not same and draw.chance(0.4):
        told = draw.until(lambda: _altered(draw, told), lambda made: made != event)
    first, second = sentence(event.past()), _restate(draw, told)
    return (first, second) if draw.chance(0.6) else (second, first)


def paraphrase(draw: Draw, order: Order) -> Draft:
    """Draft two sentences and whether they mean the same."""
    first, second = draw_pair(draw, same=order.label == "yes")
    prompt = f"Sentence 1: {first}\nSentence 2: {second}\nSame meaning?"
    return Draft(prompt, order.label, order.label)
