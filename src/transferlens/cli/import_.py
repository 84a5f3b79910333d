"""``transferlens import``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain

if TYPE_CHECKING:
    from transferlens.results import TransferStudy

__all__ = ["import_"]

Many = list[str] | None

_OPTIONS = {
    "matrix": {
        "rows", "base", "unit", "metric", "lower_is_better", "drop", "columns", "layout", "sheet",
    },
    "lm-eval": {"base", "metric", "filter", "tasks", "names", "scores_only"},
    "mteb": {"base", "split", "tasks", "names"},
    "inspect": {"base", "scorer", "names"},
}  # fmt: skip
"""Options that each kind of results takes."""
_FLAGS = {"columns": "--column", "tasks": "--task", "names": "--name"}


def import_(  # noqa: PLR0917 - each is an option of the command
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="A table, or folders of results.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the study.")],
    kind: Annotated[
        Literal["matrix", "lm-eval", "mteb", "inspect"] | None,
        typer.Option(help="What it is.", show_default="recognised"),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Name of the untuned model in it.")] = None,
    rows: Annotated[
        Literal["auto", "source", "target"], typer.Option(help="What the rows of a table are.")
    ] = "auto",
    unit: Annotated[
        Literal["auto", "percent", "fraction", "raw"],
        typer.Option(help="Unit of a table's scores."),
    ] = "auto",
    layout: Annotated[
        Literal["auto", "long", "wide"],
        typer.Option(help="long: a row per cell; wide: a row per source or target."),
    ] = "auto",
    column: Annotated[
        Many, typer.Option(help="ROLE=COLUMN of a table, as in source=adapter; may be repeated.")
    ] = None,
    drop: Annotated[
        Many, typer.Option(help="Column, source or target to leave out; may be repeated.")
    ] = None,
    lower_is_better: Annotated[
        Many, typer.Option(help="Target or metric, or `all`; may be repeated.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of an Excel file.")] = None,
    metric: Annotated[Many, typer.Option(help="Metric, or TASK=METRIC; may be repeated.")] = None,
    filter: Annotated[  # noqa: A002 - the name of the option
        Many, typer.Option(help="Filter of lm-eval, or TASK=FILTER; may be repeated.")
    ] = None,
    task: Annotated[Many, typer.Option(help="Import this task only; may be repeated.")] = None,
    name: Annotated[
        Many, typer.Option(help="MODEL=SOURCE: what to call a model; may be repeated.")
    ] = None,
    scores_only: Annotated[
        bool, typer.Option("--scores-only", help="Leave lm-eval's samples unread.")
    ] = False,
    split: Annotated[str | None, typer.Option(help="Split of MTEB's results.")] = None,
    scorer: Annotated[str | None, typer.Option(help="Scorer of inspect_ai's logs.")] = None,
) -> None:
    """Make a study of a score matrix, or of results of lm-eval, MTEB or inspect_ai.

    Says how it read them, and what looks wrong in the numbers.
    """
    from transferlens.importers import recognise, remarks_of
    from transferlens.results import write_study

    found = kind or recognise(paths)
    options = _given(
        found,
        base=base,
        rows=None if rows == "auto" else rows,
        unit=None if unit == "auto" else unit,
        layout=None if layout == "auto" else layout,
        columns=_pairs(column, "--column"),
        drop=drop,
        lower_is_better=lower_is_better,
        sheet=sheet,
        metric=_choice(metric, "--metric"),
        filter=_choice(filter, "--filter"),
        tasks=task,
        names=_pairs(name, "--name"),
        scores_only=scores_only or None,
        split=split,
        scorer=scorer,
    )
    study = write_study(_read(found, paths, options), output)
    for remark in remarks_of(study):
        plain(f"- {remark}")
    _summarise(study, output)


def _read(kind: str, paths: Sequence[Path], options: Mapping[str, Any]) -> TransferStudy:
    from transferlens import importers
    from transferlens.errors import DataError

    readers: dict[str, Callable[..., TransferStudy]] = {
        "lm-eval": importers.import_lm_eval,
        "mteb": importers.import_mteb,
        "inspect": importers.import_inspect,
    }
    if kind in readers:
        return readers[kind](*paths, **options)
    if len(paths) > 1:
        msg = "import one table at a time; join runs in one table with a column `seed`"
        raise DataError(msg)
    if isinstance(options.get("metric"), dict):
        msg = "--metric TASK=METRIC is for lm-eval; a table takes one metric"
        raise DataError(msg)
    return importers.import_matrix(paths[0], **options)


def _given(kind: str, **options: Any) -> dict[str, Any]:
    """Return the options that were given; refuse those that the kind does not take."""
    from transferlens.errors import DataError

    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in _OPTIONS[kind]:
            flag = _FLAGS.get(key, "--" + key.replace("_", "-"))
            kinds = ", ".join(k for k, keys in _OPTIONS.items() if key in keys)
            msg = f"{flag} belongs to {kinds}, but these are results of kind {kind}"
            raise DataError(msg)
    return given


def _pairs(items: Many, flag: str) -> dict[str, str] | None:
    from transferlens.errors import DataError

    if items is None:
        return None
    # Paths of models and names of columns may hold a =, roles and sources do not.
    pairs = [item.partition("=") if flag == "--column" else item.rpartition("=") for item in items]
    for key, _, value in pairs:
        if not key or not value:
            msg = f"{flag} takes two names with = between them"
            raise DataError(msg)
    return {key: value for key, _, value in pairs}


def _choice(items: Many, flag: str) -> str | dict[str, str] | None:
    """Return one name for all, or task -> name."""
    from transferlens.errors import DataError

    if not items or any("=" in item for item in items):
        return _pairs(items, flag)
    if len(items) > 1:
        msg = f"{flag} takes one name for all tasks, or TASK=NAME for each"
        raise DataError(msg)
    return items[0]


def _summarise(study: TransferStudy, output: Path) -> None:
    scores = study.scores
    seeds = len(study.seeds)
    kind = "scores only" if study.predictions is None else "with predictions"
    plain(
        f"{output}: {len(study.sources)} sources, {len(study.targets)} targets, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {kind}"
    )
    if bool(scores["base_score"].isnull().all()):
        plain(f"There is no base to compare with: transferlens matrix {output} --values score")
