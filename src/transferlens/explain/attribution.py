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

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.answers import TargetAnswers, iter_answers
from transferlens.explain.confusion import answer_marks
from transferlens.explain.frames import cell_frame
from transferlens.explain.labels import right_at_mix
from transferlens.explain.prior import (
    SMOOTHING,
    counts_with_preferences,
    label_shares,
    preferences,
)
from transferlens.explain.resample import checked, percentile_interval, resampled_sums
from transferlens.explain.shapley import shapley
from transferlens.explain.strata import Sides, paired, strata_columns, strata_of
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

    def __call__(self, study: TransferStudy, *, rng: np.random.Generator) -> Attributions:
        """Split the gain of every cell.

        Raises
        ------
        AnalysisError
            The study has scores only.
        """
        checked(self.confidence, self.n_resamples)
        found = [self._target(answers, rng) for answers in iter_answers(study, self.targets)]
        data = xr.concat(found, dim="target", join="exact").transpose("source", ...)
        return Attributions(data=data.assign_attrs(confidence=self.confidence))

    def _target(self, answers: TargetAnswers, rng: np.random.Generator) -> xr.Dataset:
        # Every part of the sources sees the same resamples.
        state = int(rng.integers(2**63))
        parts = [self._part(part, state) for part in _parts(answers)]
        data = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        by = "none" if not answers.labels else "answers" if answers.logs is None else "likelihoods"
        return xr.Dataset(
            {name: ("source", values) for name, values in data.items()}
            | {"unit": answers.info.unit, "prior_by": by},
            coords={"source": list(answers.models[1:]), "target": answers.info.name},
        )

    def _part(self, answers: TargetAnswers, state: int) -> dict[str, FloatArray]:
        strata = strata_columns(answers)
        prior = _prior_columns(answers)
        shapes = (strata.shape[1:], prior.shape[1:])
        columns = np.concatenate([a.reshape(len(a), -1) for a in (strata, prior)], axis=1)
        sums = resampled_sums(
            columns, rng=np.random.default_rng(state), n_resamples=self.n_resamples
        )
        split = int(np.prod(shapes[0]))
        tables, priors = (
            part.reshape(len(sums), *shape)
            for part, shape in zip((sums[:, :split], sums[:, split:]), shapes, strict=True)
        )
        drawn = _contributions(tables, _prior_effects(priors, answers))
        result: dict[str, FloatArray] = {}
        for name, values in drawn.items():
            upwards = answers.sign * values
            low, high = percentile_interval(upwards, self.confidence)
            result |= {name: upwards[0], f"{name}_low": low, f"{name}_high": high}
        return result


def _contributions(tables: FloatArray, prior: Sides) -> dict[str, FloatArray]:
    """Return gain and mechanisms, (resample, source) each; see the module."""
    strata = strata_of(tables)

    def from_one(own: int, taken: frozenset[str]) -> FloatArray:
        """Return the mean score of one model with some mechanisms taken from the other."""
        other = 1 - own
        share = strata.share[other if "length" in taken else own]
        readable = strata.readable[other if "format" in taken else own]
        read = (share * readable).sum(axis=-1)
        score = (share * readable * strata.read_score[own]).sum(axis=-1)
        score = score + (share * (1.0 - readable) * strata.unread_score[own]).sum(axis=-1)
        return np.asarray(score + read * prior[own] if "prior" in taken else score)

    def value(adapters: frozenset[str]) -> FloatArray:
        if "skill" in adapters:
            return from_one(1, frozenset(MECHANISMS) - adapters)
        return from_one(0, adapters)

    found = shapley(MECHANISMS, value)
    return {"gain": strata.total.adapter - strata.total.base, **found}


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


def _prior_columns(answers: TargetAnswers) -> FloatArray:
    """Return what the label mixes are computed from, (example, source, side, ...).

    Confusion marks (gold, answer) of readable answers; or, with likelihoods, how much
    more often the model is right with the other's label mix than with its own, and the
    number of answers.
    """
    both = paired(answers)
    n_sources, n = both.shape
    if not answers.labels:
        return np.zeros((n, n_sources, 2, 0))
    marks = answer_marks(answers)[:, :, :-1]
    K = len(answers.labels)
    use = both & (answers.gold >= 0)
    if answers.logs is not None:
        return _likelihood_columns(answers, marks, use)
    columns = np.zeros((n, n_sources, 2, K, K))
    for source in range(n_sources):
        at = np.flatnonzero(use[source])
        for side, model in enumerate((0, 1 + source)):
            columns[at, source, side, answers.gold[at]] = marks[model, at]
    return columns


