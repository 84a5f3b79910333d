"""The sentences of a story: one mechanism each, with its evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transferlens.explain.amounts import amount, decimals, scale_and_unit, span
from transferlens.explain.panels import ConfusionPair, LabelMixes
from transferlens.results import format_value

__all__ = [
    "confusion_lines",
    "evidence_lines",
    "format_lines",
    "label_lines",
    "length_lines",
]

Row = Mapping[str, Any]

_LEVEL = 0.05
_MOST_CONFUSIONS = 3


def evidence_lines(row: Row) -> Iterator[str]:
    """Yield the scores and the gain."""
    scale, unit = scale_and_unit(row["unit"])
    base, own = (format_value(scale * row[n], signed=False) for n in ("base_score", "score"))
    p = f", p = {row['p_value']:.2g} (adj. p = {row['p_adjusted']:.2g} among the study's cells)"
    yield (
        f"score: base {base}, adapter {own} {unit} ({row['metric']}); "
        f"gain {amount(row, 'gain', scale)}{'' if math.isnan(row['p_value']) else p}"
    )


def label_lines(row: Row | None, mixes: LabelMixes | None) -> Iterator[str]:
    """Yield the label mix, and what is left of the gain at the gold mix."""
    if row is None or mixes is None:
        return
    change = [
        0.0 if math.isnan(a - b) else abs(a - b)
        for a, b in zip(mixes.adapter, mixes.base, strict=True)
    ]
    at = change.index(max(change))
    yield (
        f"labels: answers {mixes.labels[at]!r} in {mixes.adapter[at]:.0%} "
        f"(base {mixes.base[at]:.0%}, gold {mixes.gold[at]:.0%}); "
        f"{span(row, 'shift_from_gold', 3)} bits from gold "
        f"(base {decimals(row['base_shift_from_gold'], 3)})"
    )
    yield (
        "labels: with both at the gold label mix the gain in accuracy is "
        f"{amount(row, 'gain_at_gold_mix', 100.0)} points{_share(row)}"
    )
    yield from _training_lines(row, mixes)


def _share(row: Row) -> str:
    share = row["share_removed"]
    if math.isnan(share):
        return ""
    if share >= 0.0:
        return f"; correction removes {share:.0%} of the gain"
    return f"; correction makes it {-share:.0%} larger"


def _training_lines(row: Row, mixes: LabelMixes) -> Iterator[str]:
    if not math.isnan(row["shift_from_source"]):
        yield (
            f"labels: {span(row, 'shift_from_source', 3)} bits from the label mix of its training "
            f"data, over the {row['shared_labels']:.0f} label words that both share"
        )
    elif mixes.training:
        top = max(mixes.training, key=lambda label: mixes.training[label])
        yield (
            f"labels: its training data have other label words ({top!r} in "
            f"{mixes.training[top]:.0%}; skew {decimals(row['source_skew'], 2)}); its answers here "
            f"have a skew of {decimals(row['skew'], 2)} (base {decimals(row['base_skew'], 2)}; "
            "0 even, 1 always the same)"
        )


def confusion_lines(
    pair: ConfusionPair | None, created: Sequence[Row], agreement: Mapping[str, Row]
) -> Iterator[str]:
    """Yield how well answers agree with gold, and which confusions changed most."""
    if pair is None:
        return
    own, base = agreement["adapter"], agreement["base"]
    measures = (("balanced accuracy", "balanced_accuracy"), ("macro-F1", "macro_f1"))
    shown = [
        f"{words} {span(own, name, 2)} (base {decimals(base[name], 2)})"
        for words, name in (*measures, ("Cohen's kappa", "kappa"), ("MCC", "mcc"))
    ]
    yield f"agreement: {', '.join(shown)}"
    changed = [row for row in created if row["p_adjusted"] <= _LEVEL]
    if not changed:
        yield "confusions: none is significantly more or less frequent than with the base"
    largest = sorted(changed, key=lambda row: -abs(row["difference"]))
    for row in largest[:_MOST_CONFUSIONS]:
        yield (
            f"confusions: takes {row['gold']!r} for {row['answer']!r} in {row['rate']:.0%} of "
            f"{row['n']} cases (base {row['base_rate']:.0%}, adj. p = {row['p_adjusted']:.2g})"
        )


def length_lines(row: Row | None, scale: float, unit: str) -> Iterator[str]:
    """Yield the lengths, and what of the gain hangs on them."""
    if row is None:
        return
    training = (
        "" if math.isnan(row["source_median"]) else f", training outputs {row['source_median']:.0f}"
    )
    yield (
        f"length: median {row['median']:.0f} tokens (base {row['base_median']:.0f}{training}); "
        f"{_words(row)}{row['truncated']:.0%} cut off (base {row['base_truncated']:.0%}), "
        f"{row['early']:.0%} end early (base {row['base_early']:.0%})"
    )
    yield (
        f"length: {amount(row, 'lengths_changed', scale)} {unit} because lengths changed, "
        f"{amount(row, 'better_at_equal_length', scale)} at equal length"
    )
    if not math.isnan(row["interpolation"]):
        yield (
            f"length: {span(row, 'interpolation', 2)} of the way from the base's length to that "
            "of the training outputs"
        )


def _words(row: Row) -> str:
    if math.isnan(row["words"]) or math.isnan(row["gold_words"]):
        return ""
    return (
        f"{decimals(row['words'], 1)} words (base {decimals(row['base_words'], 1)}, "
        f"gold {decimals(row['gold_words'], 1)}); "
    )


def format_lines(row: Row, scale: float, unit: str) -> Iterator[str]:
    """Yield the share of readable answers and the gain without questions of form."""
    if row["readable"] == row["base_readable"] == 1.0 and math.isnan(row["lenient_gain"]):
        return
    yield (
        f"format: {row['readable']:.0%} of answers can be read (base {row['base_readable']:.0%}), "
        f"which makes {amount(row, 'readable_more', scale)} {unit}"
    )
    if not math.isnan(row["lenient_gain"]):
        strict, lenient, base_strict, base_lenient = (
            format_value(scale * row[name], signed=False)
            for name in ("strict", "lenient", "base_strict", "base_lenient")
        )
        yield (
            f"format: score {strict} strict, {lenient} where the gold may stand anywhere in the "
            f"answer (base {base_strict}, {base_lenient}); the gain is then "
            f"{amount(row, 'lenient_gain', scale)} {unit}, so format alone makes "
            f"{amount(row, 'format_alone', scale)}"
        )
