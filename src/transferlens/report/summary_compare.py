"""What of a study replicates in another one, as a page needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferlens.errors import AnalysisError
from transferlens.explain.amounts import decimals, span
from transferlens.explain.replication import Replication, TraitMatch, compare_studies
from transferlens.report.claim import Claim, Lacking, Verdict, counted
from transferlens.results import TransferStudy, format_value
from transferlens.transfer import in_points

__all__ = ["CompareTable", "CompareView", "compare_view", "write_comparison"]

_MOST_CELLS = 40
_TRAIT_VERDICTS: dict[str, Verdict] = {
    "equal": "significant",
    "similar": "significant",
    "different": "significant",
    "cannot tell": "cannot tell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareTable:
    """A table as the page's own are."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """The comparison with another study."""

    first: str
    second: str
    claims: tuple[Claim, ...]
    traits: CompareTable | None
    changed: CompareTable | None
    more: str
    """How many changed cells are not shown; empty where all are."""
    notes: tuple[str, ...]


def compare_view(
    study: TransferStudy, other: TransferStudy, *, level: float
) -> tuple[CompareView | Lacking, Replication | None]:
    """Compare a study with another one, and put it into words."""
    try:
        found = compare_studies(study, other, level=level)
    except AnalysisError as error:
        return Lacking(why=f"The studies cannot be compared: {error}."), None
    changed = found.changed()
    rows = tuple(_cell(row) for row in in_points(changed.head(_MOST_CELLS)).iter_rows(named=True))
    head = ("trained on", "task", "here", "there", "difference", "interval", "adjusted p")
    more = changed.height - len(rows)
    view = CompareView(
        first=found.labels[0],
        second=found.labels[1],
        claims=tuple(_claims(found)),
        traits=_traits(found.traits),
        changed=CompareTable(head=head, rows=rows) if rows else None,
        more=f"And {counted(more, 'cell')} more, in the data beside the page." if more else "",
        notes=(*(f"Not compared: {line}" for line in found.left_out), *found.notes),
    )
    return view, found


def write_comparison(found: Replication, folder: Path) -> list[tuple[Path, str]]:
    """Write every common cell with its difference beside the page.

    Raises
    ------
    OSError
        The system refuses to write.
    """
    what = "differences to the other study, a row per common cell"
    found.cells.write_parquet(folder / "comparison.parquet")
    found.cells.fill_nan(None).write_csv(folder / "comparison.csv")
    return [(folder / f"comparison.{kind}", what) for kind in ("parquet", "csv")]


def _claims(found: Replication) -> Iterator[Claim]:
    """Give each sentence the word that its test allows."""
    verdicts: list[Verdict] = [_tested(one.p_value, found.level) for one in found.gains]
    verdicts += [
        _tested(one.sign_p_value, found.level)
        for one in found.gains
        if one.scope == "other tasks" and one.n_signed
    ]
    verdicts.append("described")
    verdicts += [_TRAIT_VERDICTS[one.verdict] for one in found.traits]
    for text, verdict in zip(found.sentences(), verdicts, strict=True):
        yield Claim(text=text, verdict=verdict, section="compare")


def _tested(p_value: float, level: float) -> Verdict:
    if p_value <= level:
        return "significant"
    # NaN: own tasks are not tested, the correlation is a description.
    return "cannot tell" if p_value > level else "described"


def _traits(matches: tuple[TraitMatch, ...]) -> CompareTable | None:
    if not matches:
        return None
    head = ("here", "there", "largest loadings", "congruence", "turned", "p", "verdict")
    rows = (
        (
            f"trait {one.first}",
            f"trait {one.second}",
            ", ".join(one.targets),
            span({"c": one.congruence, "c_low": one.low, "c_high": one.high}, "c", 2),
            decimals(one.turned, 2),
            decimals(one.p_value, 3),
            one.verdict,
        )
        for one in matches
    )
    return CompareTable(head=head, rows=tuple(rows))


def _cell(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = (format_value(row[end], signed=True) for end in ("low", "high"))
    gains = (row["first_gain"], row["second_gain"], row["difference"])
    return (
        row["source"],
        row["target"],
        *(format_value(value, signed=True) for value in gains),
        f"{low} to {high} {row['unit']}",
        f"{row['p_adjusted']:.2g}",
    )
