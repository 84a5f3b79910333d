"""The story of one cell: its gain, what it is made of, and the evidence for each part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.attribution import Attribution
from transferlens.explain.confusion import Confusion, Confusions
from transferlens.explain.formats import AnswerFormat
from transferlens.explain.labels import LabelShift, LabelShifts
from transferlens.explain.length import OutputLength
from transferlens.results import BASE, TransferStudy
from transferlens.transfer import transfer_matrix

__all__ = ["Story", "tell_story"]

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Story:
    """What is known of one cell."""

    source: str
    target: str
    sentence: str
    """The gain and its causes."""
    lines: tuple[str, ...]
    """Labels, confusions, length and format, a line for each that the target has."""
    numbers: Numbers
    """All numbers behind them: ``evidence``, ``attribution``, ``labels``, ``confusion``,
    ``length``, ``format``; None where the target has no such thing."""
    notes: tuple[str, ...]
    """What is not known, and how to get it."""


def tell_story(
    study: TransferStudy,
    source: str,
    target: str,
    *,
    rng: np.random.Generator,
    n_resamples: int = 499,
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

    Raises
    ------
    AnalysisError
        There is no such source or target, or the study has scores only.
    """
    one = _one_cell(study, source, target)
    attributed = Attribution(n_resamples=n_resamples)(one, rng=rng)
    labels = LabelShift(n_resamples=n_resamples)(one, rng=rng)
    confusion = Confusion(n_resamples=n_resamples)(one, rng=rng)
    length = OutputLength(n_resamples=n_resamples)(one, rng=rng)
    formats = AnswerFormat(n_resamples=n_resamples)(one, rng=rng)
    matrix = transfer_matrix(one)
    has_labels = bool(labels.shares)
    numbers: Numbers = {
        "evidence": _row(matrix.to_frame()),
        "attribution": _row(attributed.to_frame()),
        "labels": _row(labels.to_frame()) if has_labels else None,
        "confusion": _confusion_numbers(confusion, source, target),
        "length": _row(length.to_frame()) if length.data.sizes["target"] else None,
        "format": _row(formats.to_frame()),
    }
    scale, unit = _unit(numbers["evidence"]["unit"])
    lines = [
        *_evidence_lines(numbers["evidence"], scale, unit),
        *_label_lines(labels, numbers["labels"], source, target),
        *_confusion_lines(confusion, target),
        *_length_lines(numbers["length"], scale, unit),
        *_format_lines(numbers["format"], scale, unit),
    ]
    known = (labels.notes if has_labels else (), length.notes, matrix.notes)
    notes = tuple(dict.fromkeys(note for notes in known for note in notes))
    sentence = attributed.sentence(source, target)
    return Story(
        source=source, target=target, sentence=sentence, lines=tuple(lines),
        numbers=numbers, notes=notes,
    )  # fmt: skip


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


def _row(frame: pl.DataFrame) -> Numbers:
    return frame.row(0, named=True)


def _unit(unit: str) -> tuple[float, str]:
    return (100.0, "points") if unit == "fraction" else (1.0, unit)


def _amount(row: Numbers, name: str, scale: float) -> str:
    value, low, high = (scale * row[n] for n in (name, f"{name}_low", f"{name}_high"))
    ends = "" if math.isnan(low) or math.isnan(high) else f" [{low:+.1f}, {high:+.1f}]"
    return f"{value:+.1f}{ends}"


def _evidence_lines(row: Numbers, scale: float, unit: str) -> Iterator[str]:
    p = "" if math.isnan(row["p_value"]) else f", p = {row['p_value']:.2g}"
    yield (
        f"score: base {scale * row['base_score']:.1f}, adapter {scale * row['score']:.1f} "
        f"{unit} ({row['metric']}); gain {_amount(row, 'gain', scale)}{p}"
    )


def _label_lines(
    found: LabelShifts, row: Numbers | None, source: str, target: str
) -> Iterator[str]:
    if row is None:
        return
    shares = found.shares[target]
    change = np.abs(shares.sel(model=source).values - shares.sel(model=BASE).values)
    label = str(shares["label"].values[int(np.nan_to_num(change).argmax())])
    own, base, gold = (
        float(shares.sel(model=model, label=label)) for model in (source, BASE, "gold")
    )
    yield (
        f"labels: answers {label!r} in {own:.0%} (base {base:.0%}, gold {gold:.0%}); "
        f"{row['shift_from_gold']:.3f} bits from gold "
        f"[{row['shift_from_gold_low']:.3f}, {row['shift_from_gold_high']:.3f}] "
        f"(base {row['base_shift_from_gold']:.3f})"
    )
    corrected = _amount(row, "gain_at_gold_mix", 100.0)
    yield f"labels: with both at the gold label mix the gain in accuracy is {corrected} points"
    if not math.isnan(row["shift_from_source"]):
        yield f"labels: {row['shift_from_source']:.3f} bits from the label mix of its training data"


def _confusion_numbers(found: Confusions, source: str, target: str) -> Numbers | None:
    if target not in found.tables:
        return None
    return {
        "labels": found.tables[target]["answer"].values.tolist(),
        "base": found.matrix(BASE, target).values.tolist(),
        "adapter": found.matrix(source, target).values.tolist(),
        "created": found.created.to_dicts(),
        "agreement": found.tables[target]
        .drop_dims(["gold", "answer"])
        .to_dataframe()
        .to_dict("index"),
    }


def _confusion_lines(found: Confusions, target: str) -> Iterator[str]:
    if target not in found.tables:
        return
    changed = found.created.filter(pl.col("p_adjusted") <= 0.05).sort(
        -pl.col("difference").abs(), maintain_order=True
    )
    if not changed.height:
        yield "confusions: none is significantly more or less frequent than with the base"
        return
    row = changed.row(0, named=True)
    yield (
        f"confusions: takes {row['gold']!r} for {row['answer']!r} in {row['rate']:.0%} of "
        f"{row['n']} cases (base {row['base_rate']:.0%}, adj. p = {row['p_adjusted']:.2g})"
    )


def _length_lines(row: Numbers | None, scale: float, unit: str) -> Iterator[str]:
    if row is None:
        return
    yield (
        f"length: median {row['median']:.0f} tokens (base {row['base_median']:.0f}), "
        f"{row['truncated']:.0%} cut off (base {row['base_truncated']:.0%})"
    )
    yield (
        f"length: {_amount(row, 'lengths_changed', scale)} {unit} because lengths changed, "
        f"{_amount(row, 'better_at_equal_length', scale)} at equal length"
    )
    if not math.isnan(row["interpolation"]):
        yield (
            f"length: {row['interpolation']:.2f} of the way from the base's length to that of "
            f"the training outputs [{row['interpolation_low']:.2f}, "
            f"{row['interpolation_high']:.2f}]"
        )


def _format_lines(row: Numbers, scale: float, unit: str) -> Iterator[str]:
    if row["readable"] == row["base_readable"] == 1.0:
        return
    yield (
        f"format: {row['readable']:.0%} of answers can be read (base {row['base_readable']:.0%}), "
        f"which makes {_amount(row, 'readable_more', scale)} {unit}"
    )
    if not math.isnan(row["lenient_gain"]):
        yield (
            "format: where the gold may stand anywhere in the answer the gain is "
            f"{_amount(row, 'lenient_gain', scale)} {unit}"
        )
