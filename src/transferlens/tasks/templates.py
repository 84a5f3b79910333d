"""Templates that come with a study file: they see one row and can do nothing else.

A study file is shared and downloaded like data, so its templates run in
Jinja's immutable sandbox, which keeps them from Python's internals, and under
limits of our own, which keep them from filling the memory: only the filters,
methods and statements listed here exist, and nothing that they make may be
longer than ``MAX_LENGTH``.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from jinja2 import (
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

from transferlens.errors import DataError, SpecError, did_you_mean

__all__ = ["MAX_LENGTH", "Expression", "MissingColumnError", "Template"]

MAX_LENGTH = 1_000_000
"""Longest text or list that a template may make."""
_MAX_ROUNDS = 100_000
"""Rounds of all loops of one rendering together."""
_MAX_BITS = 4096
"""Largest whole number that a template may compute."""

_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items",
    "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "reverse", "select", "selectattr", "sort", "title", "trim", "truncate", "unique", "upper",
)  # fmt: skip
_METHODS = frozenset((
    "capitalize", "count", "endswith", "find", "get", "index", "isalpha", "isdigit", "islower",
    "isupper", "items", "keys", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
    "replace", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "title", "upper", "values",
))  # fmt: skip
_FORBIDDEN = (
    nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.Import, nodes.FromImport, nodes.Include,
    nodes.Extends, nodes.Block, nodes.NSRef, nodes.With,
)  # fmt: skip

_RENDERING = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError,
)  # fmt: skip


class MissingColumnError(DataError):
    """A template uses a column that the row does not have."""


class _Limits(NodeTransformer):
    """Refuse statements that could run for ever, and route the rest through checks."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if isinstance(node, _FORBIDDEN) or (isinstance(node, nodes.For) and node.recursive):
            kind = type(node).__name__.lower()
            msg = f"{kind!r} is not allowed in a template"
            raise TemplateSyntaxError(msg, node.lineno)
        return super().visit(node, *args, **kwargs)

    def visit_Concat(self, node: nodes.Concat, *args: Any, **kwargs: Any) -> nodes.Node:  # noqa: N802 - the name is Jinja's
        self.generic_visit(node, *args, **kwargs)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "join", [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For, *args: Any, **kwargs: Any) -> nodes.Node:  # noqa: N802 - the name is Jinja's
        self.generic_visit(node, *args, **kwargs)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None, lineno=node.lineno)
        return node


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=False,
            finalize=_present,
        )
        self.rounds = 0
        self.globals = {"range": _range}
        self.tests = {name: TESTS[name] for name in TESTS if name not in {"filter", "test"}}
        self.filters = {name: FILTERS[name] for name in _FILTERS}
        self.filters |= {
            "join": _join, "replace": _replace, "round": _round, "string": _string, "sum": _sum,
            "tojson": _tojson, "_counted": self._counted,
        }  # fmt: skip

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Limits().visit(source), *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operands(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        # Inside a loop Jinja also passes the loop's variables, for functions that want a context.
        kwargs = {key: value for key, value in kwargs.items() if not key.startswith("_")}
        if obj is _range:
            return _range(*args, **kwargs)
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if not isinstance(owner, str | dict | list | tuple) or name not in _METHODS:
            msg = f"{name or type(obj).__name__!r} cannot be called in a template"
            raise SecurityError(msg)
        if name == "replace" and isinstance(owner, str):
            return _replace(owner, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    def _counted(self, items: Iterable[Any]) -> list[Any]:
        found = list(items)
        self.rounds += len(found)
        if self.rounds > _MAX_ROUNDS:
            msg = f"its loops go round more than {_MAX_ROUNDS} times"
            raise SecurityError(msg)
        return found


class _Compiled(ABC):
    """What templates and expressions share: their source, and errors that name it."""

    def __init__(self, source: str, what: str) -> None:
        self.source = source
        self.what = what
        self._sandbox = _Sandbox()
        self._run = self._compile()
        self._columns = self._find_columns()

    def _compile(self) -> Callable[[Mapping[str, Any]], Any]:
        try:
            return self._make()
        except (TemplateError, RecursionError) as error:
            msg = f"the {self.what} is not a valid template: {_one_line(error)}"
            raise SpecError(msg) from None

    @abstractmethod
    def _make(self) -> Callable[[Mapping[str, Any]], Any]: ...

    @abstractmethod
    def _find_columns(self) -> frozenset[str]: ...

    def __call__(self, row: Mapping[str, Any]) -> Any:
        """Return what the row gives.

        Raises
        ------
        MissingColumnError
            The row lacks a column that is used.
        DataError
            The template asks for something forbidden, too long, or undefined for this row.
        """
        self._sandbox.rounds = 0
        try:
            return self._run(row)
        except _RENDERING as error:
            self._explain_missing(row)
            msg = f"the {self.what} cannot be rendered: {_one_line(error)}"
            raise DataError(msg) from None

    def _explain_missing(self, row: Mapping[str, Any]) -> None:
        for name in sorted(self._columns - set(row)):
            near = did_you_mean(name, row)
            hint = near if near.startswith(" Did") else ""
            has = ", ".join(row)
            msg = f"the {self.what} uses the column {name!r}; the data has: {has}.{hint}"
            raise MissingColumnError(msg)


class Template(_Compiled):
    r"""A Jinja template that makes text out of a row.

    Parameters
    ----------
    source
        The template: ``"{{ question }}\nAnswer:"``.
    what
        Its field in the task, for messages: ``"prompt"``.
    """

    def _make(self) -> Callable[[Mapping[str, Any]], str]:
        template = self._sandbox.from_string(self.source)

        def run(row: Mapping[str, Any]) -> str:
            parts, length = [], 0
            for part in template.generate(row):
                length += len(part)
                if length > MAX_LENGTH:
                    raise SecurityError(_too_long())
                parts.append(part)
            return "".join(parts)

        return run

    def _find_columns(self) -> frozenset[str]:
        return frozenset(find_undeclared_variables(self._sandbox.parse(self.source))) - {"range"}


class Expression(_Compiled):
    """A Jinja expression that picks or computes a value of a row; a column name is one."""

    def _make(self) -> Callable[[Mapping[str, Any]], Any]:
        expression = self._sandbox.compile_expression(self.source, undefined_to_none=False)

        def run(row: Mapping[str, Any]) -> Any:
            value = expression(row)
            if isinstance(value, Undefined):
                str(value)  # a strict one raises, and says which name it was
                msg = "it has no value for this row"
                raise UndefinedError(msg)
            return value

        return run

    def _find_columns(self) -> frozenset[str]:
        tree = self._sandbox.parse("{{ " + self.source + " }}")
        return frozenset(find_undeclared_variables(tree)) - {"range"}


def _present(value: Any) -> Any:
    """Let through what has one natural text; Jinja calls this on everything it prints."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        msg = "a value that it prints is missing (null)"
        raise ValueError(msg)
    # A list inside a list inside … can be short to make and endless to print.
    if not isinstance(value, str | int | float | Decimal | date | time | Undefined):
        msg = f"it prints a {type(value).__name__}; pick an item, or join them"
        raise TypeError(msg)
    return value


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _MAX_ROUNDS:
        msg = f"range is longer than {_MAX_ROUNDS}"
        raise SecurityError(msg)
    return numbers


def _check_operands(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int | float) and isinstance(right, int | float):
        if operator in {"*", "**"} and _bits(operator, left, right) > _MAX_BITS:
            msg = "it computes too large a number"
            raise SecurityError(msg)
    elif operator == "%":
        msg = "'%' is for numbers; write {{ column }} to put text into text"
        raise SecurityError(msg)
    elif operator == "+" and isinstance(left, Sequence) and isinstance(right, Sequence):
        _check_length(len(left) + len(right))
    elif operator == "*":
        times = left if isinstance(left, int) else right
        items = right if isinstance(left, int) else left
        if isinstance(times, int) and isinstance(items, Sequence):
            _check_length(times * len(items))


def _bits(operator: str, left: float, right: float) -> float:
    if not isinstance(left, int) or not isinstance(right, int):
        return 0.0  # floating point overflows into an error by itself
    if operator == "*":
        return left.bit_length() + right.bit_length()
    return left.bit_length() * max(right, 0)


def _join(items: Iterable[Any], separator: str = "") -> str:
    texts = [str(_present(item)) for item in items]
    _check_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _string(value: Any) -> str:
    return str(_present(value))


def _sum(items: Iterable[Any], attribute: str | None = None) -> float:
    numbers = [item[attribute] for item in items] if attribute is not None else list(items)
    return sum(float(n) if isinstance(n, Decimal) else n for n in numbers)


def _tojson(value: Any) -> str:
    parts, length = [], 0
    for part in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        length += len(part)
        _check_length(length)
        parts.append(part)
    return "".join(parts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    hits = text.count(old) if count < 0 else min(count, text.count(old))
    _check_length(len(text) + hits * (len(new) - len(old)))
    return text.replace(old, new, count)


def _round(number: float, precision: int = 0) -> float:
    return round(number, precision)


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise SecurityError(_too_long())


def _too_long() -> str:
    return f"it makes something longer than {MAX_LENGTH:,} characters or items"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
