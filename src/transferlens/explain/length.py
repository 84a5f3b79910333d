"""How long the answers are, whose length an adapter took over, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr
from numpy.typing import ArrayLike

from transferlens.explain.answers import TargetAnswers, iter_answers, mean_over_runs
from transferlens.explain.frames import cell_frame
from transferlens.explain.resample import checked, draw_weights, percentile_interval
from transferlens.explain.strata import Sides, mean_scores, paired, strata_of, strata_sums
from transferlens.explain.training import training_lengths
from transferlens.results import BASE, TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = ["LengthEffects", "OutputLength", "kitagawa"]

_NO_DIFFERENCE = np.log(1.1)
"""Source and base lengths that differ by less than a tenth cannot be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LengthEffects:
    """Lengths of all models on all targets whose answers are written."""

    data: xr.Dataset
    """Over (source, target): ``median`` (tokens), ``log_length`` (mean natural logarithm),
    ``truncated`` (share cut off), ``words``, ``early`` (share that ends by itself with fewer
    than half of the gold answer's words); with ``_low`` and ``_high``: ``interpolation`` (0:
    as long as the base's, 1: as the training outputs; NaN where these are not known or
    differ by less than a tenth), ``gain`` (upwards), ``lengths_changed``,
    ``better_at_equal_length`` (they sum to the gain); ``overlap``, the share of the
    adapter's answers at lengths at which the base answers too. Over target: the first
    five with ``base_`` before them, and ``gold_words``. Over source: ``source_median``."""
    notes: tuple[str, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return one row per source and target."""
        return cell_frame(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLength:
    """How long the answers of each adapter are, and how much of its gain hangs on that.

    The split says what would have changed with the lengths, had they been changed without
    anything else. Length comes after training: only a twin with another output length can
    show that it is a cause.

    References
    ----------
    .. [1] Kitagawa. *Components of a difference between two rates*. 1955. doi:10.2307/2281213
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    confidence: float = 0.95
    """Nominal coverage of the intervals, over examples (and training rows)."""
    n_resamples: int = 499
    """Bootstrap resamples."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        lengths: Mapping[str, ArrayLike] | None = None,
        answers: Sequence[TargetAnswers] | None = None,
    ) -> LengthEffects:
        """Compare lengths and split the gains.

        Parameters
        ----------
        study
            With predictions.
        rng
            Source of resamples.
        lengths
            Source -> tokens of each training output, where the study does not hold them.
        answers
            Those of the study, where they were read already.

        Raises
        ------
        AnalysisError
            The study has scores only.
        """
        checked(self.confidence, self.n_resamples)
        names = [source.name for source in study.sources]
        known = {name: training_lengths(study, name) for name in names}
        known |= {k: np.asarray(v, dtype=np.float64) for k, v in (lengths or {}).items()}
        words = _words(study)
        found = [
            self._target(one, known, words, rng)
            for one in iter_answers(study, self.targets, known=answers)
            if one.written and not np.isnan(one.n_tokens).all()
        ]
        empty = xr.Dataset(coords={"source": names, "target": np.array([], dtype=np.str_)})
        data = xr.concat(found, dim="target", join="exact") if found else empty
        data = data.transpose("source", "target")
        medians = [
            np.nan if known[n] is None else float(np.median(_given(known, n))) for n in names
        ]
        data["source_median"] = ("source", medians)
        lacking = [name for name in names if known[name] is None]
        notes = [] if found else ["no target has written answers of known length"]
        if lacking:
            notes.append(
                f"length of the training outputs not known: {', '.join(lacking[:5])}; "
                "run the study again to store it, or give lengths"
            )
        return LengthEffects(data=data, notes=tuple(notes))

    def _target(
        self,
        answers: TargetAnswers,
        known: Mapping[str, FloatArray | None],
        words: Mapping[tuple[str, str], Mapping[str, float]],
        rng: np.random.Generator,
    ) -> xr.Dataset:
        names, target = answers.models[1:], answers.info.name
        weights = draw_weights(rng, n_resamples=self.n_resamples, n_examples=len(answers.example))
        answered = strata_sums(answers, weights)
        strata = strata_of(answered)
        parts = kitagawa(strata.share, mean_scores(answered))
        of_source = _drawn_sources([known[name] for name in names], weights.shape[1], rng)
        means = (weights.T @ _paired_logs(answers)).reshape(-1, 3, len(names))
        drawn = {
            "interpolation": _interpolation(means, of_source),
            "gain": answers.sign * (strata.total.adapter - strata.total.base).T,
            "lengths_changed": answers.sign * parts.base.T,
            "better_at_equal_length": answers.sign * parts.adapter.T,
        }
        data: dict[str, FloatArray] = {}
        for name, values in drawn.items():
            low, high = percentile_interval(values, self.confidence)
            data |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
        base, own = (side[..., 0] for side in strata.share)
        data["overlap"] = np.where(base > 0, own, 0.0).sum(axis=0)
        plain = [_plain(answers, at, words) for at in range(len(answers.models))]
        data |= {k: np.array([row[k] for row in plain[1:]]) for k in plain[0]}
        of_base = {f"base_{name}": value for name, value in plain[0].items()}
        gold = words.get((BASE, target), {}).get("gold_words", np.nan)
        return xr.Dataset(
            {k: ("source", v) for k, v in data.items()} | of_base | {"gold_words": gold},
            coords={"source": list(names), "target": target},
        )


def kitagawa(share: Sides, score: Sides) -> Sides:
    """Split a difference of means into lengths and rates.

    Parameters
    ----------
    share
        Share of each model's answers in each stratum, (stratum, ...).
    score
        Their mean score.

    Returns
    -------
    Sides
        First what comes of the different lengths, at the mean of both models' scores; then
        what comes of the different scores at equal length, at the mean of both models'
        lengths. They sum to the difference.
    """
    lengths = ((share.adapter - share.base) * (score.adapter + score.base) / 2.0).sum(axis=0)
    rates = ((score.adapter - score.base) * (share.adapter + share.base) / 2.0).sum(axis=0)
    return Sides(lengths, rates)


def _given(known: Mapping[str, FloatArray | None], name: str) -> FloatArray:
    values = known[name]
    return np.array([np.nan]) if values is None else values


def _log_length(answers: TargetAnswers) -> FloatArray:
    """Return the mean logarithm of the length over runs, (model, example)."""
    return mean_over_runs(np.log(np.maximum(answers.n_tokens, 1.0)))


def _paired_logs(answers: TargetAnswers) -> FloatArray:
    """Return, per example and source, log-lengths of base and adapter and a count."""
    length = _log_length(answers)
    use = paired(answers) & ~np.isnan(length[1:]) & ~np.isnan(length[:1])
    base = np.where(use, length[:1], 0.0)
    adapter = np.where(use, length[1:], 0.0)
    return np.concatenate([base, adapter, use.astype(np.float64)]).T


def _drawn_sources(
    lengths: list[FloatArray | None], n: int, rng: np.random.Generator
) -> FloatArray:
    """Return the mean log-length of training outputs and draws of it, (draw, source).

    The draws are normal: training sets are large enough for means.
    """
    drawn = np.full((n, len(lengths)), np.nan)
    for at, values in enumerate(lengths):
        if values is not None:
            logs = np.log(np.maximum(values, 1.0))
            error = logs.std() / np.sqrt(len(logs))
            drawn[:, at] = logs.mean() + error * np.append(0.0, rng.standard_normal(n - 1))
    return drawn


def _interpolation(sums: FloatArray, source: FloatArray) -> FloatArray:
    base, adapter, n = sums[:, 0], sums[:, 1], np.maximum(sums[:, 2], 1.0)
    span = source - base / n
    near = np.abs(span[:1]) < _NO_DIFFERENCE
    moved = (adapter - base) / n
    placed = np.full(span.shape, np.nan)
    np.divide(moved, span, out=placed, where=~near & (span != 0.0))
    return placed


def _words(study: TransferStudy) -> dict[tuple[str, str], dict[str, float]]:
    """Count words of completions and golds per source and target."""
    if study.predictions is None:
        return {}
    rows = study.predictions.filter(pl.col("completion").is_not_null()).select(
        "source",
        "target",
        words=pl.col("completion").str.count_matches(r"\S+").cast(pl.Float64),
        gold_words=pl.col("gold").str.count_matches(r"\S+").cast(pl.Float64),
        whole=pl.col("truncated").fill_null(value=False).not_(),
    )
    early = (pl.col("words") < pl.col("gold_words") / 2.0) & pl.col("whole")
    means = (
        rows.group_by("source", "target")
        .agg(pl.col("words").mean(), pl.col("gold_words").mean(), early=early.mean())
        .collect()
    )
    names = ("words", "gold_words", "early")
    return {
        (row["source"], row["target"]): {name: row[name] for name in names}
        for row in means.iter_rows(named=True)
    }


def _plain(
    answers: TargetAnswers, model: int, words: Mapping[tuple[str, str], Mapping[str, float]]
) -> dict[str, float]:
    tokens = answers.n_tokens[model]
    known = ~np.isnan(tokens)
    counted = words.get((answers.models[model], answers.info.name), {})
    if not known.any():
        return dict.fromkeys(("median", "log_length", "truncated", "words", "early"), np.nan)
    return {
        "median": float(np.median(tokens[known])),
        "log_length": float(np.log(np.maximum(tokens[known], 1.0)).mean()),
        "truncated": float(answers.truncated[model][known].mean()),
        "words": counted.get("words", np.nan),
        "early": counted.get("early", np.nan),
    }
