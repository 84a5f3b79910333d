"""What a study folder is meant to hold: its adapters, its cells, its sources and targets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from transferlens.errors import ResultsError
from transferlens.results.schema import SourceInfo, TargetInfo

__all__ = ["Cell", "Plan", "PlannedAdapter", "checked_name"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def checked_name(name: str) -> str:
    """Return the name if it can be part of a file's name on every system.

    Raises
    ------
    ResultsError
        It holds a separator, begins with a dot, or is too long.
    """
    if not _PLAIN.fullmatch(name):
        msg = (
            f"{name!r} cannot be part of a file name: use up to 128 letters, digits, "
            "'.', '_' or '-', beginning with a letter or digit"
        )
        raise ResultsError(msg)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One adapter evaluated on one target."""

    id: str
    adapter_id: str
    source: str
    target: str
    seed: int
    n_examples: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Source, target and seed: the cell's place in the matrix."""
        return self.source, self.target, self.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAdapter:
    """One adapter that a study trains."""

    id: str
    source: str
    seed: int
    """Place in the matrix: a twin stands beside the adapter of its source with this seed."""
    n_rows: int
    n_tokens: int | None = None
    training_seed: int | None = None
    """Seed that it is trained with; None where it is ``seed``."""
    after: str | None = None
    """Id of the adapter that its training begins with; None where it begins afresh."""
    merge_of: tuple[str, ...] = ()
    """Ids of the adapters that it is merged from; empty where it is trained."""

    @property
    def folder(self) -> str:
        """Name of the adapter's folder inside ``adapters/``."""
        return f"{checked_name(self.source)}-s{self.seed}-{checked_name(self.id)[:8]}"


@dataclass(frozen=True)
class Plan:
    """Everything that a study folder holds once it is complete."""

    spec: dict[str, Any]
    """The study as JSON values; for an imported study, where it came from."""
    study_hash: str
    base: dict[str, Any]
    """Model, revision and fingerprint of the base."""
    adapters: tuple[PlannedAdapter, ...]
    cells: tuple[Cell, ...]
    targets: tuple[TargetInfo, ...] = field(default=())
    sources: tuple[SourceInfo, ...] = field(default=())

    @property
    def examples_ids(self) -> set[str]:
        """Names of the stored texts of its targets and sources."""
        named = [info.examples_id for info in self.targets]
        named += [info.examples_id for info in self.sources]
        return {name for name in named if name is not None}

    def to_json(self) -> bytes:
        """Return the plan as JSON, indented so that a person can read it."""
        return _adapter().dump_json(self, indent=1)

    @classmethod
    def from_json(cls, text: bytes, *, where: str) -> Plan:
        """Read a plan.

        Raises
        ------
        ResultsError
            The text is not JSON or not a plan; the message begins with ``where``.
        """
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            msg = f"{where}: not a plan{f' at {place}' if place else ''}: {first['msg']}"
            raise ResultsError(msg) from None


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)
