"""Whether answers can be read, and what a gain owes to being readable alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.explain.answers import UNREADABLE, TargetAnswers, iter_answers, mean_over_runs
from transferlens.explain.frames import cell_frame
from transferlens.explain.ratio import ratio
from transferlens.explain.resample import checked, draw_weights, percentile_interval
from transferlens.explain.strata import Sides, Strata, paired, strata_of, strata_sums
from transferlens.results import TargetInfo, TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = ["AnswerFormat", "FormatEffects", "lenient_rows"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FormatEffects:
    """Readability of all models on all targets."""

    data: xr.Dataset
    """Over (source, target), with ``_low`` and ``_high``: ``readable`` (share of answers),
    ``gain`` (upwards), ``readable_more`` (what of the gain comes of more, or fewer, answers
    that can be read, each as good as those that are), ``better_when_readable`` (the rest),
    ``lenient_gain`` (an answer also counts where the gold stands anywhere in it),
    ``format_alone`` (gain less lenient gain). The last two are NaN for choices, for metrics
    other than right or wrong, and where texts were not stored. Over target:
    ``base_readable``, ``base_strict``, ``base_lenient``; over (source, target): ``strict``,
    ``lenient``."""

    def to_frame(self) -> pl.DataFrame:
        """Return one row per source and target."""
        return cell_frame(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFormat:
    """How much of each gain is a matter of the answer's form.

    Two answers to one question: what the gain would be had the models been equally
    readable, and what it is when the gold answer may stand anywhere in what was written.
    The first supposes that unreadable answers are as good as readable ones; the second
    also counts an answer that names the gold by chance.
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    confidence: float = 0.95
    """Nominal coverage of the intervals, over examples."""
    n_resamples: int = 499
    """Bootstrap resamples."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        answers: Sequence[TargetAnswers] | None = None,
    ) -> FormatEffects:
        """Compare formats.

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
        found = [
            self._target(one, _lenient(study, one), rng)
            for one in iter_answers(study, self.targets, known=answers)
        ]
        return FormatEffects(
            data=xr.concat(found, dim="target", join="exact").transpose("source", "target")
        )

    def _target(
        self, answers: TargetAnswers, lenient: FloatArray, rng: np.random.Generator
    ) -> xr.Dataset:
        weights = draw_weights(rng, n_resamples=self.n_resamples, n_examples=len(answers.example))
        # Lengths do not matter here: all strata are added up.
        sums = strata_sums(answers, weights).sum(axis=3, keepdims=True)
        strata = strata_of(np.concatenate([sums, np.zeros_like(sums)], axis=3))
        both = paired(answers) & ~np.isnan(lenient[1:]) & ~np.isnan(lenient[:1])
        base, adapter = (np.where(both, part, 0.0) for part in (lenient[:1], lenient[1:]))
        loose = np.stack([base, adapter, both.astype(np.float64)]) @ weights
        drawn, plain = _measures(strata, loose, answers.sign)
        data: dict[str, FloatArray] = {}
        for name, values in drawn.items():
            low, high = percentile_interval(values.T, self.confidence)
            data |= {name: values[:, 0], f"{name}_low": low, f"{name}_high": high}
        data |= {name: side.adapter for name, side in plain.items()}
        readable = answers.answer[0] != UNREADABLE
        of_target = {
            "base_readable": float(readable[answers.scored[0]].mean())
            if answers.scored[0].any()
            else np.nan
        }
        of_target |= {f"base_{name}": _any(side.base) for name, side in plain.items()}
        return xr.Dataset(
            {k: ("source", v) for k, v in data.items()} | of_target,
            coords={"source": list(answers.models[1:]), "target": answers.info.name},
        )


def _measures(
    strata: Strata, loose: FloatArray, sign: float
) -> tuple[dict[str, FloatArray], dict[str, Sides]]:
    """Return measures, (source, resample), and the scores themselves, (source,).

    ``loose`` holds sums of lenient scores of base and adapter, and their number.
    """
    read, mean, other = (
        Sides(side.base[0], side.adapter[0])
        for side in (strata.readable, strata.read_score, strata.unread_score)
    )
    worth = (mean.adapter - other.adapter + mean.base - other.base) / 2.0
    more = (read.adapter - read.base) * worth
    gain = strata.total.adapter - strata.total.base
    lenient = Sides(*ratio(loose[:2], loose[2]))
    drawn = {
        "readable": read.adapter,
        "gain": sign * gain,
        "readable_more": sign * more,
        "better_when_readable": sign * (gain - more),
        "lenient_gain": sign * (lenient.adapter - lenient.base),
        "format_alone": sign * (gain - lenient.adapter + lenient.base),
    }
    plain = {
        "strict": Sides(strata.total.base[:, 0], strata.total.adapter[:, 0]),
        "lenient": Sides(lenient.base[:, 0], lenient.adapter[:, 0]),
    }
    return drawn, plain


def _any(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known[0]) if len(known) else float("nan")


def lenient_rows(rows: pl.LazyFrame, info: TargetInfo) -> pl.DataFrame:
    """Score answers leniently: 1 also where the gold stands in the text, in whole words.

    Case, punctuation and commas between digits do not matter. Columns source, seed,
    example and ``lenient``; NaN where there is no text, or the answer has no score.
    Metrics other than right or wrong are NaN.
    """

    def plain(name: str) -> pl.Expr:
        text = pl.col(name).str.to_lowercase().str.replace_all(r"(\d),(\d)", "${1}${2}")
        words = text.str.replace_all(r"[^\p{L}\p{N}.\-]+|[.](?:\s|$)", " ").str.strip_chars()
        return pl.concat_str(pl.lit(" "), words, pl.lit(" "))

    within = plain("completion").str.contains(plain("gold"), literal=True)
    said = (pl.col("gold").str.len_chars() > 0) & within
    right = 1.0 if info.higher_is_better else 0.0
    strict = pl.col("score")
    scored = (
        pl.when(pl.col("completion").is_null() | strict.is_nan())
        .then(float("nan"))
        .when(said)
        .then(right)
        .otherwise(strict)
    )
    return rows.select("source", "seed", "example", strict, lenient=scored).collect()


def _lenient(study: TransferStudy, answers: TargetAnswers) -> FloatArray:
    """Return lenient scores, the mean over runs, (model, example)."""
    shape = (len(answers.models), answers.answer.shape[1], len(answers.example))
    scores = np.full(shape, np.nan)
    known = answers.score[answers.scored]
    if not answers.written or study.predictions is None or not np.isin(known, (0.0, 1.0)).all():
        return mean_over_runs(scores)
    rows = lenient_rows(
        study.predictions.filter(pl.col("target") == answers.info.name), answers.info
    )
    models = {name: place for place, name in enumerate(answers.models)}
    seeds = {seed: place for place, seed in enumerate(sorted(rows["seed"].unique()))}
    place = (
        rows["source"].replace_strict(models, default=0, return_dtype=pl.Int64).to_numpy(),
        rows["seed"].replace_strict(seeds, return_dtype=pl.Int64).to_numpy(),
        np.searchsorted(answers.example, rows["example"].to_numpy()),
    )
    scores[place] = rows["lenient"].to_numpy()
    return mean_over_runs(scores)
