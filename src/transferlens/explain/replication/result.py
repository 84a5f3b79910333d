"""What a comparison of two studies says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from transferlens.explain.amounts import decimals, span
from transferlens.explain.replication.gains import GainAgreement
from transferlens.explain.replication.traits import TraitMatch

__all__ = ["Replication"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replication:
    """Traits, gains, signs and cells of two studies, compared."""

    labels: tuple[str, str]
    """What the studies are called."""
    sources: tuple[str, ...]
    """Sources that both have."""
    targets: tuple[str, ...]
    traits: tuple[TraitMatch, ...]
    gains: tuple[GainAgreement, ...]
    cells: pl.DataFrame
    """A row per common cell: ``source``, ``target``, ``own``, ``unit``, ``first_gain``,
    ``second_gain``, their ``_p_adjusted``, ``difference`` (second less first) with ``low``,
    ``high``, ``standard_error``, ``p_value`` and ``p_adjusted`` (Benjamini-Hochberg over all
    tested cells), ``test``, ``paired``, and ``verdict``: ``reversed`` (significant in both, with
    opposite signs), ``changed`` (the difference is significant), ``replicates`` (significant
    in both, with the same sign), ``cannot tell`` (significant in one, the difference is not),
    ``neither``, ``not tested``. NaN where there is no gain or no evidence."""
    left_out: tuple[str, ...]
    """What cannot be compared and why, a line each."""
    notes: tuple[str, ...]
    """What a reader must know."""
    level: float
    confidence: float

    def changed(self) -> pl.DataFrame:
        """Return the cells whose gains differ significantly, the largest difference first."""
        found = self.cells.filter(pl.col("p_adjusted") <= self.level)
        return found.sort(pl.col("difference").abs(), descending=True, maintain_order=True)

    @property
    def n_tested(self) -> int:
        """Cells whose difference was tested."""
        return int(self.cells["p_value"].is_not_nan().sum())

    def counts(self) -> dict[str, int]:
        """Return how many cells have each verdict."""
        words = ("replicates", "reversed", "changed", "cannot tell", "neither", "not tested")
        found = dict(self.cells.group_by("verdict").len().iter_rows())
        return {word: int(found.get(word, 0)) for word in words}

    def sentences(self) -> tuple[str, ...]:
        """Say what replicates and what does not, a sentence each."""
        return (
            *(_gain_words(one, self.sources, self.targets) for one in self.gains),
            *(words for one in self.gains if (words := _sign_words(one))),
            *self._cell_words(),
            *(_trait_words(one) for one in self.traits),
        )

    def _cell_words(self) -> Iterator[str]:
        if not self.n_tested:
            yield (
                "Which cells changed cannot be tested: there is no evidence per cell in at "
                "least one of the studies."
            )
            return
        counts = self.counts()
        changed = self.changed().height
        yield (
            f"{changed} of {self.n_tested} tested cells changed significantly (adjusted p <= "
            f"{self.level:g}, Benjamini-Hochberg); {counts['replicates']} are significant in both "
            f"with the same sign and did not change, {counts['reversed']} are significant with "
            "opposite signs."
        )


_MUCH = 0.1
"""Change of a correlation without one cell that is worth a word."""

_SCOPES = {
    "other tasks": "Gains on other tasks correlate",
    "pairs": "What is specific to a pair of source and target correlates",
    "all cells": "Gains on all cells, own tasks included, correlate",
}


def _gain_words(one: GainAgreement, sources: tuple[str, ...], targets: tuple[str, ...]) -> str:
    numbers = {"r": one.r, "r_low": one.low, "r_high": one.high}
    tested = "" if math.isnan(one.p_value) else f", p = {one.p_value:.2g}"
    most = (
        ""
        if math.isnan(one.ceiling)
        else f"; with this noise a perfect agreement would show as about {decimals(one.ceiling, 2)}"
    )
    if math.isnan(one.r):
        return f"{_SCOPES[one.scope]} with nothing: in one of the studies they do not vary."
    return (
        f"{_SCOPES[one.scope]} with r = {span(numbers, 'r', 2)} over "
        f"{one.n_cells} cells{tested}{_without_words(one, sources, targets)}{most}."
    )


def _without_words(one: GainAgreement, sources: tuple[str, ...], targets: tuple[str, ...]) -> str:
    """Name the cell that the correlation hangs on; empty where it hangs on none."""
    if not abs(one.r_without - one.r) > _MUCH:
        return ""
    cell = f"{sources[one.cell[0]]} → {targets[one.cell[1]]}"
    return f"; without the one cell {cell} r = {decimals(one.r_without, 2)}"


def _sign_words(one: GainAgreement) -> str:
    if not one.n_signed or one.scope != "other tasks":
        return ""
    numbers = {"s": 100 * one.same_sign, "s_low": 100 * one.sign_low, "s_high": 100 * one.sign_high}
    return (
        f"Signs agree on {span(numbers, 's', 0)} % of {one.n_signed} gains on other tasks; "
        f"by chance on {decimals(100 * one.sign_chance, 0)} % (p = {one.sign_p_value:.2g})."
    )


def _trait_words(one: TraitMatch) -> str:
    numbers = {"c": one.congruence, "c_low": one.low, "c_high": one.high}
    word = {
        "equal": "the same",
        "similar": "similar",
        "cannot tell": "cannot tell whether it is the same",
        "different": "not the same",
    }[one.verdict]
    made = "".join(
        f"; in the {which} study one {'cell' if '→' in by else 'source'} makes it ({by})"
        for which, by in zip(("first", "second"), one.made_by, strict=True)
        if by
    )
    space = (
        f"; turned together {decimals(one.turned, 2)}, so that axes differ more than the space"
        if one.turned - one.congruence > 0.15
        else ""
    )
    return (
        f"Trait {one.first} ({', '.join(one.targets)}) and trait {one.second} of the other: "
        f"{word}, congruence {span(numbers, 'c', 2)}, p = {one.p_value:.2g}{space}{made}."
    )
