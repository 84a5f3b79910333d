"""Matrices with names: what the numerical functions take off, and put on again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.results import BASE
from transferlens.traits.arrays import Array
from transferlens.traits.prepare import Transform, prepare

__all__ = ["prepare_labelled", "require_labelled", "target_labels"]


def require_labelled(matrix: xr.DataArray) -> xr.DataArray:
    """Return the matrix as (source, target) with unique names, or say what is wrong.

    Raises
    ------
    AnalysisError
        Other dimensions, names that occur twice, or too small for traits.
    """
    if set(matrix.dims) != {"source", "target"}:
        msg = f"a matrix over (source, target) is needed, got dimensions {tuple(matrix.dims)}"
        raise AnalysisError(msg)
    ordered = matrix.transpose("source", "target")
    for dim in ("source", "target"):
        names = ordered[dim].astype(str).values
        unique, counts = np.unique(names, return_counts=True)
        if counts.max(initial=1) > 1:
            msg = f"{dim} {str(unique[counts > 1][0])!r} occurs more than once; rename or merge it"
            raise AnalysisError(msg)
    n, p = ordered.shape
    if n < 4 or p < 3:
        msg = f"{n} sources × {p} targets are too few for traits; at least 4 × 3 are needed"
        raise AnalysisError(msg)
    return ordered


def prepare_labelled(
    scores: xr.DataArray,
    transform: Transform = "raw",
    *,
    base: xr.DataArray | None = None,
    include_base: bool = False,
    n_scored: xr.DataArray | None = None,
) -> xr.DataArray:
    """Bring a labelled score matrix into the unit in which it is decomposed.

    Parameters
    ----------
    scores
        Over (source, target). A coordinate ``ceiling`` over target is used by
        ``normalized_gain``; 1 is assumed without it.
    transform
        See :func:`transferlens.traits.prepare`.
    base
        The untuned model's scores over target.
    include_base
        Put the base in as the first row, named ``base``.
    n_scored
        Examples behind each score, over (source, target); for ``logit``. The base row, when
        there is one, gets each target's median.

    Returns
    -------
    xarray.DataArray
        Over (source, target) with the target's coordinates kept and ``transform`` among the
        attributes.
    """
    table = scores.transpose("source", "target")
    reference = None if base is None else base.sel(target=table["target"]).values
    counts: Array | None = None
    if n_scored is not None:
        counts = n_scored.transpose("source", "target").values.astype(np.float64)
        if include_base:
            counts = np.vstack([_median(counts), counts])
    values = prepare(
        table.values,
        transform,
        base=reference,
        ceiling=table["ceiling"].values if "ceiling" in table.coords else 1.0,
        n_scored=counts,
        include_base=include_base,
    )
    names = [str(name) for name in table["source"].values]
    coords = {name: value for name, value in table.coords.items() if value.dims == ("target",)}
    return xr.DataArray(
        values,
        dims=("source", "target"),
        coords={**coords, "source": [BASE, *names] if include_base else names},
        name="score",
        attrs={**scores.attrs, "transform": transform},
    )


def _median(counts: Array) -> Array:
    # Unknown counts are 1,000 in the end; no median needs them.
    return np.asarray(np.median(np.where(counts > 0, counts, 1_000), axis=0))


def target_labels(
    matrix: xr.DataArray, given: Mapping[str, str] | None, coordinate: str
) -> tuple[str | None, ...]:
    """Look up a label per target: what the caller gave, else the matrix's own coordinate.

    Raises
    ------
    AnalysisError
        A label is given for a target that the matrix does not have.
    """
    names: Sequence[str] = [str(name) for name in matrix["target"].values]
    unknown = set(given or ()) - set(names)
    if unknown:
        name = min(unknown)
        msg = f"{coordinate} given for unknown target {name!r}.{did_you_mean(name, names)}"
        raise AnalysisError(msg)
    if given is not None:
        return tuple(given.get(name) for name in names)
    if coordinate not in matrix.coords:
        return (None,) * len(names)
    labels = matrix[coordinate].values
    return tuple(str(label) if label is not None and str(label) else None for label in labels)
