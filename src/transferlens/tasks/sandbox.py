"""Where templates run: nothing is reachable but one row, and every step is counted.

A study file is shared and downloaded like data, so its templates run in
Jinja's immutable sandbox, which keeps them from Python's internals, and under
limits of our own, which keep them from filling the memory and from running
for ever: only the filters, methods and statements listed here exist, nothing
that they make may be longer than ``MAX_LENGTH``, and every step pays for the
items and characters that it touches out of one budget per row, ``MAX_WORK``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, time
from decimal import Decimal
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

__all__ = ["MAX_LENGTH", "MAX_WORK", "Sandbox", "check_length"]

MAX_LENGTH = 1_000_000
"""Longest text or list that a template may make."""
MAX_WORK = 3_000_000
"""Items, and sixteenths of a text's characters, that one rendering may touch: some seconds."""
_MAX_ROUNDS = 100_000
"""Rounds of all loops of one rendering together."""
_CHARACTERS = 16
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
        node.iter = _filtered(node.iter, "_counted")
        return node

    def visit_Compare(self, node: nodes.Compare, *args: Any, **kwargs: Any) -> nodes.Node:  # noqa: N802 - the name is Jinja's
        self.generic_visit(node, *args, **kwargs)
        node.expr = _filtered(node.expr, "_weighed")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "_weighed")
        return node

    def visit_Getitem(self, node: nodes.Getitem, *args: Any, **kwargs: Any) -> nodes.Node:  # noqa: N802 - the name is Jinja's
        self.generic_visit(node, *args, **kwargs)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filtered(node.node, "_weighed")
        return node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's environment for the template of one field; counts one rendering at a time."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=False,
            finalize=_present,
        )
        self.start()
        self.globals = {"range": _range}
        tests: dict[str, Any] = {
            name: TESTS[name] for name in TESTS if name not in {"filter", "test"}
        }
        filters: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS} | {
            "join": _join, "replace": _replace, "round": _round, "string": _string, "sum": _sum,
            "tojson": _tojson,
        }  # fmt: skip
        self.tests = {name: self._paying(test) for name, test in tests.items()}
        self.filters = {name: self._paying(function) for name, function in filters.items()}
        self.filters |= {"_counted": self._counted, "_weighed": self._weighed}

    def start(self) -> None:
        """Begin a rendering, with nothing spent."""
        self.rounds = 0
        self.work = 0

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Limits().visit(source), *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right``, unless the result is too large."""
        _check_operands(operator, left, right)
        self._pay(left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``range`` or one of the methods that are listed, nothing else."""
        # Inside a loop Jinja also passes the loop's variables, for functions that want a context.
        kwargs = {key: value for key, value in kwargs.items() if not key.startswith("_")}
        self._pay(getattr(obj, "__self__", None), *args)
        if obj is _range:
            return _range(*args, **kwargs)
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if not isinstance(owner, str | dict | list | tuple) or name not in _METHODS:
            msg = f"{name or type(obj).__name__!r} cannot be called in a template"
            raise SecurityError(msg)
        if name == "replace" and isinstance(owner, str):
            return self._paid(_replace(owner, *args, **kwargs))
        return super().call(context, obj, *args, **kwargs)

    def _counted(self, items: Iterable[Any]) -> list[Any]:
        found = list(items)
        self.rounds += len(found)
        if self.rounds > _MAX_ROUNDS:
            msg = f"its loops go round more than {_MAX_ROUNDS} times"
            raise SecurityError(msg)
        self._pay(found)
        return found

    def _weighed(self, value: Any) -> Any:
        self._pay(value)
        return value

    def _paying(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # its marks say whether Jinja hands it the environment first
        def paying(*args: Any, **kwargs: Any) -> Any:
            self._pay(*args)
            return self._paid(function(*args, **kwargs))

        return paying

    def _paid(self, result: Any) -> Any:
        if isinstance(result, str):
            self._pay(result)
        return result

    def _pay(self, *values: Any) -> None:
        """Count what an operation touches: all that its operands hold, at any depth."""
        left = list(values)
        while left:
            value = left.pop()
            self.work += 1
            if isinstance(value, str):
                self.work += len(value) // _CHARACTERS
            elif isinstance(value, range):
                self.work += len(value)
            elif isinstance(value, dict):
                left += (*value, *value.values())
            elif isinstance(value, list | tuple):
                left += value
            if self.work + len(left) > MAX_WORK:
                msg = "it computes for too long; make it simpler, or prepare the column in the data"
                raise SecurityError(msg)


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
        check_length(len(left) + len(right))
    elif operator == "*":
        times = left if isinstance(left, int) else right
        items = right if isinstance(left, int) else left
        if isinstance(times, int) and isinstance(items, Sequence):
            check_length(times * len(items))


def _bits(operator: str, left: float, right: float) -> float:
    if not isinstance(left, int) or not isinstance(right, int):
        return 0.0  # floating point overflows into an error by itself
    if operator == "*":
        return left.bit_length() + right.bit_length()
    return left.bit_length() * max(right, 0)


def _join(items: Iterable[Any], separator: str = "") -> str:
    texts = [str(_present(item)) for item in items]
    check_length(sum(map(len, texts)) + len(separator) * len(texts))
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
        check_length(length)
        parts.append(part)
    return "".join(parts)


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    if not isinstance(text, str):
        msg = f"'replace' is for text, not {type(text).__name__}; write {{{{ column | string }}}}"
        raise TypeError(msg)
    hits = text.count(old) if count < 0 else min(count, text.count(old))
    check_length(len(text) + hits * (len(new) - len(old)))
    return text.replace(old, new, count)


def _round(number: float, precision: int = 0) -> float:
    return round(number, precision)


def check_length(length: int) -> None:
    """Refuse what would be longer than ``MAX_LENGTH``."""
    if length > MAX_LENGTH:
        msg = f"it makes something longer than {MAX_LENGTH:,} characters or items"
        raise SecurityError(msg)
