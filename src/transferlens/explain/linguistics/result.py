"""What the linguistic features of the examples say about every cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError, did_you_mean

__all__ = ["LinguisticEvidence", "odds", "texts_in_words", "why_untested"]

_PER_TEST = (
    "odds_ratio",
    "odds_low",
    "odds_high",
    "p_value",
    "p_adjusted",
    "method",
    "reason",
    "success_ratio",
    "adapter_right",
    "base_right",
    "ratio_reliable",
)
_PER_TARGET = ("coding", "scale", "n_present")
_PER_CELL = ("gained", "lost")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinguisticEvidence:
    """Odds ratios and success ratios of linguistic features; see `LinguisticSensitivity`."""

    data: xr.Dataset
    """Over (source, target, feature): ``odds_ratio`` of winning rather than losing, with the
    feature against without it, or for one SD more of it, at equal text length; ``odds_low``,
    ``odds_high``, ``p_value``, ``p_adjusted``, ``method``; ``reason`` why it is NaN, empty
    where it is not; ``success_ratio`` (right answers of the adapter over those of the base on
    texts with the feature), ``adapter_right``, ``base_right`` and ``ratio_reliable``, False
    where the counts are too small for the ratio to mean anything. Over (target, feature):
    ``coding`` (``present`` or ``per SD``), ``scale`` (the SD), ``n_present``. Over (source,
    target): ``gained`` and ``lost`` examples."""
    features: pl.DataFrame
    """Backend, grade and meaning of each feature: `FeatureTable.info`."""
    backend: str
    notes: tuple[str, ...]
    """What a reader must know, in words."""

    def to_xarray(self) -> xr.Dataset:
        """Return a copy of the labelled data."""
        return self.data.copy(deep=True)

    def to_frame(self) -> pl.DataFrame:
        """Return one row per source, target and feature, with the feature's backend and grade."""
        shape = tuple(self.data.sizes[axis] for axis in ("source", "target", "feature"))
        labels = (self.data[axis].values.tolist() for axis in ("source", "target", "feature"))
        grids = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
        names = {
            axis: [values[at] for at in grid.ravel()]
            for axis, values, grid in zip(
                ("source", "target", "feature"), labels, grids, strict=True
            )
        }
        like = self.data["p_value"]
        columns = {
            name: self.data[name].broadcast_like(like).transpose(*like.dims).values.ravel().tolist()
            for name in (*_PER_TEST, *_PER_TARGET, *_PER_CELL)
        }
        about = self.features.select("feature", "group", "unit", "grade", "backend")
        return pl.DataFrame(names | columns).join(
            about, on="feature", how="left", maintain_order="left"
        )

    def cell(self, source: str, target: str) -> pl.DataFrame:
        """Return the rows of one cell, the strongest evidence first, untested features last.

        Raises
        ------
        AnalysisError
            The source or target is not among those that were tested.
        """
        for axis, name in (("source", source), ("target", target)):
            known = [str(value) for value in self.data[axis].values]
            if name not in known:
                msg = f"no {axis} {name!r} was tested.{did_you_mean(name, known)}"
                raise AnalysisError(msg)
        rows = self.to_frame().filter(pl.col("source") == source, pl.col("target") == target)
        return rows.sort(pl.col("p_value").fill_nan(None), nulls_last=True, maintain_order=True)

    def significant(self, level: float = 0.05) -> pl.DataFrame:
        """Return the rows that are significant after adjustment, smallest p-value first."""
        return self.to_frame().filter(pl.col("p_adjusted") <= level).sort("p_adjusted", "p_value")

    def sentences(self, source: str, target: str, *, level: float = 0.05) -> tuple[str, ...]:
        """Say in words what is significant in one cell, or that nothing is.

        Raises
        ------
        AnalysisError
            As `cell`.
        """
        rows = self.cell(source, target)
        found = rows.filter(pl.col("p_adjusted") <= level)
        if found.height:
            return tuple(self._sentences(found))
        tested = rows.filter(pl.col("p_value").is_not_nan()).height
        if tested:
            none = f"none of {tested} is significant"
            return (f"No linguistic feature decides where {source} helps on {target}: {none}.",)
        return (
            f"Linguistic features of {source} on {target} are not tested: {why_untested(rows)}.",
        )

    def _sentences(self, found: pl.DataFrame) -> Iterator[str]:
        meaning = dict(self.features.select("feature", "meaning").iter_rows())
        for row in found.iter_rows(named=True):
            texts = texts_in_words(row, meaning[row["feature"]])
            yield (
                f"On {texts} the odds that {row['source']} wins rather than loses against the "
                f"base on {row['target']} are {odds(row['odds_ratio'])} times as high "
                f"[{odds(row['odds_low'])}, {odds(row['odds_high'])}] at equal length "
                f"(adjusted p {row['p_adjusted']:.2g}; grade {row['grade']})."
            )


def texts_in_words(row: Mapping[str, object], meaning: str) -> str:
    """Say which texts an odds ratio is about."""
    if row["coding"] == "present":
        return f"texts with {meaning}"
    return f"texts with one SD more of the {meaning}"


def why_untested(rows: pl.DataFrame) -> str:
    """Return why a cell has no test: the most frequent reason that is not the backend's."""
    reasons: list[str] = rows["reason"].value_counts(sort=True)["reason"].to_list()
    return next((reason for reason in reasons if "parser" not in reason), reasons[0])


def odds(ratio: float) -> str:
    """Return an odds ratio with two digits, and no exponent where it is large."""
    return f"{ratio:.0f}" if 10.0 <= ratio < 1e6 else f"{ratio:.2g}"
