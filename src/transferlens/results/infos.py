"""What is known of sources and targets, completed with those that only the rows name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import polars as pl

from transferlens.results.plan import Plan
from transferlens.results.schema import SourceInfo, TargetInfo
from transferlens.study import BASE

__all__ = ["Parted", "parted", "sources_of", "targets_of", "with_sources", "with_targets"]


class Parted(TypedDict):
    """Sources of their own, and twins."""

    sources: tuple[SourceInfo, ...]
    twins: tuple[SourceInfo, ...]


def parted(infos: Sequence[SourceInfo]) -> Parted:
    """Part the sources of their own from the twins, in their order."""
    return {
        "sources": tuple(info for info in infos if info.twin_of is None),
        "twins": tuple(info for info in infos if info.twin_of is not None),
    }


def sources_of(plan: Plan) -> tuple[SourceInfo, ...]:
    """Return the sources that a plan's cells name."""
    names = dict.fromkeys(cell.source for cell in plan.cells if cell.source != BASE)
    return tuple(SourceInfo(name=name) for name in names)


def targets_of(plan: Plan) -> tuple[TargetInfo, ...]:
    """Return the targets that a plan's cells name."""
    return tuple(TargetInfo(name=n) for n in dict.fromkeys(cell.target for cell in plan.cells))


def with_sources(given: Sequence[SourceInfo], frame: pl.DataFrame) -> tuple[SourceInfo, ...]:
    """Return the given sources, and behind them those that only the rows name."""
    known = {info.name for info in given} | {BASE}
    found = frame["source"].unique(maintain_order=True)
    return (*given, *(SourceInfo(name=name) for name in found if name not in known))


def with_targets(given: Sequence[TargetInfo], frame: pl.DataFrame) -> tuple[TargetInfo, ...]:
    """Return the given targets, and behind them those that only the rows name."""
    known = {info.name for info in given}
    found = frame["target"].unique(maintain_order=True)
    return (*given, *(TargetInfo(name=name) for name in found if name not in known))
