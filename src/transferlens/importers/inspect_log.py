"""Logs of inspect_ai: JSON by ourselves, its binary format through its own reader."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transferlens.errors import DataError, needs
from transferlens.importers.harness_files import read_json_file
from transferlens.importers.models import find_base, name_models
from transferlens.importers.names import safe_names, say_renamed
from transferlens.importers.origin import origin_of
from transferlens.importers.runs import Measure, Sample, TaskRun, paired_frame, target_info
from transferlens.importers.units import lower_by_name
from transferlens.results import BASE, TransferStudy

__all__ = ["import_inspect", "is_inspect"]

# What inspect_ai writes for correct, partly correct, incorrect, no answer.
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


class _Log(NamedTuple):
    """One log: a model on a task."""

    file: Path
    model: str
    task: str
    samples: list[Any]


def import_inspect(
    *paths: str | Path,
    base: str | None = None,
    scorer: str | None = None,
    names: Mapping[str, str] | None = None,
) -> TransferStudy:
    """Read inspect_ai's logs of several models: a study with predictions.

    JSON logs (``inspect eval --log-format json``) are read without inspect_ai.
    The binary ``.eval`` format is not frozen, so it is read by inspect_ai where
    that is installed.

    Parameters
    ----------
    paths
        Folders of logs, or logs.
    base
        Name of the untuned model; recognised where it is called so.
    scorer
        The scorer to import, needed where samples have several.
    names
        Model -> name of the source.

    Returns
    -------
    TransferStudy
        A score is a sample's mean over epochs; NaN where a sample ended in an
        error. The newest log of a model on a task counts.

    Raises
    ------
    DataError
        A log is damaged, unfinished or of another format, the scorer is
        open, or models saw different prompts.
    MissingExtraError
        A log is binary and inspect_ai is not installed.
    """
    files = [Path(path) for path in paths]
    remarks: list[str] = []
    logs = _newest([_log(file) for file in _find(files)], remarks)
    models = list(dict.fromkeys(log.model for log in logs))
    untuned = find_base(models, base)
    remarks.append(f"base: {untuned}" if untuned else "no base was named, so scores have no gains")
    named = name_models(models, untuned, names or {})
    chosen = {log.task: _scorer(log, scorer) for log in logs}
    remarks.append(f"scorer: {', '.join(sorted(set(chosen.values())))}")
    targets = safe_names(chosen, reserved=())
    sources = safe_names(m.source for m in named.values() if m.source != BASE)
    renamed = say_renamed({**sources, **targets}, remarks)
    runs = [
        TaskRun(
            source={**sources, BASE: BASE}[named[log.model].source],
            seed=named[log.model].seed,
            task=log.task,
            origin=str(log.file),
            samples=tuple(_samples(log, chosen[log.task])),
        )
        for log in logs
    ]
    infos = [
        target_info(task, targets[task], _measure(name), runs) for task, name in chosen.items()
    ]
    return TransferStudy.from_predictions(
        paired_frame(runs, targets, remarks),
        targets=infos,
        origin=origin_of(
            "inspect", files, remarks=remarks, renamed=renamed, settings={"scorer": chosen}
        ),
    )


def is_inspect(data: Any) -> bool:
    """Whether a JSON value is a log of inspect_ai."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("eval"), dict)
        and {"task", "model"} <= set(data["eval"])
    )


def _measure(scorer: str) -> Measure:
    return Measure(metric=scorer, higher_is_better=not lower_by_name(scorer))


