"""The story of one cell: its gain, what it is made of, and the evidence for each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.amounts import scale_and_unit
from transferlens.explain.attribution import Attribution
from transferlens.explain.confusion import Confusion, Confusions
from transferlens.explain.formats import AnswerFormat
from transferlens.explain.gallery import Gallery, gallery
from transferlens.explain.labels import LabelShift
from transferlens.explain.length import OutputLength
from transferlens.explain.linguistic_story import CellLinguistics, cell_linguistics
from transferlens.explain.panels import (
    ConfusionPair,
    LabelMixes,
    LengthHistogram,
    confusion_pair,
    label_mixes,
    length_histograms,
)
from transferlens.explain.story_lines import (
    confusion_lines,
    evidence_lines,
    format_lines,
    label_lines,
    length_lines,
)
from transferlens.results import BASE, TransferStudy
from transferlens.transfer import transfer_matrix

__all__ = ["Story", "tell_story"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Story:
    """Everything that is known of one cell: enough to print it or to make a page of it."""

    source: str
    target: str
    sentence: str
    """The gain and its causes."""
    lines: tuple[str, ...]
    """Labels, confusions, length, format and linguistics, where the target has them."""
    notes: tuple[str, ...]
    """What is not known, and how to get it."""
    evidence: Row
    """The cell's row of `TransferMatrix.to_frame`."""
    attribution: Row
    """The cell's row of `Attributions.to_frame`: each mechanism with its interval."""
    labels: Row | None
    """The cell's row of `LabelShifts.to_frame`; None without labels in common."""
    agreement: Mapping[str, Row] | None
    """``"base"`` and ``"adapter"`` -> each measure of `Agreement` with its interval."""
    created: tuple[Row, ...]
    """The cell's rows of `Confusions.created`: each confusion, base against adapter."""
    length: Row | None
    """The cell's row of `LengthEffects.to_frame`; None where nothing was written."""
    format: Row
    """The cell's row of `FormatEffects.to_frame`."""
    confusion: ConfusionPair | None
    label_mixes: LabelMixes | None
    lengths: tuple[LengthHistogram, ...]
    """In tokens and in words; empty where nothing was written."""
    linguistics: CellLinguistics | None
    """None where the features cannot be computed or were not asked for; the notes say why."""
    examples: Gallery

    def document(self) -> dict[str, Any]:
        """Return all of it as plain dictionaries and lists; NaN is not replaced."""
        return asdict(self)


def tell_story(
    study: TransferStudy,
    source: str,
    target: str,
    *,
    rng: np.random.Generator,
    n_resamples: int = 499,
    linguistics: bool = True,
    parser: str | None = None,
    cache: str | Path | None = None,
) -> Story:
    """Say why an adapter is better or worse than the base on a task.

    Parameters
    ----------
    study
        With predictions.
    source, target
        The cell.
    rng
        Source of resamples.
    n_resamples
        Bootstrap resamples of every interval.
    linguistics
        Whether to test the linguistic features of the examples.
    parser
        spaCy model for them; None: the lexicon backend.
    cache
        Folder for computed features; see `linguistic_features`.

    Raises
    ------
    AnalysisError
        There is no such source or target, or the study has scores only.
    """
    one = _one_cell(study, source, target)
    fields = _mechanisms(one, source, target, rng=rng, n_resamples=n_resamples)
    texts = (
        cell_linguistics(one, source, target, model=parser, cache=cache) if linguistics else None
    )
    notes = [*fields.pop("notes"), *([texts] if isinstance(texts, str) else [])]
    story = Story(
        source=source,
        target=target,
        lines=(),
        notes=tuple(dict.fromkeys(notes)),
        lengths=length_histograms(one, source, target),
        linguistics=None if isinstance(texts, str) else texts,
        examples=gallery(one, source, target),
        **fields,
    )
    return replace(story, lines=tuple(_lines(story)))


def _mechanisms(
    one: TransferStudy, source: str, target: str, *, rng: np.random.Generator, n_resamples: int
) -> dict[str, Any]:
    """Call every mechanism on a study of one cell; the fields of the story that they fill."""
    attributed = Attribution(n_resamples=n_resamples)(one, rng=rng)
    labels = LabelShift(n_resamples=n_resamples)(one, rng=rng)
    confusion = Confusion(n_resamples=n_resamples)(one, rng=rng)
    length = OutputLength(n_resamples=n_resamples)(one, rng=rng)
    formats = AnswerFormat(n_resamples=n_resamples)(one, rng=rng)
    matrix = transfer_matrix(one)
    has_labels = target in labels.shares
    has_lengths = bool(length.data.sizes["target"])
    known = (labels.notes if has_labels else (), length.notes if has_lengths else (), matrix.notes)
    return {
        "sentence": attributed.sentence(source, target),
        "evidence": _row(matrix.to_frame()),
        "attribution": _row(attributed.to_frame()),
        "labels": _row(labels.to_frame()) if has_labels else None,
        "label_mixes": label_mixes(one, labels.shares[target], source) if has_labels else None,
        "agreement": _agreement(confusion, source, target),
        "created": tuple(confusion.created.to_dicts()),
        "confusion": confusion_pair(confusion, source, target),
        "length": _row(length.to_frame()) if has_lengths else None,
        "format": _row(formats.to_frame()),
        "notes": [note for each in known for note in each],
    }


def _lines(story: Story) -> Iterator[str]:
    scale, unit = scale_and_unit(story.evidence["unit"])
    yield from evidence_lines(story.evidence)
    yield from label_lines(story.labels, story.label_mixes)
    yield from confusion_lines(story.confusion, story.created, story.agreement or {})
    yield from length_lines(story.length, scale, unit)
    yield from format_lines(story.format, scale, unit)
    if story.linguistics is not None:
        yield from story.linguistics.lines()


def _agreement(found: Confusions, source: str, target: str) -> dict[str, dict[str, float]] | None:
    if target not in found.tables:
        return None
    measures = found.tables[target].drop_dims(["gold", "answer"])
    return {
        role: {str(name): float(values) for name, values in measures.sel(model=model).items()}
        for role, model in (("base", BASE), ("adapter", source))
    }


def _one_cell(study: TransferStudy, source: str, target: str) -> TransferStudy:
    sources = tuple(info for info in study.sources if info.name == source)
    targets = tuple(info for info in study.targets if info.name == target)
    for kind, name, found, every in (
        ("source", source, sources, study.sources),
        ("target", target, targets, study.targets),
    ):
        if not found:
            hint = did_you_mean(name, (info.name for info in every))
            msg = f"the study has no {kind} {name!r}.{hint}"
            raise AnalysisError(msg)
    return replace(study, sources=sources, targets=targets)


def _row(frame: pl.DataFrame) -> dict[str, Any]:
    return frame.row(0, named=True)
