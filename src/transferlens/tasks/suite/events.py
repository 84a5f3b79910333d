"""Events: who did what, to what, where, when and with whom, and the clauses that tell it."""

from __future__ import annotations

from dataclasses import dataclass

from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.language import article, number_word, plural
from transferlens.tasks.suite.lexicon.actions import (
    ADVERBS,
    PLACES,
    TIMES,
    TRANSITIVE,
    Verb,
)
from transferlens.tasks.suite.lexicon.people import FEMALE_NAMES, MALE_NAMES, TRADES
from transferlens.tasks.suite.lexicon.things import ADJECTIVES, COLOURS, KINDS

__all__ = ["Agent", "Event", "draw_agent", "draw_event", "draw_events"]

_SINGLE = frozenset({"drive", "wear", "play", "tune", "fill"})
"""Verbs that sound odd with several objects."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A person: how the text calls them, and their pronouns."""

    name: str
    subject: str
    object: str
    possessive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One person does one thing; circumstances that are None are not told."""

    agent: Agent
    verb: Verb
    kind: str
    noun: str
    count: int = 1
    adjective: str | None = None
    adverb: str | None = None
    place: str | None = None
    time: str | None = None
    companion: str | None = None

    @property
    def content(self) -> str:
        """What decides to which partition the event belongs."""
        return f"{self.agent.name}|{self.verb.plain}|{self.noun}"

    @property
    def bare_noun(self) -> str:
        """The noun in the right number, without article or adjective."""
        return self.noun if self.count == 1 else plural(self.noun)

    @property
    def described_noun(self) -> str:
        """The noun with its adjective."""
        return f"{self.adjective} {self.bare_noun}" if self.adjective else self.bare_noun

    @property
    def object(self) -> str:
        """The object as a new thing: "a red hat", "three red hats"."""
        noun = self.described_noun
        return article(noun) if self.count == 1 else f"{number_word(self.count)} {noun}"

    @property
    def definite(self) -> str:
        """The object as a known thing: "the red hat"."""
        return f"the {self.described_noun}"

    @property
    def circumstances(self) -> str:
        """Companion, place and time with a leading space, or nothing."""
        company = f"with {self.companion}" if self.companion else None
        return "".join(f" {part}" for part in (company, self.place, self.time) if part)

    @property
    def was(self) -> str:
        """The auxiliary of the passive, in the number of the object."""
        return "was" if self.count == 1 else "were"

    def past(self, *, by: str | None = None) -> str:
        """Return the clause in the simple past, optionally with another subject."""
        adverb = f"{self.adverb} " if self.adverb else ""
        return f"{by or self.agent.name} {adverb}{self.verb.past} {self.object}{self.circumstances}"

    def present(self) -> str:
        """Return the clause in the present tense."""
        adverb = f"{self.adverb} " if self.adverb else ""
        return f"{self.agent.name} {adverb}{self.verb.third} {self.object}{self.circumstances}"

    def future(self) -> str:
        """Return the clause in the future."""
        adverb = f"{self.adverb} " if self.adverb else ""
        return f"{self.agent.name} will {adverb}{self.verb.plain} {self.object}{self.circumstances}"

    def negated(self) -> str:
        """Return the clause denied in the simple past."""
        return f"{self.agent.name} did not {self.verb.plain} {self.object}{self.circumstances}"

    def passive(self) -> str:
        """Return the clause in the passive of the simple past."""
        adverb = f"{self.adverb} " if self.adverb else ""
        done = f"{self.object} {self.was} {adverb}{self.verb.participle}"
        return f"{done} by {self.agent.name}{self.circumstances}"


def draw_agent(draw: Draw, *, named: float = 0.75) -> Agent:
    """Draw a person, known by a given name with probability ``named``, otherwise by a trade."""
    female = draw.chance(0.5)
    pronouns = ("she", "her", "her") if female else ("he", "him", "his")
    if draw.chance(named):
        return Agent(draw.pick(FEMALE_NAMES if female else MALE_NAMES), *pronouns)
    return Agent(f"the {draw.pick(TRADES)}", *pronouns)


def draw_event(draw: Draw, *, detail: float = 0.4, named: float = 0.75) -> Event:
    """Draw an event of this partition; each circumstance is told with probability ``detail``."""
    event = draw.until(lambda: _bare(draw, named), lambda made: draw.owns(made.content))
    many = event.verb.plain not in _SINGLE and draw.chance(0.25)
    return Event(
        agent=event.agent,
        verb=event.verb,
        kind=event.kind,
        noun=event.noun,
        count=draw.number(2, 9) if many else 1,
        adjective=draw.pick(COLOURS if draw.chance(0.6) else ADJECTIVES)
        if draw.chance(detail)
        else None,
        adverb=draw.pick(ADVERBS) if draw.chance(detail / 3) else None,
        place=draw.pick(PLACES) if draw.chance(detail) else None,
        time=draw.pick(TIMES) if draw.chance(detail) else None,
        companion=draw.other(FEMALE_NAMES + MALE_NAMES, event.agent.name)
        if draw.chance(detail / 2)
        else None,
    )


def draw_events(draw: Draw, count: int, *, detail: float = 0.6) -> list[Event]:
    """Draw events by different people with different things, places and times."""
    events: list[Event] = []
    while len(events) < count:
        event = draw_event(draw, detail=detail)
        told = {e.agent.name for e in events} | {e.noun for e in events}
        told |= {e.place for e in events if e.place} | {e.time for e in events if e.time}
        told |= {e.companion for e in events if e.companion} | {e.verb.plain for e in events}
        parts = {event.agent.name, event.noun, event.place, event.time, event.companion}
        if not (parts | {event.verb.plain}) & told:
            events.append(event)
    return events


def _bare(draw: Draw, named: float) -> Event:
    verb = draw.pick(TRANSITIVE)
    kind = draw.pick(verb.kinds)
    return Event(
        agent=draw_agent(draw, named=named), verb=verb, kind=kind, noun=draw.pick(KINDS[kind])
    )
