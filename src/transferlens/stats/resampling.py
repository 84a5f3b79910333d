"""Random signs and weights shared by all cells, and their products with the scores.

One matrix product per block of cells and of resamples replaces a loop over
cells, and bounds the memory: each block of cells replays the same random
stream instead of keeping its draws, or reads weights that are kept for all targets.

The products are float32. Their rounding is below 1e-6 of the mean absolute difference.
The end of a 95 percent interval has a Monte-Carlo error of 2.7 percent of the standard
error with 9,999 resamples; for 1,000 examples that is several hundred times more.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from transferlens.stats import arrays
from transferlens.stats.arrays import FloatArray

__all__ = [
    "Block",
    "Draws",
    "Float32Array",
    "Replayed",
    "SharedWeights",
    "blocks",
    "bootstrap_weights",
    "random_signs",
    "tie_tolerance",
]

Float32Array = NDArray[np.float32]
# Weights of 9,999 resamples of up to 6,700 examples; more are drawn again for each target.
_KEPT_BYTES = 256 * 2**20
Draw = Callable[[np.random.Generator, int, int], Float32Array]


def random_signs(rng: np.random.Generator, n_resamples: int, n_examples: int) -> Float32Array:
    """Draw independent fair signs.

    Parameters
    ----------
    rng
        Source of the signs. Drawing ``a`` and then ``b`` rows gives the same
        rows as drawing ``a + b``.
    n_resamples
        Number of rows.
    n_examples
        Number of columns.

    Returns
    -------
    Float32Array
        -1 or 1, of shape (n_resamples, n_examples).
    """
    words = rng.integers(0, 2**64, size=(n_resamples, -(-n_examples // 64)), dtype=np.uint64)
    # A fixed byte order makes the signs the same on every machine.
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=n_examples)
    return 1.0 - 2.0 * bits.astype(np.float32)


def bootstrap_weights(rng: np.random.Generator, n_resamples: int, n_examples: int) -> Float32Array:
    """Draw how often each example occurs in each bootstrap resample.

    Parameters
    ----------
    rng
        Source of the resamples. Drawing ``a`` and then ``b`` rows gives the
        same rows as drawing ``a + b``.
    n_resamples
        Number of rows.
    n_examples
        Number of columns; each row sums to it.

    Returns
    -------
    Float32Array
        Counts, of shape (n_resamples, n_examples).
    """
    picks = rng.integers(n_examples, size=(n_resamples, n_examples))
    picks += n_examples * np.arange(n_resamples)[:, None]
    counts = np.bincount(picks.ravel(), minlength=n_resamples * n_examples)
    return counts.reshape(n_resamples, n_examples).astype(np.float32)


class Draws(Protocol):
    """Random rows that every block of cells reads anew, always the same ones."""

    n_resamples: int

    def parts(self, n_examples: int) -> Iterator[Float32Array]:
        """Yield the rows in parts of shape (some resamples, n_examples)."""
        ...


class Replayed:
    """Rows drawn from a generator, and drawn again for the next block of cells.

    Parameters
    ----------
    draw
        `random_signs` or `bootstrap_weights`.
    rng
        Source of the rows; one child is spawned from it.
    n_resamples
        Number of rows.
    """

    def __init__(self, draw: Draw, rng: np.random.Generator, n_resamples: int) -> None:
        self._draw = draw
        self._stream = rng.spawn(1)[0]
        self.n_resamples = n_resamples

    def parts(self, n_examples: int) -> Iterator[Float32Array]:
        """Yield the rows in parts of shape (some resamples, n_examples)."""
        replay = copy.deepcopy(self._stream)
        # A bootstrap draw needs 8 bytes for each of index, count and copy, and 4 for the result.
        rows = max(1, arrays.CHUNK_BYTES // (32 * n_examples))
        for row in range(0, self.n_resamples, rows):
            yield self._draw(replay, min(rows, self.n_resamples - row), n_examples)


class SharedWeights:
    """Bootstrap weights that all targets with equally many examples share.

    They depend on the seed, the number of resamples and the number of examples, and on
    nothing else: a target gets the weights that it would get alone, whatever stands
    beside it. Sharing leaves each cell's bootstrap distribution as it is. It makes the
    Monte-Carlo errors of such targets dependent, as those of one target's cells always
    are; that would matter only to a statistic that compares resample with resample over
    targets, and none does. Safe to use from several threads.

    Parameters
    ----------
    seed
        Seed of the weights.
    n_resamples
        Number of resamples.
    """

    def __init__(self, seed: int, n_resamples: int) -> None:
        self._seed = seed
        self._kept: dict[int, Float32Array] = {}
        self._lock = threading.Lock()
        self.n_resamples = n_resamples

    def rng(self, n_examples: int) -> np.random.Generator:
        """Return the generator whose resamples the weights are."""
        return np.random.default_rng([self._seed, n_examples])

    def parts(self, n_examples: int) -> Iterator[Float32Array]:
        """Yield the weights in parts of shape (some resamples, n_examples)."""
        size = 4 * self.n_resamples * n_examples
        drawn = Replayed(bootstrap_weights, self.rng(n_examples), self.n_resamples)
        if size > _KEPT_BYTES:
            yield from drawn.parts(n_examples)
            return
        with self._lock:
            if n_examples not in self._kept:
                held = sum(weights.nbytes for weights in self._kept.values())
                if held + size > _KEPT_BYTES:
                    self._kept.clear()
                self._kept[n_examples] = np.concatenate(list(drawn.parts(n_examples)))
            weights = self._kept[n_examples]
        yield weights


class Block(NamedTuple):
    """Resampled sums for some of the cells."""

    cells: slice
    """Which cells."""

    totals: Float32Array
    """Weighted sum of the differences, (cell, resample)."""

    counts: Float32Array
    """Weighted number of scored examples, (cell, resample) or (1, resample)."""


def blocks(differences: FloatArray, draws: Draws) -> Iterator[Block]:
    """Yield the resampled sums of all cells, block by block.

    Parameters
    ----------
    differences
        Paired differences of shape (cell, example); NaN marks an unscored example.
    draws
        Signs or weights; all cells share them.

    Yields
    ------
    Block
        At most about ``CHUNK_BYTES`` for each of its arrays.
    """
    n_cells, n_examples = differences.shape
    step = max(1, arrays.CHUNK_BYTES // (4 * max(draws.n_resamples, n_examples)))
    for start in range(0, n_cells, step):
        cells = slice(start, min(start + step, n_cells))
        values, n_values = _values_and_marks(differences[cells])
        products = np.empty((len(values), draws.n_resamples), dtype=np.float32)
        row = 0
        for drawn in draws.parts(n_examples):
            np.matmul(values, drawn.T, out=products[:, row : row + len(drawn)])
            row += len(drawn)
        yield Block(cells, products[:n_values], products[n_values:])


def _values_and_marks(differences: FloatArray) -> tuple[Float32Array, int]:
    """Return rows of differences, then of scored marks, and how many rows are differences."""
    scored = ~np.isnan(differences)
    # Where all is scored one row of ones serves every cell.
    marks = scored[:1] if scored.all() else scored
    values = np.where(scored, differences, 0.0).astype(np.float32)
    return np.concatenate([values, marks.astype(np.float32)]), len(values)


def tie_tolerance(differences: FloatArray) -> FloatArray:
    """Return the distance within which two float32 sums count as equal, (cell,).

    Sums of 0/1 scores are exact in float32; sums of other scores carry
    rounding that must not decide whether a resample ties with the observation.
    """
    tolerance: FloatArray = 1e-6 * np.nansum(np.abs(differences), axis=1)
    return tolerance
