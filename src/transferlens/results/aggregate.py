"""From prediction rows to arrays: means and counts per cell, scores per example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transferlens.errors import ResultsError
from transferlens.results.schema import SCORE_SCHEMA
from transferlens.study import BASE

__all__ = [
    "CellArrays",
    "ExampleScores",
    "cell_arrays",
    "example_scores",
    "positions",
    "summarise",
]


class CellArrays(NamedTuple):
    """Arrays over (source, target, seed)."""

    score: NDArray[np.float64]
    n_scored: NDArray[np.float64]
    n_unscored: NDArray[np.float64]


def summarise(predictions: pl.LazyFrame) -> pl.DataFrame:
    """Return mean score and counts per source, target and seed (`SCORE_SCHEMA`).

    The mean is over the scored examples; NaN where there is none.
    """
    score = pl.col("score").fill_nan(None)
    return (
        predictions.group_by("source", "target", "seed")
        .agg(
            score=score.mean().fill_null(float("nan")),
            n_scored=score.count(),
            n_unscored=score.null_count(),
        )
        .cast({"n_scored": pl.Float64, "n_unscored": pl.Float64})
        .select(SCORE_SCHEMA.names())
        .collect(engine="streaming")
    )


def cell_arrays(
    rows: pl.DataFrame,
    sources: Sequence[str],
    targets: Sequence[str],
    seeds: Sequence[int],
) -> CellArrays:
    """Spread rows of `SCORE_SCHEMA` over (source, target, seed).

    A cell without a row has score NaN and no examples. Rows of other
    sources, targets or seeds are left out.
    """
    index = (
        positions(rows["source"], sources),
        positions(rows["target"], targets),
        positions(rows["seed"], seeds),
    )
    known = np.all([part >= 0 for part in index], axis=0)
    place = tuple(part[known] for part in index)
    shape = (len(sources), len(targets), len(seeds))
    arrays = CellArrays(np.full(shape, np.nan), np.zeros(shape), np.zeros(shape))
    for name, array in zip(CellArrays._fields, arrays, strict=True):
        array[place] = rows[name].to_numpy()[known]
    return arrays


class ExampleScores(NamedTuple):
    """Scores of one target's examples."""

    target: str
    example: NDArray[np.int64]
    """Numbers of the examples, sorted, (example,)."""
    example_hash: NDArray[np.object_]
    """What each example's text is known by, (example,)."""
    score: NDArray[np.float64]
    """(source, seed, example); NaN where an example was not scored."""
    base_score: NDArray[np.float64]
    """(seed, example); a base that ran once is repeated."""


class _Rows(NamedTuple):
    """Prediction rows as numbers, (row,) each: texts are slow to compare and to move."""

    source: NDArray[np.int64]
    """Place among the sources; -1 for another one."""
    base: NDArray[np.bool_]
    seed: NDArray[np.int64]
    """The seed itself."""
    example: NDArray[np.int64]
    score: NDArray[np.float64]
    text: NDArray[np.uint64]
    """Hash of the example's hash; two that share their 64 bits are not to be feared."""

    def at(self, part: NDArray[np.int64]) -> _Rows:
        return _Rows(
            source=self.source[part],
            base=self.base[part],
            seed=self.seed[part],
            example=self.example[part],
            score=self.score[part],
            text=self.text[part],
        )


class _Examples(NamedTuple):
    number: NDArray[np.int64]
    """Sorted, (example,)."""
    column: NDArray[np.int64]
    """Place of each row's example, (row,)."""
    first: NDArray[np.int64]
    """The first row of each example, (example,)."""


def example_scores(
    predictions: pl.LazyFrame,
    targets: Sequence[str],
    sources: Sequence[str],
    seeds: Sequence[int],
) -> Iterator[ExampleScores]:
    """Spread the scores of each target over (source, seed, example).

    Rows of other sources and seeds are left out.

    Raises
    ------
    ResultsError
        An example's text is not the same for every source.
    """
    names = list(dict.fromkeys(targets))
    known = pl.Enum(list(dict.fromkeys([BASE, *sources])))
    table = predictions.select(
        pl.col("source").cast(known, strict=False).to_physical().cast(pl.Int64).fill_null(-1),
        pl.col("target").cast(pl.Enum(names)).to_physical(),
        "seed",
        "example",
        "score",
        "example_hash",
        text=pl.col("example_hash").hash(),
    ).collect()
    code, of_target, seed, example, score, text = (
        table[name].to_numpy() for name in ("source", "target", "seed", "example", "score", "text")
    )
    # The last place is that of code -1.
    place = np.append(positions(known.categories, sources), -1)
    rows = _Rows(place[code], code == 0, seed, example, score, text)
    ends = np.cumsum(np.bincount(of_target, minlength=len(names)))[:-1]
    parts = np.split(np.argsort(of_target, kind="stable"), ends)
    by_name = dict(zip(names, parts, strict=True))
    for name in targets:
        part = by_name[name]
        own = rows.at(part)
        examples = _examples(name, own)
        score, base = _spread(own, examples, len(sources), seeds)
        hashes = table["example_hash"].gather(part[examples.first]).to_numpy()
        yield ExampleScores(name, examples.number, hashes, score, base)


def _examples(target: str, rows: _Rows) -> _Examples:
    number = np.unique(rows.example)
    column = np.searchsorted(number, rows.example)
    first = np.empty(len(number), dtype=np.int64)
    first[column[::-1]] = np.arange(len(column))[::-1]
    differs = rows.text != rows.text[first][column]
    if differs.any():
        msg = (
            f"target {target!r}: example {rows.example[differs].min()} is not the same text "
            "for every source; evaluate all sources on the same examples"
        )
        raise ResultsError(msg)
    return _Examples(number, column, first)


def _spread(
    rows: _Rows, examples: _Examples, n_sources: int, seeds: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores (source, seed, example) and the base's (seed, example)."""
    column, n_examples = examples.column, len(examples.number)
    seed = _places(rows.seed, np.array(seeds, dtype=np.int64))
    score = np.full((n_sources, len(seeds), n_examples), np.nan)
    kept = (rows.source >= 0) & (seed >= 0)
    score[rows.source[kept], seed[kept], column[kept]] = rows.score[kept]
    base = np.full((len(seeds), n_examples), np.nan)
    if len(np.unique(rows.seed[rows.base])) == 1:
        base[:, column[rows.base]] = rows.score[rows.base]
    else:
        kept = rows.base & (seed >= 0)
        base[seed[kept], column[kept]] = rows.score[kept]
    return score, base


def _places(values: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each value among sorted ones, -1 where it has none."""
    if not len(ordered):
        return np.full(len(values), -1)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[place] == values, place, -1)


def positions(values: pl.Series, order: Sequence[str] | Sequence[int]) -> NDArray[np.int64]:
    """Return the place of each value in ``order``, -1 where it has none.

    Raises
    ------
    ResultsError
        ``order`` holds a value twice.
    """
    if len(set(order)) < len(order):
        msg = f"{values.name}: a name stands twice in {list(order)}"
        raise ResultsError(msg)
    keys = pl.Series(values=order, dtype=values.dtype, strict=True)
    places = pl.Series(values=range(len(order)), dtype=pl.Int64)
    return values.replace_strict(keys, places, default=-1, return_dtype=pl.Int64).to_numpy()
