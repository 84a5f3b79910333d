"""Small rules of English: articles, plurals, capitals, lists and number words."""

from __future__ import annotations

from collections.abc import Sequence

from transferlens.tasks.suite.lexicon import words
from transferlens.tasks.suite.lexicon.things import IRREGULAR_PLURALS

__all__ = ["article", "capital", "counted", "listed", "number_word", "plural", "sentence"]

_ONES = words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen
""")
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


def article(phrase: str) -> str:
    """Put "a" or "an" before a phrase; "u" before "se" or "ni" sounds like "you"."""
    vowel = phrase[0].lower() in "aeiou" and not phrase.startswith(("use", "uni", "one"))
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def counted(count: int, noun: str) -> str:
    """Return a count in digits with its noun: "1 apple", "3 apples"."""
    return f"{count} {noun if count == 1 else plural(noun)}"


def number_word(number: int) -> str:
    """Return a number from 0 to 199 in words."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    rest = number - 100
    return "one hundred" + (f" and {number_word(rest)}" if rest else "")


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def sentence(text: str, mark: str = ".") -> str:
    """Return the text as a sentence: a capital at the start and a mark at the end."""
    return f"{capital(text)}{mark}"


def listed(items: Sequence[str]) -> str:
    """Join items into "a", "a and b" or "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
