"""Result folders of lm-evaluation-harness: several adapters and their base."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.harness_files import (
    HarnessRun,
    find_results,
    read_results,
    read_samples,
)
from transferlens.importers.models import find_base, name_models
from transferlens.importers.names import family_of, safe_names, say_renamed
from transferlens.importers.origin import origin_of
from transferlens.importers.runs import Measure, TaskRun, paired_frame, target_info
from transferlens.importers.units import lower_by_name
from transferlens.results import BASE, TargetInfo, TransferStudy

__all__ = ["import_lm_eval"]

Choice = str | Mapping[str, str] | None
"""One name for all tasks, or task -> name."""


class _Measured(NamedTuple):
    """Metric and filter of a task."""

    metric: str
    filter: str


class _Model(NamedTuple):
    """What was evaluated: a source, and the newest run of each of its tasks."""

    source: str
    seed: int
    runs: Mapping[str, HarnessRun]


def import_lm_eval(
    *paths: str | Path,
    base: str | None = None,
    metric: Choice = None,
    filter: Choice = None,  # noqa: A002 - the harness's own word
    tasks: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
    scores_only: bool | None = None,
) -> TransferStudy:
    """Read what lm-evaluation-harness wrote for several adapters and their base.

    Where samples were logged (``--log_samples``) the study has predictions,
    paired by the harness's hash of each document; else it has scores only.

    Parameters
    ----------
    paths
        Folders given to ``--output_path``, or results files.
    base
        Name of the untuned model: its path or the last part of it. Unless
        given it is the one model that was run without ``peft``.
    metric, filter
        Which metric, and which filter's answers; for all tasks, or by task.
        Needed where a task has several.
    tasks
        Tasks to import; all unless given.
    names
        Path of an adapter or model, or the last part of it -> name of the
        source. A name such as ``mnli_seed1`` is source mnli, seed 1.
    scores_only
        True leaves the samples unread; False demands them; None takes them
        if there are any.

    Returns
    -------
    TransferStudy
        One source per adapter, one target per task.

    Raises
    ------
    DataError
        A file is damaged or missing, a choice is open, models of one task
        saw different prompts, or a metric is no mean over examples.
    """
    files = [Path(path) for path in paths]
    remarks: list[str] = []
    runs = _with_tasks([read_results(file) for file in find_results(files)], tuple(tasks))
    models = _models(runs, base, dict(names or {}), remarks)
    chosen = _choose(models, metric, filter, remarks)
    wanted = _wants_samples(models, remarks, scores_only=scores_only)
    targets = safe_names(chosen, reserved=())
    sources = safe_names(model.source for model in models if model.source != BASE)
    renamed = say_renamed({**sources, **targets}, remarks)
    names_of = {**sources, BASE: BASE}
    settings = {task: list(measured) for task, measured in chosen.items()}
    build = _from_samples if wanted else _from_scores
    frame, infos = build(models, chosen, names_of, targets, remarks)
    origin = origin_of("lm-eval", files, remarks=remarks, renamed=renamed, settings=settings)
    make = TransferStudy.from_predictions if wanted else TransferStudy.from_scores
    return make(frame, targets=infos, origin=origin)


def _with_tasks(runs: Sequence[HarnessRun], tasks: tuple[str, ...]) -> list[tuple[HarnessRun, str]]:
    pairs = [(run, task) for run in runs for task in run.results]
    known = {task for _, task in pairs}
    for task in tasks:
        if task not in known:
            msg = f"there are no results of a task {task!r}.{did_you_mean(task, known)}"
            raise DataError(msg)
    chosen = [(run, task) for run, task in pairs if not tasks or task in tasks]
    if not chosen:
        msg = f"{runs[0].file}: no task in it"
        raise DataError(msg)
    return chosen


def _models(
    pairs: list[tuple[HarnessRun, str]],
    base: str | None,
    names: dict[str, str],
    remarks: list[str],
) -> list[_Model]:
    groups: dict[tuple[str, str | None], dict[str, HarnessRun]] = defaultdict(dict)
    repeated = 0
    # Files are named after their time: the last one is the newest.
    for run, task in sorted(pairs, key=lambda pair: pair[0].file.name):
        repeated += task in groups[run.model, run.adapter]
        groups[run.model, run.adapter][task] = run
    if repeated:
        remarks.append(f"{repeated} older results of a model on a task left out for newer ones")
    first = {key: next(iter(runs.values())) for key, runs in groups.items()}
    untuned = _untuned(list(first.values()), base, remarks)
    named = name_models([run.path for run in first.values()], untuned, names)
    return [_Model(*named[first[key].path], runs) for key, runs in groups.items()]


def _untuned(runs: list[HarnessRun], asked: str | None, remarks: list[str]) -> str | None:
    if asked is not None:
        return find_base([run.path for run in runs], asked)
    bare = [run for run in runs if run.adapter is None]
    if len(bare) > 1:
        names = ", ".join(run.model for run in bare)
        msg = f"several models were run without peft ({names}); say which is the base with base"
        raise DataError(msg)
    if not bare:
        remarks.append("no base: every model was run with an adapter, so scores have no gains")
        return None
    for run in runs:
        if run.model.rstrip("/") != bare[0].model.rstrip("/"):
            msg = (
                f"{run.file}: adapter of {run.model}, but the base is {bare[0].model} "
                f"({bare[0].file}); import adapters of one model at a time"
            )
            raise DataError(msg)
    remarks.append(f"base: {bare[0].model}")
    return bare[0].path


def _choose(
    models: list[_Model], metric: Choice, name: Choice, remarks: list[str]
) -> dict[str, _Measured]:
    """Choose one metric and one filter per task; one error for all that is open."""
    found: dict[str, list[_Measured]] = {}
    for model in models:
        for task, run in model.runs.items():
            own = [_Measured(*key) for key in run.scores(task)]
            found[task] = [m for m in found[task] if m in own] if task in found else own
    chosen: dict[str, _Measured] = {}
    unclear: list[str] = []
    for task, measured in found.items():
        left = _matching(measured, _for_task(metric, task), 0)
        left = _matching(left, _for_task(name, task), 1)
        if len(left) == 1:
            chosen[task] = left[0]
        else:
            known = ", ".join(f"{m.metric} (filter {m.filter})" for m in measured) or "none"
            unclear.append(f"{task}: {known}")
    if unclear:
        msg = (
            "choose one metric and one filter per task, with metric=NAME or TASK=NAME, and "
            f"filter likewise: {'; '.join(unclear)}"
        )
        raise DataError(msg)
    used = sorted({f"{m.metric} (filter {m.filter})" for m in chosen.values()})
    remarks.append(f"metric: {', '.join(used)}")
    return chosen


def _for_task(choice: Choice, task: str) -> str | None:
    return choice if isinstance(choice, str) or choice is None else choice.get(task)


def _matching(measured: list[_Measured], wanted: str | None, part: int) -> list[_Measured]:
    """Keep what matches; a task that has only one metric or filter keeps it whatever it is."""
    if wanted is None or len({m[part] for m in measured}) == 1:
        return measured
    return [m for m in measured if m[part] == wanted]


def _wants_samples(models: list[_Model], remarks: list[str], *, scores_only: bool | None) -> bool:
    files = [run.samples_file(task) for model in models for task, run in model.runs.items()]
    missing = [file for file in files if not file.is_file()]
    if scores_only or (scores_only is None and len(missing) == len(files)):
        remarks.append(
            "scores only, without predictions: "
            + ("as asked for" if scores_only else "run lm-eval with --log_samples for evidence")
        )
        return False
    if missing:
        msg = (
            f"{missing[0]} is missing ({len(missing)} of {len(files)} files of samples are); run "
            "lm-eval with --log_samples, or import scores only"
        )
        raise DataError(msg)
    return True


_Built = tuple[pl.DataFrame, list[TargetInfo]]


def _from_samples(
    models: list[_Model],
    chosen: Mapping[str, _Measured],
    sources: Mapping[str, str],
    targets: Mapping[str, str],
    remarks: list[str],
) -> _Built:
    runs = [
        _task_run(run, task, measured, sources[model.source], model.seed)
        for model in models
        for task, measured in chosen.items()
        if (run := model.runs.get(task)) is not None
    ]
    infos = [
        target_info(task, targets[task], _measure(models, task, measured), runs)
        for task, measured in chosen.items()
    ]
    return paired_frame(runs, targets, remarks), infos


def _task_run(run: HarnessRun, task: str, measured: _Measured, source: str, seed: int) -> TaskRun:
    file = run.samples_file(task)
    samples = read_samples(
        file, metric=measured.metric, name=measured.filter, config=run.configs[task]
    )
    expected = run.n_samples.get(task, {}).get("effective", len(samples))
    if len(samples) != expected or not samples:
        msg = f"{file}: {len(samples)} of {expected} examples; it was cut off, run lm-eval again"
        raise DataError(msg)
    scored = [sample.score for sample in samples if not math.isnan(sample.score)]
    reported = run.scores(task)[measured]
    if scored and abs(math.fsum(scored) / len(scored) - reported) > 1e-9 * max(1, abs(reported)):
        msg = (
            f"{file}: the mean of {measured.metric} over the examples is not {reported:.6g} as in "
            f"{run.file.name}: no mean over examples; choose another metric, other tasks, or "
            "import scores only"
        )
        raise DataError(msg)
    return TaskRun(source=source, seed=seed, task=task, origin=str(file), samples=tuple(samples))


def _measure(models: list[_Model], task: str, measured: _Measured) -> Measure:
    run = next(model.runs[task] for model in models if task in model.runs)
    stated = run.higher_is_better.get(task, {}).get(measured.metric)
    better = not lower_by_name(measured.metric) if stated is None else stated
    return Measure(metric=measured.metric, higher_is_better=better)


def _from_scores(
    models: list[_Model],
    chosen: Mapping[str, _Measured],
    sources: Mapping[str, str],
    targets: Mapping[str, str],
    _remarks: list[str],
) -> _Built:
    rows = [
        {
            "source": sources[model.source],
            "target": targets[task],
            "seed": model.seed,
            "score": run.scores(task)[chosen[task]],
            "n_scored": float(run.n_samples.get(task, {}).get("effective", math.nan)),
            "n_unscored": math.nan,
        }
        for model in models
        for task, run in model.runs.items()
    ]
    frame = pl.DataFrame(rows)
    infos = []
    for task, measured in chosen.items():
        measure = _measure(models, task, measured)
        scores = frame.filter(target=targets[task])["score"]
        fraction = measure.higher_is_better and bool(scores.is_between(0, 1).all())
        infos.append(
            TargetInfo(
                name=targets[task],
                metric=measured.metric,
                unit="fraction" if fraction else "score",
                higher_is_better=measure.higher_is_better,
                family=family_of(task),
                ceiling=1.0 if fraction else math.nan,
            )
        )
    return frame, infos
