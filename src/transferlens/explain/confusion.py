"""Which label each model answers where another is right, and which confusions a source creates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.explain.agreement import agreement, normalised
from transferlens.explain.answers import MISSING, TargetAnswers, iter_answers
from transferlens.explain.ratio import ratio
from transferlens.explain.resample import checked, percentile_interval, resampled_sums
from transferlens.results import TransferStudy
from transferlens.stats import AdjustMethod, adjust_p_values, mcnemar_p_value
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["UNREADABLE_LABEL", "Confusion", "Confusions", "Normalisation", "confusion_habits"]

Normalisation = Literal["row", "column", "all"]

UNREADABLE_LABEL = "<unreadable>"
"""Column of the answers that are none of the labels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusions:
    """Confusion matrices of all models on all targets that have labels."""

    tables: Mapping[str, xr.Dataset]
    """Target -> ``count`` (model, gold, answer), the mean over seeds, the base the first
    model; and over (model,) each measure of `Agreement` with ``_low`` and ``_high``."""
    created: pl.DataFrame
    """Per source, target, gold and wrong answer: ``base_rate`` and ``rate`` (shares of the
    gold label's examples), their ``difference``, ``p_value`` and ``p_adjusted`` (sign test
    over examples; over all rows), ``n`` examples of the gold label."""
    skipped: Mapping[str, str]
    """Target -> why it has no confusion matrix."""

    def matrix(
        self, model: str, target: str, *, normalise: Normalisation | None = None
    ) -> xr.DataArray:
        """Return the confusion matrix of a model, ``"base"`` or a source, (gold, answer).

        Counts by default, else shares of the row, the column or all; NaN where there are none.

        Raises
        ------
        AnalysisError
            The target has none, or there is no such model.
        """
        counts = self._table(target)["count"]
        if model not in counts["model"].values:
            msg = f"no answers of {model!r} on {target!r}; known: {list(counts['model'].values)}"
            raise AnalysisError(msg)
        chosen = counts.sel(model=model)
        if normalise is None:
            return chosen
        return chosen.copy(data=normalised(chosen.values, normalise))

    def difference(
        self, source: str, target: str, *, normalise: Normalisation = "row"
    ) -> xr.DataArray:
        """Return adapter minus base of the normalised matrices, (gold, answer)."""
        adapter = self.matrix(source, target, normalise=normalise)
        base = self.matrix("base", target, normalise=normalise)
        return adapter.drop_vars("model") - base.drop_vars("model")

    def to_frame(self) -> pl.DataFrame:
        """Return one row per target, model, gold and answer with the count."""
        frames = [
            pl.DataFrame(
                {
                    "target": [target] * table["count"].size,
                    **{
                        axis: np.broadcast_to(
                            table[axis].values.reshape([-1 if a == axis else 1 for a in _AXES]),
                            table["count"].shape,
                        )
                        .ravel()
                        .tolist()
                        for axis in _AXES
                    },
                    "count": table["count"].values.ravel(),
                }
            )
            for target, table in self.tables.items()
        ]
        return pl.concat(frames) if frames else pl.DataFrame()

    def habits(self, level: float = 0.05) -> pl.DataFrame:
        """Return which confusions each source creates; see `confusion_habits`."""
        return _habits(self.created, level)

    def _table(self, target: str) -> xr.Dataset:
        if target not in self.tables:
            reason = self.skipped.get(target, f"no such target; known: {list(self.tables)}")
            msg = f"no confusion matrix of {target!r}: {reason}"
            raise AnalysisError(msg)
        return self.tables[target]


