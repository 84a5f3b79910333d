"""What a page about one cell draws: confusion matrices, label mixes and histograms of length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.explain.agreement import normalised
from transferlens.explain.confusion import Confusions
from transferlens.explain.training import training_labels, training_lengths, training_rows
from transferlens.results import BASE, TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = [
    "ConfusionPair",
    "LabelMixes",
    "LengthHistogram",
    "confusion_pair",
    "label_mixes",
    "length_histograms",
]

Row = tuple[float, ...]
Matrix = tuple[Row, ...]

_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionPair:
    """The confusion matrices of base and adapter; a row per gold, a column per answer."""

    golds: tuple[str, ...]
    answers: tuple[str, ...]
    """The labels and, last, ``"<unreadable>"``."""
    base: Matrix
    """Counts, the mean over seeds."""
    adapter: Matrix
    base_by_gold: Matrix
    """Shares of each gold's answers; NaN for a gold without examples."""
    adapter_by_gold: Matrix
    difference: Matrix
    """Adapter less base, of the shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMixes:
    """How often each label is answered; shares of the readable answers."""

    labels: tuple[str, ...]
    gold: Row
    base: Row
    adapter: Row
    training: Mapping[str, float]
    """Label -> its share in the source's training data, whose labels may be others; empty
    where they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthHistogram:
    """Share of answers of each length."""

    unit: str
    """``"tokens"`` or ``"words"``."""
    edges: Row
    """One more than there are bins; a bin includes its lower edge."""
    base: Row
    adapter: Row
    gold: Row | None
    """None in tokens: gold answers are not tokenised."""
    training: Row | None
    """Outputs of the source's training data; None where they are not known."""


def confusion_pair(found: Confusions, source: str, target: str) -> ConfusionPair | None:
    """Return both matrices; None where the target has no labels in common."""
    if target not in found.tables:
        return None
    table = found.tables[target]
    base, adapter = (found.matrix(model, target).values for model in (BASE, source))
    by_gold = [normalised(counts, "row") for counts in (base, adapter)]
    return ConfusionPair(
        golds=tuple(map(str, table["gold"].values)),
        answers=tuple(map(str, table["answer"].values)),
        base=_matrix(base),
        adapter=_matrix(adapter),
        base_by_gold=_matrix(by_gold[0]),
        adapter_by_gold=_matrix(by_gold[1]),
        difference=_matrix(by_gold[1] - by_gold[0]),
    )


def label_mixes(study: TransferStudy, shares: xr.DataArray, source: str) -> LabelMixes:
    """Return the label mixes of a cell; ``shares`` is of `LabelShifts`."""
    counts = training_labels(study, source)
    total = sum(counts.values())
    gold, base, adapter = (_row(shares.sel(model=name).values) for name in ("gold", BASE, source))
    return LabelMixes(
        labels=tuple(map(str, shares["label"].values)),
        gold=gold,
        base=base,
        adapter=adapter,
        training={label: count / total for label, count in counts.items()},
    )


def length_histograms(
    study: TransferStudy, source: str, target: str
) -> tuple[LengthHistogram, ...]:
    """Return histograms in tokens and in words; none where nothing was written."""
    if study.predictions is None:
        return ()
    rows = (
        study.predictions.filter(
            pl.col("target") == target,
            pl.col("source").is_in([BASE, source]),
            pl.col("completion").is_not_null(),
        )
        .select("source", "n_tokens", words=_words("completion"), gold=_words("gold"))
        .collect()
    )
    if not rows.height:
        return ()
    own = rows.filter(pl.col("source") == source)
    base = rows.filter(pl.col("source") == BASE)
    tokens = {
        "base": _known(base["n_tokens"]),
        "adapter": _known(own["n_tokens"]),
        "gold": None,
        "training": training_lengths(study, source),
    }
    words = {
        "base": _known(base["words"]),
        "adapter": _known(own["words"]),
        "gold": _known(base["gold"]),
        "training": _training_words(study, source),
    }
    return tuple(_histogram("tokens", tokens)) + tuple(_histogram("words", words))


def _training_words(study: TransferStudy, source: str) -> FloatArray | None:
    rows = training_rows(study, source)
    if rows is None or "completion" not in rows.columns:
        return None
    return _known(rows.select(words=_words("completion"))["words"])


def _histogram(unit: str, lengths: Mapping[str, FloatArray | None]) -> Iterator[LengthHistogram]:
    known = {name: values for name, values in lengths.items() if values is not None and len(values)}
    if not {"base", "adapter"} <= set(known):
        return
    edges = _edges(max(float(values.max()) for values in known.values()))
    shares = {
        name: _row(np.histogram(values, bins=edges)[0] / len(values))
        for name, values in known.items()
    }
    yield LengthHistogram(
        unit=unit,
        edges=_row(edges),
        base=shares["base"],
        adapter=shares["adapter"],
        gold=shares.get("gold"),
        training=shares.get("training"),
    )


def _edges(longest: float) -> FloatArray:
    """Return whole numbers, each its own bin where there are few, else ever wider apart."""
    if longest < _BINS:
        return np.arange(longest + 2.0)
    wide = np.geomspace(1.0, longest + 1.0, _BINS)
    return np.concatenate([[0.0], np.unique(np.ceil(wide))])


def _words(name: str) -> pl.Expr:
    return pl.col(name).str.count_matches(r"\S+")


def _known(lengths: pl.Series) -> FloatArray:
    return np.asarray(lengths.drop_nulls().cast(pl.Float64).to_numpy())


def _row(values: FloatArray) -> Row:
    return tuple(float(value) for value in values)


def _matrix(values: FloatArray) -> Matrix:
    return tuple(_row(row) for row in values)
