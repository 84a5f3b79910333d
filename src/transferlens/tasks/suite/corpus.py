"""The text from which the embedded base model is pre-trained.

It tells of the same world as the suite's tasks, out of the partition that no task draws from, and
asks about it in other words than the tasks' prompts; only that of sums, "Question: … Answer:", is
the frame of a task too.
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
from transferlens.tasks.suite.opinion import POLARITIES, draw_review, draw_sentence
from transferlens.tasks.suite.pairs import RELATIONS, draw_claim, draw_pair
from transferlens.tasks.suite.reading import ask, draw_passage
from transferlens.tasks.suite.rewriting import draw_rewrite
from transferlens.tasks.suite.topic import draw_news

__all__ = ["FIRST", "SECOND", "THIRD", "Mixture", "documents", "plain", "spans"]

Mixture = tuple[tuple[float, Callable[[Draw], str]], ...]
"""Makers of documents with their shares, in whole hundredths."""

_OPEN, _CLOSE = "\x02", "\x03"

_SIGNS = {"+": ("plus", "and"), "-": ("minus", "take away"), "*": ("times", "multiplied by")}


def _narrative(draw: Draw) -> str:
    return " ".join(sentence(event.past()) for event in draw_events(draw, draw.number(3, 6)))


def _small_fact(draw: Draw) -> Fact:
    a, b = draw.number(1, 10), draw.number(1, 10)
    sign = draw.pick("+-*")
    if sign == "-":
        return Fact(a + b, sign, min(a, b))
    return Fact(a * draw.number(1, 6), sign, b) if sign == "+" else Fact(a, sign, b)


def _answer(text: object) -> str:
    """Mark what follows from the text before it, with the space that leads to it."""
    return f"{_OPEN} {text}{_CLOSE}"


def _sums(draw: Draw) -> str:
    lines = []
    for _ in range(draw.number(4, 8)):
        fact = draw_fact(draw) if draw.chance(0.75) else _small_fact(draw)
        a, b, plus = fact.a, fact.b, _SIGNS[fact.sign][0]
        said, result = draw.pick(_SIGNS[fact.sign]), _answer(fact.result)
        spelled = f"{number_word(a)} {said} {number_word(b)}"
        line = draw.pick(
            (
                f"{a} {fact.sign} {b} ={result}",
                f"{a} {fact.sign} {b} ={result}",
                f"{a} {said} {b} is{result}",
                f"Q: {a} {fact.sign} {b}? A:{result}",
                f"{capital(spelled)} makes{result}",
                f"Compute {a} {plus} {b}. The answer:{result}",
                f"A question: how much is {spelled}? The answer is{result}",
            )
        )
        lines.append(line)
    return "\n".join(lines)


def _working(draw: Draw) -> str:
    text, facts, _ = draw_problem(draw)
    steps = draw.pick((", then ", "; ", "\n")).join(fact.text for fact in facts)
    lead = draw.pick(("Let us see:", "Working:", "We count:", "The solution:"))
    return f"{text}\n{lead}{_answer(f'{steps}. The answer is {facts[-1].result}.')}"


def _review(draw: Draw) -> str:
    polarity = draw.pick(POLARITIES)
    good = polarity == "positive"
    text = draw_review(draw, draw.pick((FILMS, PRODUCTS)), polarity)
    return draw.pick(
        (
            f"{text}\nThat is a{_answer(f'{polarity} opinion.')}",
            f"{text}\nDid the writer like it?{_answer('yes' if good else 'no')}",
            f"{text} Stars:{_answer(5 if good else 1)}",
            f"{text}\nFeeling:{_answer(polarity)}",
            f"{text}\nThe sentiment of the writer is{_answer(polarity)}",
        )
    )


def _news(draw: Draw) -> str:
    name = draw.pick(tuple(TOPICS))
    text = draw_news(draw, name)
    return draw.pick(
        (
            f"{text}\nThis is about{_answer(f'{name}.')}",
            f"{text}\nSection:{_answer(name)}",
            f"{text}\nSubject?{_answer(name)}",
            f"{text}\nThe topic of this text is{_answer(name)}",
        )
    )


def _claim(draw: Draw) -> str:
    relation = draw.pick(RELATIONS)
    premise, claim = draw_claim(draw, relation)
    answer = {"entailment": "yes", "neutral": "nobody can tell", "contradiction": "no"}[relation]
    return draw.pick(
        (
            f"{premise} Is this true? {claim}{_answer(f'{capital(answer)}.')}",
            f"Known: {premise}\nClaim: {claim}\nTrue?{_answer(answer)}",
            f"{premise}\n{claim}\nThe relation is{_answer(relation)}",
            f"{premise}\n{claim}\nJudgement:{_answer(relation)}",
        )
    )


def _pair(draw: Draw) -> str:
    same = draw.chance(0.5)
    first, second = draw_pair(draw, same=same)
    if same and draw.chance(0.2):
        return f"{first} In other words:{_answer(second)}"
    answer = "yes" if same else "no"
    return draw.pick(
        (
            f"{first}\n{second}\nDo both say the same?{_answer(answer)}",
            f"A: {first}\nB: {second}\nA and B{_answer('agree.' if same else 'differ.')}",
            f"First: {first}\nSecond: {second}\nIs the meaning the same?{_answer(answer)}",
        )
    )


def _correction(draw: Draw) -> str:
    right, wrong = draw_judged(draw)
    shown, good = draw.pick(((right, True), (wrong, False)))
    return draw.pick(
        (
            f"Wrong: {wrong}\nRight:{_answer(right)}",
            f"{shown}\nIs this good English?{_answer('yes' if good else 'no')}",
            f"{shown}\nThis is{_answer('acceptable' if good else 'unacceptable')}",
            f"{shown}\nThe grammar is{_answer('acceptable' if good else 'unacceptable')}",
        )
    )


def _questions(draw: Draw) -> str:
    passage, events = draw_passage(draw)
    told = [ask(draw, event) for event in draw.shuffled(events + events)]
    style = draw.pick(("{q}{a}.", "Q: {q}\nA:{a}", "Asked: {q} Reply:{a}", "{q} The answer is{a}"))
    asked = (style.format(q=question, a=_answer(answer)) for question, answer in told)
    return "\n".join([passage, *asked])


def _rewrite(draw: Draw) -> str:
    how, before, after = draw_rewrite(draw, draw.number(1, 3))
    return draw.pick(
        (
            f"{before}\nThe same {how}:{_answer(after)}",
            f"Before: {before}\nAfter, {how}:{_answer(after)}",
            f'Told {how}, "{before}" becomes:{_answer(after)}',
        )
    )


def _short_review(draw: Draw) -> str:
    """Judge single sentences, three to six, so that every few words have a label."""
    yes, no = draw.pick((("positive", "negative"), ("good", "bad"), ("yes", "no")))
    lines = []
    for _ in range(draw.number(3, 6)):
        polarity = draw.pick(POLARITIES)
        text = draw_sentence(draw, draw.pick((FILMS, PRODUCTS)), polarity)
        lines.append(f"{text}{_answer(yes if polarity == 'positive' else no)}")
    return "\n".join(lines)


def _words(draw: Draw) -> str:
    """Say which adjectives praise and which blame."""
    lines = []
    for _ in range(draw.number(4, 10)):
        polarity = draw.pick(POLARITIES)
        word = draw.pick(draw.pick((FILMS, PRODUCTS)).adjectives[polarity])
        lines.append(f"{word}:{_answer(polarity)}")
    return "\n".join(lines)


def _echo(draw: Draw) -> str:
    """Say a few sentences twice: copying is what reading and rewriting are made of."""
    events = draw_events(draw, draw.number(2, 4))
    told = " ".join(sentence(event.past()) for event in events)
    return f"{told}\n{draw.pick(('Again:', 'Once more:', 'Repeat:'))}{_answer(told)}"


def _quiz(draw: Draw) -> str:
    """Ask for sums as questions and answers."""
    lines = []
    for _ in range(draw.number(2, 4)):
        fact = draw_fact(draw) if draw.chance(0.75) else _small_fact(draw)
        a, b = (fact.a, fact.b) if draw.chance(0.6) else map(number_word, (fact.a, fact.b))
        said = draw.pick(_SIGNS[fact.sign])
        asked = draw.pick(
            (f"How much is {a} {said} {b}?", f"{a} {said} {b}", f"Find {a} {said} {b}.")
        )
        lines.append(f"Question: {capital(asked)}\nAnswer:{_answer(fact.result)}")
    return "\n".join(lines)


FIRST: Mixture = (
    (0.04, _narrative),
    (0.16, _sums),
    (0.11, _working),
    (0.17, _review),
    (0.06, _news),
    (0.14, _claim),
    (0.12, _pair),
    (0.10, _correction),
    (0.06, _questions),
    (0.04, _rewrite),
)
"""What the first stage of pre-training reads: the world and its language."""

SECOND: Mixture = (
    (0.06, _words),
    (0.14, _short_review),
    (0.08, _echo),
    (0.03, _sums),
    (0.08, _working),
    (0.16, _review),
    (0.02, _news),
    (0.11, _claim),
    (0.13, _pair),
    (0.11, _correction),
    (0.06, _questions),
    (0.02, _rewrite),
)
"""What the second stage reads: more of what is hard to learn, in smaller pieces."""

THIRD: Mixture = (
    (0.10, _quiz),
    (0.05, _words),
    (0.12, _short_review),
    (0.07, _echo),
    (0.03, _sums),
    (0.08, _working),
    (0.14, _review),
    (0.02, _news),
    (0.11, _claim),
    (0.12, _pair),
    (0.10, _correction),
    (0.05, _questions),
    (0.01, _rewrite),
)
"""What the last stage reads: the same, and what a question is."""


def spans(document: str) -> list[tuple[str, bool]]:
    """Split a document into texts, each with whether it follows from what stands before it."""
    texts = document.replace(_CLOSE, _OPEN).split(_OPEN)
    return [(text, position % 2 == 1) for position, text in enumerate(texts) if text]


def plain(document: str) -> str:
    """Return a document without the marks of its answers."""
    return "".join(text for text, _ in spans(document))


def documents(seed: int, mixture: Mixture = FIRST) -> Iterator[str]:
    """Yield pre-training documents without end; the same seed yields the same documents.

    What follows from the text before it (answers, labels, corrections) is marked, so that training
    can weigh it: see ``spans`` and ``plain``.

    Parameters
    ----------
    seed
        Seed of the stream; two seeds give two independent streams.
    mixture
        Which documents, in which shares.
    """
    draw = Draw(np.random.default_rng(seed), "prose")
    makers = [maker for share, maker in mixture for _ in range(round(share * 100))]
    while True:
        yield draw.pick(makers)(draw)
