"""What is known of a source's training rows: its labels and the length of its outputs."""

from __future__ import annotations

import polars as pl

from transferlens.results import StudyStore, TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = ["knows_training_rows", "training_labels", "training_lengths", "training_rows"]

_MOST_LABELS = 20


def training_rows(study: TransferStudy, source: str) -> pl.DataFrame | None:
    """Return the stored training rows of a source; None where the study does not hold them."""
    name = _stored_as(study, source)
    if name is None or study.path is None:
        return None
    return StudyStore.open(study.path).read_examples(name)


def knows_training_rows(study: TransferStudy, source: str) -> bool:
    """Whether the study holds the training rows of a source; an imported one holds none."""
    return study.path is not None and _stored_as(study, source) is not None


def _stored_as(study: TransferStudy, source: str) -> str | None:
    return next((info.examples_id for info in study.sources if info.name == source), None)


def training_labels(study: TransferStudy, source: str) -> dict[str, float]:
    """Return how often each label stands in a source's training rows.

    Empty where the rows are not known or have no labels (more than twenty gold answers).
    """
    rows = training_rows(study, source)
    if rows is None or "gold" not in rows.columns:
        return {}
    counts = rows["gold"].drop_nulls().value_counts(sort=True)
    if not 1 <= counts.height <= _MOST_LABELS:
        return {}
    return {str(label): float(count) for label, count in counts.iter_rows()}


def training_lengths(study: TransferStudy, source: str) -> FloatArray | None:
    """Return the length in tokens of each training output; None where it is not known."""
    rows = training_rows(study, source)
    if rows is None or "n_tokens" not in rows.columns:
        return None
    lengths = rows["n_tokens"].drop_nulls().cast(pl.Float64).to_numpy()
    return lengths if len(lengths) else None
