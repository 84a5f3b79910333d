"""Hidden factors of the data, as a page needs them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from transferlens.explain.amounts import scale_and_unit
from transferlens.explain.factors import FactorEvidence, FactorTest
from transferlens.report.claim import Claim, Lacking, Verdict, counted, p_in_words, verdict_of
from transferlens.results import format_value

__all__ = ["FactorRow", "FactorsView", "factors_view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorRow:
    """One factor that could be tested."""

    name: str
    block: str
    """``surface`` (similarity, quality), ``hidden`` (classes, length, linguistics) or size."""
    value: float
    """Change of the gain per SD of the factor."""
    low: float
    high: float
    p_adjusted: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorsView:
    """All factors, the surest first."""

    claims: tuple[Claim, ...]
    rows: tuple[FactorRow, ...]
    unit: str
    untested: tuple[tuple[str, str], ...]
    """Factor, and why it was not tested."""
    notes: tuple[str, ...]


def factors_view(found: FactorEvidence | Lacking, level: float) -> FactorsView | Lacking:
    """Arrange the factors."""
    if isinstance(found, Lacking):
        return found
    scale, unit = scale_and_unit(found.unit)
    tested = sorted((t for t in found.tests if not t.reason), key=lambda test: test.p_value)
    return FactorsView(
        claims=tuple(_claims(found, tested, level)),
        rows=tuple(_row(test, scale, level) for test in tested),
        unit=unit,
        untested=tuple((t.factor.replace("_", " "), t.reason) for t in found.tests if t.reason),
        notes=tuple(found.notes),
    )


def _row(test: FactorTest, scale: float, level: float) -> FactorRow:
    return FactorRow(
        name=test.factor.replace("_", " "),
        block=test.block,
        value=scale * test.coefficient,
        low=scale * test.low,
        high=scale * test.high,
        p_adjusted=test.p_adjusted,
        verdict=verdict_of(test.p_value, test.p_adjusted, level),
    )


def _claims(found: FactorEvidence, tested: list[FactorTest], level: float) -> Iterator[Claim]:
    scale, unit = scale_and_unit(found.unit)
    if found.comparison is not None:
        word = found.comparison.verdict
        yield Claim(
            text=found.comparison.sentence,
            verdict="cannot tell" if word == "cannot tell" else "significant",
            section="factors",
        )
    sure = found.significant(level)
    for test in sure[:3]:
        ends = (
            ""
            if math.isnan(test.low)
            else f" [{format_value(scale * test.low, signed=True)}, "
            f"{format_value(scale * test.high, signed=True)}]"
        )
        yield Claim(
            text=f"One SD more {test.factor.replace('_', ' ')}: gain "
            f"{format_value(scale * test.coefficient, signed=True)}{ends} {unit} "
            f"(adjusted {p_in_words(test.p_adjusted)}).",
            verdict="significant",
            section="factors",
        )
    if tested and not sure:
        yield Claim(
            text=f"None of {counted(len(tested), 'factor')} is significant after adjustment.",
            verdict="cannot tell",
            section="factors",
        )
    text = found.power_sentence
    yield Claim(text=f"{text[0].upper()}{text[1:]}", section="factors")
