"""Texts to be rewritten: another tense, another voice, another order, joined or split."""

from __future__ import annotations

from collections.abc import Callable

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import Event, draw_events
from transferlens.tasks.suite.language import listed, sentence

__all__ = ["REWRITES", "draw_rewrite", "rewriting"]

_SENTENCES = {"short": (1, 1), "normal": (3, 4), "long": (5, 6)}


def _text(clauses: list[str]) -> str:
    return " ".join(sentence(clause) for clause in clauses)


def _tell(events: list[Event], how: Callable[[Event], str]) -> str:
    return _text([how(event) for event in events])


REWRITES: dict[str, tuple[Callable[[list[Event]], str], Callable[[list[Event]], str]]] = {
    "in the past tense": (lambda es: _tell(es, Event.present), lambda es: _tell(es, Event.past)),
    "in the present tense": (lambda es: _tell(es, Event.past), lambda es: _tell(es, Event.present)),
    "in the future": (lambda es: _tell(es, Event.past), lambda es: _tell(es, Event.future)),
    "in the passive": (lambda es: _tell(es, Event.past), lambda es: _tell(es, Event.passive)),
    "in the active voice": (lambda es: _tell(es, Event.passive), lambda es: _tell(es, Event.past)),
    "in reverse order": (lambda es: _tell(es, Event.past), lambda es: _tell(es[::-1], Event.past)),
    "as one sentence": (
        lambda es: _tell(es, Event.past),
        lambda es: sentence(listed([event.past() for event in es])),
    ),
    "as separate sentences": (
        lambda es: sentence(listed([event.past() for event in es])),
        lambda es: _tell(es, Event.past),
    ),
    "saying that none of it happened": (
        lambda es: _tell(es, Event.past),
        lambda es: _tell(es, Event.negated),
    ),
}
"""For each instruction, how the text is told before and after."""


def draw_rewrite(draw: Draw, count: int) -> tuple[str, str, str]:
    """Draw an instruction, a text of ``count`` events and the text as it is wanted."""
    how = draw.pick(tuple(REWRITES))
    events = draw_events(draw, count, detail=0.4)
    before, after = REWRITES[how]
    return how, before(events), after(events)


def rewriting(draw: Draw, order: Order) -> Draft:
    """Draft a text to rewrite; the length ordered decides how many sentences it has."""
    how, before, after = draw_rewrite(draw, draw.number(*_SENTENCES[order.length]))
    return Draft(f"Rewrite this text {how}: {before}\nRewritten:", after, None)
