"""Compare two studies: another method, base model or seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.explain.replication.cells import changed_cells
from transferlens.explain.replication.common import Common, in_common, study_label
from transferlens.explain.replication.gains import PairedGains, gain_agreement
from transferlens.explain.replication.result import Replication
from transferlens.explain.replication.traits import compare_traits
from transferlens.results import TransferStudy
from transferlens.stats.arrays import BoolArray
from transferlens.transfer import Evidence, TransferMatrix, transfer_matrix

__all__ = ["compare_studies"]


def compare_studies(
    first: TransferStudy,
    second: TransferStudy,
    *,
    labels: tuple[str, str] | None = None,
    level: float = 0.05,
    evidence: Evidence | None = None,
    n_traits: int | None = None,
    n_resamples: int = 999,
) -> Replication:
    """Say which traits, gains and signs replicate, and which cells changed.

    Sources and targets are the same where their names are. Traits are matched by Tucker's
    congruence. Gains are correlated over the cells that both have, with intervals that leave
    out whole sources and targets, and tests that permute whole tasks. A cell's difference is
    tested from paired examples where both studies hold the same examples of a target, else
    from its two standard errors.

    Parameters
    ----------
    first, second
        With predictions, or with scores only. Differences are second less first.
    labels
        What to call them; their own names by default.
    level
        Bound on adjusted p-values.
    evidence
        Of both matrices; its seed is that of everything random here. ``max-t`` compares
        adapters with their base only, so that differences are adjusted by ``bh`` always.
    n_traits
        How many traits to match; by default as many as the study supports that supports more.
    n_resamples
        Of the traits' intervals and of all permutations.

    Returns
    -------
    Replication
        What cannot be compared is said in ``left_out`` and ``notes``.

    Raises
    ------
    AnalysisError
        The studies have no source or no target in common, a study has no base, or ``level`` is
        not between 0 and 1, or ``n_traits`` is below 1.
    """
    if n_traits is not None and n_traits < 1:
        msg = f"n_traits={n_traits} must be at least 1; None lets the rules decide"
        raise AnalysisError(msg)
    if not 0.0 < level < 1.0:
        msg = f"level={level} must lie strictly between 0 and 1; 0.05 is usual"
        raise AnalysisError(msg)
    how = evidence or Evidence()
    names = labels or _labels(first, second)
    common = in_common(first, second, names)
    matrices = (transfer_matrix(first, how), transfer_matrix(second, how))
    of_gains, of_cells = np.random.default_rng(how.seed).spawn(2)
    gains, correlated = _paired(matrices, common)
    traits = compare_traits(
        (first, second),
        common,
        seed=how.seed,
        n_traits=n_traits,
        confidence=how.confidence,
        n_resamples=n_resamples,
    )
    cells = changed_cells((first, second), matrices, common, rng=of_cells, level=level)
    return Replication(
        labels=names,
        sources=common.sources,
        targets=common.targets,
        traits=traits.matches,
        gains=gain_agreement(
            gains,
            common.own,
            correlated=correlated,
            independent=not cells["paired"].any(),
            rng=of_gains,
            confidence=how.confidence,
            n_permutations=n_resamples,
        ),
        cells=cells,
        left_out=(*common.left_out, *_missing(gains)),
        notes=(
            *_notes((first, second), matrices, names, bool(cells["paired"].any())),
            *_units(common, correlated),
            *traits.notes,
        ),
        level=level,
        confidence=how.confidence,
    )


def _labels(first: TransferStudy, second: TransferStudy) -> tuple[str, str]:
    one, other = study_label(first), study_label(second)
    return (one, other) if one != other else (f"{one} (first)", f"{other} (second)")


def _paired(
    matrices: tuple[TransferMatrix, TransferMatrix], common: Common
) -> tuple[PairedGains, BoolArray]:
    """Return gains and errors of the common cells, and which targets have the usual unit."""
    parts = [m.data.sel(source=list(common.sources), target=list(common.targets)) for m in matrices]
    arrays = [
        np.asarray(part[name].transpose("source", "target").values, dtype=np.float64)
        for name in ("gain", "standard_error")
        for part in parts
    ]
    units = parts[0]["unit"].values.astype(str)
    found, counts = np.unique(units, return_counts=True)
    return PairedGains(*arrays), np.asarray(units == found[counts.argmax()])


def _missing(gains: PairedGains) -> Iterator[str]:
    unknown = int((np.isnan(gains.first) | np.isnan(gains.second)).sum())
    if unknown:
        yield f"{unknown} of {gains.first.size} common cells have no gain in one of the studies"


def _units(common: Common, correlated: BoolArray) -> Iterator[str]:
    if not correlated.all():
        names = [name for name, kept in zip(common.targets, correlated, strict=True) if not kept]
        yield (
            "gains in another unit cannot be correlated with the others and count for signs and "
            f"cells only: {', '.join(names[:5])}"
        )


def _notes(
    studies: tuple[TransferStudy, TransferStudy],
    matrices: tuple[TransferMatrix, TransferMatrix],
    labels: tuple[str, str],
    paired: bool,  # noqa: FBT001 - one of several facts
) -> Iterator[str]:
    single = [
        label
        for label, matrix in zip(labels, matrices, strict=True)
        if not matrix.data["training_known"].values.any()
    ]
    if single:
        yield (
            f"one seed in {' and '.join(single)}: training variance unknown, so that a cell may "
            "differ because of another training run alone"
        )
    if paired:
        yield (
            "both studies hold the same examples: cells are compared example by example. Where "
            "they also share the base, its chance errors are in the gains of both and make them "
            "look alike; the line on pairs is free of that"
        )
    for label, study in zip(labels, studies, strict=True):
        if study.predictions is None:
            yield f"{label} has scores only; import its per-example results to compare by examples"
