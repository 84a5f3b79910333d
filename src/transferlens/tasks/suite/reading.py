"""Short passages with a question that a few of their words answer."""

from __future__ import annotations

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import Event, draw_agent, draw_events
from transferlens.tasks.suite.language import number_word, plural, sentence
from transferlens.tasks.suite.lexicon.actions import INTRANSITIVE, PLACES, REASONS

__all__ = ["ask", "draw_passage", "reading"]


def _told(draw: Draw, event: Event) -> str:
    """Tell one event, in the active, the passive or with its time in front."""
    if event.time and draw.chance(0.3):
        rest = event.past().replace(f" {event.time}", "")
        return sentence(f"{event.time}, {rest}")
    if draw.chance(0.2):
        return sentence(event.passive())
    clause = event.past()
    return sentence(f"{clause} {draw.pick(REASONS)}" if draw.chance(0.15) else clause)


def draw_passage(draw: Draw) -> tuple[str, list[Event]]:
    """Draw a passage and the two to four events that it tells."""
    events = draw_events(draw, draw.number(2, 4))
    sentences = [_told(draw, event) for event in events]
    if draw.chance(0.4):
        aside = (
            f"{draw_agent(draw, named=0).name} {draw.pick(INTRANSITIVE).past} {draw.pick(PLACES)}"
        )
        sentences.insert(draw.number(0, len(sentences)), sentence(aside))
    return " ".join(sentences), events


def ask(draw: Draw, event: Event) -> tuple[str, str]:
    """Return a question on one event and its answer in the words of the passage."""
    name, verb, noun = event.agent.name, event.verb, event.bare_noun
    pairs = [
        (f"Who {verb.past} the {noun}?", name),
        (f"By whom {event.was} the {noun} {verb.participle}?", name),
        (f"What did {name} {verb.plain}?", event.object),
        (f"Which thing{'s' if event.count > 1 else ''} did {name} {verb.plain}?", event.object),
    ]
    if event.place:
        pairs += [
            (f"Where did {name} {verb.plain} the {noun}?", event.place),
            (f"Where {event.was} the {noun} {verb.participle}?", event.place),
            (f"Who {verb.past} something {event.place}?", name),
        ]
    if event.time:
        pairs += [
            (f"When did {name} {verb.plain} the {noun}?", event.time),
            (f"When {event.was} the {noun} {verb.participle}?", event.time),
        ]
    if event.companion:
        pairs.append((f"Who was with {name}?", event.companion))
    if event.count > 1:
        pairs.append(
            (f"How many {plural(event.noun)} did {name} {verb.plain}?", number_word(event.count))
        )
    return draw.pick(pairs)


def reading(draw: Draw, order: Order) -> Draft:
    """Draft a passage, a question and the extracted answer; ``order`` has nothing to choose."""
    del order
    passage, events = draw_passage(draw)
    question, answer = ask(draw, draw.pick(events))
    return Draft(f"Passage: {passage}\nQuestion: {question}\nAnswer:", answer, answer)
