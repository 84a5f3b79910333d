"""How often each model answers each label: against gold, the base and the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.explain.answers import TargetAnswers, iter_answers
from transferlens.explain.confusion import answer_marks
from transferlens.explain.frames import cell_frame
from transferlens.explain.prior import answers_with_shares, counts_with_shares
from transferlens.explain.ratio import ratio
from transferlens.explain.resample import (
    checked,
    percentile_interval,
    resampled_sums,
    unbiased_interval,
)
from transferlens.explain.skew import (
    Priors,
    SkewTest,
    jensen_shannon,
    known_mean,
    label_skew,
    proportions,
    skew,
    study_skew_test,
)
from transferlens.explain.training import knows_training_rows, training_labels
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["LabelShift", "LabelShifts", "right_at_mix"]

_CELL = ("source", "target")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelShifts:
    """Label mixes of all models on all targets that have labels."""

    data: xr.Dataset
    """Over (source, target), with ``_low`` and ``_high`` beside each: ``shift_from_gold``,
    ``shift_from_base``, ``shift_from_source`` (Jensen-Shannon, bits, of the readable
    answers; the last over the label words that target and training data share);
    ``gain`` in accuracy, ``gain_at_gold_mix`` when both models answer each label as often
    as it is gold, ``removed``, their difference. Without intervals: ``share_removed``
    (below 0: correction makes the gain larger; NaN unless the gain differs from 0),
    ``skew`` of the answers, ``shared_labels``. Over target: ``base_shift_from_gold``,
    ``base_skew``, ``gold_skew``. Over source: ``source_skew``, ``source_top_share``; NaN
    where the training data are not known."""
    shares: Mapping[str, xr.DataArray]
    """Target -> share of each label, (model, label); the first model is ``"gold"``."""
    test: SkewTest | None
    """Whether skewed sources make skewed answers; None with fewer than four known sources."""
    notes: tuple[str, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return one row per source and target."""
        return cell_frame(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShift:
    """How far the label mix of each adapter lies from gold, base and its training data.

    A model that answers one label too often can gain, or lose, without knowing anything
    more or less. Both models are therefore also compared after each was given the gold
    label mix: by a preference per label, added to its log-likelihoods where these are
    known, else fitted to its confusion matrix.
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    confidence: float = 0.95
    """Nominal coverage of the intervals, over examples."""
    n_resamples: int = 499
    """Bootstrap resamples."""
    n_permutations: int = 9_999
    """Permutations of the sources."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        priors: Priors | None = None,
        answers: Sequence[TargetAnswers] | None = None,
    ) -> LabelShifts:
        """Compare the label mixes.

        Parameters
        ----------
        study
            With predictions.
        rng
            Source of resamples and permutations.
        priors
            Label counts or shares of training data that the study does not hold.
        answers
            Those of the study, where they were read already.

        Raises
        ------
        AnalysisError
            The study has scores only.
        """
        checked(self.confidence, self.n_resamples)
        known = {s.name: training_labels(study, s.name) for s in study.sources}
        known |= {name: dict(prior) for name, prior in (priors or {}).items()}
        found, shares = [], {}
        for one in iter_answers(study, self.targets, known=answers):
            if one.labels:
                found.append(self._target(one, known, rng))
                shares[one.info.name] = _shares(one)
        names = [source.name for source in study.sources]
        data = _assemble(found, names, known)
        # Free answers have no label mix: of these nothing is missing.
        lacking = [n for n in names if not (known.get(n) or knows_training_rows(study, n))]
        notes = []
        if lacking:
            notes.append(
                f"label mix of the training data not known: {', '.join(lacking[:5])}; "
                "run the study again to store it, or give priors"
            )
        test = study_skew_test(
            study,
            rng=rng,
            targets=self.targets,
            priors=known,
            n_permutations=self.n_permutations,
            answers=answers,
        )
        return LabelShifts(data=data, shares=shares, test=test, notes=tuple(notes))

    def _target(
        self,
        answers: TargetAnswers,
        known: Mapping[str, Mapping[str, float]],
        rng: np.random.Generator,
    ) -> xr.Dataset:
        counts, mixed = _columns(answers)
        n, models, K = counts.shape[:3]
        columns = np.concatenate([counts.reshape(n, models, -1), mixed[..., None]], axis=-1)
        sums = resampled_sums(columns, rng=rng, n_resamples=self.n_resamples)
        table = sums[..., :-1].reshape(*sums.shape[:2], K, K + 1)
        prior = np.array([_projected(known.get(m, {}), answers.labels) for m in answers.models[1:]])
        values = _measures(table, sums[..., -1], prior, by_likelihood=answers.logs is not None)
        data: dict[str, FloatArray] = {}
        for name, drawn in values.items():
            is_shift = name.startswith("shift")
            low, high = (
                unbiased_interval(drawn, self.confidence, least=0.0, most=1.0)
                if is_shift
                else percentile_interval(drawn, self.confidence)
            )
            data |= {name: drawn[0], f"{name}_low": low, f"{name}_high": high}
        real = (data["gain_low"] > 0) | (data["gain_high"] < 0)
        data["share_removed"] = np.full(len(real), np.nan)
        np.divide(data["removed"], data["gain"], out=data["share_removed"], where=real)
        data["shared_labels"] = (~np.isnan(prior)).sum(axis=1).astype(np.float64)
        data["skew"] = skew(_mix(table[0, 1:, :, :K]))
        gold, base = table[0].sum(axis=(0, 2)), _mix(table[0, 0, :, :K])
        of_target = {
            "base_shift_from_gold": jensen_shannon(base, gold),
            "base_skew": skew(base),
            "gold_skew": skew(gold),
        }
        return xr.Dataset(
            {k: ("source", v) for k, v in data.items()}
            | {k: float(v) for k, v in of_target.items()},
            coords={"source": list(answers.models[1:]), "target": answers.info.name},
        )


