"""Several bases and methods in one study file: a study for each pair, with a name of its own."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transferlens.errors import SpecError
from transferlens.study.document import Document, read_document
from transferlens.study.part import plain_name
from transferlens.study.spec import GRID_FIELDS, StudySpec

__all__ = ["GridSpec", "read_study"]

_UNPLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSpec:
    """Studies that differ in nothing but base and method.

    Each is an ordinary study with a hash and a folder of its own; the grid is their names.
    """

    name: str
    variants: Mapping[str, StudySpec]
    """Name of the variant, such as ``embedded-lora`` -> its study; those of one base together."""

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> GridSpec:
        """Read a study file with ``bases`` or ``methods``; as `StudySpec.from_yaml`.

        Raises
        ------
        SpecError
            The file cannot be read, has neither of them, or a variant is no valid study.
        """
        return cls._of(read_document(Path(path)).override(overrides))

    @classmethod
    def from_dict(cls, value: dict[str, Any], *, root: str | Path = ".") -> GridSpec:
        """Make a grid from plain values; as `StudySpec.from_dict`."""
        return cls._of(Document(value=value, root=Path(root).absolute()))

    @classmethod
    def _of(cls, document: Document) -> GridSpec:
        value = document.value
        if not any(field in value for field in GRID_FIELDS):
            msg = f"{document.where(())}: a grid has bases or methods; StudySpec reads a study"
            raise SpecError(msg)
        name = str(value.get("name", "study"))
        parts = [_named(document, plural, single) for plural, single in GRID_FIELDS.items()]
        variants: dict[str, StudySpec] = {}
        for base, base_at in parts[0].items():
            for method, method_at in parts[1].items():
                variant = "-".join(part for part in (base, method) if part)
                one = _variant(document, f"{name}-{variant}", base_at, method_at)
                variants[variant] = StudySpec._validated(one)  # noqa: SLF001 - it keeps the lines
        return cls(name=name, variants=MappingProxyType(variants))


def read_study(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec | GridSpec:
    """Read a study file, whichever of the two it is.

    Raises
    ------
    SpecError
        The file cannot be read, or a field of it is unknown or invalid.
    """
    document = read_document(Path(path)).override(overrides)
    if any(field in document.value for field in GRID_FIELDS):
        return GridSpec.from_yaml(path, overrides)
    return StudySpec.from_yaml(path, overrides)


_Place = tuple[str, str | int]
"""Where a base or a method stands: ``("methods", "full")`` or ``("bases", 0)``."""


def _named(document: Document, plural: str, single: str) -> dict[str, _Place | None]:
    """Return the bases or methods of a grid by name; one without a name where there are none."""
    value = document.value.get(plural)
    if plural not in document.value:
        return {"": None}
    where = document.where((plural,))
    if single in document.value:
        msg = f"{where}: {single} and {plural} are both given; remove one of them"
        raise SpecError(msg)
    if not isinstance(value, dict | list) or not value:
        msg = f"{where}: give a list, or a mapping of names to what {single} holds"
        raise SpecError(msg)
    if isinstance(value, dict):
        return {_plain(document, (plural, key)): (plural, key) for key in value}
    found: dict[str, _Place | None] = {}
    for at, one in enumerate(value):
        name = _short(one)
        if name in found:
            msg = (
                f"{document.where((plural, at))}: two of {plural} are called {name!r}; write a "
                "mapping with a name for each"
            )
            raise SpecError(msg)
        found[name] = (plural, at)
    return found


def _plain(document: Document, place: _Place) -> str:
    try:
        return plain_name(str(place[1]))
    except ValueError as error:
        msg = f"{document.where(place)}: {error}"
        raise SpecError(msg) from None


def _short(value: Any) -> str:
    """Return a name for a base or a method: the end of its path, without unusual signs."""
    text = (value.get("model") or value.get("name")) if isinstance(value, dict) else value
    return _UNPLAIN.sub("-", Path(str(text)).name).strip("-._") or "unnamed"


def _variant(document: Document, name: str, base: _Place | None, method: _Place | None) -> Document:
    """Return the study of one base and one method, whose fields know their lines."""
    value = {k: copy.deepcopy(v) for k, v in document.value.items() if k not in GRID_FIELDS}
    value["name"] = name
    lines = dict(document.lines)
    for single, place in (("base", base), ("method", method)):
        if place is None:
            continue
        own = document.value[place[0]][place[1]]
        # A bare name of a method, as that of a base, is enough.
        bare = single == "method" and isinstance(own, str)
        value[single] = {"name": own} if bare else copy.deepcopy(own)
        lines |= {(single, *p[2:]): line for p, line in document.lines.items() if p[:2] == place}
    return replace(document, value=value, lines=lines)
