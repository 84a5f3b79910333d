"""The numbers that a matrix shows, on paper as in the terminal."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from transferlens.errors import AnalysisError
from transferlens.results.container import TransferStudy

__all__ = ["Values", "format_value", "matrix_values"]

Values = Literal["gain", "score"]

_POINTS = 100.0


def matrix_values(
    study: TransferStudy | xr.Dataset,
    *,
    values: Values = "gain",
    seed: int | None = None,
) -> xr.Dataset:
    """Return scores or gains of every source on every target, for display.

    Parameters
    ----------
    study
        A study, or a dataset as its ``scores`` are.
    values
        ``"gain"``: how much better the adapter scores than the base, which is
        above 0 also where a lower score is better; ``"score"``: the score itself.
    seed
        Show one seed; None shows the mean of all seeds.

    Returns
    -------
    xr.Dataset
        ``value`` (source, target): mean over seeds, in points (hundredths)
        where ``unit`` is ``"points"``, else in the metric's unit; NaN where no
        seed has a score. ``sd`` (source, target): standard deviation over
        seeds, NaN with fewer than two. ``n_seeds`` (source, target): seeds
        with a value. ``n_unscored`` (source, target) and ``base_n_unscored``
        (target): examples without a score, summed over seeds; 0 where it is
        not known. ``base`` (target): score of the base. ``own`` (source,
        target): the source is the target's own training data. Attributes:
        ``values`` and ``seeds``.

    Raises
    ------
    AnalysisError
        The seed is not one of the study's, or there is nothing to show.
    """
    scores = study if isinstance(study, xr.Dataset) else study.scores
    chosen = _of_seed(scores, seed)
    if 0 in (chosen.sizes["source"], chosen.sizes["target"], chosen.sizes["seed"]):
        msg = "there is no score yet; `transferlens status` says what is left to do"
        raise AnalysisError(msg)
    fraction = (chosen["unit"] == "fraction").to_numpy()
    scale = np.where(fraction, _POINTS, 1.0)
    score = chosen["score"].transpose("source", "target", "seed").to_numpy()
    base = chosen["base_score"].transpose("target", "seed").to_numpy()
    sign = np.where(chosen["higher_is_better"].to_numpy(), 1.0, -1.0)[:, np.newaxis]
    value = (sign * (score - base) if values == "gain" else score) * scale[:, np.newaxis]
    cell, row = ("source", "target"), ("target",)
    names = chosen["source"].to_numpy()[:, np.newaxis] == chosen["target"].to_numpy()
    result = xr.Dataset(
        {
            "value": (cell, _mean(value)),
            "sd": (cell, _deviation(value)),
            "n_seeds": (cell, np.isfinite(value).sum(axis=-1)),
            "n_unscored": (cell, _total(chosen["n_unscored"].transpose(*cell, "seed"))),
            "own": (cell, names),
            "base": (row, _mean(base) * scale),
            "base_n_unscored": (row, _total(chosen["base_n_unscored"].transpose(*row, "seed"))),
        },
        coords={
            "source": chosen["source"].to_numpy(),
            "target": chosen["target"].to_numpy(),
            "metric": ("target", chosen["metric"].to_numpy()),
            "unit": ("target", np.where(fraction, "points", chosen["unit"].to_numpy())),
            "higher_is_better": ("target", chosen["higher_is_better"].to_numpy()),
        },
    )
    return result.assign_attrs(values=values, seeds=[int(s) for s in chosen["seed"].to_numpy()])


def format_value(value: float, *, signed: bool) -> str:
    """Return a value with one decimal, ``-`` for NaN; a gain has a sign unless it rounds to 0."""
    if math.isnan(value):
        return "-"
    rounded = round(value, 1)
    if rounded == 0:
        return "0.0"
    return f"{rounded:+.1f}" if signed else f"{rounded:.1f}"


def _of_seed(scores: xr.Dataset, seed: int | None) -> xr.Dataset:
    if seed is None:
        return scores
    known = [int(s) for s in scores["seed"].to_numpy()]
    if seed not in known:
        msg = f"the study has no seed {seed}; it has {', '.join(map(str, known))}"
        raise AnalysisError(msg)
    return scores.sel(seed=[seed])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis without NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    count = known.sum(axis=-1)
    mean: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over the last axis; NaN with fewer than two values."""
    known = np.isfinite(values)
    squares = np.where(known, values - _mean(values)[..., np.newaxis], 0.0) ** 2
    freedom = known.sum(axis=-1) - 1
    total = squares.sum(axis=-1)
    variance: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, freedom, out=variance, where=freedom > 0)
    return np.sqrt(variance, out=variance)


def _total(counts: xr.DataArray) -> NDArray[np.int64]:
    """Return counts summed over seeds; an unknown count adds nothing."""
    total: NDArray[np.int64] = np.nansum(counts.to_numpy(), axis=-1).astype(np.int64)
    return total
