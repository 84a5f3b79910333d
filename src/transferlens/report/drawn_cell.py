"""The charts of one cell, for the report and for a page of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from transferlens.explain import MECHANISMS, GalleryExample
from transferlens.explain.amounts import scale_and_unit
from transferlens.report.charts import Row, forest
from transferlens.report.charts_matrix import confusion_table, confusions
from transferlens.report.charts_shares import label_shares, lengths
from transferlens.report.claim import counted, gain_in_words, p_in_words
from transferlens.report.summary_why import CellView
from transferlens.report.svg import Chart, Table
from transferlens.results import format_value

__all__ = ["DrawnCell", "draw_cell"]

_NAMES = {
    "format": "format",
    "prior": "label prior",
    "length": "length",
    "skill": "skill (rest)",
}
_MOST_FEATURES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCell:
    """Everything of a cell that is drawn or put in words."""

    gain: str
    evidence: str
    attribution: Chart
    charts: tuple[Chart, ...]
    confusions: Chart | None
    """None where there are none, or too many labels to draw."""
    confusion_table: Table | None
    """Where the matrices are too large to draw."""
    examples: tuple[tuple[str, tuple[GalleryExample, ...], int], ...]
    """Title, examples shown, how many there are."""


def draw_cell(view: CellView, *, most_examples: int = 10) -> DrawnCell:
    """Draw one cell."""
    story = view.story
    pair = story.confusion
    drawing = None if pair is None else confusions(pair, words=_confusion_words(view))
    return DrawnCell(
        gain=gain_in_words(view.evidence),
        evidence=_evidence(view),
        attribution=_attribution(view),
        charts=tuple(_charts(view)),
        confusions=drawing,
        confusion_table=None if pair is None or drawing is not None else confusion_table(pair),
        examples=(
            ("Gained", story.examples.gained[:most_examples], story.examples.n_gained),
            ("Lost", story.examples.lost[:most_examples], story.examples.n_lost),
        ),
    )


def _evidence(view: CellView) -> str:
    row = view.evidence
    scored = row["n_scored"]
    over = f" on {counted(int(scored), 'example')}" if not math.isnan(scored) else ""
    return (
        f"{p_in_words(row['p_value'])}, adjusted over all cells {p_in_words(row['p_adjusted'])}"
        f"{over}."
    )


def _attribution(view: CellView) -> Chart:
    parts = view.story.attribution
    scale, unit = scale_and_unit(view.evidence["unit"])
    rows = []
    for name in ("gain", *MECHANISMS):
        value, low, high = (scale * parts[key] for key in (name, f"{name}_low", f"{name}_high"))
        rows.append(Row(_NAMES.get(name, "gain, in all"), value, low, high, low > 0 or high < 0))
    largest = (
        f"Largest part: {_NAMES[view.main]}, {format_value(scale * parts[view.main], signed=True)}."
        if view.main
        else "No single part is told apart from 0 on the side of the gain."
    )
    return forest(
        rows,
        title="What the gain is made of",
        words=f"The parts add up to the gain. {largest}",
        measure=unit,
        bars=True,
    )


def _charts(view: CellView) -> Iterator[Chart]:
    story = view.story
    if story.label_mixes is not None and len(story.label_mixes.labels) <= 12:
        mixes = story.label_mixes
        change = [abs(a - b) for a, b in zip(mixes.adapter, mixes.base, strict=True)]
        at = change.index(max(change))
        yield label_shares(
            mixes,
            title="Labels answered",
            words=f"Largest change: {mixes.labels[at]}, {mixes.base[at]:.0%} of the base's answers "
            f"and {mixes.adapter[at]:.0%} of the adapter's; gold {mixes.gold[at]:.0%}.",
        )
    for histogram in story.lengths:
        words = "Share of answers of each length."
        if histogram.unit == "tokens" and story.length is not None:
            words = (
                f"Median: base {story.length['base_median']:.0f}, adapter "
                f"{story.length['median']:.0f} tokens."
            )
        yield lengths(histogram, title=f"Length in {histogram.unit}", words=words)
    yield from _features(view)


def _features(view: CellView) -> Iterator[Chart]:
    found = view.story.linguistics
    if found is None or not found.features:
        return
    rows = [
        Row(
            str(row["feature"]).replace("_", " "),
            float(row["odds_ratio"]),
            float(row["odds_low"]),
            float(row["odds_high"]),
            float(row["p_adjusted"]) <= found.level,
        )
        for row in found.features[:_MOST_FEATURES]
    ]
    sure = sum(float(row["p_adjusted"]) <= found.level for row in found.features)
    yield forest(
        rows,
        title="Linguistic features of the texts",
        words=f"Odds that the adapter wins rather than loses, at equal length, by {found.backend}; "
        f"{sure} of {found.n_tested} significant after control of false discoveries (*). "
        f"{counted(found.gained, 'example')} gained, {found.lost} lost.",
        measure="odds ratio (1: no effect)",
        log=True,
    )


def _confusion_words(view: CellView) -> str:
    measures = view.story.agreement
    if measures is None:
        return ""
    base, adapter = (measures[role].get("accuracy", float("nan")) for role in ("base", "adapter"))
    if math.isnan(base) or math.isnan(adapter):
        return ""
    return f"Accuracy: base {base:.1%}, adapter {adapter:.1%}. Outlined: right answers."
