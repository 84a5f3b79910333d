"""Examples that an adapter wins or loses against the base: what was asked and what was said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.explain.linguistics.outcomes import Outcomes, outcomes
from transferlens.results import BASE, TargetInfo, TransferStudy

__all__ = ["Gallery", "GalleryExample", "gallery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryExample:
    """One example, as both models answered it."""

    example: int
    """Its number in the target's data."""
    prompt: str | None
    """None where the study does not hold the texts."""
    gold: str | None
    base_answer: str | None
    """The answer that was scored; None where none could be read."""
    adapter_answer: str | None
    base_text: str | None
    """Everything that was written; None where a choice was asked for."""
    adapter_text: str | None
    base_score: float
    """Mean over the seeds, in the target's unit."""
    adapter_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The examples of one cell that changed most."""

    gained: tuple[GalleryExample, ...]
    """On which the adapter is better, the largest change first."""
    lost: tuple[GalleryExample, ...]
    n_gained: int
    """How many there are in all."""
    n_lost: int
    n_scored: int
    """Examples that both models have a score for."""


def gallery(study: TransferStudy, source: str, target: str, *, most: int = 20) -> Gallery:
    """Return the examples on which adapter and base differ most.

    Scores are means over the seeds; the answers shown are those of the first seed that
    answered the example. Of equal changes the example with the lower number comes first.

    Parameters
    ----------
    study
        With predictions.
    source, target
        The cell.
    most
        Examples to return at most, of gained and lost ones each.

    Raises
    ------
    AnalysisError
        The study has scores only, or no such cell.
    """
    if study.predictions is None:
        msg = "examples need predictions, but this study has scores only; import the samples"
        raise AnalysisError(msg)
    info = next((info for info in study.targets if info.name == target), None)
    if info is None or source not in [s.name for s in study.sources]:
        msg = f"the study has no cell {source!r} -> {target!r}"
        raise AnalysisError(msg)
    found = outcomes(
        study.examples(target).sel(source=[source]), sign=1.0 if info.higher_is_better else -1.0
    )
    gained, lost = (_largest(found, side, most) for side in (1.0, -1.0))
    rows = _rows(study, info, source, found, [*gained, *lost])
    return Gallery(
        gained=tuple(rows[at] for at in gained),
        lost=tuple(rows[at] for at in lost),
        n_gained=int((found.sign == 1.0).sum()),
        n_lost=int((found.sign == -1.0).sum()),
        n_scored=int((~np.isnan(found.sign)).sum()),
    )


def _largest(found: Outcomes, side: float, most: int) -> list[int]:
    """Return the places of the examples that changed most to one side."""
    places = np.flatnonzero(found.sign[0] == side)
    change = np.abs(found.adapter[0, places] - found.base[0, places])
    return [int(at) for at in places[np.argsort(-change, kind="stable")][:most]]


def _rows(
    study: TransferStudy, info: TargetInfo, source: str, found: Outcomes, places: list[int]
) -> dict[int, GalleryExample]:
    numbers = found.example[places]
    answers = {name: _answers(study, info.name, name, numbers.tolist()) for name in (BASE, source)}
    prompts = _prompts(study, info)
    rows = {}
    for at, number in zip(places, numbers.tolist(), strict=True):
        base, adapter = (answers[name].get(number, {}) for name in (BASE, source))
        rows[at] = GalleryExample(
            example=number,
            prompt=prompts.get(number),
            gold=base.get("gold"),
            base_answer=base.get("prediction"),
            adapter_answer=adapter.get("prediction"),
            base_text=base.get("completion"),
            adapter_text=adapter.get("completion"),
            base_score=float(found.base[0, at]),
            adapter_score=float(found.adapter[0, at]),
        )
    return rows


def _answers(
    study: TransferStudy, target: str, model: str, numbers: list[int]
) -> dict[int, dict[str, str | None]]:
    if study.predictions is None:
        return {}
    rows = (
        study.predictions.filter(
            pl.col("target") == target,
            pl.col("source") == model,
            pl.col("example").is_in(numbers),
        )
        .select("example", "seed", "gold", "prediction", "completion")
        .collect()
        .sort("seed")
        .unique("example", keep="first", maintain_order=True)
    )
    return {row["example"]: row for row in rows.drop("seed").iter_rows(named=True)}


def _prompts(study: TransferStudy, info: TargetInfo) -> dict[int, str]:
    if study.path is None or info.examples_id is None:
        return {}
    texts = study.example_texts(info.name)
    return dict(zip(texts["example"].to_list(), texts["prompt"].to_list(), strict=True))
