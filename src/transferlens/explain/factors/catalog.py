"""The factors: properties of a source's data, or of a source and a target together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.cards.card import DatasetCard
from transferlens.explain.cards.study import StudyCards
from transferlens.explain.similarity import (
    Embedder,
    linguistic_distance,
    output_divergence,
    similarities,
)
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = ["FACTORS", "Block", "Factor", "checked_factors", "factor_values"]

Block = Literal["surface", "hidden", "size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A property of the data that may predict how much an adapter gains."""

    name: str
    level: Literal["source", "pair"]
    block: Block
    """``surface``: similarity and quality; ``hidden``: class distribution, length and
    linguistics; ``size`` belongs to neither."""
    group: str
    meaning: str
    """Ends the sentence "the gain rises with ..."."""


def _rows(
    level: Literal["source", "pair"], block: Block, group: str, *rows: tuple[str, str]
) -> list[Factor]:
    return [
        Factor(name=name, level=level, block=block, group=group, meaning=meaning)
        for name, meaning in rows
    ]


FACTORS: tuple[Factor, ...] = (
    *_rows("source", "size", "size", ("size", "number of training rows (logarithm)")),
    *_rows(
        "pair",
        "surface",
        "similarity",
        ("semantic_similarity", "likeness of content words"),
        ("style_similarity", "likeness of function words and punctuation"),
        ("vocabulary_overlap", "share of the target's words that the source has"),
    ),
    *_rows(
        "source",
        "surface",
        "quality",
        ("duplicates", "share of repeated rows"),
        ("near_duplicates", "share of nearly repeated inputs"),
        ("conflicts", "share of inputs with two different outputs"),
        ("base_nll", "surprise of the outputs to the base model"),
        ("label_errors", "share of labels that are probably wrong"),
    ),
    *_rows(
        "pair",
        "hidden",
        "class distribution",
        ("output_divergence", "difference of the mixes of answers"),
        ("label_words", "share of the target's answer words that the source writes"),
    ),
    *_rows(
        "source",
        "hidden",
        "class distribution",
        ("label_skew", "imbalance of the labels"),
        ("output_entropy", "variety of the outputs"),
    ),
    *_rows(
        "pair",
        "hidden",
        "length",
        ("input_length_gap", "ratio of input lengths, whichever is longer"),
        ("output_length_gap", "ratio of output lengths, whichever is longer"),
    ),
    *_rows(
        "source",
        "hidden",
        "length",
        ("input_length", "length of the inputs (logarithm)"),
        ("output_length", "length of the outputs (logarithm)"),
        ("output_spread", "variation of the outputs' length"),
    ),
    *_rows(
        "pair",
        "hidden",
        "linguistics",
        ("linguistic_distance", "distance of the linguistic profiles"),
    ),
    *_rows(
        "source",
        "hidden",
        "linguistics",
        ("lexical_diversity", "different words among 500"),
        ("word_frequency", "frequency of the words in English"),
    ),
)
"""Every factor that is tested unless some are named."""

_OF_CARD = {
    "lexical_diversity": "type_token_500",
    **{
        name: name
        for name in (
            *("duplicates", "near_duplicates", "conflicts", "label_errors"),
            *("label_skew", "output_entropy", "output_spread"),
        )
    },
}


def checked_factors(names: Sequence[str]) -> tuple[Factor, ...]:
    """Return the named factors in the order given, or all where none is named.

    Raises
    ------
    AnalysisError
        A name is unknown or given twice.
    """
    known = {factor.name: factor for factor in FACTORS}
    for name in names:
        if name not in known:
            msg = f"unknown factor {name!r}.{did_you_mean(name, known)}"
            raise AnalysisError(msg)
    if len(set(names)) < len(names):
        msg = f"a factor is named twice: {', '.join(names)}"
        raise AnalysisError(msg)
    return tuple(known[name] for name in names) if names else FACTORS


def factor_values(
    study: TransferStudy, cards: StudyCards, *, embed: Embedder | None = None
) -> dict[str, FloatArray]:
    """Compute every factor: (source,) or (source, target) by its level, NaN where unknown."""
    found = _of_sources(study, cards) | _of_pairs(study, cards, embed)
    return {factor.name: found[factor.name] for factor in FACTORS}


def _of_sources(study: TransferStudy, cards: StudyCards) -> dict[str, FloatArray]:
    names = [info.name for info in study.sources]

    def gather(read: Callable[[DatasetCard], float]) -> FloatArray:
        return np.array([read(cards.sources[n]) if n in cards.sources else np.nan for n in names])

    sizes = [float(info.n_rows) if info.n_rows else np.nan for info in study.sources]
    rows = gather(lambda card: card.values["n_rows"])
    base_nll = [np.nan if info.base_nll is None else info.base_nll for info in study.sources]
    found = {
        "size": np.log(np.where(np.isnan(rows), sizes, rows)),
        "input_length": gather(lambda card: np.log1p(card.values["input_length"])),
        "output_length": gather(lambda card: np.log1p(card.values["output_length"])),
        "word_frequency": gather(lambda card: card.profile.get("word_frequency", np.nan)),
    }
    for factor, measure in _OF_CARD.items():
        found[factor] = gather(partial(_value, measure))
    return found | {"base_nll": np.array(base_nll)}


def _value(measure: str, card: DatasetCard) -> float:
    return card.values[measure]


def _of_pairs(
    study: TransferStudy, cards: StudyCards, embed: Embedder | None
) -> dict[str, FloatArray]:
    names = [factor.name for factor in FACTORS if factor.level == "pair"]
    shape = (len(study.sources), len(study.targets))
    rows = [at for at, info in enumerate(study.sources) if info.name in cards.sources]
    columns = [at for at, info in enumerate(study.targets) if info.name in cards.targets]
    found = {name: np.full(shape, np.nan) for name in names}
    if not rows or not columns:
        return found
    sources = [study.sources[at].name for at in rows]
    targets = [study.targets[at].name for at in columns]
    values = _compared(cards, sources, targets, embed)
    for name in names:
        found[name][np.ix_(rows, columns)] = values[name]
    return found


def _compared(
    cards: StudyCards, sources: Sequence[str], targets: Sequence[str], embed: Embedder | None
) -> dict[str, FloatArray]:
    data = [cards.source_data[n] for n in sources], [cards.target_data[n] for n in targets]
    of_sources, of_targets = _pick(cards.sources, sources), _pick(cards.targets, targets)
    alike = similarities(*data, embed=embed)
    return {
        "semantic_similarity": alike.semantic,
        "style_similarity": alike.style,
        "vocabulary_overlap": alike.vocabulary,
        "label_words": alike.output_words,
        "output_divergence": output_divergence(*data),
        "input_length_gap": _gap(of_sources, of_targets, "input_length"),
        "output_length_gap": _gap(of_sources, of_targets, "output_length"),
        "linguistic_distance": linguistic_distance(of_sources, of_targets),
    }


def _pick(cards: Mapping[str, DatasetCard], names: Sequence[str]) -> list[DatasetCard]:
    return [cards[name] for name in names]


def _gap(
    sources: Sequence[DatasetCard], targets: Sequence[DatasetCard], measure: str
) -> FloatArray:
    here, there = (
        np.log1p(np.array([card.values[measure] for card in cards])) for cards in (sources, targets)
    )
    return np.asarray(np.abs(here[:, None] - there))
