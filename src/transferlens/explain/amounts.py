"""Numbers in sentences: one decimal and a sign where it matters, and never "-0.0"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transferlens.results import format_value

__all__ = ["amount", "decimals", "scale_and_unit", "span"]


def scale_and_unit(unit: str) -> tuple[float, str]:
    """Return by what a target's numbers are multiplied for a reader, and the unit they then have.

    Fractions become points.
    """
    return (100.0, "points") if unit == "fraction" else (1.0, unit)


def amount(row: Mapping[str, Any], name: str, scale: float) -> str:
    """Return a change with its sign and interval, such as ``+1.2 [-0.3, +2.7]``."""
    value, low, high = (scale * float(row[n]) for n in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(low) or math.isnan(high):
        return format_value(value, signed=True)
    low_end, high_end = format_value(low, signed=True), format_value(high, signed=True)
    return f"{format_value(value, signed=True)} [{low_end}, {high_end}]"


def span(row: Mapping[str, Any], name: str, digits: int) -> str:
    """Return a number without a sign and its interval, such as ``0.12 [0.05, 0.20]``."""
    value, low, high = (float(row[n]) for n in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(low) or math.isnan(high):
        return decimals(value, digits)
    return f"{decimals(value, digits)} [{decimals(low, digits)}, {decimals(high, digits)}]"


def decimals(value: float, digits: int) -> str:
    """Return a number with so many decimals; 0 has no sign, and NaN is ``-``."""
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"
