"""The cards of a study: a card for each source and for each target whose rows it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import special

from transferlens.explain.answers import iter_answers
from transferlens.explain.cards.card import ClassProbabilities, DatasetCard, dataset_card
from transferlens.explain.cards.dataset import Dataset, dataset_of_rows
from transferlens.explain.linguistics.table import Backend
from transferlens.explain.training import training_rows
from transferlens.results import TransferStudy
from transferlens.results.stored import InMemory
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["StudyCards", "study_cards"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyCards:
    """What is known of the data of a study."""

    sources: Mapping[str, DatasetCard]
    """Source -> card of its training rows; without those whose rows are not stored."""
    targets: Mapping[str, DatasetCard]
    """Target -> card of its examples."""
    source_data: Mapping[str, Dataset]
    target_data: Mapping[str, Dataset]
    notes: tuple[str, ...]
    """What is missing and how to get it."""


def study_cards(
    study: TransferStudy,
    *,
    backend: Backend | None = None,
    cache: str | Path | None = None,
    rows: Mapping[str, pl.DataFrame] | None = None,
    examples: Mapping[str, pl.DataFrame] | None = None,
) -> StudyCards:
    """Describe the training rows of every source and the examples of every target.

    Wrong labels of a source are estimated from its adapter's probabilities on the examples
    of its own task, which it did not learn, if it is right more than half way above chance.

    Parameters
    ----------
    study
        Its folder holds the rows.
    backend, cache
        For the linguistic profiles; see `linguistic_features`.
    rows
        Training rows of sources that the study does not hold, as `dataset_of_rows` takes
        them. They come before stored ones.
    examples
        The same for the examples of targets.
    """
    given = dict(rows or {})
    stored = {s.name: training_rows(study, s.name) for s in study.sources if s.name not in given}
    tables = given | {name: frame for name, frame in stored.items() if frame is not None}
    source_data = {
        info.name: dataset_of_rows(tables[info.name], name=info.name)
        for info in study.sources
        if info.name in tables
    }
    tested = dict(examples or {})
    for info in study.targets:
        if info.name not in tested and study.path is not None and info.examples_id is not None:
            tested[info.name] = study.example_texts(info.name)
    target_data = {
        info.name: dataset_of_rows(tested[info.name], name=info.name)
        for info in study.targets
        if info.name in tested
    }
    known = _own_probabilities(study)
    of_source = {
        info.name: dataset_card(
            source_data[info.name],
            base_nll=info.base_nll,
            probabilities=known.get(info.name),
            backend=backend,
            cache=cache,
        )
        for info in study.sources
        if info.name in source_data
    }
    of_target = {
        name: dataset_card(data, backend=backend, cache=cache) for name, data in target_data.items()
    }
    return StudyCards(
        sources=of_source,
        targets=of_target,
        source_data=source_data,
        target_data=target_data,
        notes=tuple(_notes(study, of_source, of_target)),
    )


def _own_probabilities(study: TransferStudy) -> dict[str, ClassProbabilities]:
    """Class probabilities of each adapter on its own task, where it compares labels."""
    if study.predictions is None:
        return {}
    rows = study.predictions.filter(pl.col("source") == pl.col("target")).collect()
    own = rows["target"].unique().to_list()
    small = replace(study, _rows=InMemory(rows.lazy()))
    found = {}
    for answers in iter_answers(small, [t.name for t in study.targets if t.name in own]):
        name = answers.info.name
        if answers.logs is None or name not in answers.models:
            continue
        logs = answers.logs[answers.place(name)]
        known = ~np.isnan(logs).any(axis=(0, 2)) & (answers.gold >= 0)
        probability = special.softmax(logs[:, known], axis=2).mean(axis=0)
        if _learned(probability, answers.gold[known]):
            found[name] = ClassProbabilities(probability, answers.gold[known])
    return found


def _learned(probability: FloatArray, gold: IntArray) -> bool:
    """Whether a model knows labels well enough to doubt single ones: half way from chance."""
    chance = 1.0 / probability.shape[1]
    return bool(len(gold)) and bool((probability.argmax(axis=1) == gold).mean() > (1 + chance) / 2)


def _notes(
    study: TransferStudy, sources: Mapping[str, DatasetCard], targets: Mapping[str, DatasetCard]
) -> Iterable[str]:
    lacking = [info.name for info in study.sources if info.name not in sources]
    if lacking:
        yield (
            f"training rows not known: {_named(lacking)}; run the study again to store them, "
            "or give their files (--rows SOURCE=FILE)"
        )
    lacking = [info.name for info in study.targets if info.name not in targets]
    if lacking:
        yield (
            f"examples not known: {_named(lacking)}; for similarity to them give their files "
            "(--examples TARGET=FILE)"
        )
    reasons = {card.reasons["profile"] for card in sources.values() if "profile" in card.reasons}
    yield from sorted(reasons)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
