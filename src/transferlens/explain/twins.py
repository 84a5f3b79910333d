"""What one property of the training data does: twins compared with their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.explain.answers import MISSING, TargetAnswers, iter_answers
from transferlens.explain.noise import MEASURES, NoiseFloor, against_floor, noise_floor
from transferlens.explain.twin_words import effect_sentence
from transferlens.results import SourceInfo, TransferStudy
from transferlens.stats import SharedWeights, adjust_p_values
from transferlens.stats.arrays import FloatArray
from transferlens.transfer.columns import Column, column_of_examples
from transferlens.transfer.result import Evidence

__all__ = ["TwinEffect", "TwinEffects"]

_NO_TWINS = (
    "the study has no twins; name them under `controls` in the study file, as in "
    "`controls: [{source: NAME, balanced: true}]`, and run it again"
)
_ONE_SEED = (
    "one seed: training variance unknown, and no twin is `reseeded`. The tests say whether "
    "these runs differ, not whether the property or another training run made them differ"
)
_RESEEDED = "reseeded"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwinEffects:
    """The effect of each twin's property on each target."""

    frame: pl.DataFrame
    """One row per twin, target and measure (``score``, ``share`` of a label among the
    answers, ``length`` of written answers): ``original`` and ``changed`` (means of the
    source's and of the twin's adapter), ``difference`` with ``low`` and ``high``,
    ``standard_error``, ``p_value``, ``p_adjusted`` (over all tests; NaN for reseeded twins,
    which are not tested but set the noise floor), ``floor`` (largest difference of a
    reseeded twin of any source; NaN: none), ``test``, ``training_known``, ``n_scored``,
    ``n_unscored``; ``unit``: that of the score, ``fraction`` or ``tokens``."""
    evidence: Evidence
    notes: tuple[str, ...]
    """What a reader must know, in words."""

    def found(self, level: float = 0.05) -> pl.DataFrame:
        """Return the rows that are significant after adjustment, the surest first."""
        rows = self.frame.filter(pl.col("p_adjusted") <= level)
        certainty = (pl.col("difference") / pl.col("standard_error")).abs()
        return rows.sort(certainty.fill_nan(np.inf), descending=True, maintain_order=True)

    def sentences(self, level: float = 0.05) -> tuple[str, ...]:
        """Return one sentence per significant effect, the surest first."""
        return tuple(effect_sentence(row) for row in self.found(level).iter_rows(named=True))


