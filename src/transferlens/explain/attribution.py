"""Every gain as the sum of format, label prior, length and skill.

Two models differ in how often their answers can be read, in which labels they prefer, in
how long their answers are, and in what is left: skill. Each of the four can be taken from
the base or from the adapter, which makes sixteen models between them; each mechanism is
credited with what it changes on average over all orders in which the base can be turned
into the adapter (Shapley value).

- **length**: the share of answers of each length, and of those cut off, is that of the other
  model; how good an answer of that length is stays.
- **format**: at each length as many answers can be read as of the other model; how good a
  readable answer is stays.
- **prior**: each label is preferred as much as by the other model, whatever the example; how
  well the labels are told apart stays (`transferlens.explain.prior`).
- **skill**: the rest.

Format supposes that unreadable answers would be as good as readable ones of the same
length, and length that an answer would be as good as others of that length. These are
accounts of a difference, not experiments: twins are.

References
----------
.. [1] Shorrocks. *Decomposition procedures for distributional analysis: a unified framework
   based on the Shapley value*. 2013. doi:10.1007/s10888-011-9214-z
.. [2] Kitagawa. *Components of a difference between two rates*. 1955. doi:10.2307/2281213
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.amounts import amount, scale_and_unit
from transferlens.explain.answers import MISSING, TargetAnswers, iter_answers
from transferlens.explain.confusion import answer_marks
from transferlens.explain.frames import cell_frame
from transferlens.explain.labels import right_at_mix
from transferlens.explain.prior import (
    SMOOTHING,
    counts_with_preferences,
    label_shares,
    preferences,
)
from transferlens.explain.ratio import ratio
from transferlens.explain.resample import (
    checked,
    draw_weights,
    percentile_interval,
    placed_sums,
)
from transferlens.explain.shapley import shapley
from transferlens.explain.strata import Sides, Strata, paired, strata_of, strata_sums
from transferlens.results import TransferStudy
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = ["MECHANISMS", "Attribution", "Attributions"]

MECHANISMS = ("format", "prior", "length", "skill")
"""What a gain is split into."""

_IN_WORDS = {
    "format": "answers that can be read",
    "prior": "which labels it prefers",
    "length": "the length of its answers",
    "skill": "better answers at equal format, label mix and length",
}
_SOURCES_AT_ONCE = 25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attributions:
    """The gains of a study, each split into mechanisms."""

    data: xr.Dataset
    """Over (source, target), each with ``_low`` and ``_high``: ``gain`` and the
    `MECHANISMS`, which sum to it; upwards, in the target's unit. A mechanism that a target
    does not have (no labels, nothing written) is 0. NaN where a cell has no score. Over
    target: ``unit`` and ``prior_by`` (``likelihoods``, ``answers`` or ``none``)."""

    def to_frame(self) -> pl.DataFrame:
        """Return one row per source and target."""
        return cell_frame(self.data)

    def sentence(self, source: str, target: str) -> str:
        """Say in one sentence what the gain of a cell consists of.

        Raises
        ------
        AnalysisError
            There is no such cell.
        """
        for axis, name in (("source", source), ("target", target)):
            known = self.data[axis].values.tolist()
            if name not in known:
                msg = f"the study has no {axis} {name!r}.{did_you_mean(name, known)}"
                raise AnalysisError(msg)
        cell = {str(k): v.item() for k, v in self.data.sel(source=source, target=target).items()}
        return _sentence(source, target, cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Split each gain into format, label prior, length and skill.

    Intervals resample the examples. Where label likelihoods are known the preferences
    that make the label mixes agree are held fixed in the resamples.
    """

    targets: tuple[str, ...] | None = None
    """All by default."""
    confidence: float = 0.95
    """Nominal coverage of the intervals."""
    n_resamples: int = 200
    """Bootstrap resamples."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        answers: Sequence[TargetAnswers] | None = None,
    ) -> Attributions:
        """Split the gain of every cell.

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
        found = [self._target(one, rng) for one in iter_answers(study, self.targets, known=answers)]
        data = xr.concat(found, dim="target", join="exact").transpose("source", ...)
        return Attributions(data=data.assign_attrs(confidence=self.confidence))

    def _target(self, answers: TargetAnswers, rng: np.random.Generator) -> xr.Dataset:
        # Every part of the sources sees the same resamples.
        weights = draw_weights(rng, n_resamples=self.n_resamples, n_examples=len(answers.example))
        parts = [self._part(part, weights) for part in _parts(answers)]
        data = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        by = "none" if not answers.labels else "answers" if answers.logs is None else "likelihoods"
        return xr.Dataset(
            {name: ("source", values) for name, values in data.items()}
            | {"unit": answers.info.unit, "prior_by": by},
            coords={"source": list(answers.models[1:]), "target": answers.info.name},
        )

    def _part(self, answers: TargetAnswers, weights: FloatArray) -> dict[str, FloatArray]:
        strata = strata_of(strata_sums(answers, weights))
        drawn = _contributions(strata, _prior_effects(answers, weights))
        result: dict[str, FloatArray] = {}
        for name, values in drawn.items():
            upwards = answers.sign * values.T
            low, high = percentile_interval(upwards, self.confidence)
            result |= {name: upwards[0], f"{name}_low": low, f"{name}_high": high}
        return result


