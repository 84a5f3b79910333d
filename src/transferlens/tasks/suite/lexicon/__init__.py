"""The words of the offline suite, grouped by what they mean."""

from __future__ import annotations

__all__ = ["phrases", "words"]


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """Return the phrases of a text, which semicolons part."""
    return tuple(" ".join(part.split()) for part in text.split(";"))
