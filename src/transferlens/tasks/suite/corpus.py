"""The text from which the embedded base model is pre-trained.

It tells of the same world as the suite's tasks, out of the partition that no task draws from, and
asks about it in other words than the tasks' prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.events import draw_events
from transferlens.tasks.suite.grammar import draw_judged
from transferlens.tasks.suite.language import capital, number_word, sentence
from transferlens.tasks.suite.lexicon.opinions import FILMS, PRODUCTS
from transferlens.tasks.suite.lexicon.topics import TOPICS
from transferlens.tasks.suite.maths import Fact, draw_fact, draw_problem
from transferlens.tasks.suite.opinion import POLARITIES, draw_review
from transferlens.tasks.suite.pairs import RELATIONS, draw_claim, draw_pair
from transferlens.tasks.suite.reading import ask, draw_passage
from transferlens.tasks.suite.rewriting import draw_rewrite
from transferlens.tasks.suite.topic import draw_news

__all__ = ["MIXTURE", "documents"]

_SIGNS = {"+": ("plus", "and"), "-": ("minus", "take away"), "*": ("times", "multiplied by")}


def _narrative(draw: Draw) -> str:
    return " ".join(sentence(event.past()) for event in draw_events(draw, draw.number(3, 6)))


def _small_fact(draw: Draw) -> Fact:
    a, b = draw.number(1, 10), draw.number(1, 10)
    sign = draw.pick("+-*")
    if sign == "-":
        return Fact(a + b, sign, min(a, b))
    return Fact(a * draw.number(1, 6), sign, b) if sign == "+" else Fact(a, sign, b)


def _sums(draw: Draw) -> str:
    lines = []
    for _ in range(draw.number(3, 8)):
        fact = draw_fact(draw) if draw.chance(0.75) else _small_fact(draw)
        a, b, said = fact.a, fact.b, draw.pick(_SIGNS[fact.sign])
        lines.append(
            draw.pick(
                (
                    f"{fact.text}.",
                    f"{fact.text}.",
                    f"{a} {said} {b} is {fact.result}.",
                    f"Q: {a} {fact.sign} {b}? A: {fact.result}",
                    f"{capital(number_word(a))} {said} {number_word(b)} makes {fact.result}.",
                    f"Compute {a} {_SIGNS[fact.sign][0]} {b}. Result: {fact.result}",
                )
            )
        )
    return "\n".join(lines)


def _working(draw: Draw) -> str:
    text, facts, _ = draw_problem(draw)
    steps = draw.pick((", then ", "; ", "\n")).join(fact.text for fact in facts)
    lead = draw.pick(("Let us see: ", "Working: ", "", "We count. "))
    return f"{text}\n{lead}{steps}. The answer is {facts[-1].result}."


def _review(draw: Draw) -> str:
    polarity = draw.pick(POLARITIES)
    good = polarity == "positive"
    text = draw_review(draw, draw.pick((FILMS, PRODUCTS)), polarity)
    return draw.pick(
        (
            f"{text}\nThat is a {polarity} opinion.",
            f"{text}\nDid the writer like it? {'yes' if good else 'no'}",
            f"A {polarity} view: {text}",
            f"{text} Stars: {5 if good else 1}",
            f"{text}\nFeeling: {polarity}",
            text,
        )
    )


def _news(draw: Draw) -> str:
    name = draw.pick(tuple(TOPICS))
    text = draw_news(draw, name)
    return draw.pick(
        (
            f"{text}\nThis is about {name}.",
            f"From the {name} pages: {text}",
            f"{text}\nSection: {name}",
            f"{text}\nSubject? {name}",
            text,
        )
    )


def _claim(draw: Draw) -> str:
    relation = draw.pick(RELATIONS)
    premise, claim = draw_claim(draw, relation)
    answer = {"entailment": "yes", "neutral": "nobody can tell", "contradiction": "no"}[relation]
    return draw.pick(
        (
            f"{premise} Is this true? {claim} {capital(answer)}.",
            f"Known: {premise}\nClaim: {claim}\nTrue? {answer}",
            f"{premise}\n{claim}\nThis is {'an' if relation == 'entailment' else 'a'} {relation}.",
        )
    )


def _pair(draw: Draw) -> str:
    same = draw.chance(0.6)
    first, second = draw_pair(draw, same=same)
    if same and draw.chance(0.4):
        return f"{first} In other words: {second}"
    answer = "yes" if same else "no"
    return draw.pick(
        (
            f"{first}\n{second}\nDo both say the same? {answer}",
            f"A: {first}\nB: {second}\n{'A and B agree.' if same else 'A and B differ.'}",
        )
    )


def _correction(draw: Draw) -> str:
    right, wrong = draw_judged(draw)
    shown = draw.chance(0.5)
    return draw.pick(
        (
            f"Wrong: {wrong}\nRight: {right}",
            f"{right if shown else wrong}\nIs this good English? {'yes' if shown else 'no'}",
            f"{right if shown else wrong} ({'acceptable' if shown else 'unacceptable'})",
            right,
        )
    )


def _questions(draw: Draw) -> str:
    passage, events = draw_passage(draw)
    told = [ask(draw, event) for event in draw.shuffled(events + events)]
    style = draw.pick(("{q} {a}.", "Q: {q}\nA: {a}", "{q}\n{a}", "Asked: {q} Reply: {a}"))
    return "\n".join([passage, *(style.format(q=question, a=answer) for question, answer in told)])


def _rewrite(draw: Draw) -> str:
    how, before, after = draw_rewrite(draw, draw.number(1, 3))
    return draw.pick(
        (
            f"{before}\nThe same {how}: {after}",
            f"Before: {before}\nAfter, {how}: {after}",
            f'Told {how}, "{before}" becomes: {after}',
        )
    )


MIXTURE: tuple[tuple[float, Callable[[Draw], str]], ...] = (
    (0.06, _narrative),
    (0.14, _sums),
    (0.12, _working),
    (0.11, _review),
    (0.08, _news),
    (0.17, _claim),
    (0.11, _pair),
    (0.08, _correction),
    (0.08, _questions),
    (0.05, _rewrite),
)
"""The share of documents of each sort."""


def documents(seed: int) -> Iterator[str]:
    """Yield pre-training documents without end; the same seed yields the same documents.

    Parameters
    ----------
    seed
        Seed of the stream; two seeds give two independent streams.
    """
    draw = Draw(np.random.default_rng(seed), "prose")
    makers = [maker for share, maker in MIXTURE for _ in range(round(share * 100))]
    while True:
        yield draw.pick(makers)(draw)
