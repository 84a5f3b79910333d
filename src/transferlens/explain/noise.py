"""How much more another training run changes than the sampling of examples explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

__all__ = ["MEASURES", "NoiseFloor", "against_floor", "noise_floor"]

_CELL = ("target", "measure", "label")


class NoiseFloor(NamedTuple):
    """The noise floor of one measure."""

    measure: str
    inflation: float
    """Root mean square of the reseeded differences in their standard errors over examples,
    at least 1."""
    n: int
    """Differences that it rests on: reseeded twins times targets."""

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        more = f"{self.inflation:.1f} times as much as"
        if self.inflation == 1.0:
            more = "no more than"
        return (
            f"noise floor of {MEASURES[self.measure]}: another seed alone changes it {more} the "
            f"sampling of examples ({self.n} difference{'s' * (self.n != 1)}); tests and intervals "
            "are widened by it"
        )


MEASURES = {"score": "the score", "share": "label shares", "length": "output length"}
"""What the measures are called in a sentence."""


def noise_floor(reseeded: pl.DataFrame) -> dict[str, NoiseFloor]:
    """Estimate, per measure, by how much training widens the error of a difference.

    Two adapters that differ in nothing but their seed should differ by their standard error
    over examples. They differ by more, since training runs differ. The ratio, as a root
    mean square over reseeded twins and targets, is taken to be the same on every target
    and for every twin, as an inflation factor is over genes [1]_; labels of one target
    count as one.

    Parameters
    ----------
    reseeded
        Rows of `TwinEffects.frame` of reseeded twins.

    Returns
    -------
    dict
        Measure -> floor; without measures of which nothing is known, and where several
        seeds have already put training variance into the standard error.

    References
    ----------
    .. [1] Devlin, Roeder. *Genomic control for association studies*. 1999.
       doi:10.1111/j.0006-341X.1999.00997.x
    """
    usable = reseeded.filter(
        ~pl.col("training_known"), pl.col("standard_error") > 0, pl.col("difference").is_not_nan()
    )
    square = (pl.col("difference") / pl.col("standard_error")) ** 2
    cells = usable.group_by("measure", "twin", "target", maintain_order=True).agg(square.mean())
    floors = cells.group_by("measure", maintain_order=True).agg(
        inflation=pl.col("difference").mean().sqrt().clip(lower_bound=1.0), n=pl.len()
    )
    return {row[0]: NoiseFloor(*row) for row in floors.iter_rows()}


def against_floor(
    frame: pl.DataFrame, floors: Mapping[str, NoiseFloor], *, confidence: float
) -> pl.DataFrame:
    """Widen tests and intervals of single runs by the noise floor of their measure.

    Student's t with as many degrees of freedom as the floor rests on. Training noise has
    heavy tails: on some targets another seed turns every answer over. So the error is never
    less than what reseeded twins change, as a root mean square, in the very same target and
    measure. Adds ``floor``, the largest of these changes.
    """
    reseeded = frame.filter(pl.col("control") == "reseeded", pl.col("difference").is_not_nan())
    change = pl.col("difference")
    here = reseeded.group_by(_CELL).agg(floor=change.abs().max(), usual=(change**2).mean().sqrt())
    frame = frame.join(here, on=_CELL, how="left", nulls_equal=True, maintain_order="left")
    usual = frame["usual"].fill_null(0.0).to_numpy()
    frame = frame.drop("usual").with_columns(pl.col("floor").fill_null(float("nan")))
    known = frame["training_known"].to_numpy()
    none = NoiseFloor("", np.nan, 0)
    of_rows = [floors.get(measure, none) for measure in frame["measure"]]
    inflation = np.where(known, np.nan, [floor.inflation for floor in of_rows])
    df = np.maximum([float(floor.n) for floor in of_rows], 1.0)
    difference, error = (frame[name].to_numpy() for name in ("difference", "standard_error"))
    wide = np.where(np.isnan(inflation), np.nan, np.maximum(inflation * error, usual))
    # Where no answer differs there is no error to divide by, and nothing to find.
    statistic = np.divide(np.abs(difference), wide, out=np.zeros(len(wide)), where=wide > 0)
    half = stats.t.ppf(0.5 + confidence / 2.0, df) * wide
    widened = ~np.isnan(wide)
    return frame.with_columns(
        p_value=np.where(widened, 2.0 * stats.t.sf(statistic, df), frame["p_value"]),
        low=np.where(widened, difference - half, frame["low"]),
        high=np.where(widened, difference + half, frame["high"]),
        standard_error=np.where(widened, wide, error),
        test=pl.when(pl.Series(widened)).then(pl.lit("t over noise floor")).otherwise("test"),
    )
