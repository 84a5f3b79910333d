"""What is known of pairs of datasets without any training, for predictors to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.explain.cards import StudyCards, dataset_card, dataset_of_rows, study_cards
from transferlens.explain.factors import FACTORS, factor_values
from transferlens.explain.linguistics.table import Backend
from transferlens.predict.adapter_weights import LORA_COSINE, lora_feature
from transferlens.predict.problem import Problem, problem_of
from transferlens.results import SourceInfo, TargetInfo, TransferStudy, Values
from transferlens.stats.arrays import FloatArray

__all__ = ["Newcomers", "known_problem", "pair_features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomers:
    """Datasets that are not part of the study: rows as `dataset_of_rows` takes them."""

    sources: Mapping[str, pl.DataFrame]
    """Nothing was trained on them."""
    targets: Mapping[str, pl.DataFrame]
    """Nothing was evaluated on them."""


def pair_features(study: TransferStudy, cards: StudyCards) -> FloatArray:
    """Return the factors of every pair, (source, target, factor) in the order of `FACTORS`.

    A property of a source is the same for all targets; NaN where a dataset's rows are not
    known.
    """
    values = factor_values(study, cards)
    shape = (len(study.sources), len(study.targets))
    parts = [
        values[factor.name] if factor.level == "pair" else values[factor.name][:, None]
        for factor in FACTORS
    ]
    return np.stack([np.broadcast_to(part, shape) for part in parts], axis=2)


def known_problem(
    study: TransferStudy,
    *,
    newcomers: Newcomers | None = None,
    rows: Mapping[str, pl.DataFrame] | None = None,
    values: Values = "gain",
    own: bool = False,
    backend: Backend | None = None,
    cache: str | Path | None = None,
) -> Problem:
    """Return what a study has measured and what is known of its datasets and adapters.

    Parameters
    ----------
    study
        Cards are made of the rows that its folder holds; scores alone have no features.
    newcomers
        Rows and columns without a measured cell, to be predicted from their cards.
    rows
        Training rows of sources that the study does not hold.
    values, own
        See `problem_of`.
    backend, cache
        See `transferlens.explain.cards.study_cards`.

    Raises
    ------
    AnalysisError
        A newcomer has the name of a source or target of the study, or no gain is known.
    """
    measured = problem_of(study, values=values, own=own)
    new = newcomers or Newcomers(sources={}, targets={})
    _require_new("source", new.sources, measured.sources)
    _require_new("target", new.targets, measured.targets)
    infos = tuple(SourceInfo(name=name, n_rows=frame.height) for name, frame in new.sources.items())
    wider = replace(
        study,
        sources=(*study.sources, *infos),
        targets=(*study.targets, *(TargetInfo(name=name) for name in new.targets)),
    )
    cards = _with_targets(
        study_cards(
            replace(wider, targets=study.targets),
            backend=backend,
            cache=cache,
            rows={**(rows or {}), **new.sources},
        ),
        new.targets,
        backend,
        cache,
    )
    alike = np.full((len(wider.sources), len(wider.targets), 1), np.nan)
    alike[: len(study.sources), : len(study.targets), 0] = lora_feature(study)
    return _wider(measured, wider, np.concatenate([pair_features(wider, cards), alike], axis=2))


def _require_new(kind: str, new: Mapping[str, pl.DataFrame], known: tuple[str, ...]) -> None:
    for name in new:
        if name in known:
            msg = f"{name!r} is a {kind} of the study already; give the new one as OTHERNAME=FILE"
            raise AnalysisError(msg)


def _with_targets(
    cards: StudyCards,
    new: Mapping[str, pl.DataFrame],
    backend: Backend | None,
    cache: str | Path | None,
) -> StudyCards:
    data = {name: dataset_of_rows(frame, name=name) for name, frame in new.items()}
    made = {name: dataset_card(d, backend=backend, cache=cache) for name, d in data.items()}
    return replace(
        cards,
        targets={**cards.targets, **made},
        target_data={**cards.target_data, **data},
    )


def _wider(measured: Problem, wider: TransferStudy, features: FloatArray) -> Problem:
    n, p = len(wider.sources), len(wider.targets)
    gains = np.full((n, p), np.nan)
    gains[: measured.gains.shape[0], : measured.gains.shape[1]] = measured.gains
    names = tuple(s.name for s in wider.sources), tuple(t.name for t in wider.targets)
    own = np.array(names[0])[:, None] == np.array(names[1])
    return replace(
        measured,
        gains=gains,
        sources=names[0],
        targets=names[1],
        own=np.asarray(own, dtype=np.bool_),
        features=features,
        feature_names=(*(factor.name for factor in FACTORS), LORA_COSINE),
    )
