"""One question with its answer, ready for a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Example", "content_hash", "count_leaked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A rendered row of a task."""

    prompt: str
    """What the model reads, without trailing white space."""
    completion: str
    """What an adapter learns to write, without separator and end token."""
    gold: str
    """What an answer is compared with: a choice, or the reference answer."""
    choices: tuple[str, ...] | None = None
    """The choices whose likelihoods are compared; None for generation."""

    @property
    def prompt_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the prompt."""
        return hashlib.sha256(self.prompt.encode()).hexdigest()[:16]

    @property
    def example_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of prompt, gold and choices."""
        return _sha256([self.prompt, self.gold, self.choices])[:16]


def content_hash(examples: Iterable[Example]) -> str:
    """Return the SHA-256 of all that training and scoring see of the examples, in their order."""
    return _sha256([[e.prompt, e.completion, e.gold, e.choices] for e in examples])


def count_leaked(train: Sequence[Example], test: Sequence[Example]) -> int:
    """Return how many test examples also stand in ``train``, with the same gold and choices."""
    known = {example.example_hash for example in train}
    return sum(example.example_hash in known for example in test)


def _sha256(value: Any) -> str:
    # JSON separates the parts: "ab" + "c" must not hash like "a" + "bc".
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
