"""What two studies have in common, and what of them cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.stats.arrays import IntArray

__all__ = ["Common", "in_common", "of_seed", "study_label"]

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Sources and targets that both studies have, in the first one's order."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    left_out: tuple[str, ...]
    """What cannot be compared and why, a line each."""

    @property
    def own(self) -> IntArray:
        """Place of each source's own task among the targets, -1 without one; (source,)."""
        place = {name: at for at, name in enumerate(self.targets)}
        return np.array([place.get(name, -1) for name in self.sources], dtype=np.int64)


def study_label(study: TransferStudy) -> str:
    """Return the name of a study as a person knows it."""
    return str(study.origin.get("name") or (study.path.name if study.path else "study"))


def in_common(first: TransferStudy, second: TransferStudy, labels: tuple[str, str]) -> Common:
    """Find what both studies have.

    A target is the same where name, metric, unit and direction are.

    Raises
    ------
    AnalysisError
        No source or no target is in both.
    """
    sources = _shared([s.name for s in first.sources], [s.name for s in second.sources])
    others = {info.name: info for info in second.targets}
    unlike = {t.name: _unlike(t, others[t.name]) for t in first.targets if t.name in others}
    targets = [name for name, why in unlike.items() if not why]
    lines = [
        *_only_in("source", [s.name for s in first.sources], sources, labels[0]),
        *_only_in("source", [s.name for s in second.sources], sources, labels[1]),
        *_only_in("target", [t.name for t in first.targets], list(unlike), labels[0]),
        *_only_in("target", [t.name for t in second.targets], list(unlike), labels[1]),
        *(f"target {name}: {why}" for name, why in unlike.items() if why),
    ]
    for kind, found in (("source", sources), ("target", targets)):
        if not found:
            why = "; ".join(lines)
            msg = f"the studies {labels[0]} and {labels[1]} have no {kind} in common ({why})"
            raise AnalysisError(msg)
    return Common(sources=tuple(sources), targets=tuple(targets), left_out=tuple(lines))


def _shared(first: Sequence[str], second: Sequence[str]) -> list[str]:
    known = set(second)
    return [name for name in first if name in known]


def _only_in(kind: str, names: Sequence[str], both: Sequence[str], label: str) -> Iterator[str]:
    alone = [name for name in names if name not in set(both)]
    if alone:
        more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
        plural = "s" if len(alone) > 1 else ""
        yield f"{kind}{plural} only in {label}: {', '.join(alone[:_MOST_NAMED])}{more}"


def _unlike(one: TargetInfo, other: TargetInfo) -> str:
    """Say why scores on two targets are not the same quantity; empty where they are."""
    for what, a, b in (
        ("metric", one.metric, other.metric),
        ("unit", one.unit, other.unit),
    ):
        if a != b:
            return f"its {what} is {a} in one study and {b} in the other"
    if one.higher_is_better != other.higher_is_better:
        return "more is better in one study, less in the other"
    return ""


def of_seed(study: TransferStudy, seed: int) -> TransferStudy:
    """Return the study with the training runs of one seed; a base that ran once stays.

    Raises
    ------
    AnalysisError
        The study has no such seed.
    """
    if seed not in study.seeds:
        msg = f"the study has no seed {seed}; it has {', '.join(map(str, study.seeds))}"
        raise AnalysisError(msg)
    made = (
        TransferStudy.from_scores(_of_seed(study.score_rows.lazy(), seed))
        if study.predictions is None
        else TransferStudy.from_predictions(_of_seed(study.predictions, seed))
    )
    return replace(
        made,
        sources=study.sources,
        targets=study.targets,
        origin={**study.origin, "name": f"{study_label(study)}, seed {seed}"},
    )


def _of_seed(rows: pl.LazyFrame, seed: int) -> pl.DataFrame:
    base = rows.filter(pl.col("source") == BASE)
    seeds = base.select(pl.col("seed").unique()).collect()["seed"].to_list()
    of_base = seeds[0] if len(seeds) == 1 else seed
    wanted = pl.when(pl.col("source") == BASE).then(of_base).otherwise(seed)
    return rows.filter(pl.col("seed") == wanted).with_columns(seed=pl.lit(seed)).collect()
