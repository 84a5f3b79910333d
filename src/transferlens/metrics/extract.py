"""Read the answer out of what a model wrote."""

from __future__ import annotations

import re
from collections.abc import Callable

from transferlens.errors import SpecError
from transferlens.metrics.answers import NUMBER, last_number
from transferlens.metrics.code import code_block
from transferlens.registry import Registry

__all__ = ["EXTRACTORS", "Extractor", "get_extractor"]

Extractor = Callable[[str], str | None]
"""Completion -> answer; None where it holds none."""

EXTRACTORS: Registry[Extractor] = Registry("extractor", "transferlens.extractors")
EXTRACTORS.register("last_number")(last_number)

_HASHES = re.compile(rf"####\s*(?P<answer>{NUMBER})")
_REGEX = "regex:"


def get_extractor(name: str | None) -> Extractor:
    r"""Return the extractor called ``name``; None takes the whole completion.

    ``regex:PATTERN`` takes the last match: its first group where it has one.

    Raises
    ------
    SpecError
        There is no such extractor, or the pattern is not valid.
    """
    if name is None:
        return str.strip
    if not name.startswith(_REGEX):
        return EXTRACTORS.get(name)
    try:
        pattern = re.compile(name.removeprefix(_REGEX), re.DOTALL)
    except re.error as error:
        msg = f"the extractor {name!r} is not a valid regular expression: {error}"
        raise SpecError(msg) from None
    return lambda completion: _last(pattern, completion)


@EXTRACTORS.register("gsm8k")
def gsm8k(completion: str) -> str | None:
    """Return the number behind the last ``####``, the mark of GSM8K's answers."""
    return _last(_HASHES, completion)


@EXTRACTORS.register("first_line")
def first_line(completion: str) -> str | None:
    """Return the first line that is not empty."""
    lines = (line.strip() for line in completion.splitlines())
    return next((line for line in lines if line), None)


@EXTRACTORS.register("code_block")
def first_code_block(completion: str) -> str | None:
    """Return the first block of code between fences, or all of the text."""
    return code_block(completion).strip() or None


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for match in pattern.finditer(text):
        group = match[1] if pattern.groups else match[0]
        found = group if group and group.strip() else found
    return found.strip() if found else None
