"""The texts of a study's examples, without the words that the template puts around all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.linguistics.table import Backend, FeatureTable, linguistic_features
from transferlens.results import TransferStudy

__all__ = ["checked_targets", "example_features", "without_template"]

# Of fewer texts the common words may well be their own.
_FEWEST = 5


def example_features(
    study: TransferStudy,
    *,
    targets: Iterable[str] | None = None,
    backend: Backend | None = None,
    texts: Mapping[str, pl.DataFrame] | None = None,
    cache: str | Path | None = None,
) -> dict[str, FeatureTable]:
    """Compute the linguistic features of the prompts of each target.

    Parameters
    ----------
    study
        Its folder holds the texts, unless ``texts`` gives them.
    targets
        All by default.
    backend, cache
        See `linguistic_features`.
    texts
        Target -> frame with the columns ``example`` and ``prompt``, for targets whose
        texts are not stored.

    Returns
    -------
    dict
        Target -> features; the frame has a column ``example`` beside them. What all
        prompts of a target begin or end with is its template, and left out.

    Raises
    ------
    AnalysisError
        A target is unknown, its texts have no prompts, or a package is not installed.
    ResultsError
        The texts of a target are not stored and not given.
    """
    given = dict(texts or {})
    found = {}
    for target in checked_targets(study, targets):
        frame = given[target] if target in given else study.example_texts(target)
        _require_texts(frame, target)
        prompts = without_template(frame["prompt"].to_list())
        table = linguistic_features(prompts, backend=backend, cache=cache)
        numbered = table.frame.with_columns(example=frame["example"].cast(pl.Int64))
        found[target] = FeatureTable(
            frame=numbered, backend=table.backend, kind=table.kind, relations=table.relations
        )
    return found


def _require_texts(frame: pl.DataFrame, target: str) -> None:
    missing = [name for name in ("example", "prompt") if name not in frame.columns]
    if missing:
        msg = f"the texts of {target!r} have no column {missing[0]!r}; give example and prompt"
        raise AnalysisError(msg)
    if frame["prompt"].null_count():
        msg = f"{frame['prompt'].null_count()} prompts of {target!r} are missing; give every one"
        raise AnalysisError(msg)


def checked_targets(study: TransferStudy, targets: Iterable[str] | None) -> list[str]:
    """Return the targets in the study's order, or all of them.

    Raises
    ------
    AnalysisError
        One is unknown.
    """
    every = [info.name for info in study.targets]
    if targets is None:
        return every
    wanted = set(targets)
    unknown = sorted(wanted - set(every))
    if unknown:
        msg = f"the study has no target {unknown[0]!r}.{did_you_mean(unknown[0], every)}"
        raise AnalysisError(msg)
    return [name for name in every if name in wanted]


def without_template(prompts: Sequence[str]) -> list[str]:
    """Remove what all prompts begin with and end with, in whole words.

    Nothing is removed from fewer than five different prompts, or where nothing would be left
    of one.
    """
    if len(set(prompts)) < _FEWEST:
        return list(prompts)
    start = len(_whole_words(_common_start(prompts)))
    rests = [prompt[start:] for prompt in prompts]
    backwards = _whole_words(_common_start([rest[::-1] for rest in rests]))
    bare = [rest[: len(rest) - len(backwards)].strip() for rest in rests]
    return bare if all(bare) else list(prompts)


def _common_start(texts: Sequence[str]) -> str:
    """Return what all texts begin with."""
    # What the first and the last in alphabetical order share, all between them share.
    first, last = min(texts), max(texts)
    for at, (here, there) in enumerate(zip(first, last, strict=False)):
        if here != there:
            return first[:at]
    return first


def _whole_words(common: str) -> str:
    """Cut a common beginning back to its last white space."""
    end = max((at for at, letter in enumerate(common) if letter.isspace()), default=-1)
    return common[: end + 1]
