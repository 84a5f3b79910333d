"""Who helps and who harms whom: ranked effects, one-way pairs, donors and recipients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.stats import (
    AsymmetryTest,
    Hubs,
    Roles,
    asymmetry_test,
    hubs,
    pair_directions,
    roles,
)
from transferlens.stats.arrays import FloatArray, IntArray
from transferlens.transfer.result import TransferMatrix

__all__ = ["Effects", "transfer_effects"]

_SHOWN = (
    "source",
    "target",
    "unit",
    "base_score",
    "score",
    "gain",
    "gain_low",
    "gain_high",
    "normalized_gain",
    "p_value",
    "p_adjusted",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """What a transfer matrix says about single effects, pairs and roles.

    All gains are oriented (above 0 is better) and in the metrics' own unit. Pairs,
    roles and asymmetry compare targets with each other, so they are over the targets
    that have the most frequent unit.
    """

    helps: pl.DataFrame
    """Significant positive transfer to other tasks, largest first: a row of
    `TransferMatrix.to_frame` each."""
    harms: pl.DataFrame
    """Significant negative transfer to other tasks, largest loss first; ``lost`` is the
    share of the base's score that is gone (forgetting), NaN where lower is better."""
    pairs: pl.DataFrame
    """Pairs of tasks, the most different directions first: ``first``, ``second``,
    ``forward`` (gain of first on second), ``backward``, ``difference`` with
    interval, ``p_value``, ``p_adjusted``. Empty if fewer than three tasks are both."""
    donors: pl.DataFrame
    """Per source: effect on all other tasks beyond an average source, with interval."""
    recipients: pl.DataFrame
    """Per target: effect of all other sources beyond an average target, with interval."""
    hubs: pl.DataFrame
    """Per task that is both: ``hub`` and ``balance`` with intervals, and a ``label``."""
    asymmetry: AsymmetryTest | None
    """Mutual against one-way structure; None where it cannot be tested."""
    unit: str
    """Unit of pairs, roles and asymmetry."""
    level: float
    """Adjusted p-value up to which an effect counts as significant."""
    n_tested: int
    """Cells off the diagonal that were tested."""
    notes: tuple[str, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return all tables one below the other.

        ``kind`` is help, harm, pair, donor, recipient or hub; ``first`` and
        ``second`` are source and target, the two tasks of a pair, or one task;
        ``value`` is the gain, the difference or the effect, with its interval;
        p-values are NaN for roles, which have intervals only.
        """
        cell = {"first": "source", "second": "target", "value": "gain"}
        ends = {"low": "gain_low", "high": "gain_high"}
        hub = {"first": "task", "value": "hub", "low": "hub_low", "high": "hub_high"}
        return pl.concat(
            [
                _tidy(self.helps, "help", cell | ends),
                _tidy(self.harms, "harm", cell | ends),
                _tidy(self.pairs, "pair", {"value": "difference"}),
                _tidy(self.donors, "donor", {"first": "source"} | _EFFECT),
                _tidy(self.recipients, "recipient", {"first": "target"} | _EFFECT),
                _tidy(self.hubs, "hub", hub),
            ]
        )


_EFFECT = {"value": "effect"}
_TIDY = pl.Schema(
    {
        "kind": pl.String,
        "first": pl.String,
        "second": pl.String,
        "unit": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "p_value": pl.Float64,
        "p_adjusted": pl.Float64,
        "label": pl.String,
    }
)


def _tidy(frame: pl.DataFrame, kind: str, names: Mapping[str, str]) -> pl.DataFrame:
    """Rename a table's columns to those of `Effects.to_frame`; what it lacks is NaN or empty."""
    columns = {}
    for name, dtype in _TIDY.items():
        given = names.get(name, name)
        missing = pl.lit("" if dtype == pl.String else float("nan"))
        columns[name] = pl.col(given) if given in frame.columns else missing
    return frame.select(**columns | {"kind": pl.lit(kind)}).cast(_TIDY)


def transfer_effects(
    matrix: TransferMatrix, *, level: float = 0.05, n_resamples: int = 999
) -> Effects:
    """Rank what helps and what harms, and test the direction of transfer.

    Parameters
    ----------
    matrix
        With evidence; cells without a p-value are never called significant.
    level
        Bound on the adjusted p-value.
    n_resamples
        Noise matrices of the asymmetry test.

    Returns
    -------
    Effects
        Tables are empty, not missing, where nothing is significant.

    Raises
    ------
    AnalysisError
        ``level`` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        msg = f"level={level} must lie strictly between 0 and 1; 0.05 is usual"
        raise AnalysisError(msg)
    frame = matrix.to_frame().filter(~pl.col("own"))
    significant = frame.filter(pl.col("p_adjusted") <= level)
    rng = np.random.default_rng(matrix.evidence.seed)
    comparable, unit = _comparable(matrix)
    common = _common_tasks(comparable)
    square = _square(comparable, common) if len(common) >= 3 else None
    in_unit = pl.lit(unit).alias("unit")
    role = _roles(comparable, matrix.evidence.confidence)
    return Effects(
        helps=_ranked(significant.filter(pl.col("gain") > 0), unit, descending=True),
        harms=_ranked(significant.filter(pl.col("gain") < 0), unit, descending=False, lost=_LOST),
        pairs=_pairs(common, square, matrix).with_columns(in_unit),
        donors=_role_frame(comparable, role, "source").with_columns(in_unit),
        recipients=_role_frame(comparable, role, "target").with_columns(in_unit),
        hubs=_hub_frame(common, square, matrix.evidence.confidence).with_columns(in_unit),
        asymmetry=_asymmetry(square, rng, n_resamples),
        unit=unit,
        level=level,
        n_tested=int(frame["p_value"].is_not_nan().sum()),
        notes=(*matrix.notes, *_notes(matrix, len(common), unit)),
    )


_LOST = (
    pl.when(pl.col("higher_is_better") & (pl.col("base_score") > 0))
    .then(-pl.col("gain") / pl.col("base_score"))
    .otherwise(float("nan"))
)


def _ranked(cells: pl.DataFrame, unit: str, *, descending: bool, **more: pl.Expr) -> pl.DataFrame:
    """Sort by gain; gains in another unit cannot be ranked among the others and come last."""
    ordered = cells.sort(pl.col("unit") != unit, "gain", descending=[False, descending])
    return ordered.select(*_SHOWN, **more)


def _comparable(matrix: TransferMatrix) -> tuple[xr.Dataset, str]:
    """Return the targets that have the most frequent unit, and that unit."""
    units, counts = np.unique(matrix.data["unit"].values.astype(str), return_counts=True)
    unit = str(units[counts.argmax()])
    return matrix.data.isel(target=np.flatnonzero(matrix.data["unit"].values == unit)), unit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Square:
    """Gains between tasks that are both source and target; NaN on the diagonal."""

    gain: FloatArray
    error: FloatArray
    df: FloatArray
    shared: FloatArray | None


def _common_tasks(data: xr.Dataset) -> list[str]:
    targets = set(data["target"].values.tolist())
    return [str(name) for name in data["source"].values if name in targets]


def _off_diagonal(data: xr.Dataset, name: str) -> FloatArray:
    """Return a variable with NaN on own tasks and wherever the error is not known."""
    tested = ~data["own"] & data["standard_error"].notnull() & data["gain"].notnull()
    return np.asarray(data[name].where(tested).values, dtype=np.float64)


def _square(data: xr.Dataset, names: list[str]) -> _Square:
    rows, columns = (
        np.array([data[axis].values.tolist().index(name) for name in names])
        for axis in ("source", "target")
    )
    place = np.ix_(rows, columns)
    return _Square(
        gain=_off_diagonal(data, "gain")[place],
        error=_off_diagonal(data, "standard_error")[place],
        df=np.asarray(data["df"].values, dtype=np.float64)[place],
        shared=_shared(data, columns),
    )


def _shared(data: xr.Dataset, columns: IntArray | slice) -> FloatArray | None:
    shared = np.asarray(data["base_shared_error"].values, dtype=np.float64)[columns]
    return None if np.isnan(shared).any() else shared


def _roles(data: xr.Dataset, confidence: float) -> Roles | None:
    error = _off_diagonal(data, "standard_error")
    try:
        return roles(
            _off_diagonal(data, "gain"),
            error,
            shared=_shared(data, slice(None)),
            confidence=confidence,
        )
    except AnalysisError:
        return None  # too few connected cells; the table then holds NaN


def _role_frame(data: xr.Dataset, estimated: Roles | None, axis: str) -> pl.DataFrame:
    names = data[axis].values.astype(str).tolist()
    unknown = np.full(len(names), np.nan)
    role = None
    if estimated is not None:
        role = estimated.donor if axis == "source" else estimated.recipient
    return pl.DataFrame(
        {
            axis: names,
            "effect": unknown if role is None else role.estimate,
            "low": unknown if role is None else role.low,
            "high": unknown if role is None else role.high,
            "standard_error": unknown if role is None else role.standard_error,
            "standard_error_tasks": unknown if role is None else role.standard_error_tasks,
        }
    ).sort(pl.col("effect").fill_nan(None), descending=True, nulls_last=True)


def _pairs(names: list[str], square: _Square | None, matrix: TransferMatrix) -> pl.DataFrame:
    schema = {"first": pl.String, "second": pl.String} | dict.fromkeys(
        ("forward", "backward", "difference", "low", "high", "p_value", "p_adjusted"), pl.Float64
    )
    if square is None:
        return pl.DataFrame(schema=schema)
    how = matrix.evidence
    found = pair_directions(
        square.gain,
        square.error,
        df=square.df,
        confidence=how.confidence,
        # Two different adapters on different examples: there is no flip that they share.
        adjust="holm" if how.adjust == "max-t" else how.adjust,
    )
    return pl.DataFrame(
        {
            "first": [names[i] for i in found.first],
            "second": [names[i] for i in found.second],
            "forward": square.gain[found.first, found.second],
            "backward": square.gain[found.second, found.first],
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
            "p_adjusted": found.p_adjusted,
        },
        schema=schema,
    ).sort("p_value", maintain_order=True)


def _hub_frame(names: list[str], square: _Square | None, confidence: float) -> pl.DataFrame:
    fields = ("hub", "hub_low", "hub_high", "balance", "balance_low", "balance_high")
    schema = {"task": pl.String} | dict.fromkeys(fields, pl.Float64) | {"label": pl.String}
    if square is None or np.isnan(square.gain).all():
        return pl.DataFrame(schema=schema)
    found: Hubs = hubs(
        roles(square.gain, square.error, shared=square.shared, confidence=confidence)
    )
    columns = {"task": names} | {name: getattr(found, name) for name in fields}
    return pl.DataFrame(columns | {"label": list(found.label)}, schema=schema).sort(
        pl.col("hub").fill_nan(None), descending=True, nulls_last=True
    )


def _asymmetry(
    square: _Square | None, rng: np.random.Generator, n_resamples: int
) -> AsymmetryTest | None:
    if square is None:
        return None
    try:
        return asymmetry_test(
            square.gain, square.error, rng=rng, shared=square.shared, n_resamples=n_resamples
        )
    except AnalysisError:
        return None  # the known pairs do not connect; `notes` says so


def _notes(matrix: TransferMatrix, n_common: int, unit: str) -> Iterator[str]:
    if n_common < 3:
        yield (
            f"{n_common} tasks are both source and target: directions of transfer "
            "need at least three"
        )
    units = sorted(set(matrix.data["unit"].values.tolist()) - {unit})
    if units:
        yield (
            f"pairs and roles are over the targets in {unit}; those in {', '.join(units)} "
            "cannot be compared with them"
        )
