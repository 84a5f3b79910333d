"""Which cells changed from one study to another: the difference of their gains, tested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import xarray as xr
from scipy import stats

from transferlens.explain.replication.common import Common
from transferlens.results import TransferStudy
from transferlens.stats import adjust_p_values, mcnemar_cells, sign_flip_cells, two_way_test
from transferlens.stats.arrays import BoolArray, FloatArray
from transferlens.stats.differences import moments
from transferlens.transfer import TransferMatrix

__all__ = ["changed_cells"]

_NUMBERS = ("difference", "low", "high", "standard_error", "p_value")


class _Change(NamedTuple):
    """Second gain less first on one target, (source,) each."""

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    standard_error: FloatArray
    p_value: FloatArray
    test: str
    paired: bool


def changed_cells(
    studies: tuple[TransferStudy, TransferStudy],
    matrices: tuple[TransferMatrix, TransferMatrix],
    common: Common,
    *,
    rng: np.random.Generator,
    level: float,
) -> pl.DataFrame:
    """Test for every common cell whether its gain differs between the studies.

    Parameters
    ----------
    studies, matrices
        The studies with their evidence.
    common
        What both have.
    rng
        Source of sign flips.
    level
        Bound on adjusted p-values, for the column ``verdict``.

    Returns
    -------
    pl.DataFrame
        See `Replication.cells`.
    """
    confidence = matrices[0].evidence.confidence
    gains = [m.data.sel(source=list(common.sources), target=list(common.targets)) for m in matrices]
    pairs = _examples(studies, common)
    frames = []
    for target, (one, other) in zip(common.targets, pairs, strict=True):
        columns = [data.sel(target=target) for data in gains]
        aligned = _aligned(one, other)
        if aligned is None:
            change = _from_errors(*columns, confidence=confidence)
        else:
            sign = 1.0 if bool(columns[0]["higher_is_better"]) else -1.0
            change = _from_pairs(*aligned, sign=sign, rng=rng, confidence=confidence)
        frames.append(_rows(target, columns, change))
    frame = pl.concat(frames)
    frame = frame.with_columns(p_adjusted=adjust_p_values(frame["p_value"].to_numpy()))
    order = {name: at for at, name in enumerate(common.sources)}
    frame = frame.sort(
        pl.col("source").replace_strict(order, return_dtype=pl.Int64), maintain_order=True
    )
    return frame.with_columns(verdict=_verdict(level))


def _examples(
    studies: tuple[TransferStudy, TransferStudy], common: Common
) -> Iterator[tuple[xr.Dataset | None, xr.Dataset | None]]:
    if any(study.predictions is None for study in studies):
        yield from [(None, None)] * len(common.targets)
        return
    one, other = (study.iter_examples(common.targets) for study in studies)
    for pair in zip(one, other, strict=True):
        first, second = (found.sel(source=list(common.sources)) for found in pair)
        yield first, second


class _Scores(NamedTuple):
    """Scores on the same examples in the same order."""

    adapted: FloatArray
    """(source, seed, example)."""
    base: FloatArray
    """(seed, example)."""


def _aligned(one: xr.Dataset | None, other: xr.Dataset | None) -> tuple[_Scores, _Scores] | None:
    """Bring both to one order of examples; None where they hold different ones."""
    if one is None or other is None:
        return None
    hashes = [np.array([str(h or "") for h in e["example_hash"].values]) for e in (one, other)]
    orders = [np.argsort(names, kind="stable") for names in hashes]
    ordered = [names[order] for names, order in zip(hashes, orders, strict=True)]
    if not np.array_equal(ordered[0], ordered[1]) or (ordered[0] == "").any():
        return None
    first, second = (
        _Scores(
            np.asarray(e["score"].values, dtype=np.float64)[:, :, order],
            np.asarray(e["base_score"].values, dtype=np.float64)[:, order],
        )
        for e, order in zip((one, other), orders, strict=True)
    )
    return first, second


def _from_pairs(
    first: _Scores,
    second: _Scores,
    *,
    sign: float,
    rng: np.random.Generator,
    confidence: float,
) -> _Change:
    runs = [_made(one.adapted).sum(axis=1) for one in (first, second)]
    if max(int(n.max(initial=0)) for n in runs) > 1:
        return _several_runs(first, second, sign=sign, confidence=confidence)
    (a, base), (b, other_base) = (_single(one) for one in (first, second))
    if np.array_equal(base, other_base, equal_nan=True) and _binary(a) and _binary(b):
        # The same base falls out of the difference, which leaves two models on the same examples.
        pair = (b, a) if sign > 0 else (a, b)
        test = mcnemar_cells(*pair, confidence=confidence)
    else:
        gains = (sign * (b - other_base), sign * (a - base))
        test = sign_flip_cells(*gains, rng=rng, confidence=confidence)
    return _Change(
        difference=test.estimate,
        low=test.low,
        high=test.high,
        standard_error=test.standard_error,
        p_value=test.p_value,
        test=test.method,
        paired=True,
    )


def _made(adapted: FloatArray) -> BoolArray:
    """Return which runs were made, (source, seed)."""
    made: BoolArray = np.logical_or.reduce(~np.isnan(adapted), axis=2)
    return made


def _single(scores: _Scores) -> tuple[FloatArray, FloatArray]:
    """Return the one run of each source beside the base, (source, example)."""
    run = _made(scores.adapted).argmax(axis=1)
    return scores.adapted[np.arange(len(run)), run], scores.base[run]


def _binary(scores: FloatArray) -> bool:
    return bool(((scores == 0.0) | (scores == 1.0) | np.isnan(scores)).all())


def _several_runs(first: _Scores, second: _Scores, *, sign: float, confidence: float) -> _Change:
    """Add the training variance of both to the variance of the paired differences.

    Runs are not paired between studies, examples are; Satterthwaite's degrees of freedom.
    """
    differences = [sign * (one.adapted - one.base) for one in (first, second)]
    means = [_mean_over_runs(values) for values in differences]
    found = moments(means[1] - means[0])
    n = np.where(found.n_scored >= 2, found.n_scored, np.nan)
    by_examples = found.standard_error**2
    square, below = by_examples, by_examples**2 / (n - 1.0)
    for values in differences:
        tests = two_way_test(values)
        part = np.nan_to_num(tests.training_variance) / np.maximum(tests.n_seeds, 1)
        freedom = max(int(np.maximum(_made(values).sum(axis=1) - 1, 0).sum()), 1)
        square, below = square + part, below + part**2 / freedom
    df = np.divide(square**2, below, out=n - 1.0, where=below > 0)
    error = np.sqrt(square)
    change = _student(found.mean, error, df, confidence=confidence)
    return change._replace(test="paired t over examples and runs", paired=True)


def _mean_over_runs(values: FloatArray) -> FloatArray:
    """Mean over the runs that were made; NaN where one of them did not score the example."""
    made = _made(values)
    count = made.sum(axis=1)
    total = np.where(made[:, :, None], values, 0.0).sum(axis=1)
    return np.asarray(total / np.where(count > 0, count, np.nan)[:, None])


def _from_errors(first: xr.Dataset, second: xr.Dataset, *, confidence: float) -> _Change:
    """Compare gains by their own standard errors, as those of independent studies."""
    gains, errors, freedom = (
        [np.asarray(one[name].values, dtype=np.float64) for one in (first, second)]
        for name in ("gain", "standard_error", "df")
    )
    squares = [error**2 for error in errors]
    square = squares[0] + squares[1]
    below = sum(part**2 / np.maximum(df, 1.0) for part, df in zip(squares, freedom, strict=True))
    df = np.divide(square**2, below, out=np.full_like(square, np.inf), where=below > 0)
    known = "two standard errors" if np.isfinite(square).any() else "none"
    change = _student(gains[1] - gains[0], np.sqrt(square), df, confidence=confidence)
    return change._replace(test=known)


def _student(
    difference: FloatArray, error: FloatArray, df: FloatArray, *, confidence: float
) -> _Change:
    # An error of 0 is one that was not seen, not one that is not there.
    usable = np.where(error > 0, error, np.nan)
    p_value = 2.0 * stats.t.sf(np.abs(difference) / usable, df)
    p_value = np.where((error == 0) & (difference == 0), 1.0, p_value)
    half = stats.t.ppf(0.5 + confidence / 2.0, df) * usable
    return _Change(
        difference=difference,
        low=difference - half,
        high=difference + half,
        standard_error=usable,
        p_value=p_value,
        test="Student's t",
        paired=False,
    )


def _rows(target: str, columns: list[xr.Dataset], change: _Change) -> pl.DataFrame:
    sources = columns[0]["source"].values.astype(str).tolist()
    numbers: dict[str, object] = {}
    for side, data in zip(("first", "second"), columns, strict=True):
        for name, column in (("gain", ""), ("p_adjusted", "_p_adjusted")):
            numbers[f"{side}{column or '_gain'}"] = np.asarray(data[name].values, dtype=np.float64)
    numbers |= {name: np.asarray(getattr(change, name), dtype=np.float64) for name in _NUMBERS}
    return pl.DataFrame(
        {
            "source": sources,
            "target": [target] * len(sources),
            "own": [name == target for name in sources],
            "unit": [str(columns[0]["unit"].values)] * len(sources),
            **numbers,
            "test": [change.test] * len(sources),
            "paired": [change.paired] * len(sources),
        }
    )


def _verdict(level: float) -> pl.Expr:
    """Say of a cell what both studies say together; NaN is never below the level."""
    first, second = (pl.col(f"{side}_p_adjusted") <= level for side in ("first", "second"))
    opposite = pl.col("first_gain") * pl.col("second_gain") < 0
    changed = pl.col("p_adjusted") <= level
    unknown = pl.col("first_p_adjusted").is_nan() | pl.col("second_p_adjusted").is_nan()
    return (
        pl.when(first & second & opposite)
        .then(pl.lit("reversed"))
        .when(changed)
        .then(pl.lit("changed"))
        .when(first & second)
        .then(pl.lit("replicates"))
        .when(unknown)
        .then(pl.lit("not tested"))
        .when(first | second)
        .then(pl.lit("cannot tell"))
        .otherwise(pl.lit("neither"))
    )
