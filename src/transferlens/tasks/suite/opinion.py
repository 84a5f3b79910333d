"""Reviews of films (balanced classes) and of products (skewed classes)."""

from __future__ import annotations

from collections.abc import Callable

from transferlens.tasks.suite.draft import Draft, Order
from transferlens.tasks.suite.draw import Draw
from transferlens.tasks.suite.language import article, sentence
from transferlens.tasks.suite.lexicon.opinions import FILMS, FOR_WHOM, PRODUCTS, Domain

__all__ = [
    "POLARITIES",
    "draw_review",
    "draw_sentence",
    "film_sentiment",
    "opposite",
    "product_sentiment",
]

POLARITIES = ("negative", "positive")
_Clause = Callable[[Draw, Domain, str], str]
_DEGREES = ("", "", "", "very ", "really ", "rather ", "quite ", "truly ", "simply ")


def opposite(polarity: str) -> str:
    """Return the other polarity."""
    return "negative" if polarity == "positive" else "positive"


def _judgement(draw: Draw, domain: Domain, polarity: str) -> str:
    """Return a clause that says how an aspect is."""
    many = draw.chance(0.35)
    aspect = draw.pick(domain.plural_aspects if many else domain.aspects)
    be = "are" if many else "is"
    good = draw.pick(domain.adjectives[polarity])
    bad = draw.pick(domain.adjectives[opposite(polarity)])
    degree = draw.pick(_DEGREES)
    if draw.chance(0.2):
        return draw.pick(
            (
                f"the {aspect} {be} anything but {bad}",
                f"the {aspect} {be} never {bad}",
                f"nobody can call the {aspect} {bad}",
                f"the {aspect} {be} far from {bad}",
            )
        )
    return draw.pick(
        (
            f"the {aspect} {be} {degree}{good}",
            f"I found the {aspect} {degree}{good}",
            f"the {aspect} turned out to be {degree}{good}",
            f"the {aspect} {'seem' if many else 'seems'} {degree}{good} {draw.pick(FOR_WHOM)}",
            f"we thought that the {aspect} {'were' if many else 'was'} {degree}{good}",
        )
    )


def _overall(draw: Draw, domain: Domain, polarity: str) -> str:
    """Return a clause about the thing as a whole."""
    whole = draw.pick(domain.wholes)
    good = draw.pick(domain.adjectives[polarity])
    bad = draw.pick(domain.adjectives[opposite(polarity)])
    feeling = draw.pick(domain.feelings[polarity])
    return draw.pick(
        (
            f"this is {article(f'{good} {whole}')}",
            f"this {whole} is {draw.pick(_DEGREES)}{good}",
            f"I {feeling} this {whole}",
            f"{draw.pick(FOR_WHOM)}, it is {article(f'{good} {whole}')}",
            f"this {whole} is not {bad} at all",
            f"I expected {article(f'{bad} {whole}')} and got {article(f'{good} one')}",
            draw.pick(domain.verdicts[polarity]),
            f"we all {feeling} it" if not feeling.startswith("am") else f"I {feeling} it",
        )
    )


def _contrast(draw: Draw, domain: Domain, polarity: str) -> str:
    """Return a concession to the other side, outweighed by a view of the whole."""
    against = _judgement(draw, domain, opposite(polarity))
    overall = _overall(draw, domain, polarity)
    return draw.pick(
        (
            f"although {against}, {overall}",
            f"{against}, but {overall}",
            f"even if {against}, {overall}",
            f"{against}; still, {overall}",
        )
    )


def _owned(draw: Draw, make: _Clause, domain: Domain, polarity: str) -> str:
    """Return a clause of this partition as a sentence."""
    return draw.owned(lambda: sentence(make(draw, domain, polarity)))


def draw_review(draw: Draw, domain: Domain, polarity: str) -> str:
    """Draw a review of one to three sentences, each owned by this partition."""
    makers = draw.pick(
        (
            (_overall, _judgement),
            (_judgement, _overall, _judgement),
            (_judgement, _judgement),
            (_contrast,),
            (_contrast, _judgement),
            (_judgement,),
            (_judgement, _overall),
        )
    )
    sentences = [_owned(draw, make, domain, polarity) for make in makers]
    if draw.chance(0.4):
        fact = sentence(draw.pick(domain.facts))
        sentences.insert(draw.number(0, len(sentences)), fact)
    return " ".join(sentences)


def draw_sentence(draw: Draw, domain: Domain, polarity: str) -> str:
    """Draw a sentence of praise or blame that this partition owns."""
    return _owned(draw, draw.pick((_judgement, _overall)), domain, polarity)


def film_sentiment(draw: Draw, order: Order) -> Draft:
    """Draft a film review with its polarity."""
    return Draft(
        f"Review: {draw_review(draw, FILMS, order.label)}\nSentiment:", order.label, order.label
    )


def product_sentiment(draw: Draw, order: Order) -> Draft:
    """Draft a customer's comment on a product with its polarity."""
    text = draw_review(draw, PRODUCTS, order.label)
    return Draft(f"Customer comment: {text}\nSentiment:", order.label, order.label)
