"""What a stored study is made of: format, columns, and what is known per source and target."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import polars as pl
from pydantic import BeforeValidator

from transferlens.errors import ResultsError

__all__ = [
    "FORMAT",
    "KEY",
    "PREDICTION_SCHEMA",
    "SCORE_SCHEMA",
    "VERSION",
    "SourceInfo",
    "TargetInfo",
    "conform",
]

FORMAT = "transferlens-study"
"""Name in the manifest of a study folder."""

VERSION = 1
"""Version of the folder's layout and columns; older ones stay readable."""

KEY = ("source", "target", "seed", "example")
"""What identifies a prediction."""

PREDICTION_SCHEMA = pl.Schema(
    {
        "source": pl.String(),
        "target": pl.String(),
        "seed": pl.Int64(),
        "example": pl.Int64(),
        "gold": pl.String(),
        "prediction": pl.String(),
        "completion": pl.String(),
        "score": pl.Float64(),
        "n_tokens": pl.Int32(),
        "truncated": pl.Boolean(),
        "prompt_hash": pl.String(),
        "example_hash": pl.String(),
        "choice_logprobs": pl.List(pl.Float64()),
    },
)
"""Columns of the predictions. ``score`` is NaN where an example was not scored."""

SCORE_SCHEMA = pl.Schema(
    {
        "source": pl.String(),
        "target": pl.String(),
        "seed": pl.Int64(),
        "score": pl.Float64(),
        "n_scored": pl.Float64(),
        "n_unscored": pl.Float64(),
    },
)
"""Columns of a study that has scores only. A count is NaN where it is not known."""


def _nan_if_null(value: object) -> object:
    """Read JSON's null as NaN, which JSON cannot write."""
    return math.nan if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """What is known about a target, apart from its scores."""

    name: str
    metric: str = "score"
    unit: str = "fraction"
    higher_is_better: bool = True
    family: str = ""
    """Kind of task, such as ``"arithmetic"``; empty where it is not known."""
    ceiling: Annotated[float, BeforeValidator(_nan_if_null)] = math.nan
    """Best possible score; NaN where there is none."""
    n_examples: int | None = None
    examples_id: str | None = None
    """Name of the stored texts of its examples."""
    majority_share: float | None = None
    """Share of the most frequent gold answer: what a constant answer scores."""
    origin: dict[str, str] | None = field(default=None, hash=False)
    """Of a task that another tool defines: its version, and hashes of what it asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What is known about a source."""

    name: str
    family: str = ""
    n_rows: int | None = None
    content_hash: str | None = None
    examples_id: str | None = None
    """Name of the stored texts of its rows, with their completions."""
    base_nll: float | None = None
    """Mean negative log-likelihood of its completions under the base, in nats per token;
    the engine measures it on up to 256 rows. None where it is not known."""
    twin_of: str | None = None
    """Source from which a twin differs in one property; None for a source of its own."""
    control: str | None = None
    """The property, such as ``"balanced"``."""
    control_value: str | None = None
    """Its parameter as text, such as ``"0.9"``; None where it has none."""
    after: str | None = None
    """Source with whose adapter its training began; None where it began afresh."""
    tasks: tuple[str, ...] = ()
    """Targets of the task that it was trained on, where its name is another one."""
    merged_of: tuple[str, ...] = ()
    """Sources from whose adapters it was merged; nothing was trained for it then."""
    merge: str | None = None
    """How, such as ``"linear, weights 0.5, 0.5"``."""


def conform(frame: pl.DataFrame, schema: pl.Schema, *, where: str) -> pl.DataFrame:
    """Return the frame with exactly the schema's columns, types and order; null scores as NaN.

    Raises
    ------
    ResultsError
        A column is missing, unknown, or holds values of another type.
    """
    given = set(frame.columns)
    if given != set(schema):
        missing = sorted(set(schema) - given)
        extra = sorted(given - set(schema))
        msg = f"{where}: columns do not fit: missing {missing}, unknown {extra}"
        raise ResultsError(msg)
    try:
        cast = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        msg = f"{where}: a column holds values of the wrong type: {reason}"
        raise ResultsError(msg) from None
    return cast.with_columns(pl.col("score").fill_null(math.nan))
