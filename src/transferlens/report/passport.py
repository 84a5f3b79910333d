"""The transfer passport of an adapter: what is known of it, before it is written down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, ResultsError, did_you_mean
from transferlens.explain.training import training_labels, training_lengths
from transferlens.report.claim import Verdict, verdict_of
from transferlens.report.summary_provenance import base_name
from transferlens.results import BASE, SourceInfo, StudyStore, TransferStudy
from transferlens.study import TaskSpec
from transferlens.tasks.catalog import card_names, load_card
from transferlens.transfer import TransferMatrix, transfer_matrix

__all__ = ["AnswerHabit", "Passport", "PassportCell", "Safety", "passport"]

Safety = Literal["own", "helps", "safe", "harms", "unknown"]
"""``own``: the task it was trained on; ``safe``: no significant harm, and a loss of the margin
is outside the interval; ``unknown``: a loss of the margin cannot be excluded, or the base has
less than that to lose, so that no harm could show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportCell:
    """The adapter on one target; gains count upwards, in the target's own unit."""

    target: str
    family: str
    metric: str
    unit: str
    dataset: str
    """Dataset on the hub; empty where it is none."""
    subset: str
    split: str
    base_score: float
    score: float
    gain: float
    low: float
    high: float
    p_adjusted: float
    n_scored: float
    verdict: Verdict
    safety: Safety


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHabit:
    """How the adapter answers on one target, beside the base and the gold answers."""

    target: str
    kind: Literal["length", "label"]
    label: str
    """The label that the adapter gives most often; empty for a length."""
    adapter: float
    """Median length in tokens, or share of the label."""
    base: float
    gold: float
    """Share of the label among the gold answers; NaN for a length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """Everything that the card of an adapter says."""

    study: str
    source: SourceInfo
    base: str
    base_is_local: bool
    """Whether the base was read from a folder of the machine."""
    datasets: tuple[str, ...]
    """Datasets on the hub that it was trained on."""
    licence: str
    """Of the training data, as its task card states it; empty where it is not known."""
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    """Folders of the adapters, a name each without separators."""
    cells: tuple[PassportCell, ...]
    margin: float
    """Loss, in points, that a safe task excludes."""
    level: float
    confidence: float
    labels: tuple[tuple[str, float], ...]
    """Labels of the training rows with their shares, the most frequent first."""
    lengths: tuple[float, float, float] | None
    """Median and tenth and ninetieth percentile of the training outputs, in tokens."""
    habits: tuple[AnswerHabit, ...]
    settings: tuple[tuple[str, str], ...]
    """How it was trained."""
    notes: tuple[str, ...]


def passport(
    study: TransferStudy,
    source: str,
    *,
    level: float = 0.05,
    margin: float = 5.0,
    matrix: TransferMatrix | None = None,
) -> Passport:
    """Collect what is known of an adapter.

    Parameters
    ----------
    study
        With predictions, or with scores only.
    source
        Name of a source, or of a twin.
    level
        Adjusted p-value up to which a gain is significant.
    margin
        Loss in points that must lie outside the interval for a task to be called safe.
    matrix
        The study's evidence, where it was computed already.

    Raises
    ------
    AnalysisError
        The study has no such source or no base, or the margin is not above 0.
    """
    if not margin > 0:
        msg = f"margin={margin} must be above 0: it is the loss in points that matters"
        raise AnalysisError(msg)
    twins = {twin.name for twin in study.twins}
    whole = study.with_twins() if source in twins else study
    info = _info(whole, source)
    found = matrix or transfer_matrix(whole)
    spec = _task_of(study, info)
    lengths = training_lengths(whole, source)
    return Passport(
        study=str(study.origin.get("name") or (study.path.name if study.path else "study")),
        source=info,
        base=base_name(study),
        base_is_local=_is_local(study),
        datasets=(spec.data.dataset,) if spec and spec.data.dataset else (),
        licence=(spec.licence or "") if spec else "",
        seeds=study.seeds,
        folders=tuple(_folders(study, source)),
        cells=tuple(_cells(study, found, source, level, margin)),
        margin=margin,
        level=level,
        confidence=found.evidence.confidence,
        labels=_shares(training_labels(whole, source)),
        lengths=None if lengths is None else _quantiles(lengths),
        habits=tuple(_habits(whole, source)),
        settings=tuple(_settings(study, info)),
        notes=found.notes,
    )


def _info(study: TransferStudy, source: str) -> SourceInfo:
    for info in study.sources:
        if info.name == source:
            return info
    hint = did_you_mean(source, (info.name for info in study.sources))
    msg = f"the study has no source {source!r}.{hint}"
    raise AnalysisError(msg)


def _is_local(study: TransferStudy) -> bool:
    # A name such as models/mine looks like one of the hub; the plan has the folder it stood for.
    planned = study.plan.base.get("model") if study.plan is not None else None
    return isinstance(planned, str) and Path(planned).is_absolute()


def _task_of(study: TransferStudy, info: SourceInfo) -> TaskSpec | None:
    return _task(study, info.twin_of or info.name, "sources")


def _task(study: TransferStudy, name: str, role: str) -> TaskSpec | None:
    """Return the definition of a source's or a target's task; None where it is not known."""
    try:
        spec = study.spec
    except ResultsError:
        # The card of an old study says less; its numbers are the same.
        return None
    if spec is None:
        return None
    tasks = {ref.name: ref.task for ref in getattr(spec, role)}
    task = tasks.get(name, name)
    if task in spec.tasks:
        return spec.tasks[task]
    return load_card(task) if task in card_names() else None


def _cells(
    study: TransferStudy, matrix: TransferMatrix, source: str, level: float, margin: float
) -> Iterator[PassportCell]:
    rows = matrix.to_frame().filter(pl.col("source") == source, pl.col("score").is_not_nan())
    families = {info.name: info.family for info in study.targets}
    for row in rows.iter_rows(named=True):
        task = _task(study, row["target"], "targets")
        yield PassportCell(
            target=row["target"],
            family=families.get(row["target"], ""),
            metric=row["metric"],
            unit=row["unit"],
            dataset=(task.data.dataset or "") if task else "",
            subset=(task.data.subset or "") if task else "",
            split=(task.data.test or "test") if task and task.data.dataset else "test",
            base_score=row["base_score"],
            score=row["score"],
            gain=row["gain"],
            low=row["gain_low"],
            high=row["gain_high"],
            p_adjusted=row["p_adjusted"],
            n_scored=row["n_scored"],
            verdict=verdict_of(row["p_value"], row["p_adjusted"], level),
            safety=_safety(row, level, margin),
        )


def _safety(row: Mapping[str, Any], level: float, margin: float) -> Safety:
    """Say whether loading the adapter can cost more than the margin; NaN excludes nothing."""
    if row["own"]:
        return "own"
    if row["p_adjusted"] <= level:
        return "helps" if row["gain"] > 0 else "harms"
    # In other units nobody has said which loss matters.
    bound = {"fraction": margin / 100.0, "percent": margin}.get(row["unit"], math.nan)
    can_lose = not row["higher_is_better"] or row["base_score"] > bound
    return "safe" if can_lose and row["gain_low"] > -bound else "unknown"


def _shares(counts: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    total = sum(counts.values())
    return tuple((label, count / total) for label, count in counts.items())


def _quantiles(lengths: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(lengths, [0.1, 0.5, 0.9])
    return float(middle), float(low), float(high)


def _habits(study: TransferStudy, source: str) -> Iterator[AnswerHabit]:
    """Yield length or most frequent label on each target."""
    if study.predictions is None:
        return
    rows = (
        study.predictions.filter(pl.col("source").is_in([BASE, source]))
        .select(
            "source",
            "target",
            "gold",
            "prediction",
            pl.col("n_tokens").cast(pl.Float64),
            written=pl.col("completion").is_not_null(),
        )
        .collect()
    )
    parts = rows.partition_by("target", as_dict=True)
    for info in study.targets:
        found = parts.get((info.name,))
        if found is not None:
            yield from _habit(info.name, found, source)


def _habit(target: str, rows: pl.DataFrame, source: str) -> Iterator[AnswerHabit]:
    own, base = (rows.filter(pl.col("source") == name) for name in (source, BASE))
    if not own.height or not base.height:
        return
    if bool(own["written"].any()):
        lengths = [_median(part["n_tokens"]) for part in (own, base)]
        if not any(map(math.isnan, lengths)):
            yield AnswerHabit(
                target=target,
                kind="length",
                label="",
                adapter=lengths[0],
                base=lengths[1],
                gold=math.nan,
            )
        return
    counts = own["prediction"].drop_nulls().value_counts(sort=True)
    # Choices that differ from example to example are no labels.
    if not counts.height or own["gold"].n_unique() > 20:
        return
    label = counts.sort("count", "prediction", descending=[True, False])["prediction"][0]
    yield AnswerHabit(
        target=target,
        kind="label",
        label=label,
        adapter=_share(own["prediction"], label),
        base=_share(base["prediction"], label),
        gold=_share(own["gold"], label),
    )


def _median(values: pl.Series) -> float:
    known = values.drop_nulls().to_numpy()
    return float(np.median(known)) if known.size else math.nan


def _share(values: pl.Series, label: str) -> float:
    return float((values == label).sum()) / max(len(values), 1)


def _folders(study: TransferStudy, source: str) -> Iterator[str]:
    if study.plan is None or study.path is None:
        return
    store = StudyStore.open(study.path)
    for adapter in study.plan.adapters:
        if adapter.source == source and store.adapter_done(adapter):
            # `folder` refuses a name that could lead elsewhere.
            yield Path(adapter.folder).name


def _settings(study: TransferStudy, info: SourceInfo) -> Iterator[tuple[str, str]]:
    method = study.origin.get("method")
    if isinstance(method, Mapping):
        for name, value in method.items():
            if value is not None:
                yield str(name).replace("_", " "), str(value)
    for manifest in _manifests(study, info.name):
        training = manifest.get("training")
        if isinstance(training, Mapping):
            words = (
                f"{training.get('n_rows', '?')} rows, {training.get('n_steps', '?')} steps, "
                f"{training.get('tokens', '?')} tokens"
            )
            yield f"run with seed {training.get('seed', '?')}", words


def _manifests(study: TransferStudy, source: str) -> Iterator[dict[str, Any]]:
    if study.plan is None or study.path is None:
        return
    store = StudyStore.open(study.path)
    for adapter in study.plan.adapters:
        if adapter.source == source and store.adapter_done(adapter):
            try:
                yield store.read_adapter_manifest(adapter)
            except ResultsError:
                # Another program's adapter need not have a record of ours.
                continue
