"""The story of one cell: its gain, what it is made of, and the evidence for each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.amounts import scale_and_unit
from transferlens.explain.answers import iter_answers
from transferlens.explain.attribution import Attribution, Attributions
from transferlens.explain.confusion import Confusion, Confusions
from transferlens.explain.formats import AnswerFormat, FormatEffects
from transferlens.explain.gallery import Gallery, gallery
from transferlens.explain.labels import LabelShift, LabelShifts
from transferlens.explain.length import LengthEffects, OutputLength
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
from transferlens.stats import adjust_p_values
from transferlens.transfer import TransferMatrix, transfer_matrix

__all__ = ["Story", "tell_stories", "tell_story", "with_linguistics"]

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
    cell = (source, target)
    (story,) = tell_stories(study, [cell], rng=rng, n_resamples=n_resamples)
    if not linguistics:
        return story
    return with_linguistics(story, study, parser=parser, cache=cache)


def tell_stories(
    study: TransferStudy,
    cells: Sequence[tuple[str, str]],
    *,
    rng: np.random.Generator,
    n_resamples: int = 499,
    matrix: TransferMatrix | None = None,
) -> tuple[Story, ...]:
    """Tell the stories of several cells, without linguistic features; see `tell_story`.

    Each mechanism is computed once for all of them.

    Parameters
    ----------
    study
        With predictions.
    cells
        Sources and targets.
    rng
        Source of resamples.
    n_resamples
        Bootstrap resamples of every interval.
    matrix
        The study's, where it was computed already.

    Raises
    ------
    AnalysisError
        There is no such source or target, or the study has scores only.
    """
    if not cells:
        return ()
    part = _with_cells(study, cells)
    evidence = matrix or transfer_matrix(study)
    known = _mechanisms(part, evidence, rng=rng, n_resamples=n_resamples)
    return tuple(_story(part, known, *cell) for cell in cells)


def with_linguistics(
    story: Story, study: TransferStudy, *, parser: str | None, cache: str | Path | None
) -> Story:
    """Return the story with the linguistic features of its examples, or a note on their lack."""
    cell = (story.source, story.target)
    found = cell_linguistics(_with_cells(study, [cell]), *cell, model=parser, cache=cache)
    if isinstance(found, str):
        return replace(story, notes=tuple(dict.fromkeys((*story.notes, found))))
    return replace(story, linguistics=found, lines=(*story.lines, *found.lines()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Mechanisms:
    """What each mechanism found on a study, and the evidence for its gains."""

    matrix_notes: tuple[str, ...]
    attributions: Attributions
    labels: LabelShifts
    confusions: Confusions
    lengths: LengthEffects
    formats: FormatEffects
    frames: Mapping[str, pl.DataFrame]
    """A row per cell of each of them, where it has one."""


def _mechanisms(
    part: TransferStudy, matrix: TransferMatrix, *, rng: np.random.Generator, n_resamples: int
) -> _Mechanisms:
    answers = tuple(iter_answers(part))
    attributions = Attribution(n_resamples=n_resamples)(part, rng=rng, answers=answers)
    labels = LabelShift(n_resamples=n_resamples)(part, rng=rng, answers=answers)
    confusions = Confusion(n_resamples=n_resamples)(part, rng=rng, answers=answers)
    lengths = OutputLength(n_resamples=n_resamples)(part, rng=rng, answers=answers)
    formats = AnswerFormat(n_resamples=n_resamples)(part, rng=rng, answers=answers)
    return _Mechanisms(
        matrix_notes=matrix.notes,
        attributions=attributions,
        labels=labels,
        confusions=confusions,
        lengths=lengths,
        formats=formats,
        frames={
            "evidence": matrix.to_frame(),
            "attribution": attributions.to_frame(),
            "labels": labels.to_frame(),
            "length": lengths.to_frame(),
            "format": formats.to_frame(),
        },
    )


def _story(part: TransferStudy, known: _Mechanisms, source: str, target: str) -> Story:
    rows = {name: _row(frame, source, target) for name, frame in known.frames.items()}
    has_labels = rows["labels"] is not None
    notes = (
        *(known.labels.notes if _lacks(rows["labels"], "source_skew") else ()),
        *(known.lengths.notes if _lacks(rows["length"], "source_median") else ()),
        *known.matrix_notes,
    )
    story = Story(
        source=source,
        target=target,
        sentence=known.attributions.sentence(source, target),
        lines=(),
        notes=tuple(dict.fromkeys(notes)),
        evidence=rows["evidence"] or {},
        attribution=rows["attribution"] or {},
        labels=rows["labels"],
        agreement=_agreement(known.confusions, source, target),
        created=_created(known.confusions, source, target),
        length=rows["length"],
        format=rows["format"] or {},
        confusion=confusion_pair(known.confusions, source, target),
        label_mixes=label_mixes(part, known.labels.shares[target], source) if has_labels else None,
        lengths=length_histograms(part, source, target),
        linguistics=None,
        examples=gallery(part, source, target),
    )
    return replace(story, lines=tuple(_lines(story)))


def _lines(story: Story) -> Iterator[str]:
    scale, unit = scale_and_unit(story.evidence["unit"])
    yield from evidence_lines(story.evidence)
    yield from label_lines(story.labels, story.label_mixes)
    yield from confusion_lines(story.confusion, story.created, story.agreement or {})
    yield from length_lines(story.length, scale, unit)
    yield from format_lines(story.format, scale, unit)


def _agreement(found: Confusions, source: str, target: str) -> dict[str, dict[str, float]] | None:
    if target not in found.tables:
        return None
    measures = found.tables[target].drop_dims(["gold", "answer"])
    return {
        role: {str(name): float(values) for name, values in measures.sel(model=model).items()}
        for role, model in (("base", BASE), ("adapter", source))
    }


def _created(found: Confusions, source: str, target: str) -> tuple[Row, ...]:
    """Return the cell's confusions, adjusted for their own number."""
    rows = found.created.filter(pl.col("source") == source, pl.col("target") == target)
    adjusted = adjust_p_values(rows["p_value"].to_numpy(), method="bh")
    return tuple(rows.with_columns(p_adjusted=pl.Series(adjusted, dtype=pl.Float64)).to_dicts())


def _with_cells(study: TransferStudy, cells: Sequence[tuple[str, str]]) -> TransferStudy:
    """Return the study with the sources and targets of some cells alone."""
    for kind, at, every in (("source", 0, study.sources), ("target", 1, study.targets)):
        names = {info.name for info in every}
        for cell in cells:
            if cell[at] not in names:
                msg = f"the study has no {kind} {cell[at]!r}.{did_you_mean(cell[at], names)}"
                raise AnalysisError(msg)
    sources, targets = ({cell[at] for cell in cells} for at in (0, 1))
    return replace(
        study,
        sources=tuple(info for info in study.sources if info.name in sources),
        targets=tuple(info for info in study.targets if info.name in targets),
    )


def _lacks(row: Row | None, name: str) -> bool:
    return row is not None and bool(np.isnan(row[name]))


def _row(frame: pl.DataFrame, source: str, target: str) -> dict[str, Any] | None:
    """Return the row of a cell, where there is one."""
    found = frame.filter(pl.col("source") == source, pl.col("target") == target)
    return found.row(0, named=True) if found.height else None
