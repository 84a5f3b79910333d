"""Which cells of a transfer matrix one would not have expected."""

from __future__ import annotations

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.explain.cards.dataset import dataset_of_rows
from transferlens.explain.similarity import similarities
from transferlens.explain.training import training_rows
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray
from transferlens.transfer import TransferMatrix

__all__ = ["surprises", "task_similarity"]

_ALIKE = 0.75

_SHOWN = (
    "surprise",
    "source",
    "target",
    "source_family",
    "target_family",
    "similarity",
    "unit",
    "base_score",
    "score",
    "gain",
    "gain_low",
    "gain_high",
    "p_adjusted",
)


def task_similarity(study: TransferStudy) -> FloatArray:
    """Return how alike the words of each source's rows and each target's prompts are.

    Cosine of mean TF-IDF vectors, (source, target), 0 to 1; NaN where a text is not stored.
    See `transferlens.explain.similarity`.
    """
    sources = {info.name: training_rows(study, info.name) for info in study.sources}
    targets = {
        info.name: study.example_texts(info.name)
        for info in study.targets
        if study.path is not None and info.examples_id is not None
    }
    known = [
        [dataset_of_rows(rows, name=name) for name, rows in side.items() if rows is not None]
        for side in (sources, targets)
    ]
    found = np.full((len(study.sources), len(study.targets)), np.nan)
    if known[0] and known[1]:
        rows = [rows is not None for rows in sources.values()]
        columns = [info.name in targets for info in study.targets]
        found[np.ix_(rows, columns)] = similarities(*known).semantic
    return found


def surprises(
    study: TransferStudy,
    matrix: TransferMatrix,
    *,
    level: float = 0.05,
    similarity: FloatArray | None = None,
) -> pl.DataFrame:
    """Rank significant gains on tasks unlike the training data, and losses on tasks like them.

    Parameters
    ----------
    study
        Says the family of each source and target. A source without one has that of the
        target of the same name.
    matrix
        Its transfer matrix with evidence.
    level
        Bound on the adjusted p-value.
    similarity
        Such as `task_similarity` returns, (source, target). It is shown, and where a
        family is not known it decides: alike are the upper quarter of all other pairs.
        Without it a source of no family is expected to help itself only.

    Returns
    -------
    pl.DataFrame
        The largest first, within the unit of most targets and then in others. ``surprise``
        is ``"helps another family"`` or ``"harms its own family"``; where similarity decided
        ``"helps an unlike task"`` or ``"harms a like task"``.

    Raises
    ------
    AnalysisError
        ``level`` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        msg = f"level={level} must lie strictly between 0 and 1; 0.05 is usual"
        raise AnalysisError(msg)
    cells = _with_families(study, matrix).join(
        _pairs(study, similarity), on=["source", "target"], how="left", maintain_order="left"
    )
    named = (pl.col("source_family") != "") & (pl.col("target_family") != "")
    by_words = ~named & pl.col("similarity").is_not_nan()
    same = (
        pl.col("own")
        | (named & (pl.col("source_family") == pl.col("target_family")))
        | (by_words & pl.col("alike"))
    )
    helps, harms = ~same & (pl.col("gain") > 0), same & (pl.col("gain") < 0)
    # NaN sorts above every number, so an untested cell is not significant.
    found = cells.filter((pl.col("p_adjusted") <= level) & (helps | harms))
    usual = cells["unit"].mode().sort()[0] if cells.height else ""
    return (
        found.with_columns(surprise=_in_words(by_words & ~pl.col("own")))
        .sort(pl.col("unit") != usual, -pl.col("gain").abs(), maintain_order=True)
        .select(_SHOWN)
    )


def _in_words(by_words: pl.Expr) -> pl.Expr:
    helps = pl.when(by_words).then(pl.lit("helps an unlike task"))
    harms = pl.when(by_words).then(pl.lit("harms a like task"))
    return (
        pl.when(pl.col("gain") > 0)
        .then(helps.otherwise(pl.lit("helps another family")))
        .otherwise(harms.otherwise(pl.lit("harms its own family")))
    )


def _with_families(study: TransferStudy, matrix: TransferMatrix) -> pl.DataFrame:
    of_target = {info.name: info.family for info in study.targets}
    of_source = {s.name: s.family or of_target.get(s.name, "") for s in study.sources}
    source, target = (
        pl.col(name).replace_strict(list(known), list(known.values()), default="")
        for name, known in (("source", of_source), ("target", of_target))
    )
    return matrix.to_frame().with_columns(source_family=source, target_family=target)


def _pairs(study: TransferStudy, similarity: FloatArray | None) -> pl.DataFrame:
    """Return the similarity of each source and target, and whether it is a high one."""
    sources, targets = ([i.name for i in side] for side in (study.sources, study.targets))
    shape = (len(sources), len(targets))
    values = np.full(shape, np.nan) if similarity is None else similarity
    others = values[(np.array(sources)[:, None] != np.array(targets)) & ~np.isnan(values)]
    high = np.quantile(others, _ALIKE) if len(others) else np.inf
    return pl.DataFrame(
        {
            "source": np.repeat(sources, shape[1]).tolist(),
            "target": targets * shape[0],
            "similarity": values.ravel(),
            "alike": (values > high).ravel(),
        },
        schema_overrides={"source": pl.String, "target": pl.String},
    )
