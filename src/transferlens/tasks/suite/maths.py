"""Sums with short answers, and word problems with a worked rationale."""

from __future__ import annotations

from dataclasses import dataclass

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import Agent, draw_agent
from transferlens.tasks.suite.language import capital, counted, number_word, plural
from transferlens.tasks.suite.lexicon import words
from transferlens.tasks.suite.lexicon.people import FEMALE_NAMES, KIN, MALE_NAMES
from transferlens.tasks.suite.lexicon.things import KINDS

__all__ = ["Fact", "arithmetic", "draw_fact", "draw_problem", "word_problem"]

_QUESTIONS = {
    "+": (
        "What is {a} plus {b}?",
        "How much is {a} + {b}?",
        "Add {b} to {a}.",
        "What is the sum of {a} and {b}?",
        "Which number is {b} more than {a}?",
        "If {a} grows by {b}, what does it become?",
        "A jar holds {a} coins and {b} more are put in. How many coins are in the jar?",
        "Work out {A} plus {B}.",
    ),
    "-": (
        "What is {a} minus {b}?",
        "How much is {a} - {b}?",
        "Take {b} away from {a}.",
        "What is the difference between {a} and {b}?",
        "Which number is {b} less than {a}?",
        "If {a} shrinks by {b}, what is left?",
        "A bus carries {a} people and {b} get off. How many stay on the bus?",
        "Work out {A} minus {B}.",
    ),
    "*": (
        "What is {a} times {b}?",
        "How much is {a} * {b}?",
        "Multiply {a} by {b}.",
        "What is the product of {a} and {b}?",
        "One ticket costs {a} coins. What do {b} tickets cost?",
        "How many are {B} groups of {A}?",
    ),
}
_THINGS = tuple(
    noun for kind in ("fruit", "vegetable", "toy", "jewel", "dish", "plant") for noun in KINDS[kind]
) + words("bead brick button candle card coin egg marble nail pen pencil postcard shell stamp")
_HOLDERS = words("bag basket bowl box crate jar pack row shelf tray")


@dataclass(frozen=True, slots=True)
class Fact:
    """A sum of two whole numbers with a whole, non-negative result."""

    a: int
    sign: str
    b: int

    @property
    def result(self) -> int:
        """The value of the sum."""
        if self.sign == "+":
            return self.a + self.b
        if self.sign == "-":
            return self.a - self.b
        return self.a * self.b if self.sign == "*" else self.a // self.b

    @property
    def text(self) -> str:
        """The sum in digits: "12 + 7 = 19"."""
        return f"{self.a} {self.sign} {self.b} = {self.result}"

    @property
    def is_common(self) -> bool:
        """Whether it belongs to the small tables, which no partition owns and no test row asks."""
        return min(self.a, self.b) <= 10 and (self.sign in "+-" or max(self.a, self.b) <= 10)


def _owned(draw: Draw, fact: Fact) -> bool:
    return fact.is_common or fact.sign == "/" or draw.owns(f"{fact.a}{fact.sign}{fact.b}")


def draw_fact(draw: Draw) -> Fact:
    """Draw a sum beyond the small tables that this partition owns."""

    def make() -> Fact:
        sign = draw.pick("++++----*")
        if sign == "+":
            return Fact(draw.number(11, 60), sign, draw.number(11, 60))
        if sign == "-":
            high = draw.number(22, 99)
            return Fact(high, sign, draw.number(11, high - 1))
        return Fact(draw.number(11, 20), sign, draw.number(2, 5))

    return draw.until(make, lambda fact: not fact.is_common and _owned(draw, fact))


def arithmetic(draw: Draw, order: Order) -> Draft:
    """Draft a question with a numeric answer; ``order`` has nothing to choose."""
    del order
    fact = draw_fact(draw)
    question = draw.pick(_QUESTIONS[fact.sign]).format(
        a=fact.a, b=fact.b, A=number_word(fact.a), B=number_word(fact.b)
    )
    answer = str(fact.result)
    return Draft(f"Question: {question}\nAnswer:", answer, answer)


@dataclass(slots=True)
class _Story:
    """A word problem while it is being told: who has how many of what."""

    agent: Agent
    noun: str
    held: int
    sentences: list[str]
    facts: list[Fact]

    def note(self, sign: str, number: int) -> None:
        fact = Fact(self.held, sign, number)
        self.facts.append(fact)
        self.held = fact.result


