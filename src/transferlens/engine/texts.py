"""The texts that a study is made of, as tables that are stored once for all adapters."""

from __future__ import annotations

import polars as pl

from transferlens.engine.encode import Codec
from transferlens.engine.outline import Part
from transferlens.engine.prepare import PreparedSource

__all__ = ["example_texts", "training_texts"]


def example_texts(part: Part) -> pl.DataFrame:
    """Return the texts of a task's examples, one row each."""
    examples = part.examples
    return pl.DataFrame(
        {
            "example": list(range(len(examples))),
            "prompt": [example.prompt for example in examples],
            "gold": [example.gold for example in examples],
            "choices": [example.choices and list(example.choices) for example in examples],
            "prompt_hash": [example.prompt_hash for example in examples],
            "example_hash": [example.example_hash for example in examples],
        },
        schema_overrides={"choices": pl.List(pl.String()), "example": pl.Int64()},
    )


def training_texts(source: PreparedSource, codec: Codec) -> pl.DataFrame:
    """Return the texts of a source's rows, with each completion and its length in tokens.

    ``n_tokens`` counts as that of a prediction: without the end token.
    """
    lengths = [
        row.n_learnt - (row.n_learnt > 0 and row.tokens[-1] == codec.end) for row in source.rows
    ]
    return example_texts(source.part).with_columns(
        completion=pl.Series([example.completion for example in source.part.examples]),
        n_tokens=pl.Series(lengths, dtype=pl.Int64()),
    )
