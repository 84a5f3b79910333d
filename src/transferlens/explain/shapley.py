"""Share a difference among its causes, whatever the order in which they are let in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from transferlens.stats.arrays import FloatArray

__all__ = ["shapley"]


def shapley(
    players: tuple[str, ...], value: Callable[[frozenset[str]], FloatArray]
) -> dict[str, FloatArray]:
    """Return what each player contributes, on average over all orders of entering.

    Parameters
    ----------
    players
        Names.
    value
        Worth of a set of players; called once for each set.

    Returns
    -------
    dict
        Player -> contribution, of the shape of the values. They add up to the worth of
        all players less that of none.

    References
    ----------
    .. [1] Shorrocks. *Decomposition procedures for distributional analysis: a unified
       framework based on the Shapley value*. 2013. doi:10.1007/s10888-011-9214-z
    """
    n = len(players)
    sets = [frozenset(s) for size in range(n + 1) for s in combinations(players, size)]
    worth = {members: value(members) for members in sets}
    found = {}
    for player in players:
        total = np.zeros_like(worth[frozenset()])
        for members in sets:
            if player not in members:
                weight = factorial(len(members)) * factorial(n - len(members) - 1) / factorial(n)
                total = total + weight * (worth[members | {player}] - worth[members])
        found[player] = total
    return found
