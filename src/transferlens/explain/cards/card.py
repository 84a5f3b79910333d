"""Dataset cards: what can be known of a dataset before anything is trained on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.explain.cards.dataset import Dataset
from transferlens.explain.cards.measures import (
    MEASURES,
    confident_errors,
    label_counts,
    measured,
)
from transferlens.explain.linguistics.table import Backend, linguistic_features
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["ClassProbabilities", "DatasetCard", "card_frame", "dataset_card"]

_PROFILE_ROWS = 300

_WHY = {
    "n_classes": "its outputs are no labels",
    "label_entropy": "its outputs are no labels",
    "label_skew": "its outputs are no labels",
    "output_tokens": "lengths in tokens are not stored",
    "type_token_ratio": "its inputs have no words",
    "type_token_500": "its inputs have fewer than 500 words",
    "base_nll": "the base model's likelihood of its outputs is not stored",
    "label_errors": "no model that knows its labels has given class probabilities",
}


class ClassProbabilities(NamedTuple):
    """What a model that did not learn these rows thinks of their labels."""

    probability: FloatArray
    """Shape (row, class)."""
    label: IntArray
    """Given class of each row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetCard:
    """The numbers of one dataset."""

    name: str
    values: Mapping[str, float]
    """Name of each of `MEASURES` -> value; NaN with a reason."""
    reasons: Mapping[str, str]
    """Why a value is NaN, or why there is no linguistic profile (``"profile"``)."""
    label_counts: Mapping[str, float]
    """How often each label occurs; empty where outputs are no labels."""
    profile: Mapping[str, float]
    """Mean of each linguistic feature over the inputs; empty with a reason."""

    def to_frame(self) -> pl.DataFrame:
        """Return a row per number: name, group, value, unit, meaning, reason."""
        return pl.DataFrame(
            [
                {
                    "dataset": self.name,
                    "measure": measure.name,
                    "group": measure.group,
                    "value": self.values[measure.name],
                    "unit": measure.unit,
                    "meaning": measure.meaning,
                    "reason": self.reasons.get(measure.name, ""),
                }
                for measure in MEASURES
            ]
        )


def dataset_card(
    data: Dataset,
    *,
    base_nll: float | None = None,
    probabilities: ClassProbabilities | None = None,
    backend: Backend | None = None,
    cache: str | Path | None = None,
) -> DatasetCard:
    """Describe a dataset by what its rows say; it need not belong to a study.

    Parameters
    ----------
    data
        See `dataset_of_rows`, `dataset_of_examples` and `rows_of_file`.
    base_nll
        Mean negative log-likelihood of an output token under the base model, in nats.
    probabilities
        For an estimate of wrong labels.
    backend, cache
        For the linguistic profile, of at most 300 evenly spaced inputs; see
        `linguistic_features`.

    Returns
    -------
    DatasetCard
        A number that cannot be known is NaN with a reason.
    """
    labels = label_counts(data)
    values = measured(data, labels)
    values["base_nll"] = math.nan if base_nll is None else base_nll
    values["label_errors"] = math.nan if probabilities is None else confident_errors(*probabilities)
    reasons = {name: _WHY[name] for name, value in values.items() if math.isnan(value)}
    try:
        profile = _profile(data, backend, cache)
    except AnalysisError as error:
        # The packages are an extra; everything else on the card does not need them.
        profile, reasons["profile"] = {}, str(error)
    return DatasetCard(
        name=data.name,
        values={measure.name: values[measure.name] for measure in MEASURES},
        reasons=reasons,
        label_counts=labels,
        profile=profile,
    )


def card_frame(cards: Sequence[DatasetCard]) -> pl.DataFrame:
    """Return a row per dataset and a column per number."""
    return pl.DataFrame([{"dataset": card.name, **card.values} for card in cards])


def _profile(data: Dataset, backend: Backend | None, cache: str | Path | None) -> dict[str, float]:
    texts = data.part(_PROFILE_ROWS).inputs
    table = linguistic_features(texts, backend=backend, cache=cache)
    found = {}
    for feature in table.frame.columns:
        values = table.values(feature)
        if not np.isnan(values).all():
            found[feature] = float(np.nanmean(values))
    return found
