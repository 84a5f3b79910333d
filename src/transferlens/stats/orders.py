"""Permutations of whole tasks: all cells of a source or a target move together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError
from transferlens.stats import arrays
from transferlens.stats.arrays import BoolArray, IntArray

__all__ = ["TaskOrders", "in_chunks", "own_cells", "own_targets", "task_orders"]


class TaskOrders(NamedTuple):
    """Permutations of the tasks: place ``i`` gets what stood at ``source[i]``, ``target[i]``."""

    source: IntArray
    """Shape (permutation, source)."""
    target: IntArray
    """Shape (permutation, target)."""


def task_orders(
    own: IntArray, n_targets: int, *, rng: np.random.Generator, n: int, active: BoolArray
) -> TaskOrders:
    """Draw permutations of the tasks.

    Tasks that are source and target are permuted on both sides at once, so that own cells
    stay own cells; tasks of one side only among each other.

    Parameters
    ----------
    own
        Index of the target that is the same task, -1 without one; (source,).
    n_targets
        Number of targets.
    rng
        Source of permutations.
    n
        How many.
    active
        Which cells are defined, (source, target); a row or a column without any stays.
    """
    source = np.tile(np.arange(len(own)), (n, 1))
    target = np.tile(np.arange(n_targets), (n, 1))
    rows: BoolArray = np.logical_or.reduce(active, axis=1)
    columns: BoolArray = np.logical_or.reduce(active, axis=0)
    common = np.flatnonzero((own >= 0) & rows & columns[own])
    drawn = rng.permuted(np.tile(common, (n, 1)), axis=1)
    source[:, common], target[:, own[common]] = drawn, own[drawn]
    rows[common], columns[own[common]] = False, False
    for orders, alone in ((source, rows), (target, columns)):
        places = np.flatnonzero(alone)
        orders[:, places] = rng.permuted(np.tile(places, (n, 1)), axis=1)
    return TaskOrders(source, target)


def in_chunks(orders: TaskOrders) -> list[TaskOrders]:
    """Split permutations so that no array of permuted matrices is large."""
    cells = orders.source.shape[1] * orders.target.shape[1]
    rows = max(1, arrays.CHUNK_BYTES // (8 * max(cells, 1)) // 4)
    starts = range(0, len(orders.source), rows)
    return [TaskOrders(orders.source[a : a + rows], orders.target[a : a + rows]) for a in starts]


def own_targets(own: ArrayLike | None, n_sources: int, n_targets: int) -> IntArray:
    """Return for each source the index of its own target, -1 without one, after checks.

    Raises
    ------
    AnalysisError
        Not one entry per source, or a target is named twice or does not exist.
    """
    pairs = np.full(n_sources, -1) if own is None else np.asarray(own, dtype=np.int64)
    named = pairs[pairs >= 0]
    if len(pairs) != n_sources or len(set(named.tolist())) < len(named):
        msg = f"own has {len(pairs)} entries for {n_sources} sources, or names a target twice"
        raise AnalysisError(msg)
    if named.size and named.max() >= n_targets:
        msg = f"own names target {named.max()}, but there are {n_targets} (counted from 0)"
        raise AnalysisError(msg)
    return pairs


def own_cells(own: IntArray, n_targets: int) -> BoolArray:
    """Return which cells are a source's own task, (source, target)."""
    cells: BoolArray = own[:, None] == np.arange(n_targets)
    return cells
