"""Rotations towards simple structure: varimax, promax, oblimin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, require_matrix

__all__ = ["Rotation", "oblimin", "promax", "tidy", "varimax"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rotation:
    """Rotated loadings and how they came about."""

    loadings: Array
    """Pattern, ``unrotated @ transform``, shape (variable, k)."""
    transform: Array
    """Shape (k, k)."""
    phi: Array
    """Correlations between the rotated factors, shape (k, k); identity if orthogonal."""
    criterion: float
    """The criterion at the solution (of the normalised loadings, where Kaiser's rule is used)."""
    converged: bool
    """False when the iterations ran out."""

    def scores(self, unrotated: Array) -> Array:
        """Turn the trait scores of the unrotated solution, shape (row, k), accordingly."""
        return np.asarray(unrotated @ np.linalg.inv(self.transform).T)


def _normaliser(loadings: Array, *, kaiser: bool) -> Array:
    if not kaiser:
        return np.ones((len(loadings), 1))
    length = np.sqrt((loadings**2).sum(axis=1, keepdims=True))
    # A variable without any loading has no direction; it stays where it is.
    return np.where(length > 0, length, 1.0)


def varimax(
    loadings: Array, *, kaiser: bool = True, max_iter: int = 5_000, tolerance: float = 1e-14
) -> Rotation:
    """Orthogonal rotation that spreads the squared loadings of each factor most.

    Parameters
    ----------
    loadings
        Unrotated, shape (variable, k).
    kaiser
        Give every variable the same weight during rotation (the default of R).
    max_iter, tolerance
        Stop when the sum of singular values grows by less than this share.

    References
    ----------
    .. [1] Kaiser. *The varimax criterion for analytic rotation in factor analysis*. 1958.
       doi:10.1007/BF02289233
    """
    unrotated = require_matrix(loadings)
    A = unrotated / _normaliser(unrotated, kaiser=kaiser)
    p, k = A.shape
    turn, before, converged = np.eye(k), 0.0, k == 1
    for _ in range(max_iter if k > 1 else 0):
        rotated = A @ turn
        target = rotated**3 - rotated * (rotated**2).sum(axis=0) / p
        u, s, vt = np.linalg.svd(A.T @ target)
        turn = u @ vt
        if s.sum() <= before * (1 + tolerance):
            converged = True
            break
        before = float(s.sum())
    spread = float(((A @ turn) ** 2).var(axis=0).sum())
    return Rotation(
        loadings=unrotated @ turn,
        transform=turn,
        phi=np.eye(k),
        criterion=spread,
        converged=converged,
    )


def promax(loadings: Array, *, power: int = 4, kaiser: bool = True) -> Rotation:
    """Oblique rotation towards powers of the varimax loadings.

    Parameters
    ----------
    loadings
        Unrotated, shape (variable, k).
    power
        Larger makes factors more correlated.
    kaiser
        With it, psych's ``promax``; without it, psych's ``Promax`` and R's ``promax`` after a
        varimax that is normalised in either case.

    References
    ----------
    .. [1] Hendrickson, White. *Promax: a quick method for rotation to oblique simple structure*.
       1964. doi:10.1111/j.2044-8317.1964.tb00244.x
    """
    unrotated = require_matrix(loadings)
    start = varimax(unrotated / _normaliser(unrotated, kaiser=kaiser), kaiser=True)
    simple = start.loadings
    target = simple * np.abs(simple) ** (power - 1)
    U = np.linalg.lstsq(simple, target, rcond=None)[0]
    U = U * np.sqrt(np.diag(np.linalg.inv(U.T @ U)))
    transform = start.transform @ U
    inverse = np.linalg.inv(transform)
    return Rotation(
        loadings=unrotated @ transform,
        transform=transform,
        phi=inverse @ inverse.T,
        criterion=float(((simple @ U - target) ** 2).sum()),
        converged=start.converged,
    )


def oblimin(
    loadings: Array,
    *,
    rng: np.random.Generator,
    gamma: float = 0.0,
    kaiser: bool = False,
    n_starts: int = 10,
    max_iter: int = 5_000,
    tolerance: float = 1e-8,
) -> Rotation:
    """Oblique rotation by the oblimin criterion; ``gamma=0`` is quartimin.

    Parameters
    ----------
    loadings
        Unrotated, shape (variable, k).
    rng
        Draws the starts after the first, which is the unrotated position: the criterion has
        local minima, and a single start can end in one.
    gamma
        Above 0 makes factors more correlated and can diverge.
    kaiser
        Give every variable the same weight during rotation. GPArotation's default is not to.
    n_starts
        Starts in all; the solution with the lowest criterion is returned.
    max_iter, tolerance
        Of the gradient projection; the tolerance is on the projected gradient's norm.

    References
    ----------
    .. [1] Jennrich. *A simple general method for oblique rotation*. 2002.
       doi:10.1007/BF02294706
    .. [2] Bernaards, Jennrich. *Gradient projection algorithms*. 2005.
       doi:10.1177/0013164404272507
    """
    unrotated = require_matrix(loadings)
    if n_starts < 1:
        msg = f"n_starts={n_starts}: at least one start is needed"
        raise AnalysisError(msg)
    A = unrotated / _normaliser(unrotated, kaiser=kaiser)
    k = A.shape[1]
    if k == 1:
        return Rotation(
            loadings=unrotated, transform=np.eye(1), phi=np.eye(1), criterion=0.0, converged=True
        )
    others = np.ones((k, k)) - np.eye(k)

    def quartimin(L: Array) -> tuple[float, Array]:
        cross = L**2 @ others
        cross = cross - gamma * cross.mean(axis=0)
        return float((L**2 * cross).sum()) / 4, L * cross

    starts: list[Array] = [np.eye(k)] + [
        np.linalg.qr(rng.normal(size=(k, k)))[0] for _ in range(n_starts - 1)
    ]
    runs = [_project(A, start, quartimin, max_iter, tolerance) for start in starts]
    best, value, converged = min(runs, key=lambda run: run[1])
    transform = np.asarray(np.linalg.inv(best).T, dtype=np.float64)
    return Rotation(
        loadings=unrotated @ transform,
        transform=transform,
        phi=best.T @ best,
        criterion=value,
        converged=converged,
    )


def _project(
    A: Array,
    start: Array,
    criterion: Callable[[Array], tuple[float, Array]],
    max_iter: int,
    tolerance: float,
) -> tuple[Array, float, bool]:
    T, step = start, 1.0
    L = A @ np.linalg.inv(T).T
    value, slope = criterion(L)
    for _ in range(max_iter):
        gradient = -(L.T @ slope @ np.linalg.inv(T)).T
        tangent = gradient - T * (T * gradient).sum(axis=0)
        norm = float(np.sqrt((tangent**2).sum()))
        if norm < tolerance:
            return T, value, True
        step *= 2
        for _ in range(30):
            moved = T - step * tangent
            moved /= np.sqrt((moved**2).sum(axis=0))
            L = A @ np.linalg.inv(moved).T
            new, new_slope = criterion(L)
            if value - new > 0.5 * norm**2 * step:
                break
            step /= 2
        else:
            # No step improves the criterion beyond rounding: as near as this arithmetic gets.
            return T, value, norm < 1e-5
        T, value, slope = moved, new, new_slope
    return T, value, False


def tidy(rotation: Rotation) -> Rotation:
    """Order factors by their sum of squared loadings and turn each to a positive sum.

    A rotation's order and signs are arbitrary; this is psych's convention.
    """
    weight = np.diag(rotation.phi @ rotation.loadings.T @ rotation.loadings)
    order = np.argsort(-weight, kind="stable")
    sign = np.where(rotation.loadings[:, order].sum(axis=0) < 0, -1.0, 1.0)
    return Rotation(
        loadings=rotation.loadings[:, order] * sign,
        transform=rotation.transform[:, order] * sign,
        phi=rotation.phi[np.ix_(order, order)] * np.outer(sign, sign),
        criterion=rotation.criterion,
        converged=rotation.converged,
    )
