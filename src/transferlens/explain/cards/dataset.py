"""The rows of a dataset as texts: of a study, of a task, of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, DataError
from transferlens.explain.linguistics.prompts import without_template
from transferlens.stats.arrays import FloatArray

__all__ = [
    "Dataset",
    "RenderedRow",
    "dataset_of_examples",
    "dataset_of_rows",
    "lengths",
    "rows_of_file",
    "words_of",
]

_WORD = re.compile(r"\w+|[^\w\s]")


class RenderedRow(Protocol):
    """A rendered row of a task, such as `transferlens.tasks.Example`."""

    @property
    def prompt(self) -> str:
        """What the model reads."""

    @property
    def completion(self) -> str:
        """What is to be written."""

    @property
    def gold(self) -> str:
        """What an answer is compared with."""

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The choices; None for generation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """What a model reads and is to write, row by row."""

    name: str
    inputs: tuple[str, ...]
    """Prompts without what all of them begin or end with."""
    outputs: tuple[str, ...]
    """What is to be written: the completion where it is known, else the gold answer."""
    golds: tuple[str, ...]
    """What an answer is compared with."""
    choices: tuple[str, ...]
    """The choices that every row has; empty where rows have none, or different ones."""
    n_tokens: FloatArray | None
    """Length of each output in tokens of the base model; None where it is not known."""
    input_words: tuple[list[str], ...] = field(repr=False)
    """Words and punctuation marks of each input, in lower case."""
    output_words: tuple[list[str], ...] = field(repr=False)
    """Words and punctuation marks of each output, in lower case."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    def part(self, n: int) -> Dataset:
        """Return at most ``n`` rows, evenly spaced."""
        if len(self) <= n:
            return self
        rows = np.linspace(0, len(self) - 1, n).round().astype(int)
        return Dataset(
            name=self.name,
            choices=self.choices,
            n_tokens=None if self.n_tokens is None else self.n_tokens[rows],
            inputs=tuple(self.inputs[i] for i in rows),
            outputs=tuple(self.outputs[i] for i in rows),
            golds=tuple(self.golds[i] for i in rows),
            input_words=tuple(self.input_words[i] for i in rows),
            output_words=tuple(self.output_words[i] for i in rows),
        )


def words_of(text: str) -> list[str]:
    """Split a text into words, numbers and single punctuation marks, in lower case."""
    return _WORD.findall(text.lower())


def dataset_of_rows(rows: pl.DataFrame, *, name: str) -> Dataset:
    """Read a dataset from a table.

    Parameters
    ----------
    rows
        Columns ``prompt`` and ``gold`` or ``completion``; ``choices`` and ``n_tokens`` where
        they are known.
    name
        What to call it.

    Raises
    ------
    AnalysisError
        There are no rows, a column is missing, or a text is null.
    """
    answers = [column for column in ("completion", "gold") if column in rows.columns]
    if "prompt" not in rows.columns or not answers:
        msg = (
            f"the rows of {name!r} have columns {rows.columns}; give prompt, and gold or completion"
        )
        raise AnalysisError(msg)
    if not rows.height:
        msg = f"{name!r} has no rows"
        raise AnalysisError(msg)
    for column in ("prompt", *answers):
        if rows[column].null_count():
            msg = f"{rows[column].null_count()} values of {column} in {name!r} are missing"
            raise AnalysisError(msg)
    outputs = tuple(rows[answers[0]].cast(pl.String).to_list())
    inputs = tuple(without_template(rows["prompt"].cast(pl.String).to_list()))
    return Dataset(
        name=name,
        inputs=inputs,
        outputs=outputs,
        golds=tuple(rows[answers[-1]].cast(pl.String).to_list()),
        choices=_common_choices(rows),
        n_tokens=_lengths(rows),
        input_words=tuple(map(words_of, inputs)),
        output_words=tuple(map(words_of, outputs)),
    )


def dataset_of_examples(examples: Iterable[RenderedRow], *, name: str) -> Dataset:
    """Read a dataset from the rendered rows of a task, as `Task.train` returns them.

    Raises
    ------
    AnalysisError
        There are no rows.
    """
    return dataset_of_rows(_table(examples), name=name)


def _table(examples: Iterable[RenderedRow]) -> pl.DataFrame:
    rows = [
        {
            "prompt": example.prompt,
            "gold": example.gold,
            "completion": example.completion,
            "choices": example.choices and list(example.choices),
        }
        for example in examples
    ]
    schema = {
        "prompt": pl.String(),
        "gold": pl.String(),
        "completion": pl.String(),
        "choices": pl.List(pl.String()),
    }
    return pl.DataFrame(rows, schema=schema)


def rows_of_file(path: str | Path) -> pl.DataFrame:
    """Read the rows of a JSONL, CSV or Parquet file as `dataset_of_rows` takes them.

    Its columns are called as in a task's folder: ``prompt``, ``completion`` or ``label`` (or
    ``gold``), and ``choices``; a whole number as label is a place among the choices, from 0.
    Rows that need a template are those of a task: `dataset_of_examples`.

    Raises
    ------
    DataError
        The file is missing, damaged or of another format.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None or not file.is_file():
        known = ", ".join(_READERS)
        msg = f"{file} is no file that can be read; give one of {known}"
        raise DataError(msg)
    try:
        rows = reader(file)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        msg = f"{file} cannot be read: {first}"
        raise DataError(msg) from None
    if "label" in rows.columns and "gold" not in rows.columns:
        named = rows["label"].dtype.is_integer() and "choices" in rows.columns
        place = pl.col("choices").list.get(pl.col("label")) if named else pl.col("label")
        written = [pl.col("completion")] if "completion" in rows.columns else []
        # A written answer needs no label; a file may hold the column all the same.
        rows = rows.with_columns(gold=pl.coalesce(place.cast(pl.String), *written))
    return rows.select(name for name in _COLUMNS if name in rows.columns)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
}
_COLUMNS = ("prompt", "gold", "completion", "choices", "n_tokens")


def _common_choices(rows: pl.DataFrame) -> tuple[str, ...]:
    if "choices" not in rows.columns or rows["choices"].null_count():
        return ()
    # The same choices in another order are the same choices.
    different = {tuple(sorted(row)) for row in rows["choices"].to_list()}
    return different.pop() if len(different) == 1 else ()


def _lengths(rows: pl.DataFrame) -> FloatArray | None:
    if "n_tokens" not in rows.columns or rows["n_tokens"].null_count():
        return None
    return rows["n_tokens"].cast(pl.Float64).to_numpy()


def lengths(texts: Sequence[Sequence[str]]) -> FloatArray:
    """Return the number of words and marks of each text."""
    return np.array([len(words) for words in texts], dtype=np.float64)
