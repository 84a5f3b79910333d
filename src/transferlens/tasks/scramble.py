"""Change the words of texts and leave everything else as it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["cut_words", "shuffle_words"]

_USUAL = 0.5
"""What stands at an end of a line in so many of the texts belongs to their format."""

_LONGEST_FORMAT = 20
"""Most words at an end of a line that are looked at."""

_Words = tuple[str, ...]


def cut_words(text: str, most: int) -> str:
    """Return the text up to the end of its word number ``most``."""
    found = re.match(rf"(?:\s*\S+){{0,{most}}}", text)
    return found.group() if found else ""


def shuffle_words(texts: Sequence[str], *, rng: np.random.Generator) -> list[str]:
    """Put the words of each line in random order; every word and all white space stay.

    Words with which a line begins or ends in at least half of the texts are the format of
    a prompt, such as ``Review:``, and keep their place.

    Parameters
    ----------
    texts
        Prompts of one source.
    rng
        Source of the orders; only its stream of uniform numbers is used.
    """
    lines = [[tuple(line.split()) for line in text.split("\n")] for text in texts]
    starts = _format_words(lines)
    ends = _format_words([[words[::-1] for words in text] for text in lines])
    return [
        "\n".join(_shuffled(line, starts, ends, rng) for line in text.split("\n")) for text in texts
    ]


def _format_words(texts: Sequence[Sequence[_Words]]) -> set[_Words]:
    """Return the beginnings of lines that most of the texts have."""
    counts: Counter[_Words] = Counter()
    for lines in texts:
        counts.update(
            {words[:n] for words in lines for n in range(1, min(len(words), _LONGEST_FORMAT) + 1)}
        )
    return {words for words, count in counts.items() if count >= _USUAL * len(texts)}


def _shuffled(line: str, starts: set[_Words], ends: set[_Words], rng: np.random.Generator) -> str:
    # Odd places hold the words, even ones the white space between them.
    parts = re.split(r"(\S+)", line)
    words = tuple(parts[1::2])
    first = _n_format(words, starts)
    last = len(words) - _n_format(words[first:][::-1], ends)
    free = np.arange(first, last)
    # Only `random` has a stream that NumPy keeps the same from version to version.
    order = free[np.argsort(rng.random(len(free)), kind="stable")]
    changed = list(words)
    for place, origin in zip(free.tolist(), order.tolist(), strict=True):
        changed[place] = words[origin]
    parts[1::2] = changed
    return "".join(parts)


def _n_format(words: _Words, known: set[_Words]) -> int:
    """Return how many words a line begins with that belong to the format."""
    n = 0
    while n < len(words) and words[: n + 1] in known:
        n += 1
    return n
