"""Who helps and who harms whom: ranked effects, one-way pairs, donors and recipients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

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
from transferlens.transfer.matrix import TransferMatrix

__all__ = ["Effects", "transfer_effects"]

_SHOWN = ("source", "target", "gain", "gain_low", "gain_high", "p_value", "p_adjusted")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """What a transfer matrix says about single effects, pairs and roles.

    All gains are oriented (above 0 is better) and in the metrics' own unit.
    """

    helps: pl.DataFrame
    """Significant positive transfer to other tasks, largest first."""
    harms: pl.DataFrame
    """Significant negative transfer to other tasks, largest loss first."""
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
    level: float
    """Adjusted p-value below which an effect counts as significant."""
    n_tested: int
    """Cells off the diagonal that were tested."""
    notes: tuple[str, ...]


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
    significant = frame.filter(pl.col("p_adjusted") < level).select(_SHOWN)
    rng = np.random.default_rng(matrix.evidence.seed)
    common = _common_tasks(matrix)
    square = _square(matrix, common) if len(common) >= 3 else None
    role = _roles(matrix)
    return Effects(
        helps=significant.filter(pl.col("gain") > 0).sort("gain", descending=True),
        harms=significant.filter(pl.col("gain") < 0).sort("gain"),
        pairs=_pairs(common, square, matrix),
        donors=_role_frame(matrix, role, "source"),
        recipients=_role_frame(matrix, role, "target"),
        hubs=_hub_frame(common, square),
        asymmetry=_asymmetry(square, rng, n_resamples),
        level=level,
        n_tested=int(frame["p_value"].is_not_nan().sum()),
        notes=(*matrix.notes, *_notes(matrix, len(common))),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Square:
    """Gains between tasks that are both source and target; NaN on the diagonal."""

    gain: FloatArray
    error: FloatArray
    df: FloatArray
    shared: FloatArray | None


def _common_tasks(matrix: TransferMatrix) -> list[str]:
    targets = set(matrix.data["target"].values.tolist())
    return [str(name) for name in matrix.data["source"].values if name in targets]


def _off_diagonal(matrix: TransferMatrix, name: str) -> FloatArray:
    """Return a variable with NaN on own tasks and wherever the error is not known."""
    data = matrix.data
    tested = ~data["own"] & data["standard_error"].notnull() & data["gain"].notnull()
    return np.asarray(data[name].where(tested).values, dtype=np.float64)


def _square(matrix: TransferMatrix, names: list[str]) -> _Square:
    rows, columns = (
        np.array([matrix.data[axis].values.tolist().index(name) for name in names])
        for axis in ("source", "target")
    )
    place = np.ix_(rows, columns)
    return _Square(
        gain=_off_diagonal(matrix, "gain")[place],
        error=_off_diagonal(matrix, "standard_error")[place],
        df=np.asarray(matrix.data["df"].values, dtype=np.float64)[place],
        shared=_shared(matrix, columns),
    )


def _shared(matrix: TransferMatrix, columns: IntArray) -> FloatArray | None:
    shared = np.asarray(matrix.data["base_shared_error"].values, dtype=np.float64)[columns]
    return None if np.isnan(shared).any() else shared


def _roles(matrix: TransferMatrix) -> Roles | None:
    gain = _off_diagonal(matrix, "gain")
    every = np.arange(gain.shape[1])
    try:
        return roles(gain, _off_diagonal(matrix, "standard_error"), shared=_shared(matrix, every))
    except AnalysisError:
        return None  # too few connected cells; the table then holds NaN


def _role_frame(matrix: TransferMatrix, estimated: Roles | None, axis: str) -> pl.DataFrame:
    names = matrix.data[axis].values.astype(str).tolist()
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
    ).sort("effect", descending=True, nulls_last=True)


def _pairs(names: list[str], square: _Square | None, matrix: TransferMatrix) -> pl.DataFrame:
    schema = {"first": pl.String, "second": pl.String} | dict.fromkeys(
        ("forward", "backward", "difference", "low", "high", "p_value", "p_adjusted"), pl.Float64
    )
    if square is None:
        return pl.DataFrame(schema=schema)
    found = pair_directions(
        square.gain, square.error, df=square.df, confidence=matrix.evidence.confidence
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


def _hub_frame(names: list[str], square: _Square | None) -> pl.DataFrame:
    fields = ("hub", "hub_low", "hub_high", "balance", "balance_low", "balance_high")
    schema = {"task": pl.String} | dict.fromkeys(fields, pl.Float64) | {"label": pl.String}
    if square is None or np.isnan(square.gain).all():
        return pl.DataFrame(schema=schema)
    found: Hubs = hubs(roles(square.gain, square.error, shared=square.shared))
    columns = {"task": names} | {name: getattr(found, name) for name in fields}
    return pl.DataFrame(columns | {"label": list(found.label)}, schema=schema).sort(
        "hub", descending=True
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


def _notes(matrix: TransferMatrix, n_common: int) -> Iterator[str]:
    if n_common < 3:
        yield (
            f"{n_common} tasks are both source and target: directions of transfer "
            "need at least three"
        )
    units = sorted(set(matrix.data["unit"].values.tolist()))
    if len(units) > 1:
        yield f"targets have different units ({', '.join(units)}): roles and pairs mix them"