class _Measure(NamedTuple):
    """A number of every answer, (model, seed, example)."""

    name: str
    label: str | None
    unit: str
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinEffect:
    """What the property of each twin does to score, label mix and length of the answers.

    Twin and source are compared example by example, as an adapter and the base are in the
    transfer matrix. With one seed the test sees the examples only; where there are
    `reseeded` twins, their differences say how much more another training run does, and
    tests and intervals are widened by it, see `noise_floor`. With several seeds the test is
    the matrix's two-way t.
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    evidence: Evidence = field(default_factory=Evidence)
    """Tests, adjustment and confidence, as for the transfer matrix."""

    def __call__(self, study: TransferStudy) -> TwinEffects:
        """Compare the twins with their sources.

        Raises
        ------
        AnalysisError
            The study has no twins, or scores only; or max-T is asked for.
        """
        if not study.twins:
            raise AnalysisError(_NO_TWINS)
        if self.evidence.adjust == "max-t":
            msg = "max-T is for one matrix of gains; adjust twins by 'bh' or 'holm'"
            raise AnalysisError(msg)
        weights = SharedWeights(self.evidence.seed, self.evidence.n_resamples)
        rows = [
            row
            for answers in iter_answers(study.with_twins(), self.targets)
            for measure in _measures(answers)
            for row in self._rows(study, answers, measure, weights)
        ]
        frame = pl.DataFrame(rows, schema=_SCHEMA)
        floors = noise_floor(frame.filter(pl.col("control") == _RESEEDED))
        frame = against_floor(frame, floors, confidence=self.evidence.confidence)
        frame = self._adjusted(frame)
        return TwinEffects(
            frame=_in_order(frame, study), evidence=self.evidence, notes=_notes(frame, floors)
        )

    def _rows(
        self,
        study: TransferStudy,
        answers: TargetAnswers,
        measure: _Measure,
        weights: SharedWeights,
    ) -> Iterator[dict[str, Any]]:
        twins = [twin for twin in study.twins if twin.twin_of in answers.models]
        for group, examples in _groups(twins, answers, measure.values):
            column = column_of_examples(examples, sign=1.0, how=self.evidence, weights=weights)
            for place, twin in enumerate(group):
                yield {
                    "twin": twin.name,
                    "source": twin.twin_of,
                    "control": twin.control,
                    "control_value": twin.control_value,
                    "target": answers.info.name,
                    "measure": measure.name,
                    "label": measure.label,
                    "unit": measure.unit,
                    "original": _mean(measure.values, answers.place(twin.twin_of or "")),
                    "changed": _mean(measure.values, answers.place(twin.name)),
                    **_numbers(column, place),
                }

    def _adjusted(self, frame: pl.DataFrame) -> pl.DataFrame:
        tested = frame["control"] != _RESEEDED
        p_values = np.where(tested, frame["p_value"], np.nan)
        adjust = self.evidence.adjust
        method = "holm" if adjust == "max-t" else adjust
        return frame.with_columns(
            p_value=p_values, p_adjusted=adjust_p_values(p_values, method=method)
        )


_SCHEMA = {
    **dict.fromkeys(
        ["twin", "source", "control", "control_value", "target", "measure", "label", "unit"],
        pl.String(),
    ),
    **dict.fromkeys(
        [
            "original",
            "changed",
            "difference",
            "low",
            "high",
            "standard_error",
            "p_value",
            "n_scored",
            "n_unscored",
        ],
        pl.Float64(),
    ),
    "test": pl.String(),
    "training_known": pl.Boolean(),
}


def _measures(answers: TargetAnswers) -> Iterator[_Measure]:
    yield _Measure("score", None, answers.info.unit, answers.score)
    asked = answers.answer != MISSING
    labels = list(enumerate(answers.labels))
    readable = bool((answers.answer[asked] >= 0).all())
    # Of two labels that are always answered, one says everything.
    for place, label in labels[1:] if len(labels) == 2 and readable else labels:
        values = np.where(asked, answers.answer == place, np.nan)
        yield _Measure("share", label, "fraction", values)
    if answers.written and not np.isnan(answers.n_tokens).all():
        yield _Measure("length", None, "tokens", answers.n_tokens)


def _groups(
    twins: Sequence[SourceInfo], answers: TargetAnswers, values: FloatArray
) -> Iterator[tuple[Sequence[SourceInfo], xr.Dataset]]:
    """Yield twins and their source as adapters and their base, to be tested together."""
    pairs = [(answers.place(twin.name), answers.place(twin.twin_of or "")) for twin in twins]
    own, other = (values[[pair[at] for pair in pairs]] for at in (0, 1))
    differences = own - other
    runs = np.isfinite(differences).any(axis=2).sum(axis=1)
    if runs.max(initial=0) > 1:
        # All twins share the variance of training; of the differences nothing else is asked.
        yield twins, _examples(differences, np.zeros_like(differences[0]))
        return
    for source in dict.fromkeys(pair[1] for pair in pairs):
        group = [place for place, pair in enumerate(pairs) if pair[1] == source]
        yield [twins[place] for place in group], _examples(own[group], values[source])


def _examples(values: FloatArray, beside: FloatArray) -> xr.Dataset:
    return xr.Dataset(
        {
            "score": (("source", "seed", "example"), values),
            "base_score": (("seed", "example"), beside),
        }
    )


def _mean(values: FloatArray, model: int) -> float:
    """Return the mean over examples and runs of what is not NaN; NaN where nothing is."""
    known = values[model][~np.isnan(values[model])]
    return float(known.mean()) if len(known) else float("nan")


def _numbers(column: Column, place: int) -> dict[str, Any]:
    gains = column.gains
    return {
        "difference": float(gains.gain[place]),
        "low": float(gains.gain_low[place]),
        "high": float(gains.gain_high[place]),
        "standard_error": float(gains.standard_error[place]),
        "p_value": float(gains.p_value[place]),
        "n_scored": float(gains.n_scored[place]),
        "n_unscored": float(gains.n_unscored[place]),
        "test": column.test,
        "training_known": column.training_known,
    }


def _in_order(frame: pl.DataFrame, study: TransferStudy) -> pl.DataFrame:
    """Put the rows in the order of the study's twins; those of a twin stay in theirs."""
    order: Mapping[str, int] = {twin.name: place for place, twin in enumerate(study.twins)}
    place = pl.col("twin").replace_strict(order, return_dtype=pl.Int64)
    return frame.sort(place, maintain_order=True)


def _notes(frame: pl.DataFrame, floors: Mapping[str, NoiseFloor]) -> tuple[str, ...]:
    notes = [floor.sentence for floor in floors.values()]
    unknown = frame.filter(~pl.col("training_known"))["measure"].unique(maintain_order=True)
    bare = [MEASURES[measure] for measure in unknown if measure not in floors]
    if bare and not floors:
        notes.append(_ONE_SEED)
    elif bare:
        notes.append(
            f"no noise floor of {' and '.join(bare)}, in which the reseeded twins do not differ: "
            "training variance unknown"
        )
    missing = frame.filter(pl.col("difference").is_nan())
    if missing.height:
        names = sorted(set(missing["twin"]))
        notes.append(f"{missing.height} differences are missing: {', '.join(names[:5])}")
    unscored = float(frame.filter(pl.col("measure") == "score")["n_unscored"].sum())
    if unscored:
        notes.append(f"{unscored:.0f} pairs of answers have no score and are left out")
    return tuple(notes)