def _likelihood_columns(answers: TargetAnswers, marks: FloatArray, use: BoolArray) -> FloatArray:
    tables = _tables(answers, marks)
    mix = tables.sum(axis=1)
    shares = mix / np.maximum(mix.sum(axis=1, keepdims=True), 1e-12)
    own = right_at_mix(answers, shares)
    columns = np.zeros((use.shape[1], len(use), 2, 2))
    for source in range(len(use)):
        pair = [0, 1 + source]
        exchanged = _right_exchanged(answers, tables[pair], shares[pair], pair)
        changes = exchanged - own[pair]
        whole = use[source] & ~np.isnan(changes).any(axis=0)
        for side, change in enumerate(changes):
            columns[:, source, side, 0] = np.where(whole, change, 0.0)
            columns[:, source, side, 1] = whole
    return columns


def _tables(answers: TargetAnswers, marks: FloatArray) -> FloatArray:
    """Return the confusion matrices of readable answers, (model, gold, answer)."""
    of_gold = answers.gold[:, None] == np.arange(len(answers.labels))
    tables: FloatArray = np.einsum("mea,eg->mga", marks, of_gold.astype(np.float64))
    return tables


def _right_exchanged(
    answers: TargetAnswers, tables: FloatArray, shares: FloatArray, pair: list[int]
) -> FloatArray:
    """Return how often each of two models is right with the other's preferences.

    Likelihoods of two models differ in scale, so the preferences are those of the answers;
    they say how often each label would be answered, and the likelihoods on which examples.
    """
    if answers.logs is None:
        msg = "the likelihoods of the labels are not known"
        raise AnalysisError(msg)
    exchanged = counts_with_preferences(tables, preferences(tables)[::-1]).sum(axis=1)
    # In proportion, so that equal preferences leave the label mix exactly as it is.
    wanted = shares * exchanged / (label_shares(tables) * exchanged.sum(axis=1, keepdims=True))
    wanted = wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1e-12)
    two = replace(answers, models=("base", "adapter"), logs=answers.logs[pair])
    return right_at_mix(two, wanted)


def _prior_effects(sums: FloatArray, answers: TargetAnswers) -> Sides:
    """Return what the other's label mix does to the score of a readable answer."""
    if not answers.labels:
        nothing = np.zeros(sums.shape[:2])
        return Sides(nothing, nothing)
    worth = _worth(answers)
    if answers.logs is not None:
        change = np.divide(
            sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] > 0
        )
        return Sides(worth * change[..., 0], worth * change[..., 1])
    exchanged = counts_with_preferences(sums, preferences(sums)[..., ::-1, :])
    change = _accuracy(exchanged) - _accuracy(sums + SMOOTHING)
    return Sides(worth * change[..., 0], worth * change[..., 1])


def _accuracy(table: FloatArray) -> FloatArray:
    return np.asarray(np.trace(table, axis1=-2, axis2=-1) / table.sum(axis=(-2, -1)))


def _worth(answers: TargetAnswers) -> float:
    """Return how much more a right label scores than a wrong one."""
    known = answers.scored & (answers.answer >= 0)
    right = answers.answer == answers.gold
    hits, misses = answers.score[known & right], answers.score[known & ~right]
    if not len(hits) or not len(misses):
        return 1.0 if answers.info.higher_is_better else -1.0
    return float(hits.mean() - misses.mean())


def _sentence(source: str, target: str, cell: dict[str, float | str]) -> str:
    gain = float(cell["gain"])
    if np.isnan(gain):
        return f"{source} on {target}: no score, hence nothing to explain."
    scale, unit = (100.0, "points") if cell["unit"] == "fraction" else (1.0, str(cell["unit"]))

    def amount(name: str) -> str:
        low, high = scale * float(cell[f"{name}_low"]), scale * float(cell[f"{name}_high"])
        return f"{scale * float(cell[name]):+.1f} [{low:+.1f}, {high:+.1f}]"

    def differs(name: str) -> bool:
        return float(cell[f"{name}_low"]) > 0 or float(cell[f"{name}_high"]) < 0

    sure = sorted(filter(differs, MECHANISMS), key=lambda name: -abs(float(cell[name])))
    what = "gains" if gain > 0 else "loses" if gain < 0 else "changes"
    total = f"{source} {what} {amount('gain')} {unit} on {target}"
    if not differs("gain") and not sure:
        return f"{total}, which may be chance: no mechanism stands out."
    if not sure:
        return f"{total}; no single mechanism stands out from chance."
    causes = "; ".join(f"{amount(name)} from {_IN_WORDS[name]}" for name in sure)
    rest = [name for name in MECHANISMS if name not in sure]
    tail = f"; the rest ({', '.join(rest)}) may be chance" if rest else ""
    return f"{total}: {causes}{tail}."
