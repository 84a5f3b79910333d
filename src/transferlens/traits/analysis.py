"""From a study, or a labelled matrix, to its traits in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.results import TransferStudy
from transferlens.traits.arrays import Array, spread
from transferlens.traits.dominance import Dominance, find_dominance
from transferlens.traits.draws import study_matrix
from transferlens.traits.impute import Completion, complete
from transferlens.traits.labelled import require_labelled, target_labels
from transferlens.traits.model import Decomposition, Method, Model, RotationName
from transferlens.traits.naming import TraitName, name_trait
from transferlens.traits.number import NumberOfTraits, choose_number
from transferlens.traits.prepare import Transform, zscores
from transferlens.traits.result import Traits
from transferlens.traits.seriate import cluster
from transferlens.traits.stability import (
    Alignment,
    Stability,
    bootstrap_given,
    bootstrap_rows,
    leave_one_row_out,
)

__all__ = ["Resamples", "decompose_traits"]

Resamples = Iterable[Array] | Callable[[np.random.Generator], Iterable[Array]]
"""Matrices recomputed on drawn examples and seeds, or a function that draws them."""

# PCA of a stack needs a millisecond per resample, everything else refits from scratch.
RESAMPLES_OF_PCA, RESAMPLES = 1_000, 200
RESAMPLES_OF_CLUSTERS = 200


class _Bootstrap(NamedTuple):
    """How loadings are resampled."""

    n_resamples: int
    align: Alignment
    level: float


class _Given(NamedTuple):
    """What is decomposed, and where it came from."""

    matrix: xr.DataArray
    resamples: Resamples | None
    notes: tuple[str, ...]


def decompose_traits(
    study: TransferStudy | xr.DataArray,
    *,
    rng: np.random.Generator,
    transform: Transform = "raw",
    include_base: bool = False,
    method: Method = "pca",
    n_components: int | Literal["auto"] = "auto",
    rotation: RotationName = "none",
    kaiser: bool = True,
    standardise: bool = False,
    impute: Literal["auto", "pca", "soft"] = "auto",
    resamples: Resamples | None = None,
    n_resamples: int | None = None,
    align: Alignment = "match",
    level: float = 0.95,
    families: Mapping[str, str] | None = None,
    metrics: Mapping[str, str] | None = None,
    names: Mapping[int, str] | None = None,
) -> Traits:
    """Decompose a transfer matrix, and say how far to believe the result.

    Parameters
    ----------
    study
        A study, or a matrix over (source, target) that already is in the unit to be decomposed
        (see `prepare_labelled`). NaN marks cells without a score; they are completed, and the
        result says so. The coordinates ``family`` and ``metric`` over target name the traits.
    rng
        Draws folds, permutations, starts and resamples.
    transform, include_base
        Unit of a study's scores, and whether its untuned model is a row; see `study_matrix`.
    method
        ``pca``, factor analysis by ``minres`` or ``ml``, ``nmf`` or ``sparse``.
    n_components
        Number of traits; ``auto`` asks parallel analysis and cross-validation.
    rotation, kaiser
        Rotation of PCA or factors, with or without Kaiser normalisation.
    standardise
        Give every target the same variance before a PCA.
    impute
        How missing cells are completed.
    resamples
        Instead of the study's own: matrices over drawn examples and seeds with the same sources
        and targets, in the same order and unit, NaN where the matrix is; or a function of
        ``rng`` that draws them.
    n_resamples
        Of each bootstrap; 1,000 for PCA, else 200.
    align, level
        Alignment of resampled loadings, and level of their intervals.
    families, metrics
        By target, instead of the matrix's own coordinates.
    names
        The user's names by trait number (from 1).

    Returns
    -------
    Traits
        Frozen; ``summary()`` says it in words.

    Raises
    ------
    AnalysisError
        A matrix that is too small or has an empty row or column, a target that never varies
        where correlations are needed, or an unknown method or rotation.
    """
    _require_known(method, rotation)
    default = RESAMPLES_OF_PCA if method == "pca" else RESAMPLES
    how = _Bootstrap(n_resamples or default, align, level)
    given = _given(study, transform, resamples, how, include_base=include_base)
    choice = Model(
        method=method, n_components=1, rotation=rotation, kaiser=kaiser, standardise=standardise
    )
    asked = None if n_components == "auto" else n_components
    fitted = _fitted(given.matrix, choice, asked, impute, rng)
    over_sources = _over_sources(fitted, how, rng)
    over_examples = _over_examples(fitted, given.resamples, how, rng)
    return Traits(
        sources=fitted.sources,
        targets=fitted.targets,
        families=target_labels(fitted.table, families, "family"),
        model=fitted.model,
        decomposition=fitted.found,
        completion=fitted.completion,
        number=fitted.number,
        asked=asked,
        over_sources=over_sources,
        over_examples=over_examples,
        left_out=leave_one_row_out(
            fitted.values, fitted.model.batch(rng=rng), reference=fitted.found.loadings
        ),
        dominance=_dominance(fitted),
        names=_names(fitted, over_examples or over_sources, families, metrics, names or {}),
        source_clusters=cluster(_used(fitted), rng=rng, n_resamples=RESAMPLES_OF_CLUSTERS),
        target_clusters=cluster(
            zscores(fitted.values).T, rng=rng, n_resamples=RESAMPLES_OF_CLUSTERS
        ),
        notes=given.notes,
    )


class _Fitted(NamedTuple):
    """The matrix and its decomposition."""

    table: xr.DataArray
    completion: Completion
    number: NumberOfTraits
    model: Model
    found: Decomposition

    @property
    def values(self) -> Array:
        return self.completion.values

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.table["source"].values.astype(str).tolist())

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.table["target"].values.astype(str).tolist())


def _require_known(method: str, rotation: str) -> None:
    for word, known, what in (
        (method, get_args(Method), "method"),
        (rotation, get_args(RotationName), "rotation"),
    ):
        if word not in known:
            msg = f"unknown {what} {word!r}.{did_you_mean(word, known)}"
            raise AnalysisError(msg)


def _given(
    study: TransferStudy | xr.DataArray,
    transform: Transform,
    resamples: Resamples | None,
    how: _Bootstrap,
    *,
    include_base: bool,
) -> _Given:
    if isinstance(study, TransferStudy):
        made = study_matrix(study, transform, include_base=include_base)
        own = partial(made.draw, n_resamples=how.n_resamples) if made.can_draw else None
        return _Given(made.matrix, own if resamples is None else resamples, made.notes)
    if transform != "raw" or include_base:
        msg = (
            "a matrix is decomposed as it is; bring it into its unit with prepare_labelled, or"
            " give the study"
        )
        raise AnalysisError(msg)
    unknown = "stability over examples and seeds is unknown: only scores were given"
    return _Given(study, resamples, () if resamples is not None else (unknown,))


def _fitted(
    matrix: xr.DataArray,
    choice: Model,
    asked: int | None,
    impute: Literal["auto", "pca", "soft"],
    rng: np.random.Generator,
) -> _Fitted:
    table = require_labelled(matrix)
    completion = _completed(table, impute, rng)
    if choice.standardised:
        _require_variation(completion.values, table["target"].values)
    number = choose_number(
        completion.values,
        rng=rng,
        standardise=choice.standardised,
        guessed=completion.missing,
    )
    model = replace(choice, n_components=max(1, number.n_components) if asked is None else asked)
    return _Fitted(table, completion, number, model, model.fit(completion.values, rng=rng))


def _completed(
    table: xr.DataArray, impute: Literal["auto", "pca", "soft"], rng: np.random.Generator
) -> Completion:
    for dim, other in (("source", "target"), ("target", "source")):
        empty = table.isnull().all(other).values
        if empty.any():
            name = str(table[dim].values[empty][0])
            msg = f"{dim} {name!r} has no scored cell at all; leave it out"
            raise AnalysisError(msg)
    return complete(table.values.astype(np.float64), rng=rng, method=impute)


def _require_variation(values: Array, targets: NDArray[np.str_]) -> None:
    flat = spread(values)[0] == 0
    if flat.any():
        msg = (
            f"every source scores the same on {targets[flat].tolist()}, so that they correlate"
            " with nothing; leave them out or use an unstandardised PCA"
        )
        raise AnalysisError(msg)


def _over_sources(fitted: _Fitted, how: _Bootstrap, rng: np.random.Generator) -> Stability:
    return bootstrap_rows(
        fitted.values,
        fitted.model.batch(rng=rng),
        rng=rng,
        n_resamples=how.n_resamples,
        reference=fitted.found.loadings,
        align=how.align,
        level=how.level,
    )


def _over_examples(
    fitted: _Fitted, resamples: Resamples | None, how: _Bootstrap, rng: np.random.Generator
) -> Stability | None:
    if resamples is None:
        return None
    return bootstrap_given(
        _filled(
            resamples(rng) if callable(resamples) else resamples,
            fitted.completion,
        ),
        fitted.model.batch(rng=rng),
        reference=fitted.found.loadings,
        align=how.align,
        level=how.level,
    )


def _filled(resamples: Iterable[Array], completion: Completion) -> Iterator[Array]:
    # A cell without scores has nothing to resample: its guess is kept, so that the interval is
    # one of the observed cells' sampling error and no more.
    for one in resamples:
        values = np.asarray(one, dtype=np.float64)
        if values.shape[-2:] != completion.values.shape:
            msg = (
                f"a resampled matrix has shape {values.shape[-2:]}, the matrix itself"
                f" {completion.values.shape}; give the same sources and targets"
            )
            raise AnalysisError(msg)
        yield np.where(np.isnan(values), completion.values, values)


def _used(fitted: _Fitted) -> Array:
    return zscores(fitted.values) if fitted.model.standardised else fitted.values


def _dominance(fitted: _Fitted) -> tuple[Dominance, ...]:
    # Rotations and other methods share the space of the leading components, whose dominance
    # says whether that space can be trusted.
    used = _used(fitted)
    return find_dominance(used, min(fitted.model.n_components, min(used.shape) - 1))


def _names(
    fitted: _Fitted,
    stability: Stability,
    families: Mapping[str, str] | None,
    metrics: Mapping[str, str] | None,
    given: Mapping[int, str],
) -> tuple[TraitName | None, ...]:
    k = fitted.model.n_components
    wrong = [number for number in given if not 1 <= number <= k]
    if wrong:
        msg = f"a name is given for trait {wrong[0]}; there are traits 1 to {k}"
        raise AnalysisError(msg)
    return tuple(
        name_trait(
            fitted.found.loadings[:, at],
            targets=fitted.targets,
            families=target_labels(fitted.table, families, "family"),
            metrics=target_labels(fitted.table, metrics, "metric"),
            significant=stability.significant[:, at],
            given=given.get(at + 1),
        )
        for at in range(k)
    )
