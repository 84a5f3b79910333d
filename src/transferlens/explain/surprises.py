"""Which cells of a transfer matrix one would not have expected."""

from __future__ import annotations

import polars as pl

from transferlens.errors import AnalysisError
from transferlens.results import TransferStudy
from transferlens.transfer import TransferMatrix

__all__ = ["surprises"]

_SHOWN = (
    "surprise",
    "source",
    "target",
    "source_family",
    "target_family",
    "unit",
    "base_score",
    "score",
    "gain",
    "gain_low",
    "gain_high",
    "p_adjusted",
)


def surprises(study: TransferStudy, matrix: TransferMatrix, *, level: float = 0.05) -> pl.DataFrame:
    """Rank significant gains on tasks of another family, and losses within a family.

    Parameters
    ----------
    study
        Says the family of each source and target. A source without one has that of the
        target of the same name; without any it is expected to help itself only.
    matrix
        Its transfer matrix with evidence.
    level
        Bound on the adjusted p-value.

    Returns
    -------
    pl.DataFrame
        The largest first, within the unit of most targets and then in others. ``surprise``
        is ``"helps another family"`` or ``"harms its own family"``.

    Raises
    ------
    AnalysisError
        ``level`` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        msg = f"level={level} must lie strictly between 0 and 1; 0.05 is usual"
        raise AnalysisError(msg)
    of_target = {info.name: info.family for info in study.targets}
    of_source = {s.name: s.family or of_target.get(s.name, "") for s in study.sources}
    source, target = (
        pl.col(name).replace_strict(list(known), list(known.values()), default="")
        for name, known in (("source", of_source), ("target", of_target))
    )
    cells = matrix.to_frame().with_columns(source_family=source, target_family=target)
    same = pl.col("own") | (
        (pl.col("source_family") == pl.col("target_family")) & (pl.col("source_family") != "")
    )
    helps, harms = ~same & (pl.col("gain") > 0), same & (pl.col("gain") < 0)
    # NaN sorts above every number, so an untested cell is not significant.
    found = cells.filter((pl.col("p_adjusted") <= level) & (helps | harms))
    usual = cells["unit"].mode().sort()[0] if cells.height else ""
    return (
        found.with_columns(
            surprise=pl.when(pl.col("gain") > 0)
            .then(pl.lit("helps another family"))
            .otherwise(pl.lit("harms its own family"))
        )
        .sort(pl.col("unit") != usual, -pl.col("gain").abs(), maintain_order=True)
        .select(_SHOWN)
    )
