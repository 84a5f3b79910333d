"""A YAML document that remembers on which line each value stands."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from transferlens.errors import SpecError, did_you_mean

__all__ = ["MISPLACED", "Document", "read_document"]

MISPLACED = "misplaced_field"
"""Type of the error of a field that should not be there, whatever its value."""

_NO_DEFAULT = "default_factory_not_called"

_Place = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain values, the file they came from and the line of each."""

    value: Any = None
    root: Path = field(default_factory=Path.cwd)
    file: str | None = None
    lines: dict[_Place, int] = field(default_factory=dict)

    def where(self, path: Sequence[Hashable]) -> str:
        """Return ``file:line: dotted.path``, as exactly as it is known."""
        dotted = ".".join(str(part) for part in path)
        if self.file is None:
            return dotted or "study"
        for length in range(len(path), -1, -1):
            line = self.lines.get(tuple(path[:length]))
            if line is not None:
                return f"{self.file}:{line}: {dotted}" if dotted else f"{self.file}:{line}"
        return f"{self.file}: {dotted}" if dotted else self.file

    def explain(self, error: ValidationError, known: Iterable[str]) -> str:
        """Turn the first validation error into one line: where, what, what to do."""
        # A default that depends on a field which is wrong is no error of its own.
        errors = [e for e in error.errors(include_url=False) if e["type"] != _NO_DEFAULT]
        first = errors[0]
        path = [part for part in first["loc"] if not _is_branch(part)]
        more = len(errors) - 1
        hint = f" (and {more} more)" if more else ""
        if first["type"] == "extra_forbidden":
            name = str(path[-1])
            return f"{self.where(path)}: unknown field {name!r}.{did_you_mean(name, known)}{hint}"
        if first["type"] == "missing":
            return f"{self.where(path[:-1])}: the field {str(path[-1])!r} is missing{hint}"
        text = first["msg"].removeprefix("Value error, ")
        # What is wrong with a misplaced field is not its value.
        given = ... if first["type"] == MISPLACED else first["input"]
        shown = f", not {given!r}" if isinstance(given, str | int | float | bool | None) else ""
        return f"{self.where(path)}: {text}{shown}{hint}"

    def override(self, items: Iterable[str]) -> Document:
        """Return a copy in which each ``a.b=value`` replaces or adds a value."""
        value = copy.deepcopy(self.value)
        for item in items:
            key, sign, text = item.partition("=")
            if not sign or not key:
                msg = f"{item!r}: an override is written key=value, as in method.rank=8"
                raise SpecError(msg)
            _put(value, key.split("."), _parse_value(text, item))
        return Document(value=value, root=self.root, file=self.file, lines=self.lines)


def read_document(path: Path) -> Document:
    """Read a YAML file with the line of every value; duplicate keys are refused."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot read the study file ({_reason(error)})"
        raise SpecError(msg) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it does not parse"
        msg = f"{path}{line}: not valid YAML: {problem}"
        raise SpecError(msg) from None
    if not isinstance(value, dict):
        msg = f"{path}: a study file is a mapping with sources and targets"
        raise SpecError(msg)
    lines = dict(_walk(node, (), str(path)))
    return Document(value=value, root=path.absolute().parent, file=str(path), lines=lines)


def _walk(node: Any, path: _Place, file: str) -> Iterator[tuple[_Place, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                msg = f"{file}:{line}: the field {key.value!r} stands twice; remove one"
                raise SpecError(msg)
            seen.add(key.value)
            yield from _walk(child, (*path, key.value), file)
            yield (*path, key.value), line
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _walk(child, (*path, index), file)


def _parse_value(text: str, item: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        msg = f"{item!r}: the value is not valid YAML"
        raise SpecError(msg) from None


def _put(value: Any, keys: list[str], new: Any) -> None:
    """Set ``value[keys...] = new``; a shorthand string on the way gives way to a mapping."""
    *parents, last = keys
    for key in parents:
        child = _child(value, key, keys)
        if not isinstance(child, dict | list):
            child = {}
            _set(value, key, child, keys)
        value = child
    _set(value, last, new, keys)


def _child(value: Any, key: str, keys: list[str]) -> Any:
    if isinstance(value, list):
        return value[_index(value, key, keys)]
    return value.get(key)


def _set(value: Any, key: str, new: Any, keys: list[str]) -> None:
    if isinstance(value, list):
        value[_index(value, key, keys)] = new
    else:
        value[key] = new


def _index(value: list[Any], key: str, keys: list[str]) -> int:
    if not key.isdigit() or int(key) >= len(value):
        msg = f"{'.'.join(keys)}: {key!r} is no position in a list of {len(value)} (0 is the first)"
        raise SpecError(msg)
    return int(key)


def _is_branch(part: Any) -> bool:
    # Pydantic names the tried branch of a union in the location; users did not write it.
    return isinstance(part, str) and ("[" in part or part in {"str", "tuple", "literal"})


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
