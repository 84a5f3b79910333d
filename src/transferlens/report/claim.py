"""What a report says: a sentence with the word that its evidence allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transferlens.explain.amounts import amount, scale_and_unit

__all__ = [
    "Claim",
    "Lacking",
    "Verdict",
    "counted",
    "gain_in_words",
    "listed",
    "p_in_words",
    "verdict_of",
]

Verdict = Literal["significant", "suggestive", "cannot tell", "described"]
"""``described``: a count or a setting, which needs no evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence of the report."""

    text: str
    verdict: Verdict = "described"
    section: str = ""
    """Section of the page that shows what the sentence rests on; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A part that cannot be shown."""

    why: str
    """What is missing and how to get it, in one line."""


def verdict_of(p_value: float, p_adjusted: float, level: float) -> Verdict:
    """Return the word for a test: suggestive is what only the unadjusted test would call so."""
    if p_adjusted <= level:
        return "significant"
    return "suggestive" if p_value <= level else "cannot tell"


def gain_in_words(row: Mapping[str, Any], name: str = "gain") -> str:
    """Return a gain with interval and unit, such as ``+3.2 [+1.0, +5.4] points``."""
    scale, unit = scale_and_unit(str(row["unit"]))
    return f"{amount(row, name, scale)} {unit}"


def p_in_words(value: float) -> str:
    """Return a p-value as it is printed; ``not tested`` for NaN."""
    if math.isnan(value):
        return "not tested"
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 task`` or ``3 tasks``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row, the first few of many."""
    shown = list(names[:most])
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
