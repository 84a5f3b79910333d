"""From a study to its matrix, and to the matrices that other examples and seeds would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.results import TransferStudy
from transferlens.stats import bootstrap_weights, two_way_test
from transferlens.traits.arrays import Array, BoolArray, spread
from transferlens.traits.labelled import prepare_labelled
from transferlens.traits.prepare import NEEDS_BASE, Transform, prepare

__all__ = ["StudyMatrix", "study_matrix"]

CHUNK_BYTES = 2**28
POINTS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyMatrix:
    """The matrix of a study in the unit that is decomposed, and its resamples."""

    study: TransferStudy
    transform: Transform
    include_base: bool
    matrix: xr.DataArray
    """Over (source, target), more is better; seeds are averaged, NaN where nothing was scored."""
    notes: tuple[str, ...]
    """What was left out or turned round, and what the resamples cannot say."""

    @property
    def can_draw(self) -> bool:
        """Whether there are examples or seeds to draw anew."""
        return self.study.predictions is not None or len(self.study.seeds) > 1

    def draw(self, rng: np.random.Generator, n_resamples: int = 1_000) -> Iterator[Array]:
        """Draw examples and seeds with replacement and recompute the matrix.

        All sources share the drawn examples of a target, as they share its examples; each source
        draws its own seeds, the same for all targets. Seeds are few, so that their deviations
        are scaled by ``√(S / (S - 1))``, without which their variance would come out too small;
        and they are shrunken to the variance between training runs, without what they owe to
        the finite number of examples, which the drawn examples show already.

        Parameters
        ----------
        rng
            Draws examples and seeds.
        n_resamples
            How many matrices.

        Yields
        ------
        Array
            Stacks of matrices, shape (b, source, target), as ``matrix``; the base is drawn too.

        References
        ----------
        .. [1] Rao, Wu. *Resampling inference with complex survey data*. 1988.
           doi:10.1080/01621459.1988.10478591
        """
        targets = [str(name) for name in self.matrix["target"].values]
        # The base comes first, then the study's sources, those that were left out too.
        size = (1 + len(self.study.sources)) * len(targets)
        step = max(1, CHUNK_BYTES // (8 * size))
        for at in range(0, n_resamples, step):
            count = min(step, n_resamples - at)
            pulls = _seed_pulls(self.study, rng, count)
            columns = [
                _known_mean(_example_means(scores, rng, count)) + _pulled(scores, pulls)
                for scores in _scores_of(self.study, targets)
            ]
            yield self._prepared(np.stack(columns, axis=2))

    def _prepared(self, tables: Array) -> Array:
        kept = np.isin(self.study.scores["source"].values, self.matrix["source"].values)
        base, scores = tables[:, 0], tables[:, 1:][:, kept]
        if self.transform == "raw":
            whole = tables[:, np.concatenate([[True], kept])] if self.include_base else scores
        else:
            whole = np.stack([self._one(*pair) for pair in zip(scores, base, strict=True)])
        return np.asarray(whole * self.matrix["scale"].values)

    def _one(self, scores: Array, base: Array) -> Array:
        ceiling = self.matrix["ceiling"].values
        return prepare(
            scores, self.transform, base=base, ceiling=ceiling, include_base=self.include_base
        )


def study_matrix(
    study: TransferStudy, transform: Transform = "raw", *, include_base: bool = False
) -> StudyMatrix:
    """Bring a study's scores, averaged over seeds, into the unit in which they are decomposed.

    Parameters
    ----------
    study
        With predictions, or with scores only.
    transform
        See `transferlens.traits.prepare`. Targets whose metric counts down are turned round.
    include_base
        Put the untuned model in as the first row (the paper's convention).

    Returns
    -------
    StudyMatrix
        Raw scores and gains of fractions are in points (percent). Sources and targets without
        any value are left out, and ``notes`` says so.

    Raises
    ------
    AnalysisError
        A base is needed and its scores are missing.
    """
    scores = study.scores
    needs_base = include_base or transform in NEEDS_BASE
    absent = scores["base_score"].isnull().all("seed")
    if needs_base and bool(absent.any()):
        names = scores["target"].values[absent.values].tolist()
        msg = f"the base model has no score on {names}; import it, or decompose raw scores"
        raise AnalysisError(msg)
    up, fraction = scores["higher_is_better"], scores["unit"] == "fraction"
    unit = np.where(fraction.values & (transform in {"raw", "gain"}), POINTS, 1.0)
    mean = _mean(scores["score"]).assign_coords(
        # The best value of a metric that counts down is not recorded: no headroom is known.
        ceiling=scores["ceiling"].where(up),
        scale=("target", np.where(up.values, unit, -unit)),
    )
    table = prepare_labelled(
        mean,
        transform,
        base=_mean(scores["base_score"]) if needs_base else None,
        include_base=include_base,
        n_scored=_mean(scores["n_scored"]) if transform == "logit" else None,
    )
    kept, notes = _without_empty(table.sel(source=_kept(study, table)), transform)
    return StudyMatrix(
        study=study,
        transform=transform,
        include_base=include_base,
        matrix=kept * kept["scale"],
        notes=(*notes, *_merged(study), *_units(kept, transform), *_resampling(study)),
    )


def _mean(values: xr.DataArray) -> xr.DataArray:
    seen = values.notnull()
    return (values.fillna(0.0).sum("seed") / seen.sum("seed")).where(seen.any("seed"))


def _kept(study: TransferStudy, table: xr.DataArray) -> list[str]:
    """Return the rows that are not made of others: those would count their parts twice."""
    merged = {info.name for info in study.sources if info.merged_of}
    return [name for name in table["source"].values.tolist() if name not in merged]


def _merged(study: TransferStudy) -> Iterator[str]:
    if names := [info.name for info in study.sources if info.merged_of]:
        yield f"left out, because they are merged from other rows: {', '.join(names)}"


def _without_empty(
    table: xr.DataArray, transform: Transform
) -> tuple[xr.DataArray, tuple[str, ...]]:
    notes = []
    for dim, other in (("target", "source"), ("source", "target")):
        empty = table.isnull().all(other)
        if bool(empty.any()):
            names = ", ".join(map(str, table[dim].values[empty.values]))
            why = "no scored cell"
            if dim == "target" and transform == "normalized_gain":
                why = "no normalized gain (no score, no known ceiling or a base without headroom)"
            notes.append(f"left out, because there is {why}: {dim} {names}")
        table = table.sel({dim: ~empty.values})
    return table, tuple(notes)


def _units(table: xr.DataArray, transform: Transform) -> Iterator[str]:
    units = dict.fromkeys(table["unit"].values.tolist())
    if len(units) > 1 and transform in {"raw", "gain"}:
        yield (
            f"targets are in different units ({', '.join(units)}), and traits follow the largest"
            " numbers; standardise to give each target the same say"
        )
    down = table["target"].values[table["scale"].values < 0]
    if down.size:
        yield f"less is better on {', '.join(map(str, down))}; turned round, so that more is better"


def _resampling(study: TransferStudy) -> Iterator[str]:
    if study.predictions is None:
        yield (
            "only scores were given: the bootstrap is over seeds alone, not over examples"
            if len(study.seeds) > 1
            else "stability over examples and seeds is unknown: only scores were given"
        )
    elif len(study.seeds) == 1:
        yield (
            "one seed: training variance unknown. Stability over examples does not say whether"
            " another training run would show the same traits"
        )


def _scores_of(study: TransferStudy, targets: list[str]) -> Iterator[Array]:
    """Yield the scores of each target, shape (1 + source, seed, example); the base comes first.

    A study of bare scores has one "example", its score.
    """
    if study.predictions is None:
        scores = study.scores.transpose("target", "source", "seed")
        for target in targets:
            one = scores.sel(target=target)
            table = np.concatenate([one["base_score"].values[None], one["score"].values])
            yield table[:, :, None]
        return
    for one in study.iter_examples(targets):
        yield np.concatenate([one["base_score"].values[None], one["score"].values])


def _seed_pulls(study: TransferStudy, rng: np.random.Generator, count: int) -> Array:
    """How far drawn seeds are over- or under-represented, shape (count, 1 + source, seed).

    Sums to 0 over seeds; 0 for a model that ran once.
    """
    scores = study.scores
    made: BoolArray = np.concatenate(
        [
            scores["base_score"].transpose("target", "seed").notnull().any("target").values[None],
            scores["score"].transpose("source", "target", "seed").notnull().any("target").values,
        ]
    )
    runs = np.maximum(made.sum(axis=1, keepdims=True), 1)
    even = np.where(made.any(axis=1, keepdims=True), made / runs, 1 / made.shape[1])
    drawn = rng.multinomial(runs[:, 0], even, size=(count, len(made))) / runs
    known = made.any(axis=1, keepdims=True)
    return np.asarray(known * np.sqrt(runs / np.maximum(runs - 1, 1)) * (drawn - even))


def _pulled(scores: Array, pulls: Array) -> Array:
    """Move of each model's score by the drawn seeds, shape (count, 1 + source)."""
    seeds = _known_mean(scores)
    deviation = np.nan_to_num(seeds - _known_mean(seeds)[:, None])
    return np.asarray(_training_share(scores[1:], seeds[1:]) * (pulls * deviation).sum(axis=2))


def _training_share(scores: Array, seeds: Array) -> float:
    """Share of the seeds' spread that is between training runs, not between drawn examples."""
    if scores.shape[1] < 2 or scores.shape[2] < 2:
        return 1.0
    between = two_way_test(scores).training_variance
    both = np.isfinite(seeds).sum(axis=1) > 1
    observed = float((spread(seeds[both].T) ** 2).mean()) if both.any() else 0.0
    known = between[np.isfinite(between)]
    if not known.size or observed <= 0:
        return 1.0
    return float(np.sqrt(np.clip(known.mean() / observed, 0.0, 1.0)))


def _example_means(scores: Array, rng: np.random.Generator, count: int) -> Array:
    """Mean score per resample, model and seed, shape (count, 1 + source, seed)."""
    flat = scores.reshape(-1, scores.shape[2])
    seen = ~np.isnan(flat)
    known = np.where(seen, flat, 0.0).astype(np.float32)
    means = np.full((count, len(flat)), np.nan)
    # A draw needs 32 bytes per resample and example.
    step = max(1, CHUNK_BYTES // (32 * flat.shape[1]))
    for at in range(0, count, step):
        weights = bootstrap_weights(rng, min(step, count - at), flat.shape[1])
        # Where all is scored, the drawn examples are as many as there are.
        drawn = np.float32(flat.shape[1]) if seen.all() else weights @ seen.astype(np.float32).T
        part = means[at : at + step]
        np.divide(weights @ known.T, drawn, out=part, where=np.broadcast_to(drawn > 0, part.shape))
    return means.reshape(count, *scores.shape[:2])


def _known_mean(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=-1)
    return np.asarray(np.where(seen, values, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan))
