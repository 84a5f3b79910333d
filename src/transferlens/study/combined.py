"""Adapters that begin with other adapters of the study: merged ones, and trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from transferlens.errors import SpecError, did_you_mean
from transferlens.study.part import Part, plain_name

__all__ = ["MERGE_METHODS", "MergeMethod", "MergeSpec", "check_combined"]

MergeMethod = Literal["linear", "task_arithmetic", "ties", "dare"]
MERGE_METHODS: tuple[MergeMethod, ...] = ("linear", "task_arithmetic", "ties", "dare")

_SPARSE: tuple[MergeMethod, ...] = ("ties", "dare")
_USUAL_DENSITY = 0.5


class MergeSpec(Part):
    """A row of the matrix that is not trained: an adapter merged from others."""

    of: tuple[str, ...]
    """Sources whose adapters, seed by seed, are merged."""
    method: MergeMethod = "linear"
    """``linear``: the factors A and B are each combined, with their cross terms;
    ``task_arithmetic``: the weight changes B A themselves are added, at the sum of the ranks;
    ``ties``: small entries go, and signs are agreed on; ``dare``: entries are dropped at random
    and the others grow."""
    weights: tuple[float, ...] = ()
    """One per source; by default equal, with sum 1."""
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the entries that ``ties`` and ``dare`` keep; 0.5 unless given."""
    name: str = ""
    """Name of the row; the sources and the method unless given."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("of"), list | tuple):
            return value
        of = [str(name) for name in value["of"]]
        method = value.get("method", "linear")
        density = _USUAL_DENSITY if method in _SPARSE else None
        usual = {
            "name": "-".join([*of, str(method)]),
            "weights": [1.0 / max(len(of), 1)] * len(of),
            "density": density,
        }
        return {**usual, **{k: v for k, v in value.items() if v not in (None, "", ())}}

    @model_validator(mode="after")
    def _fits(self) -> MergeSpec:
        plain_name(self.name)
        if len(self.of) < 2 or len(set(self.of)) < len(self.of):
            msg = "of must name two sources or more, each once"
            raise ValueError(msg)
        if len(self.weights) != len(self.of) or not any(self.weights):
            msg = f"weights must be {len(self.of)} numbers, one per source, not all 0"
            raise ValueError(msg)
        if self.density is not None and self.method not in _SPARSE:
            msg = f"density belongs to {' and '.join(_SPARSE)}"
            raise ValueError(msg)
        return self

    @property
    def words(self) -> str:
        """How the adapters are merged."""
        weights = ", ".join(f"{weight:g}" for weight in self.weights)
        kept = "" if self.density is None else f", density {self.density:g}"
        return f"{self.method}, weights {weights}{kept}"


def check_combined(
    merges: Sequence[MergeSpec],
    begun: Sequence[tuple[str, str | None]],
    *,
    method: str,
    where: Callable[..., str],
) -> None:
    """Refuse adapters that begin with what is not there.

    Parameters
    ----------
    merges
        Of the study.
    begun
        Name of each source, and the source after which it is trained, if any.
    method
        How adapters are trained.
    where
        See `StudySpec.where`.

    Raises
    ------
    SpecError
        A source is unknown or comes later, a name is taken, or the method cannot be merged.
    """
    names: list[str] = []
    for index, (name, after) in enumerate(begun):
        if after is not None and after not in names:
            msg = (
                f"{where('sources', index, 'after')}: no source {after!r} above this one."
                f"{did_you_mean(after, names)}"
            )
            raise SpecError(msg)
        names.append(name)
    for index, merge in enumerate(merges):
        for unknown in (name for name in merge.of if name not in names):
            msg = (
                f"{where('merges', index, 'of')}: no source {unknown!r}."
                f"{did_you_mean(unknown, names)}"
            )
            raise SpecError(msg)
        if merge.name in [*names, *(other.name for other in merges[:index])]:
            msg = f"{where('merges', index)}: there is a row {merge.name!r} already; give a name"
            raise SpecError(msg)
        if method not in {"lora", "rslora"}:
            msg = f"{where('merges', index)}: adapters of the method {method} cannot be merged"
            raise SpecError(msg)