def _columns(answers: TargetAnswers) -> tuple[FloatArray, FloatArray]:
    """Return marks (example, model, gold, answer), and right answers at the gold label mix."""
    marks = answer_marks(answers)
    models, n, width = marks.shape
    counts = np.zeros((n, models, width - 1, width))
    known = np.flatnonzero(answers.gold >= 0)
    counts[known, :, answers.gold[known]] = marks.transpose(1, 0, 2)[known]
    right = np.full((n, models), np.nan)
    if answers.logs is not None:
        mix = np.bincount(answers.gold[known], minlength=width - 1) / max(len(known), 1)
        right = right_at_mix(answers.logs, answers.gold, np.tile(mix, (models, 1))).T
    return counts, right


def right_at_mix(logs: FloatArray, gold: IntArray, shares: FloatArray) -> FloatArray:
    """Return how often models would be right with another label mix, (model, example).

    Parameters
    ----------
    logs
        Log-likelihoods, (model, seed, example, label).
    gold
        Place of the gold label, (example,).
    shares
        Wanted share of each label, (model, label).

    Returns
    -------
    FloatArray
        The mean over the model's runs; NaN where a run has no likelihoods of some example.
    """
    models, seeds, n, K = logs.shape
    cases = logs.reshape(models * seeds, n, K)
    whole = ~np.isnan(cases).any(axis=(1, 2)) & (n > 0)
    right = np.full((models * seeds, n), np.nan)
    chosen = answers_with_shares(cases[whole], np.repeat(shares, seeds, axis=0)[whole])
    right[whole] = chosen == gold
    return known_mean(right.reshape(models, seeds, n), axis=1)


def _measures(
    table: FloatArray, right: FloatArray, prior: FloatArray, *, by_likelihood: bool
) -> dict[str, FloatArray]:
    """Return each measure for each resample and source."""
    K = table.shape[-2]
    readable = table[..., :K]
    mix = readable.sum(axis=-2)
    gold = table.sum(axis=-1)
    n = gold.sum(axis=-1)
    accuracy = ratio(np.trace(readable, axis1=-2, axis2=-1), n)
    if by_likelihood:
        level = ratio(right, n)
    else:
        of_gold = readable.sum(axis=-1) + 0.5
        fitted = counts_with_shares(readable, of_gold / of_gold.sum(axis=-1, keepdims=True))
        hits = np.trace(fitted, axis1=-2, axis2=-1) / fitted.sum(axis=(-2, -1))
        level = hits * ratio(mix.sum(axis=-1), n)
    gain, at_gold = (part[:, 1:] - part[:, :1] for part in (accuracy, level))
    return {
        "shift_from_gold": jensen_shannon(mix[:, 1:], gold[:, 1:]),
        "shift_from_base": jensen_shannon(mix[:, 1:], mix[:, :1]),
        "shift_from_source": jensen_shannon(mix[:, 1:], prior),
        "gain": gain,
        "gain_at_gold_mix": at_gold,
        "removed": gain - at_gold,
    }


def _projected(prior: Mapping[str, float], labels: tuple[str, ...]) -> FloatArray:
    """Return how often the target's labels stand in training data; NaN: none, or only one."""
    folded: dict[str, float] = {}
    for label, count in prior.items():
        key = label.strip().casefold()
        folded[key] = folded.get(key, 0.0) + count
    values = np.array([folded.get(label.strip().casefold(), np.nan) for label in labels])
    return values if (~np.isnan(values)).sum() > 1 else np.full(len(labels), np.nan)


def _shares(answers: TargetAnswers) -> xr.DataArray:
    K = len(answers.labels)
    gold = np.bincount(answers.gold[answers.gold >= 0], minlength=K)
    mixes = np.vstack([gold, answer_marks(answers).sum(axis=1)[:, :K]])
    return xr.DataArray(
        proportions(mixes),
        dims=("model", "label"),
        coords={"model": ["gold", *answers.models], "label": list(answers.labels)},
    )


def _assemble(
    found: list[xr.Dataset], names: list[str], known: Mapping[str, Mapping[str, float]]
) -> xr.Dataset:
    if found:
        data = xr.concat(found, dim="target", coords="minimal", compat="override", join="exact")
        data = data.assign({n: data[n].transpose(*_CELL) for n in data if data[n].ndim == 2})
    else:
        data = xr.Dataset(coords={"source": names, "target": np.array([], dtype=np.str_)})
    counts = [known.get(name, {}) for name in names]
    data["source_skew"] = ("source", [label_skew(mix) for mix in counts])
    top = [max(mix.values()) / sum(mix.values()) if mix else np.nan for mix in counts]
    data["source_top_share"] = ("source", top)
    return data


def _mix(readable: FloatArray) -> FloatArray:
    return np.asarray(readable.sum(axis=-2))