def _contributions(strata: Strata, prior: Sides) -> dict[str, FloatArray]:
    """Return gain and mechanisms, (source, resample) each; see the module."""
    score, read = _exchanged(strata)

    def value(adapters: frozenset[str]) -> FloatArray:
        """Return the mean score where these mechanisms are the adapter's."""
        own = int("skill" in adapters)
        length, form = (int(name in adapters) for name in ("length", "format"))
        mean = score[own, length, form]
        # A preference is taken from the other where it is not the own model's.
        if ("prior" in adapters) == bool(own):
            return mean
        return np.asarray(mean + read[length, form] * prior[own])

    found = shapley(MECHANISMS, value)
    return {"gain": strata.total.adapter - strata.total.base, **found}


def _exchanged(
    strata: Strata,
) -> tuple[dict[tuple[int, int, int], FloatArray], dict[tuple[int, int], FloatArray]]:
    """Return mean scores by whose answers, lengths and readability they have; and shares read."""
    read, score = {}, {}
    for length, form in product(range(2), range(2)):
        readable = strata.share[length] * strata.readable[form]
        unreadable = strata.share[length] - readable
        read[length, form] = readable.sum(axis=0)
        for own in range(2):
            of_read, of_unread = strata.read_score[own], strata.unread_score[own]
            score[own, length, form] = np.einsum("ksr,ksr->sr", readable, of_read) + np.einsum(
                "ksr,ksr->sr", unreadable, of_unread
            )
    return score, read


def _parts(answers: TargetAnswers) -> Iterator[TargetAnswers]:
    """Yield the base with some of the sources: all at once would need much memory."""
    for start in range(1, len(answers.models), _SOURCES_AT_ONCE):
        chosen = [0, *range(start, min(start + _SOURCES_AT_ONCE, len(answers.models)))]
        arrays = {
            name: getattr(answers, name)[chosen]
            for name in ("answer", "score", "n_tokens", "truncated")
        }
        logs = None if answers.logs is None else answers.logs[chosen]
        names = tuple(answers.models[at] for at in chosen)
        yield replace(answers, models=names, logs=logs, **arrays)


def _prior_effects(answers: TargetAnswers, weights: FloatArray) -> Sides:
    """Return what the other's label mix does to the score of a readable answer.

    (source, resample) each.
    """
    if not answers.labels:
        nothing = np.zeros((len(answers.models) - 1, weights.shape[1]))
        return Sides(nothing, nothing)
    worth = _worth(answers)
    use = paired(answers) & (answers.gold >= 0)
    if answers.logs is not None:
        change = _likelihood_changes(answers, use, weights)
    else:
        sums = np.moveaxis(_confusion_sums(answers, use, weights), (1, 2), (-2, -1))
        exchanged = counts_with_preferences(sums, preferences(sums)[::-1])
        change = _accuracy(exchanged) - _accuracy(sums + SMOOTHING)
    return Sides(worth * change[0], worth * change[1])


def _confusion_sums(answers: TargetAnswers, use: BoolArray, weights: FloatArray) -> FloatArray:
    """Count readable answers, (side, gold, answer, source, resample)."""
    n_sources, K = len(use), len(answers.labels)
    shape = (2, K, K, n_sources)
    share = 1.0 / np.maximum((answers.answer != MISSING).sum(axis=1), 1)
    places, examples, counts = [], [], []
    for side in range(2):
        models = np.arange(1, n_sources + 1) if side else np.zeros(n_sources, dtype=np.int64)
        for run in range(answers.answer.shape[1]):
            given = answers.answer[models, run]
            source, example = np.nonzero(use & (given >= 0))
            cell = (side, answers.gold[example], given[source, example], source)
            places.append(np.ravel_multi_index(cell, shape))
            examples.append(example)
            counts.append(share[models[source], example])
    sums = placed_sums(
        np.concatenate(places), np.concatenate(examples), np.concatenate(counts),
        n_places=int(np.prod(shape)), weights=weights,
    )  # fmt: skip
    return sums.reshape(*shape, weights.shape[1])


