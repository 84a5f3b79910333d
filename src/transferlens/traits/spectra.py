"""Leading singular triplets of many matrices at once: dense when small, by iteration when large."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.traits.arrays import Array

__all__ = ["Triplets", "block_width", "leading_triplets", "sweep"]

# Measured: above this side a block iteration beats LAPACK's full decomposition of the Gram matrix.
DENSE_SIDE = 64
OVERSAMPLING = 8
MAX_SWEEPS = 60
TOLERANCE = 1e-9


class Triplets(NamedTuple):
    """Leading singular triplets of a stack of matrices (b, n, p)."""

    left: Array
    """U, shape (b, n, k)."""
    squared: Array
    """Squared singular values, descending, shape (b, k)."""
    right: Array
    """V, shape (b, p, k)."""
    total: Array
    """Sum of all squared singular values, shape (b,)."""


def block_width(shape: tuple[int, ...], n_components: int) -> int | None:
    """Return how many directions an iteration should follow; None where it does not pay."""
    side = min(shape[-2:])
    width = n_components + OVERSAMPLING
    return None if side <= DENSE_SIDE or width >= side // 4 else width


def leading_triplets(stack: Array, n_components: int) -> Triplets:
    """Singular triplets of each matrix of a stack.

    Parameters
    ----------
    stack
        Complete matrices, shape (b, n, p), already centred as the caller wants them.
    n_components
        How many triplets, at most ``min(n, p)``.

    Returns
    -------
    Triplets
        A direction without variance has ``squared`` 0 and a zero vector on the longer side.
    """
    width = block_width(stack.shape, n_components)
    if width is None:
        return _dense(stack, n_components)
    # The longest rows of one matrix span most of its leading space, and its directions are near
    # those of the others, which are resamples or folds: a start that needs no random numbers.
    longest = np.argsort(-(stack[0] ** 2).sum(axis=1), kind="stable")[:width]
    first = _settled(stack[:1], stack[:1, longest].swapaxes(-1, -2), n_components)
    if len(stack) == 1:
        return _leading(first, n_components)
    basis = np.broadcast_to(first.right, (len(stack), *first.right.shape[1:]))
    return _leading(_settled(stack, basis, n_components), n_components)


def _settled(stack: Array, basis: Array, k: int) -> Triplets:
    parts = sweep(stack, basis)
    for _ in range(MAX_SWEEPS):
        before = parts.squared[:, :k]
        parts = sweep(stack, parts.right)
        moved = np.abs(parts.squared[:, :k] - before)
        if np.all(moved <= TOLERANCE * parts.total[:, None]):
            break
    return parts


def sweep(stack: Array, basis: Array) -> Triplets:
    """Bring approximate right vectors one step nearer to the leading ones.

    Parameters
    ----------
    stack
        Shape (b, n, p).
    basis
        Shape (b, p, m); ``right`` of the sweep before, or of a similar matrix.

    Returns
    -------
    Triplets
        m approximate triplets; the leading ones settle first.
    """
    rows = np.linalg.qr(stack @ basis)[0]
    image = rows.swapaxes(-1, -2) @ stack
    values, turn = np.linalg.eigh(image @ image.swapaxes(-1, -2))
    turn = turn[:, :, ::-1]
    squared = np.maximum(values[:, ::-1], 0.0)
    total = np.einsum("bij,bij->b", stack, stack)
    return Triplets(
        rows @ turn, squared, _unit(image.swapaxes(-1, -2) @ turn, squared, total), total
    )


def _leading(parts: Triplets, k: int) -> Triplets:
    return Triplets(parts.left[:, :, :k], parts.squared[:, :k], parts.right[:, :, :k], parts.total)


def _dense(stack: Array, k: int) -> Triplets:
    total = np.einsum("bij,bij->b", stack, stack)
    wide = stack.shape[-2] <= stack.shape[-1]
    short = stack if wide else stack.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(short @ short.swapaxes(-1, -2))
    squared = np.maximum(values[:, ::-1][:, :k], 0.0)
    near = vectors[:, :, ::-1][:, :, :k]
    far = _unit(short.swapaxes(-1, -2) @ near, squared, total)
    return Triplets(near, squared, far, total) if wide else Triplets(far, squared, near, total)


def _unit(vectors: Array, squared: Array, total: Array) -> Array:
    # Below rounding of the total, a direction is numerically empty and its vector is noise.
    present = squared > 1e-14 * total[:, None]
    root = np.sqrt(np.where(present, squared, 1.0))
    return np.asarray(np.where(present[:, None, :], vectors / root[:, None, :], 0.0))
