"""Numbers as the command line and the reports print them."""

from __future__ import annotations

import polars as pl

__all__ = ["in_points"]

_MEASURED = frozenset(
    {
        "backward",
        "balance",
        "balance_high",
        "balance_low",
        "base_score",
        "changed",
        "detectable",
        "difference",
        "effect",
        "first_gain",
        "floor",
        "forward",
        "gain",
        "gain_high",
        "gain_low",
        "high",
        "hub",
        "hub_high",
        "hub_low",
        "low",
        "original",
        "score",
        "score_high",
        "score_low",
        "second_gain",
        "standard_error",
        "standard_error_tasks",
        "value",
    }
)


def in_points(frame: pl.DataFrame) -> pl.DataFrame:
    """Return fractions as points (hundredths), as the command line prints them.

    Parameters
    ----------
    frame
        A table of a `TransferMatrix`, of `Effects` or of `TwinEffects`, with its column ``unit``.

    Returns
    -------
    pl.DataFrame
        Columns that hold a score or a difference of scores are multiplied by 100 in
        rows whose unit is ``"fraction"``; their unit is ``"points"`` then. Other
        rows, shares, counts and p-values stay.
    """
    fraction = pl.col("unit") == "fraction"
    measured = [name for name in frame.columns if name in _MEASURED]
    return frame.with_columns(
        *(pl.when(fraction).then(pl.col(name) * 100.0).otherwise(name) for name in measured),
        unit=pl.when(fraction).then(pl.lit("points")).otherwise("unit"),
    )