def _likelihood_changes(answers: TargetAnswers, use: BoolArray, weights: FloatArray) -> FloatArray:
    """Return how much more often a model is right with the other's label mix.

    (side, source, resample); the label mixes are those of all examples.
    """
    if answers.logs is None:
        msg = "the likelihoods of the labels are not known"
        raise AnalysisError(msg)
    tables = _tables(answers, answer_marks(answers)[:, :, :-1])
    base = np.zeros(len(use), dtype=np.int64)
    adapter = np.arange(1, len(use) + 1)
    found = np.zeros((2, len(use), weights.shape[1]))
    changes = []
    for own, other in ((base, adapter), (adapter, base)):
        mixes = _exchanged_mixes(tables[own], tables[other])
        logs = answers.logs[own]
        exchanged, kept = (right_at_mix(logs, answers.gold, mix) for mix in mixes)
        changes.append(exchanged - kept)
    whole = use & ~np.isnan(changes[0]) & ~np.isnan(changes[1])
    n = whole @ weights
    for side, change in enumerate(changes):
        found[side] = np.nan_to_num(ratio(np.where(whole, change, 0.0) @ weights, n))
    return found


def _tables(answers: TargetAnswers, marks: FloatArray) -> FloatArray:
    """Return the confusion matrices of readable answers, (model, gold, answer)."""
    of_gold = answers.gold[:, None] == np.arange(len(answers.labels))
    tables: FloatArray = np.einsum("mea,eg->mga", marks, of_gold.astype(np.float64))
    return tables


def _exchanged_mixes(own: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the label mix of models with the others' preferences, and their own mix.

    Likelihoods of two models differ in scale, so the preferences are those of the answers;
    they say how often each label would be answered, and the likelihoods on which examples.

    Parameters
    ----------
    own, other
        Confusion matrices of readable answers, (source, gold, answer).
    """
    mix = own.sum(axis=1)
    shares = mix / np.maximum(mix.sum(axis=1, keepdims=True), 1e-12)
    exchanged = counts_with_preferences(own, preferences(other)).sum(axis=1)
    exchanged /= exchanged.sum(axis=1, keepdims=True)
    # The change is added, so that equal preferences leave the label mix exactly as it is, and
    # a label that was never answered can still be.
    wanted = np.maximum(shares + exchanged - label_shares(own), 0.0)
    return wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1e-12), shares


def _accuracy(table: FloatArray) -> FloatArray:
    return np.asarray(np.trace(table, axis1=-2, axis2=-1) / table.sum(axis=(-2, -1)))


def _worth(answers: TargetAnswers) -> FloatArray:
    """Return how much more a right label scores than a wrong one, for base and adapter together.

    (source, 1)
    """
    known = answers.scored & (answers.answer >= 0)
    right = answers.answer == answers.gold
    means = []
    for group in (known & right, known & ~right):
        n = group.sum(axis=(1, 2)).astype(np.float64)
        total = np.where(group, answers.score, 0.0).sum(axis=(1, 2))
        means.append(ratio(total[1:] + total[0], n[1:] + n[0]))
    worth = means[0] - means[1]
    # Where all answers are right, or none is, the usual score of an answer.
    return np.where(np.isnan(worth), answers.sign, worth)[:, None]


def _sentence(source: str, target: str, cell: dict[str, float | str]) -> str:
    gain = float(cell["gain"])
    if np.isnan(gain):
        return f"{source} on {target}: no score, hence nothing to explain."
    scale, unit = scale_and_unit(str(cell["unit"]))

    def differs(name: str) -> bool:
        return float(cell[f"{name}_low"]) > 0 or float(cell[f"{name}_high"]) < 0

    sure = sorted(filter(differs, MECHANISMS), key=lambda name: -abs(float(cell[name])))
    what = "gains" if gain > 0 else "loses" if gain < 0 else "changes"
    total = f"{source} {what} {amount(cell, 'gain', scale)} {unit} on {target}"
    if not differs("gain") and not sure:
        return f"{total}, which may be chance: no mechanism stands out."
    if not sure:
        return f"{total}; no single mechanism stands out from chance."
    causes = "; ".join(f"{amount(cell, name, scale)} from {_IN_WORDS[name]}" for name in sure)
    rest = [name for name in MECHANISMS if name not in sure]
    tail = f"; the rest ({', '.join(rest)}) may be chance" if rest else ""
    return f"{total}: {causes}{tail}."
