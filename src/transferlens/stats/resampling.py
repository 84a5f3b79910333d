"""Random signs and weights shared by all cells, and their products with the scores.

One matrix product per block of cells and of resamples replaces a loop over
cells, and bounds the memory: each block of cells replays the same random
stream instead of keeping its draws.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transferlens.stats import arrays
from transferlens.stats.arrays import FloatArray

__all__ = ["Block", "blocks", "bootstrap_weights", "random_signs", "tie_tolerance"]

Float32Array = NDArray[np.float32]
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


class Block(NamedTuple):
    """Resampled sums for some of the cells."""

    cells: slice
    """Which cells."""

    totals: Float32Array
    """Weighted sum of the differences, (resample, cell)."""

    counts: Float32Array
    """Weighted number of scored examples, (resample, cell) or (resample, 1)."""


def blocks(
    differences: FloatArray, draw: Draw, *, rng: np.random.Generator, n_resamples: int
) -> Iterator[Block]:
    """Yield the resampled sums of all cells, block by block.

    Parameters
    ----------
    differences
        Paired differences of shape (cell, example); NaN marks an unscored example.
    draw
        `random_signs` or `bootstrap_weights`; the draws are shared by all cells.
    rng
        Source of the draws; one child is spawned from it.
    n_resamples
        Number of draws.

    Yields
    ------
    Block
        At most about ``CHUNK_BYTES`` for each of its arrays.
    """
    n_cells, n_examples = differences.shape
    stream = rng.spawn(1)[0]
    step = max(1, arrays.CHUNK_BYTES // (4 * max(n_resamples, n_examples)))
    # A bootstrap draw needs 8 bytes for each of index, count and copy, and 4 for the result.
    rows = max(1, arrays.CHUNK_BYTES // (32 * n_examples))
    for start in range(0, n_cells, step):
        cells = slice(start, min(start + step, n_cells))
        columns, n_values = _columns(differences[cells])
        products = np.empty((n_resamples, columns.shape[1]), dtype=np.float32)
        replay = copy.deepcopy(stream)
        for row in range(0, n_resamples, rows):
            drawn = draw(replay, min(rows, n_resamples - row), n_examples)
            np.matmul(drawn, columns, out=products[row : row + len(drawn)])
        yield Block(cells, products[:, :n_values], products[:, n_values:])


def _columns(differences: FloatArray) -> tuple[Float32Array, int]:
    """Return differences and scored marks as columns, and how many columns are differences."""
    scored = ~np.isnan(differences)
    # Where all is scored one column of ones serves every cell.
    marks = scored[:1] if scored.all() else scored
    values = np.where(scored, differences, 0.0).astype(np.float32)
    return np.concatenate([values, marks.astype(np.float32)]).T, len(values)


def tie_tolerance(differences: FloatArray) -> FloatArray:
    """Return the distance within which two float32 sums count as equal, (cell,).

    Sums of 0/1 scores are exact in float32; sums of other scores carry
    rounding that must not decide whether a resample ties with the observation.
    """
    tolerance: FloatArray = 1e-6 * np.nansum(np.abs(differences), axis=1)
    return tolerance
