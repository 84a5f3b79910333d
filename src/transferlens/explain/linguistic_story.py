"""The linguistic features of one cell, for a story: what is significant, and by which backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from transferlens.errors import TransferLensError
from transferlens.explain.linguistics.catalog import relation_of
from transferlens.explain.linguistics.result import (
    LinguisticEvidence,
    odds,
    texts_in_words,
    why_untested,
)
from transferlens.explain.linguistics.sensitivity import LinguisticSensitivity
from transferlens.results import TransferStudy

__all__ = ["CellLinguistics", "cell_linguistics"]

_SHOWN = (
    *("feature", "group", "unit", "grade", "backend", "coding", "scale", "n_present"),
    *("odds_ratio", "odds_low", "odds_high", "p_value", "p_adjusted", "method"),
)
_RATIOS = ("success_ratio", "adapter_right", "base_right", "ratio_reliable")
_MOST_RELATIONS = 5
_MOST_FEATURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLinguistics:
    """Which features of a text change the odds that the adapter wins in one cell."""

    backend: str
    kind: Literal["lexicon", "parser"]
    gained: int
    """Examples on which the adapter is better than the base."""
    lost: int
    level: float
    """Bound on the false-discovery rate over the features of this cell."""
    n_tested: int
    untested: str
    """Why no feature was tested; empty where some were."""
    sentences: tuple[str, ...]
    """What is significant, or that nothing is."""
    features: tuple[Mapping[str, Any], ...]
    """A row per feature that was tested, the strongest evidence first: name, grade, odds
    ratio with its interval, p-values; and the success ratio on the texts that have it."""
    relations: tuple[Mapping[str, Any], ...]
    """A row per dependency relation that a text has: the paper's success ratio, its counts,
    and whether they are large enough to mean anything. Empty without a parser."""

    def lines(self) -> Iterator[str]:
        """Yield what a story prints: the strongest of the significant features."""
        if self.untested:
            yield f"linguistics: not tested: {self.untested}"
            return
        found = [row for row in self.features if row["p_adjusted"] <= self.level]
        how = f"parser {self.backend}" if self.kind == "parser" else "word lists"
        yield (
            f"linguistics: {len(found) or 'none'} of {self.n_tested} features ({how}) significant "
            f"after control of the false-discovery rate, on {self.gained + self.lost} examples on "
            f"which adapter and base differ ({self.gained} gained, {self.lost} lost)"
        )
        for row in found[:_MOST_FEATURES]:
            ends = f"[{odds(row['odds_low'])}, {odds(row['odds_high'])}]"
            yield (
                f"linguistics: on {texts_in_words(row, row['meaning'])} the odds of winning rather "
                f"than losing are {odds(row['odds_ratio'])} {ends} times as high at equal length "
                f"(adj. p = {row['p_adjusted']:.2g}, grade {row['grade']})"
            )
        if len(found) > _MOST_FEATURES:
            yield f"linguistics: and {len(found) - _MOST_FEATURES} more: --json has all"
        yield from self._relation_lines()

    def _relation_lines(self) -> Iterator[str]:
        if not self.relations:
            return
        usable = [row for row in self.relations if row["ratio_reliable"]]
        shown = "; ".join(
            f"{row['relation']} {row['success_ratio']:.2f} "
            f"({row['adapter_right']:.0f} against {row['base_right']:.0f} right)"
            for row in usable[:_MOST_RELATIONS]
        )
        few = len(self.relations) - len(usable)
        rest = f"{few} have too few right answers for a ratio to mean anything" if few else ""
        yield "linguistics: success ratio by relation: " + "; ".join(filter(None, (shown, rest)))


def cell_linguistics(
    study: TransferStudy,
    source: str,
    target: str,
    *,
    model: str | None,
    cache: str | Path | None,
    level: float = 0.05,
) -> CellLinguistics | str:
    """Test the linguistic features of one cell.

    Returns
    -------
    CellLinguistics or str
        One line that says what is missing, and how to get it, where the study holds no
        texts, or a package or model is not installed: the rest of a story stands without.
    """
    try:
        found = LinguisticSensitivity(
            model=model, sources=(source,), targets=(target,), cache=cache
        )(study)
    except TransferLensError as error:
        return f"linguistics: {error}"
    return _cell(found, source, target, level)


def _cell(found: LinguisticEvidence, source: str, target: str, level: float) -> CellLinguistics:
    meaning = found.features.select("feature", "meaning")
    rows = found.cell(source, target).join(meaning, on="feature", maintain_order="left")
    tested = rows.filter(pl.col("p_value").is_not_nan())
    relations = {name: relation_of(name) for name in rows["feature"]}
    ratios = (
        rows.with_columns(relation=pl.col("feature").replace_strict(relations, default=None))
        .filter(pl.col("relation").is_not_null(), pl.col("success_ratio").is_not_nan())
        .sort(-pl.col("success_ratio").log().abs(), maintain_order=True)
        .select("relation", *_RATIOS)
    )
    first = rows.row(0, named=True)
    return CellLinguistics(
        backend=found.backend,
        kind="lexicon" if found.backend == "lexicon" else "parser",
        gained=int(first["gained"]),
        lost=int(first["lost"]),
        level=level,
        n_tested=tested.height,
        untested="" if tested.height else why_untested(rows),
        sentences=found.sentences(source, target, level=level),
        features=tuple(tested.select(*_SHOWN, "meaning", *_RATIOS).to_dicts()),
        relations=tuple(ratios.to_dicts()),
    )
