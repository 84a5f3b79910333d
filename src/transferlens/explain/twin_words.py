"""The effect of a property of training data, as a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["effect_sentence", "quantity"]

_DOINGS: Mapping[str, str] = {
    "mislabelled": "permuting the labels of {source}",
    "balanced": "making {source} balanced",
    "skewed": "skewing {source} ({value})",
    "truncated_outputs": "cutting the outputs of {source} after {value} words",
    "length_matched": "giving {source} outputs as long as those of {value}",
    "shuffled_words": "shuffling the words of the prompts of {source}",
    "token_matched": "training {source} on as many tokens as {value}",
    "reseeded": "training {source} with another seed",
    "prompt_format": "giving {source} another prompt format",
}


def effect_sentence(row: Mapping[str, Any]) -> str:
    """Say what a row of `TwinEffects.frame` means, in points where its unit is a fraction."""
    doing = _DOINGS[row["control"]].format(source=row["source"], value=row["control_value"])
    unit = row["unit"]
    scale, what = (100.0, "points") if unit == "fraction" else (1.0, unit)
    numbers = [scale * row[name] for name in ("difference", "low", "high")]
    digits = 0 if scale > 1 and abs(numbers[0]) >= 10 else 1
    by, low, high = (_signed(number, digits) for number in numbers)
    interval = "" if math.isnan(numbers[1]) else f" [{low}, {high}]"
    return f"{doing} changes {quantity(row)} on {row['target']} by {by} {what}{interval}"


def quantity(row: Mapping[str, Any]) -> str:
    """Return what a row of `TwinEffects.frame` measures."""
    if row["measure"] == "share":
        return f"the predicted share of '{row['label']}'"
    return {"score": "the score", "length": "the output length"}[row["measure"]]


def _signed(number: float, digits: int) -> str:
    text = f"{number:+.{digits}f}"
    # A minus sign is as wide as a plus, a hyphen is not.
    return text.replace("-", "−")