_AXES = ("model", "gold", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Confusion matrices of adapters and base, how well they agree, and what changed.

    Counts are means over the seeds of a model. Intervals resample the examples.
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    confidence: float = 0.95
    """Nominal coverage of the intervals."""
    n_resamples: int = 999
    """Bootstrap resamples."""
    adjust: AdjustMethod = "bh"
    """Over all confusions of all cells."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        answers: Sequence[TargetAnswers] | None = None,
    ) -> Confusions:
        """Count the answers of every model on every target that has labels.

        Parameters
        ----------
        study
            With predictions.
        rng
            Source of resamples.
        answers
            Those of the study, where they were read already.

        Raises
        ------
        AnalysisError
            The study has scores only.
        """
        checked(self.confidence, self.n_resamples)
        found = _Found()
        for one in iter_answers(study, self.targets, known=answers):
            name = one.info.name
            if not one.labels:
                found.skipped[name] = "its examples have no labels in common"
                continue
            found.tables[name] = self._table(one, rng)
            found.created.append(_created(one))
        created = _adjusted(found.created, self.adjust)
        return Confusions(tables=found.tables, created=created, skipped=found.skipped)

    def _table(self, answers: TargetAnswers, rng: np.random.Generator) -> xr.Dataset:
        marks = answer_marks(answers)
        K = len(answers.labels)
        by_gold = np.zeros((len(answers.example), len(answers.models), K, K + 1))
        known = np.flatnonzero(answers.gold >= 0)
        by_gold[known, :, answers.gold[known]] = marks.transpose(1, 0, 2)[known]
        sums = resampled_sums(by_gold, rng=rng, n_resamples=self.n_resamples)
        data: dict[str, tuple[tuple[str, ...], FloatArray]] = {"count": (_AXES, sums[0])}
        for name, values in agreement(sums)._asdict().items():
            low, high = percentile_interval(values, self.confidence)
            data |= {name: (("model",), values[0])}
            data |= {f"{name}_low": (("model",), low), f"{name}_high": (("model",), high)}
        labels = list(answers.labels)
        coords = {
            "model": list(answers.models),
            "gold": labels,
            "answer": [*labels, UNREADABLE_LABEL],
        }
        return xr.Dataset(data, coords=coords, attrs={"target": answers.info.name})


def confusion_habits(
    study: TransferStudy, *, level: float = 0.05, adjust: AdjustMethod = "bh"
) -> pl.DataFrame:
    """Return which confusions each source creates, by the answer that it falls into.

    Per source, gold and answer: ``targets`` on which the confusion became significantly more
    frequent, ``n_targets`` that have these labels, and the mean ``difference`` over them. The
    most widespread come first.

    Parameters
    ----------
    study
        With predictions.
    level
        Bound on the adjusted p-value.
    adjust
        Over all confusions of all cells.

    Raises
    ------
    AnalysisError
        The study has scores only.
    """
    found = [_created(answers) for answers in iter_answers(study) if answers.labels]
    return _habits(_adjusted(found, adjust), level)


def _adjusted(found: list[pl.DataFrame], adjust: AdjustMethod) -> pl.DataFrame:
    created = pl.concat(found) if found else pl.DataFrame(schema=_CREATED)
    adjusted = adjust_p_values(created["p_value"].to_numpy(), method=adjust)
    return created.with_columns(p_adjusted=pl.Series(adjusted, dtype=pl.Float64))


def _habits(created: pl.DataFrame, level: float) -> pl.DataFrame:
    rose = (pl.col("p_adjusted") <= level) & (pl.col("difference") > 0)
    return (
        created.group_by("source", "gold", "answer", maintain_order=True)
        .agg(
            targets=rose.sum().cast(pl.Int64),
            n_targets=pl.len().cast(pl.Int64),
            difference=pl.col("difference").mean(),
        )
        .sort("targets", "difference", descending=True, maintain_order=True)
    )


@dataclass(slots=True)
class _Found:
    tables: dict[str, xr.Dataset] = field(default_factory=dict)
    created: list[pl.DataFrame] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def answer_marks(answers: TargetAnswers) -> FloatArray:
    """Return the share of a model's runs that gave each answer, (model, example, answer).

    The last answer is "none of the labels"; all are 0 where there was no run.
    """
    K = len(answers.labels)
    marks = np.stack(
        [(answers.answer == place).sum(axis=1) for place in [*range(K), -1]], axis=-1
    ).astype(np.float64)
    runs = (answers.answer != MISSING).sum(axis=1)[..., None]
    shares = np.zeros_like(marks)
    np.divide(marks, runs, out=shares, where=runs > 0)
    return shares


_CREATED = pl.Schema(
    {
        "source": pl.String,
        "target": pl.String,
        "gold": pl.String,
        "answer": pl.String,
        "base_rate": pl.Float64,
        "rate": pl.Float64,
        "difference": pl.Float64,
        "p_value": pl.Float64,
        "n": pl.Int64,
    }
)


def _created(answers: TargetAnswers) -> pl.DataFrame:
    """Compare each wrong answer of each adapter with the base, example by example."""
    marks = answer_marks(answers)
    run = marks.sum(axis=2) > 0
    both: BoolArray = run[1:] & run[:1]
    rows = [
        part
        for place in range(len(answers.labels))
        for part in _of_gold(answers, marks, both, place)
    ]
    return pl.DataFrame(rows, schema=_CREATED, orient="row").sort("source", maintain_order=True)


def _of_gold(
    answers: TargetAnswers, marks: FloatArray, both: BoolArray, gold: int
) -> Iterator[tuple[object, ...]]:
    here = both & (answers.gold == gold)
    n = here.sum(axis=1)
    names = [*answers.labels, UNREADABLE_LABEL]
    for place, name in enumerate(names):
        if place == gold:
            continue
        adapter, base = marks[1:, :, place], marks[:1, :, place]
        sign = np.sign(adapter - base) * here
        p_value = mcnemar_p_value((sign > 0).sum(axis=1), (sign < 0).sum(axis=1))
        base_rate = ratio((base * here).sum(axis=1), n)
        rate = ratio((adapter * here).sum(axis=1), n)
        for at in np.flatnonzero(n):
            yield (
                answers.models[1 + at], answers.info.name, answers.labels[gold], name,
                base_rate[at], rate[at], rate[at] - base_rate[at], float(p_value[at]), int(n[at]),
            )  # fmt: skip
