"""The names under which a study's adapters are served, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transferlens.errors import ResultsError
from transferlens.results import StudyStore, TransferStudy
from transferlens.results.plan import PlannedAdapter

__all__ = ["AUTO", "BASE_MODEL", "Skill", "skills_of"]

BASE_MODEL = "base"
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A finished adapter."""

    source: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Name that no other adapter has."""
        return f"{self.source}@{self.seed}"


def skills_of(study: TransferStudy) -> Mapping[str, Skill]:
    """Return the finished adapters by every name that a request may use.

    ``source@seed`` for each, and the source alone for that of its lowest seed.

    Raises
    ------
    ResultsError
        The study has none.
    """
    if study.path is None or study.plan is None:
        msg = "the study lies in no folder, so it has no adapters to serve"
        raise ResultsError(msg)
    store = StudyStore.open(study.path)
    planned = sorted(study.plan.adapters, key=lambda one: one.seed)
    found: dict[str, Skill] = {}
    for adapter in planned:
        if store.adapters.done(adapter):
            skill = _skill(store, adapter)
            found.setdefault(skill.source, skill)
            found[skill.name] = skill
    if not found:
        msg = f"{study.path} holds no finished adapters: it was imported, or has not run yet"
        raise ResultsError(msg)
    for reserved in (BASE_MODEL, AUTO):
        found.pop(reserved, None)
    return found


def _skill(store: StudyStore, adapter: PlannedAdapter) -> Skill:
    folder = store.adapters.folder(adapter)
    return Skill(source=adapter.source, seed=adapter.seed, folder=folder)
