"""P-values adjusted for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.stats import arrays
from transferlens.stats.arrays import FloatArray, checked_resamples, float_array
from transferlens.stats.resampling import random_signs

__all__ = ["AdjustMethod", "adjust_p_values", "max_t"]

AdjustMethod = Literal["bh", "by", "holm", "bonferroni", "none"]


def adjust_p_values(p_values: ArrayLike, *, method: AdjustMethod = "bh") -> FloatArray:
    """Adjust p-values for the number of tests that were made.

    Parameters
    ----------
    p_values
        Any shape; all values are one family. NaN marks a test that was not
        made: it stays NaN and does not count.
    method
        ``"bh"`` (Benjamini-Hochberg) and ``"by"`` (Benjamini-Yekutieli, valid
        under any dependence) control the false-discovery rate; ``"holm"`` and
        ``"bonferroni"`` the probability of any false discovery; ``"none"`` nothing.

    Returns
    -------
    FloatArray
        Same shape, the numbers of R's ``p.adjust``.

    Raises
    ------
    AnalysisError
        A p-value lies outside 0 to 1, or the method is unknown.

    References
    ----------
    .. [1] Benjamini, Hochberg. *Controlling the false discovery rate*. 1995.
       doi:10.1111/j.2517-6161.1995.tb02031.x
    .. [2] Benjamini, Yekutieli. *The control of the false discovery rate in
       multiple testing under dependency*. 2001. doi:10.1214/aos/1013699998
    .. [3] Holm. *A simple sequentially rejective multiple test procedure*. 1979.
    """
    if method not in get_args(AdjustMethod):
        msg = f"unknown adjustment {method!r}.{did_you_mean(method, get_args(AdjustMethod))}"
        raise AnalysisError(msg)
    p = float_array(p_values, name="p_values")
    made = ~np.isnan(p)
    family = p[made]
    if ((family < 0) | (family > 1)).any():
        msg = f"p-value {family[(family < 0) | (family > 1)][0]:.4g} lies outside 0 to 1"
        raise AnalysisError(msg)
    adjusted = np.full_like(p, np.nan)
    adjusted[made] = _adjust(family, method) if family.size else family
    return adjusted


def _adjust(p: FloatArray, method: AdjustMethod) -> FloatArray:
    if method in {"bh", "by"}:
        return np.asarray(stats.false_discovery_control(p, method=method), dtype=np.float64)
    if method == "holm":
        order = np.argsort(p)
        stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        adjusted = np.empty_like(p)
        adjusted[order] = np.minimum(stepped, 1.0)
        return adjusted
    if method == "bonferroni":
        return np.minimum(p * len(p), 1.0)
    return p


def max_t(
    differences: Sequence[ArrayLike],
    *,
    rng: np.random.Generator,
    n_resamples: int = 9_999,
    step_down: bool = True,
) -> list[FloatArray]:
    """Adjust sign-flip tests over all cells by the largest statistic of each flip.

    Controls the probability of any false discovery, and uses the correlation
    of the cells that Holm's method must ignore: all sources of a target are
    flipped together, since they share its examples and its base model.

    Parameters
    ----------
    differences
        One array (source, example) per target: ``adapted - base``; NaN marks an
        unscored example. Of several seeds give the mean over seeds, and then
        the null hypothesis is about these runs: training variance is not in it
        (Holm's adjustment of `two_way_test` is the strict option that has it).
    rng
        Source of the random signs; one child per target is spawned from it.
    n_resamples
        Number of flips.
    step_down
        Whether to compare each cell only with cells that are not more
        significant (more power, same guarantee) or with all cells.

    Returns
    -------
    list of FloatArray
        Adjusted p-values per target, (source,) each, in (0, 1]; NaN where fewer
        than two examples are scored.

    Raises
    ------
    AnalysisError
        A target's array has not two axes, or holds infinite values.

    References
    ----------
    .. [1] Westfall, Young. *Resampling-based multiple testing*. 1993.
    .. [2] Ge, Dudoit, Speed. *Resampling-based multiple testing for microarray
       data analysis*. 2003. doi:10.1007/BF02595811
    """
    checked_resamples(n_resamples)
    tables = [float_array(table, name="differences", ndim=2) for table in differences]
    return _adjusted_jointly(tables, rng, n_resamples, step_down=step_down) if tables else []


def _adjusted_jointly(
    tables: list[FloatArray], rng: np.random.Generator, n_resamples: int, *, step_down: bool
) -> list[FloatArray]:
    directions = [_directions(table) for table in tables]
    observed = np.concatenate([np.abs(table.sum(axis=1, dtype=np.float64)) for table in directions])
    tested = np.concatenate([np.count_nonzero(~np.isnan(t), axis=1) >= 2 for t in tables])
    order = np.argsort(-np.where(tested, observed, -1.0), kind="stable")[: tested.sum()]
    bar = observed[order] - 1e-5 * np.maximum(observed[order], 1.0)
    hits = np.zeros(len(order), dtype=np.int64)
    streams = rng.spawn(len(tables))
    widest = max(len(observed), *(table.shape[1] for table in tables))
    rows = max(1, arrays.CHUNK_BYTES // (8 * widest))
    for start in range(0, n_resamples, rows):
        flips = min(rows, n_resamples - start)
        largest = _largest(_statistics(directions, streams, flips)[:, order], step_down=step_down)
        hits += np.count_nonzero(largest >= bar, axis=0)
    p_value = np.maximum.accumulate((1.0 + hits) / (1.0 + n_resamples))
    adjusted = np.full(len(observed), np.nan)
    adjusted[order] = p_value
    return np.split(adjusted, np.cumsum([len(table) for table in tables])[:-1])


def _directions(differences: FloatArray) -> NDArray[np.float32]:
    """Scale each cell to length 1: a flip leaves the length, so sums become studentised."""
    filled = np.nan_to_num(differences)
    length = np.sqrt(np.einsum("ce,ce->c", filled, filled))
    return (filled / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)


def _statistics(
    directions: list[NDArray[np.float32]], streams: list[np.random.Generator], flips: int
) -> NDArray[np.float32]:
    """Absolute studentised sums of all cells under random flips, (flip, cell)."""
    sums = [
        random_signs(stream, flips, table.shape[1]) @ table.T
        for stream, table in zip(streams, directions, strict=True)
    ]
    return np.abs(np.concatenate(sums, axis=1))


def _largest(statistics: NDArray[np.float32], *, step_down: bool) -> NDArray[np.float32]:
    """Largest statistic among a cell and those after it, or among all cells."""
    running = np.maximum.accumulate(statistics[:, ::-1], axis=1)[:, ::-1]
    return running if step_down else running[:, :1]
