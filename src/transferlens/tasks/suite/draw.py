"""Random choices that stay inside one partition of all content.

Every piece of content (an event, a sentence, a sum) belongs, by a hash of its own text, to exactly
one of three partitions: ``train``, ``test`` and ``prose``. The last one feeds the pre-training of
the embedded base model. A piece is drawn again until it belongs to the wanted partition, so no
train row and no pre-training document can hold the content of a test row, whatever the seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

from transferlens.errors import DataError

__all__ = ["Draw", "Partition", "partition_of"]

Partition = Literal["train", "test", "prose"]
T = TypeVar("T")

_TEST_SHARE, _TRAIN_SHARE, _ALL = 2, 4, 10
_MAX_TRIES = 10_000


def partition_of(content: str) -> Partition:
    """Return the partition that owns a piece of content, by a hash of its lower-cased text."""
    bucket = zlib.crc32(content.lower().encode()) % _ALL
    if bucket < _TEST_SHARE:
        return "test"
    return "train" if bucket < _TEST_SHARE + _TRAIN_SHARE else "prose"


class Draw:
    """Random choices for one partition.

    Only ``rng.random`` is used: its stream is fixed for a bit generator, that of the other methods
    may change between NumPy versions.
    """

    def __init__(self, rng: np.random.Generator, partition: Partition) -> None:
        self._random = rng.random
        self.partition = partition

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._random() < probability

    def number(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[int(self._random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return ``count`` different positions' items in random order."""
        return self.shuffled(items)[:count] if count > len(items) // 4 else self._few(items, count)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        out = list(items)
        for last in range(len(out) - 1, 0, -1):
            other = self.number(0, last)
            out[last], out[other] = out[other], out[last]
        return out

    def other(self, items: Sequence[T], than: T) -> T:
        """Return an item that differs from ``than``."""
        return self.until(lambda: self.pick(items), lambda item: item != than)

    def owns(self, content: str) -> bool:
        """Say whether this partition owns the content."""
        return partition_of(content) == self.partition

    def owned(self, make: Callable[[], str]) -> str:
        """Make texts until one belongs to this partition."""
        return self.until(make, self.owns)

    def until(self, make: Callable[[], T], accept: Callable[[T], bool]) -> T:
        """Make things until one is accepted.

        Raises
        ------
        DataError
            Ten thousand were refused: the grammar offers nothing for this partition.
        """
        for _ in range(_MAX_TRIES):
            made = make()
            if accept(made):
                return made
        msg = f"the suite's grammar has nothing for partition {self.partition!r}: change the seed"
        raise DataError(msg)

    def _few(self, items: Sequence[T], count: int) -> list[T]:
        positions: list[int] = []
        while len(positions) < count:
            position = self.number(0, len(items) - 1)
            if position not in positions:
                positions.append(position)
        return [items[position] for position in positions]