def _find(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder"
            raise DataError(msg)
        found += (
            sorted(file for file in path.rglob("*") if file.suffix in {".json", ".eval"})
            if path.is_dir()
            else [path]
        )
    if not found:
        msg = f"{', '.join(map(str, paths))}: no log of inspect_ai (*.json, *.eval) in it"
        raise DataError(msg)
    return found


def _read_binary(file: Path) -> Any:
    with needs(
        "inspect_ai",
        extra="inspect",
        purpose=f"{file}: reading .eval",
        otherwise=", or make JSON of it: inspect log convert --to json --output-dir logs-json",
    ):
        from inspect_ai.log import read_eval_log
    try:
        return read_eval_log(str(file), resolve_attachments=True).model_dump(mode="json")
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"{file}: inspect_ai cannot read this log: {first}"
        raise DataError(msg) from error


def _log(file: Path) -> _Log:
    data = _read_binary(file) if file.suffix == ".eval" else read_json_file(file)
    if not is_inspect(data):
        msg = f"{file}: no log of inspect_ai (an object with 'eval' and 'samples')"
        raise DataError(msg)
    if data.get("status") != "success":
        msg = f"{file}: this evaluation did not finish (status {data.get('status')!r})"
        raise DataError(msg)
    samples = data.get("samples")
    if not isinstance(samples, list) or not samples:
        msg = f"{file}: no samples in this log; write it with --log-samples"
        raise DataError(msg)
    for index, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict) or "input" not in sample:
            msg = f"{file}: sample {index} has no input"
            raise DataError(msg)
    task = str(data["eval"]["task"]).rpartition("/")[2]
    return _Log(file, str(data["eval"]["model"]), task, samples)


def _newest(logs: list[_Log], remarks: list[str]) -> list[_Log]:
    found: dict[tuple[str, str], _Log] = {}
    # Logs are named after their time.
    for log in sorted(logs, key=lambda log: log.file.name):
        found[log.model, log.task] = log
    if len(found) < len(logs):
        remarks.append(f"{len(logs) - len(found)} older logs left out for newer ones")
    return list(found.values())


def _scorer(log: _Log, asked: str | None) -> str:
    known = sorted({str(name) for sample in log.samples for name in sample.get("scores") or {}})
    if asked is not None and asked in known:
        return asked
    if len(known) != 1:
        msg = f"{log.file}: name one scorer of task {log.task!r} with scorer: {', '.join(known)}"
        raise DataError(msg)
    return known[0]


def _samples(log: _Log, scorer: str) -> list[Sample]:
    epochs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for index, sample in enumerate(log.samples):
        epochs[str(sample.get("id", index))].append(sample)
    return [_sample(log, group, scorer) for group in epochs.values()]


def _sample(log: _Log, epochs: list[dict[str, Any]], scorer: str) -> Sample:
    first = epochs[0]
    scores = [_value(log, sample, scorer) for sample in epochs]
    scored = [score for score in scores if not math.isnan(score)]
    target = first.get("target")
    own = (first.get("scores") or {}).get(scorer) or {}
    answer = own.get("answer")
    output = first.get("output") or {}
    return Sample(
        doc_hash=_digest([_plain(first["input"]), first.get("choices"), target]),
        prompt_hash=_digest(_prompt(first)),
        score=math.fsum(scored) / len(scored) if scored else math.nan,
        gold=target if isinstance(target, str) or target is None else json.dumps(target),
        prediction=None if answer is None else str(answer),
        completion=_completion(output),
        n_tokens=(output.get("usage") or {}).get("output_tokens"),
        truncated=_stopped(output),
    )


def _value(log: _Log, sample: Mapping[str, Any], scorer: str) -> float:
    score = (sample.get("scores") or {}).get(scorer)
    if score is None or score.get("value") is None:
        return math.nan
    value = score["value"]
    try:
        if isinstance(value, str) and value not in _LETTERS:
            return _WORDS.get(value.lower(), math.nan) if value.isalpha() else float(value)
        return _LETTERS[value] if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        msg = (
            f"{log.file}: sample {sample.get('id')!r}: the score {str(value)[:40]!r} of "
            f"{scorer!r} is no single number"
        )
        raise DataError(msg) from None


def _completion(output: Mapping[str, Any]) -> str | None:
    if isinstance(output.get("completion"), str):
        return str(output["completion"])
    choices = output.get("choices") or []
    return str(_plain(choices[0]["message"]["content"])) if choices else None


def _stopped(output: Mapping[str, Any]) -> bool | None:
    choices = output.get("choices") or []
    return choices[0].get("stop_reason") in {"max_tokens", "model_length"} if choices else None


def _prompt(sample: Mapping[str, Any]) -> Any:
    """Return what the model was asked: the messages before its first answer, else the input."""
    asked = []
    for message in sample.get("messages") or []:
        if message.get("role") == "assistant":
            break
        asked.append([message.get("role"), _plain(message.get("content"))])
    return asked or _plain(sample["input"])


def _plain(value: Any) -> Any:
    """Return the content without the identifiers that differ from run to run."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key not in {"id", "source"}}
    return value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