def _begin(draw: Draw, story: _Story) -> None:
    """Tell how many there are at first: given, or so many in each of several holders."""
    name, noun = story.agent.name, story.noun
    if draw.chance(0.6):
        story.held = draw.number(5, 40)
        story.sentences.append(
            draw.pick(
                (
                    "{who} has {n}.",
                    "{who} owns {n}.",
                    "There are {n} on the table of {name}.",
                    "In the morning, {name} counts {n}.",
                    "{who} starts the week with {n}.",
                )
            ).format(who=capital(name), name=name, n=counted(story.held, noun))
        )
        return
    story.held, holders, holder = draw.number(2, 9), draw.number(2, 9), draw.pick(_HOLDERS)
    each = counted(story.held, noun)
    story.sentences.append(
        draw.pick(
            (
                f"{capital(name)} has {counted(holders, holder)} with {each} in each.",
                f"{capital(name)} buys {counted(holders, holder)}. Each {holder} holds {each}.",
                (
                    f"{capital(name)} fills {counted(holders, holder)} and puts {each} "
                    f"into each {holder}."
                ),
            )
        )
    )
    story.note("*", holders)


def _gain(draw: Draw, story: _Story) -> None:
    number = draw.number(2, 14)
    more = f"{number} more"
    she, her = story.agent.subject, story.agent.possessive
    story.sentences.append(
        draw.pick(
            (
                f"Then {she} gets {more} from {her} {draw.pick(KIN)}.",
                f"{capital(her)} {draw.pick(KIN)} brings {more}.",
                f"{capital(she)} finds {more} in the attic.",
                f"Later {she} buys {more} at the market.",
                f"On {draw.pick(('Friday', 'Monday', 'Sunday'))}, {more} arrive by post.",
            )
        )
    )
    story.note("+", number)


def _loss(draw: Draw, story: _Story) -> None:
    number = draw.number(2, max(2, min(14, story.held - 2)))
    she, her = story.agent.subject, story.agent.possessive
    story.sentences.append(
        draw.pick(
            (
                f"{capital(she)} gives {number} of them to {her} {draw.pick(KIN)}.",
                f"Then {she} sells {number} of them.",
                f"After that, {number} of them get lost.",
                f"A thief takes {number} of them in the night.",
                f"{capital(she)} sends {number} of them to {draw.pick(FEMALE_NAMES + MALE_NAMES)}.",
            )
        )
    )
    story.note("-", number)


def _double(draw: Draw, story: _Story) -> None:
    she = story.agent.subject
    times, word = draw.pick(((2, "double"), (3, "three times")))
    story.sentences.append(
        draw.pick(
            (
                f"A week later {she} has {word} as many.",
                f"By the end of the month, the number is {word} what it was.",
            )
        )
    )
    story.note("*", times)


def _aside(draw: Draw, story: _Story) -> str:
    """Return a sentence whose number does not matter."""
    she, her = story.agent.subject, story.agent.possessive
    return draw.pick(
        (
            f"{capital(she)} is {draw.number(20, 70)} years old.",
            f"The market is {draw.number(2, 9)} miles away.",
            f"{capital(her)} house has {draw.number(3, 9)} rooms.",
            f"It is {draw.number(5, 30)} degrees outside.",
        )
    )


def _tell(draw: Draw, steps: int) -> _Story:
    story = _Story(draw_agent(draw, named=0.85), draw.pick(_THINGS), 0, [], [])
    _begin(draw, story)
    while len(story.facts) < steps:
        grow = story.held < 8 or (story.held <= 110 and draw.chance(0.5))
        if story.held <= 45 and draw.chance(0.12):
            _double(draw, story)
        else:
            (_gain if grow else _loss)(draw, story)
    if draw.chance(0.2):
        story.sentences.insert(draw.number(1, len(story.sentences)), _aside(draw, story))
    things = plural(story.noun)
    story.sentences.append(
        draw.pick(
            (
                f"How many {things} does {story.agent.name} have now?",
                f"How many {things} are there in the end?",
                f"What is the number of {things} now?",
            )
        )
    )
    return story


def draw_problem(draw: Draw, *, steps: int | None = None) -> tuple[str, list[Fact], str]:
    """Draw a story sum: its text, its steps and the thing that is counted."""
    story = draw.until(
        lambda: _tell(draw, steps or draw.number(1, 3)),
        lambda told: (
            all(_owned(draw, fact) for fact in told.facts) and draw.owns(" ".join(told.sentences))
        ),
    )
    return " ".join(story.sentences), story.facts, story.noun


def word_problem(draw: Draw, order: Order) -> Draft:
    """Draft a word problem; "short" gives the answer alone, "long" a sentence per step."""
    text, facts, noun = draw_problem(draw)
    answer = str(facts[-1].result)
    if order.length == "short":
        lines = []
    elif order.length == "normal":
        lines = [fact.text for fact in facts]
    else:
        lines = [
            f"Then we work out {fact.text}, so there are now {counted(fact.result, noun)}."
            for fact in facts
        ]
    return Draft(f"Problem: {text}\nSolution:", "\n".join([*lines, f"#### {answer}"]), answer)
