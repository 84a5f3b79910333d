"""Templates that come with a study file: they see one row and can do nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import TemplateError, Undefined, UndefinedError
from jinja2.meta import find_undeclared_variables

from transferlens.errors import DataError, SpecError, did_you_mean
from transferlens.tasks.sandbox import Sandbox, check_length

__all__ = ["Expression", "MissingColumnError", "Template"]

_COMPILING = (TemplateError, SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
_RENDERING = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError,
    AssertionError, RecursionError, MemoryError,
)  # fmt: skip


class MissingColumnError(DataError):
    """A template uses a column that the row does not have."""


class _Compiled(ABC):
    """What templates and expressions share: their source, and errors that name it."""

    def __init__(self, source: str, what: str) -> None:
        self.source = source
        self.what = what
        self._sandbox = Sandbox()
        self._run = self._compile()
        self._columns = self._find_columns()

    def _compile(self) -> Callable[[Mapping[str, Any]], Any]:
        try:
            return self._make()
        except _COMPILING as error:
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
        self._sandbox.start()
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
                check_length(length)
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
