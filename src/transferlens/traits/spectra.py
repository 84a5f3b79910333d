"""Leading singular triplets of many matrices at once: dense when small, by iteration when large."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferlens.traits.arrays import Array

__all__ = ["Triplets", "leading_triplets"]

# Measured: above this side a block iteration beats LAPACK's full decomposition of the Gram matrix.
DENSE_SIDE = 192
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
    total = np.einsum("bij,bij->b", stack, stack)
    n, p = stack.shape[-2:]
    block = n_components + OVERSAMPLING
    if min(n, p) <= DENSE_SIDE or block >= min(n, p) // 4:
        return _dense(stack, n_components, total)
    return _iterated(stack, n_components, total)


def _dense(stack: Array, k: int, total: Array) -> Triplets:
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


def _iterated(stack: Array, k: int, total: Array) -> Triplets:
    # The longest rows span most of the leading space: a start that needs no random numbers.
    norms = np.einsum("bij,bij->bi", stack, stack)
    longest = np.argsort(-norms, axis=1, kind="stable")[:, : k + OVERSAMPLING]
    start = np.take_along_axis(stack, longest[:, :, None], axis=1).swapaxes(-1, -2)
    basis = np.linalg.qr(start)[0]
    before = np.zeros((stack.shape[0], k))
    for _ in range(MAX_SWEEPS):
        basis = np.linalg.qr(stack.swapaxes(-1, -2) @ (stack @ basis))[0]
        image = stack @ basis
        now = np.linalg.eigvalsh(image.swapaxes(-1, -2) @ image)[:, ::-1][:, :k]
        if np.all(np.abs(now - before) <= TOLERANCE * total[:, None]):
            break
        before = now
    image = stack @ basis
    values, turn = np.linalg.eigh(image.swapaxes(-1, -2) @ image)
    turn = turn[:, :, ::-1][:, :, :k]
    squared = np.maximum(values[:, ::-1][:, :k], 0.0)
    return Triplets(_unit(image @ turn, squared, total), squared, basis @ turn, total)
