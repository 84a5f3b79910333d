"""Result folders of MTEB: ``<model>/<revision>/<Task>.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.harness_files import read_json_file
from transferlens.importers.models import find_base, name_models
from transferlens.importers.names import family_of, safe_names, say_renamed
from transferlens.importers.origin import origin_of
from transferlens.results import BASE, TargetInfo, TransferStudy

__all__ = ["import_mteb", "is_mteb"]


class _Result(NamedTuple):
    """Main score of a model on a task."""

    model: str
    task: str
    score: float
    n_subsets: int
    file: Path


def import_mteb(
    *paths: str | Path,
    base: str | None = None,
    split: str | None = None,
    tasks: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
) -> TransferStudy:
    """Read MTEB's results: the main score of each model on each task.

    Parameters
    ----------
    paths
        Folders that hold ``<model>/<revision>/<Task>.json``, or such files.
    base
        Name of the untuned model; recognised where it is called so.
    split
        Split to read, such as ``"test"``; needed where results have several
        and none is called test.
    tasks
        Tasks to import; all unless given.
    names
        Model -> name of the source.

    Returns
    -------
    TransferStudy
        Scores without predictions; a score is the mean over a task's subsets,
        as MTEB itself reports it.

    Raises
    ------
    DataError
        A file is damaged, a split is missing, or a model has a task twice.
    """
    folders = [Path(path) for path in paths]
    remarks: list[str] = []
    results = [_result(file, data, split) for file, data in _files(folders, remarks)]
    results = _of_tasks(results, tuple(tasks))
    models = list(dict.fromkeys(result.model for result in results))
    untuned = find_base(models, base)
    remarks.append(f"base: {untuned}" if untuned else "no base was named, so scores have no gains")
    if many := sorted({r.task for r in results if r.n_subsets > 1}):
        remarks.append(f"mean over the subsets of {', '.join(many[:5])}{' …' * (len(many) > 5)}")
    named = name_models(models, untuned, names or {})
    sources = safe_names(m.source for m in named.values() if m.source != BASE)
    targets = safe_names((result.task for result in results), reserved=())
    renamed = say_renamed({**sources, **targets}, remarks)
    rows = [
        {
            "source": {**sources, BASE: BASE}[named[result.model].source],
            "target": targets[result.task],
            "seed": named[result.model].seed,
            "score": result.score,
        }
        for result in results
    ]
    settings = {"base": untuned, "split": split}
    return TransferStudy.from_scores(
        pl.DataFrame(rows),
        targets=[_info(task, name, results) for task, name in targets.items()],
        origin=origin_of("mteb", folders, remarks=remarks, renamed=renamed, settings=settings),
    )


def is_mteb(data: Any) -> bool:
    """Whether a JSON value is one of MTEB's results."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("scores"), dict)
        and isinstance(data.get("task_name", data.get("mteb_dataset_name")), str)
    )


def _files(paths: Iterable[Path], remarks: list[str]) -> list[tuple[Path, dict[str, Any]]]:
    found: list[tuple[Path, dict[str, Any]]] = []
    other = 0
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder"
            raise DataError(msg)
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in (f for f in files if f.name != "model_meta.json"):
            data = read_json_file(file)
            if is_mteb(data):
                found.append((file, data))
            else:
                other += 1
    if not found:
        where = ", ".join(map(str, paths))
        msg = f"{where}: no result of MTEB in it (JSON with 'task_name' and 'scores')"
        raise DataError(msg)
    if other:
        remarks.append(f"{other} other JSON files left out")
    return found


def _result(file: Path, data: Mapping[str, Any], split: str | None) -> _Result:
    splits = data["scores"]
    wanted = split or ("test" if "test" in splits or len(splits) != 1 else next(iter(splits)))
    if wanted not in splits:
        msg = f"{file}: there is no split {wanted!r}; name one with split."
        raise DataError(msg + did_you_mean(wanted, splits))
    try:
        scores = [float(subset["main_score"]) for subset in splits[wanted]]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file}: split {wanted!r} has no main_score in each of its subsets ({error!r})"
        raise DataError(msg) from None
    if not scores:
        msg = f"{file}: split {wanted!r} is empty"
        raise DataError(msg)
    return _Result(
        model=_model_of(file),
        task=str(data.get("task_name", data.get("mteb_dataset_name"))),
        score=math.fsum(scores) / len(scores),
        n_subsets=len(scores),
        file=file,
    )


def _model_of(file: Path) -> str:
    """Return the model's name from its folder: ``org__model/revision/Task.json``."""
    meta = file.with_name("model_meta.json")
    if meta.is_file():
        data = read_json_file(meta)
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            return str(data["name"])
    return file.resolve().parent.parent.name.replace("__", "/")


def _of_tasks(results: list[_Result], tasks: tuple[str, ...]) -> list[_Result]:
    known = {result.task for result in results}
    for task in tasks:
        if task not in known:
            msg = f"there are no results of a task {task!r}.{did_you_mean(task, known)}"
            raise DataError(msg)
    seen: dict[tuple[str, str], Path] = {}
    for result in results:
        first = seen.setdefault((result.model, result.task), result.file)
        if first != result.file:
            msg = (
                f"{result.file}: {result.model} has {result.task} in {first} too; "
                "give the folder of one revision"
            )
            raise DataError(msg)
    return [result for result in results if not tasks or result.task in tasks]


def _info(task: str, name: str, results: list[_Result]) -> TargetInfo:
    scores = [result.score for result in results if result.task == task]
    fraction = all(-1 <= score <= 1 for score in scores)
    return TargetInfo(
        name=name,
        metric="main_score",
        unit="fraction" if fraction else "score",
        family=family_of(task),
        ceiling=1.0 if fraction else math.nan,
    )
