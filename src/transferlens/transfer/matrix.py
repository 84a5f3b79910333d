"""The transfer matrix: for each source and target the gain, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import xarray as xr
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.metrics import normalized_gain, perfection_gap_factor
from transferlens.results import TransferStudy
from transferlens.stats import (
    AdjustMethod,
    McNemarMethod,
    adjust_p_values,
    bootstrap_cells,
    detectable_difference,
    detectable_effect,
    max_t,
    mcnemar_cells,
    mean_interval,
    proportion_interval,
    shared_standard_error,
    sign_flip_cells,
    two_way_test,
)
from transferlens.stats.arrays import FloatArray

__all__ = ["Evidence", "TransferMatrix", "transfer_matrix"]

GradedMethod = Literal["bootstrap", "sign-flip"]

_UNKNOWN_TRAINING = (
    "one seed: training variance unknown. The tests say whether these runs differ, "
    "not whether another training run would"
)
_NO_EVIDENCE = (
    "scores without predictions and with one seed: no evidence can be computed; "
    "import the per-example results or several seeds"
)
_SEEDS_ONLY = (
    "scores without predictions: the evidence rests on the spread between seeds alone, "
    "pooled per target"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How a transfer matrix is tested; the defaults are what we recommend."""

    confidence: float = 0.95
    """Nominal coverage of every interval."""
    adjust: AdjustMethod | Literal["max-t"] = "bh"
    """Over all cells: ``bh`` controls the false-discovery rate; ``max-t`` (strict)
    the probability of any false discovery, by sign flips shared per target."""
    binary: McNemarMethod = "mid-p"
    """Test of right/wrong scores when there is one training run per source."""
    graded: GradedMethod = "bootstrap"
    """Test of graded scores when there is one training run per source."""
    n_resamples: int = 9_999
    """Resamples of bootstrap, sign flip and max-T."""
    seed: int = 0
    """Seed of the resamples: the same seed gives the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferMatrix:
    """Gain of every source on every target, with its evidence.

    Gains are oriented: above 0 the adapter is better than the base, whether
    the metric counts up or down.
    """

    data: xr.Dataset
    """Over (source, target): ``score``, ``score_low``, ``score_high``, ``gain``,
    ``gain_low``, ``gain_high``, ``standard_error``, ``df``, ``p_value``,
    ``p_adjusted``, ``normalized_gain``, ``perfection_gap_factor``, ``detectable``
    (smallest gain found with 80 % power), ``n_seeds``, ``n_scored``,
    ``n_unscored``, ``own`` (the source's own task); over target:
    ``base_score``, ``base_shared_error``, ``test``. NaN: not scored or not estimable."""
    evidence: Evidence
    notes: tuple[str, ...]
    """What a reader must know, in words."""

    def to_xarray(self) -> xr.Dataset:
        """Return a copy of the labelled data."""
        return self.data.copy(deep=True)

    def to_frame(self) -> pl.DataFrame:
        """Return one row per cell, columns as in `data`."""
        table = self.data.drop_vars(["base_score", "base_shared_error", "test"])
        frame = pl.from_pandas(table.to_dataframe().reset_index())
        per_target = pl.DataFrame(
            {
                "target": self.data["target"].values.astype(str).tolist(),
                "base_score": self.data["base_score"].values,
                "test": self.data["test"].values.astype(str).tolist(),
            }
        )
        return frame.join(per_target, on="target", how="left", maintain_order="left")

    def significant(self, level: float = 0.05) -> xr.DataArray:
        """Return which cells are significant after adjustment, (source, target) bool."""
        return self.data["p_adjusted"] < level


class _Gains(NamedTuple):
    """Gains of all sources on one target with their evidence, (source,) each."""

    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    standard_error: FloatArray
    df: FloatArray
    p_value: FloatArray
    detectable: FloatArray
    n_seeds: FloatArray
    n_scored: FloatArray
    n_unscored: FloatArray


class _Scores(NamedTuple):
    """Scores of all sources on one target with their interval, (source,) each."""

    score: FloatArray
    score_low: FloatArray
    score_high: FloatArray


class _Column(NamedTuple):
    """Everything about one target."""

    gains: _Gains
    scores: _Scores
    test: str
    shared_error: float
    mean_differences: FloatArray
    """Seeds' mean of adapted - base, (source, example); no examples for bare scores."""


def transfer_matrix(study: TransferStudy, evidence: Evidence | None = None) -> TransferMatrix:
    """Compute the transfer matrix of a study with evidence per cell.

    With several seeds the error of a gain has two parts, examples and training
    runs; the test is Student's t with the two-way standard error. With one
    seed right/wrong scores are tested by McNemar's test and graded ones by a
    paired bootstrap, and the result says that training variance is unknown. A
    study of bare scores has evidence only if it has several seeds.

    Parameters
    ----------
    study
        With predictions, or with scores only.
    evidence
        Tests, adjustment and confidence.

    Returns
    -------
    TransferMatrix
        Cells (source, target) in the study's order; scores are means over seeds.

    Raises
    ------
    AnalysisError
        The study has no base scores, so that nothing can be called a gain.

    References
    ----------
    .. [1] Miller. *Adding error bars to evals*. 2024. arXiv:2411.00640
    .. [2] Benjamini, Hochberg. *Controlling the false discovery rate*. 1995.
       doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    how = evidence or Evidence()
    scores = study.scores
    if not np.isfinite(scores["base_score"].values).any():
        msg = "the study has no base scores; run or import the untuned base model, then compare"
        raise AnalysisError(msg)
    rng = np.random.default_rng(how.seed)
    columns = [_column(study, str(t), how, rng.spawn(1)[0]) for t in scores["target"].values]
    data = _assemble(scores, columns)
    data["p_adjusted"] = (("source", "target"), _adjusted(data, columns, how, rng))
    return TransferMatrix(data=data, evidence=how, notes=tuple(_notes(study, data)))


def _column(study: TransferStudy, target: str, how: Evidence, rng: np.random.Generator) -> _Column:
    sign = 1.0 if bool(study.scores["higher_is_better"].sel(target=target)) else -1.0
    if study.predictions is None:
        return _column_of_scores(study, target, sign, how)
    examples = study.examples(target)
    adapted = np.asarray(examples["score"].values, dtype=np.float64)
    base = np.asarray(examples["base_score"].values, dtype=np.float64)
    differences = sign * (adapted - base)
    if adapted.shape[1] > 1:
        gains, test = _several_seeds(differences, how)
    else:
        gains, test = _one_seed(adapted[:, 0], base[0], sign=sign, how=how, rng=rng)
    mean = _mean(differences, axis=1)
    return _Column(
        gains=gains,
        scores=_Scores(
            _mean(_mean(adapted, axis=2), axis=1), *_score_interval(_mean(adapted, axis=1), how)
        ),
        test=test,
        shared_error=shared_standard_error(mean) if len(mean) > 1 else float("nan"),
        # Only max-T needs them; a large study should not hold every example at once.
        mean_differences=mean if how.adjust == "max-t" else mean[:, :0],
    )


def _several_seeds(differences: FloatArray, how: Evidence) -> tuple[_Gains, str]:
    tests = two_way_test(differences, confidence=how.confidence)
    gains = _Gains(
        gain=tests.estimate,
        gain_low=tests.low,
        gain_high=tests.high,
        standard_error=tests.standard_error,
        df=tests.df,
        p_value=tests.p_value,
        detectable=detectable_effect(tests.standard_error, df=tests.df),
        n_seeds=tests.n_seeds.astype(np.float64),
        n_scored=tests.n_scored.astype(np.float64),
        n_unscored=tests.n_unscored.astype(np.float64),
    )
    return gains, "two-way t" if tests.training_known.any() else "t over examples"


def _one_seed(
    adapted: FloatArray, base: FloatArray, *, sign: float, how: Evidence, rng: np.random.Generator
) -> tuple[_Gains, str]:
    pair = (adapted, base) if sign > 0 else (np.broadcast_to(base, adapted.shape), adapted)
    binary = _is_binary(adapted) and _is_binary(base)
    if binary:
        tests = mcnemar_cells(*pair, method=how.binary, confidence=how.confidence)
    else:
        method = bootstrap_cells if how.graded == "bootstrap" else sign_flip_cells
        tests = method(*pair, rng=rng, n_resamples=how.n_resamples, confidence=how.confidence)
    n = tests.n_scored.astype(np.float64)
    gains = _Gains(
        gain=tests.estimate,
        gain_low=tests.low,
        gain_high=tests.high,
        standard_error=tests.standard_error,
        df=np.full_like(n, np.inf),
        p_value=tests.p_value,
        detectable=_detectable_binary(adapted - base, n)
        if binary
        else detectable_effect(tests.standard_error),
        n_seeds=np.where(n > 0, 1.0, 0.0),
        n_scored=n,
        n_unscored=tests.n_unscored.astype(np.float64),
    )
    return gains, tests.method


def _is_binary(scores: FloatArray) -> bool:
    return bool(np.isin(scores[~np.isnan(scores)], (0.0, 1.0)).all())


def _detectable_binary(differences: FloatArray, n: FloatArray) -> FloatArray:
    discordant = np.nansum(np.abs(differences), axis=1)
    # Without any discordant example one such example stands in for the rate.
    rate = np.maximum(discordant, 1.0) / np.maximum(n, 1.0)
    return detectable_difference(rate, n)


def _column_of_scores(study: TransferStudy, target: str, sign: float, how: Evidence) -> _Column:
    """Evidence from seeds alone: each seed's gain is one observation."""
    scores = study.scores.sel(target=target).transpose("source", "seed")
    adapted = np.asarray(scores["score"].values, dtype=np.float64)
    values = sign * (adapted - np.asarray(scores["base_score"].values, dtype=np.float64))
    n_seeds = (~np.isnan(values)).sum(axis=1)
    gain = _mean(values, axis=1)
    freedom = float(np.maximum(n_seeds - 1, 0).sum())
    variance = np.nansum((values - gain[:, None]) ** 2) / freedom if freedom > 0 else np.nan
    error = np.sqrt(variance / np.where(n_seeds > 0, n_seeds, np.nan))
    p_value, half = _student(gain, error, freedom, how.confidence)
    unknown = np.full(len(gain), np.nan)
    gains = _Gains(
        gain=gain,
        gain_low=gain - half,
        gain_high=gain + half,
        standard_error=error,
        df=np.full(len(gain), freedom),
        p_value=p_value,
        detectable=detectable_effect(error, df=freedom) if freedom > 0 else unknown,
        n_seeds=n_seeds.astype(np.float64),
        n_scored=_mean(np.asarray(scores["n_scored"].values, dtype=np.float64), axis=1),
        n_unscored=_mean(np.asarray(scores["n_unscored"].values, dtype=np.float64), axis=1),
    )
    return _Column(
        gains=gains,
        scores=_Scores(_mean(adapted, axis=1), unknown, unknown),
        test="t over seeds" if freedom > 0 else "none",
        shared_error=float("nan"),
        mean_differences=np.empty((len(gain), 0)),
    )


def _student(
    estimate: FloatArray, error: FloatArray, freedom: float, confidence: float
) -> tuple[FloatArray, FloatArray]:
    if freedom <= 0:
        return np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    statistic = np.divide(
        np.abs(estimate), error, out=np.where(estimate == 0, 0.0, np.inf), where=error > 0
    )
    p_value = np.where(np.isnan(estimate), np.nan, 2.0 * stats.t.sf(statistic, freedom))
    return p_value, stats.t.ppf(0.5 + confidence / 2.0, freedom) * error


def _score_interval(scores: FloatArray, how: Evidence) -> tuple[FloatArray, FloatArray]:
    """Interval of each adapter's own score over examples, (source,) each."""
    known = ~np.isnan(scores)
    if bool(np.isin(scores[known], (0.0, 1.0)).all()):
        successes = np.where(known, scores, 0.0).sum(axis=1)
        return proportion_interval(successes, known.sum(axis=1), confidence=how.confidence)
    return mean_interval(scores, confidence=how.confidence)


def _mean(values: FloatArray, *, axis: int) -> FloatArray:
    """Mean of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    n = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0)


def _assemble(scores: xr.Dataset, columns: list[_Column]) -> xr.Dataset:
    cells = ("source", "target")
    coords = {name: scores[name] for name in scores.coords if "seed" not in scores[name].dims}
    data = xr.Dataset(coords=coords)
    for group, fields in (("gains", _Gains._fields), ("scores", _Scores._fields)):
        for name in fields:
            parts = [getattr(getattr(column, group), name) for column in columns]
            data[name] = (cells, np.stack(parts, axis=1))
    data["base_score"] = scores["base_score"].mean("seed", skipna=True)
    data["base_shared_error"] = ("target", [column.shared_error for column in columns])
    data["test"] = ("target", [column.test for column in columns])
    data["own"] = (cells, data["source"].values[:, None] == data["target"].values[None, :])
    # The measures count upwards; a metric that counts down is turned round.
    up = data["higher_is_better"].values
    turned = {
        name: np.where(up, data[name].values, -data[name].values)
        for name in ("score", "base_score")
    }
    # The best value of a metric that counts down is not recorded: no headroom is known.
    turned["ceiling"] = np.where(up, data["ceiling"].values, np.nan)
    for name, measure in (
        ("normalized_gain", normalized_gain),
        ("perfection_gap_factor", perfection_gap_factor),
    ):
        value = measure(turned["score"], turned["base_score"], ceiling=turned["ceiling"])
        data[name] = (cells, value)
    return data


def _adjusted(
    data: xr.Dataset, columns: list[_Column], how: Evidence, rng: np.random.Generator
) -> FloatArray:
    if how.adjust != "max-t":
        return adjust_p_values(data["p_value"].values, method=how.adjust)
    tables = [column.mean_differences for column in columns]
    if any(table.shape[1] == 0 for table in tables):
        msg = "max-t flips examples, but the study has scores only; use adjust='holm' or 'bh'"
        raise AnalysisError(msg)
    return np.stack(max_t(tables, rng=rng, n_resamples=how.n_resamples), axis=1)


def _notes(study: TransferStudy, data: xr.Dataset) -> Iterator[str]:
    tests = set(data["test"].values.tolist())
    if study.predictions is not None and float(data["n_seeds"].max()) < 2:
        yield _UNKNOWN_TRAINING
    if study.predictions is None:
        yield _NO_EVIDENCE if tests == {"none"} else _SEEDS_ONLY
    unscored = float(data["n_unscored"].sum(skipna=True))
    if unscored:
        yield f"{unscored:.0f} examples of {int((data['n_unscored'] > 0).sum())} cells are unscored"
    missing = int(np.isnan(data["score"].values).sum())
    if missing:
        yield f"{missing} of {data['score'].size} cells are missing"
