"""From the rows of a split to the examples of a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transferlens.errors import DataError, TransferLensError, did_you_mean
from transferlens.study import TaskSpec
from transferlens.tasks.example import Example
from transferlens.tasks.readers import Rows
from transferlens.tasks.templates import Expression, Template

__all__ = ["Kind", "Renderer", "draw", "draw_all"]

Kind = Literal["choice", "generate"]
Row = Mapping[str, Any]


class Renderer:
    """Make examples of rows as a task's definition says.

    Parameters
    ----------
    spec
        The definition.
    kind
        Whether answers are chosen or written.

    Raises
    ------
    SpecError
        A template of the definition is not valid.
    """

    def __init__(self, spec: TaskSpec, kind: Kind) -> None:
        self.spec = spec
        self.kind = kind
        self._prompt = Template(spec.prompt, "prompt")
        self._completion = Template(spec.completion, "completion") if spec.completion else None
        self._label = Expression(spec.label, "label") if spec.label else None
        per_row = isinstance(spec.choices, str)
        self._choices = Expression(str(spec.choices), "choices") if per_row else None

    def __call__(self, row: Row) -> Example:
        """Return the example that a row makes.

        Raises
        ------
        DataError
            A column is missing, the label is not among the choices, or the
            prompt or the answer is empty.
        """
        row = self._named(row)
        prompt = str(self._prompt(row)).rstrip()
        if not prompt:
            msg = "the prompt is empty"
            raise DataError(msg)
        choices = self._row_choices(row)
        if choices is None:
            gold, completion = self._reference(row)
        else:
            gold = self._gold_choice(row, choices)
            completion = self._written(row) or gold
        if not gold.strip() or not completion.strip():
            empty = "completion" if gold.strip() else "answer (label)"
            msg = f"the {empty} is empty"
            raise DataError(msg)
        shown = choices if self.kind == "choice" else None
        return Example(prompt=prompt, completion=completion, gold=gold, choices=shown)

    def _named(self, row: Row) -> Row:
        if not self.spec.columns:
            return row
        for name, column in self.spec.columns.items():
            if column not in row:
                has = ", ".join(row)
                near = did_you_mean(column, row)
                hint = near if near.startswith(" Did") else ""
                msg = f"columns.{name} asks for the column {column!r}; the data has: {has}.{hint}"
                raise DataError(msg)
        return {**row, **{name: row[column] for name, column in self.spec.columns.items()}}

    def _row_choices(self, row: Row) -> tuple[str, ...] | None:
        if self._choices is not None:
            found = self._choices(row)
        elif self.spec.choices is not None:
            found = self.spec.choices
        else:
            found = row.get("choices") if self.kind == "choice" else None
            if found is None and self.kind == "generate":
                return None
        if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
            msg = f"choices must be a list, not {found!r}"
            raise DataError(msg)
        choices = tuple(self._trimmed(str(choice)) for choice in found if choice is not None)
        if len(choices) < 2 or not all(choices):
            msg = f"at least two choices are needed, none of them empty, not {list(choices)!r}"
            raise DataError(msg)
        return choices

    def _gold_choice(self, row: Row, choices: tuple[str, ...]) -> str:
        label = self._raw_label(row)
        if label is None:
            msg = "there is no label; name its column or expression in the field label"
            if self._label is not None or "label" in row:
                msg = "the label is missing (null); remove the row"
            raise DataError(msg)
        mapped = self.spec.labels.get(str(label))
        if isinstance(label, float) and label.is_integer():
            label = int(label)  # a column of numbers with a gap arrives as floating point
            mapped = mapped or self.spec.labels.get(str(label))
        if mapped is not None:
            label = mapped
        if isinstance(label, int):
            return self._choice_at(int(label), choices)
        text = self._trimmed(str(label))
        if text not in choices:
            msg = f"the label {text!r} is not among the choices ({', '.join(choices)}){_hint(text)}"
            raise DataError(msg)
        return text

    def _choice_at(self, index: int, choices: tuple[str, ...]) -> str:
        if not 0 <= index < len(choices):
            msg = f"the label {index} is no position among {len(choices)} choices (0 is the first)"
            raise DataError(msg)
        fixed = isinstance(self.spec.choices, tuple)
        # With choices such as 1, 2, 3 the number 1 could be the first or the second.
        if fixed and str(index) in choices and choices[index] != str(index):
            msg = (
                f"the label {index} could be a position or a choice; "
                "write `label: column | string`, or say what it means in labels"
            )
            raise DataError(msg)
        return choices[index]

    def _reference(self, row: Row) -> tuple[str, str]:
        label = self._raw_label(row)
        if label is not None:
            label = self.spec.labels.get(str(label), str(label))
        written = self._written(row)
        if written is None and self._completion is None and row.get("completion") is not None:
            written = self._trimmed(str(row["completion"]))
        if label is None and written is None:
            msg = "there is no answer: name its column in the field label or completion"
            raise DataError(msg)
        gold = label if label is not None else written
        completion = written if written is not None else label
        return str(gold).strip(), self._trimmed(str(completion))

    def _raw_label(self, row: Row) -> Any:
        return self._label(row) if self._label is not None else row.get("label")

    def _written(self, row: Row) -> str | None:
        return self._trimmed(str(self._completion(row))) if self._completion is not None else None

    def _trimmed(self, text: str) -> str:
        # Without a separator the study's author decides about white space: " yes".
        return text.strip() if self.spec.separator else text.rstrip()


def draw(
    rows: Rows, renderer: Renderer, *, limit: int | None, seed: int, where: str
) -> tuple[Example, ...]:
    """Return at most ``limit`` different examples of a split, in the order of its rows.

    The draw is a random permutation's beginning: a smaller limit gives a part
    of what a larger one gives. Where all rows are checked (`Rows.complete`),
    a bad row is reported even when it is not drawn.

    Raises
    ------
    DataError
        There are no rows, a row does not fit, or stands twice; the message
        begins with ``where`` and names the row.
    """
    order = _order(rows, seed, where)
    wanted = len(order) if limit is None else limit
    drawn = _render(rows, range(len(order)) if rows.complete else order, renderer, where, wanted)
    kept = [int(index) for index in order if int(index) in drawn][:wanted]
    return tuple(drawn[index] for index in sorted(kept))


def draw_all(rows: Rows, renderer: Renderer, *, seed: int, where: str) -> tuple[Example, ...]:
    """Return all different examples of a split in the order in which `draw` takes them.

    Raises
    ------
    DataError
        As `draw`.
    """
    order = _order(rows, seed, where)
    drawn = _render(rows, order, renderer, where, len(order))
    return tuple(drawn[index] for index in map(int, order) if index in drawn)


def _order(rows: Rows, seed: int, where: str) -> NDArray[np.intp]:
    """Return the rows' numbers in random order."""
    if not len(rows.records):
        msg = f"{where}: {rows.origin} is empty; a task needs at least one row"
        raise DataError(msg)
    # Only `random` has a stream that NumPy keeps the same from version to version.
    return np.argsort(np.random.default_rng(seed).random(len(rows.records)), kind="stable")


def _render(
    rows: Rows, order: Iterable[int], renderer: Renderer, where: str, wanted: int
) -> dict[int, Example]:
    found: dict[int, Example] = {}
    first: dict[Example, int] = {}
    for index in map(int, order):
        if len(found) == wanted and not rows.complete:
            break
        example = _render_one(rows, index, renderer, where)
        if example not in first:
            first[example] = index
            found[index] = example
        elif renderer.spec.duplicates == "error":
            one, two = sorted((first[example], index))
            msg = (
                f"{where}: {rows.name(two)}: the same example as {rows.name(one)}; "
                "remove one, or set `duplicates: drop` in the task"
            )
            raise DataError(msg)
    return found


def _render_one(rows: Rows, index: int, renderer: Renderer, where: str) -> Example:
    try:
        return renderer(rows.records[index])
    except TransferLensError as error:
        msg = f"{where}: {rows.name(index)}: {error}"
        raise DataError(msg) from None


def _hint(text: str) -> str:
    if text.isdigit():
        return f"; if {text} is a position, write `label: column | int`"
    return "; translate it with the field labels, or add it to the choices"
