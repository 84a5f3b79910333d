"""``transferlens explain``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import compute, interval, p_value
from transferlens.cli.options import Alpha, Folder

if TYPE_CHECKING:
    import polars as pl

    from transferlens.explain import ConfusionPair
    from transferlens.explain.linguistics import LinguisticEvidence
    from transferlens.results import TransferStudy

__all__ = ["explain"]

_MOST_LABELS = 8
"""Of a larger confusion matrix only the changes are printed; --json has all of it."""
_NO_SKEW = (
    "Whether skewed training labels make skewed answers is not tested: that needs four sources "
    "whose training labels are known."
)


def explain(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    source: Annotated[
        str | None, typer.Argument(help="Dataset that the adapter was trained on.")
    ] = None,
    target: Annotated[str | None, typer.Argument(help="Task that it is tested on.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers instead of words.")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="Cells to list at most; 0 lists all.")] = 10,
    alpha: Alpha = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    linguistics: Annotated[
        str | None,
        typer.Option(
            metavar="auto|lexicon|none|MODEL",
            help="Test the linguistic features of the examples with a spaCy model; auto: with "
            "an installed one that has a parser, else with word lists.",
            show_default="auto for a cell, none for the list",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of the cell instead.")
    ] = None,
) -> None:
    """Say why an adapter helps or harms a task; without a cell, list the most surprising ones.

    A gain is split into format (answers that can be read), label prior (which labels are
    preferred), length and skill (the rest). Surprising are gains on tasks of another family
    and losses within a family. The list also says which confusions a source creates on several
    tasks, and whether skewed training labels make skewed answers.
    """
    from transferlens.errors import AnalysisError
    from transferlens.results import open_study

    study = open_study(folder)
    if source is None:
        if html is not None:
            msg = (
                f"a page is of one cell: transferlens explain {folder} SOURCE TARGET --html {html}"
            )
            raise AnalysisError(msg)
        _overview(study, alpha, top, seed, linguistics or "none", as_json=as_json)
        return
    if target is None:
        msg = f"name the task as well: transferlens explain {folder} {source} TARGET"
        raise AnalysisError(msg)
    _tell(study, (source, target), seed, linguistics or "auto", as_json=as_json, html=html)


def _tell(
    study: TransferStudy,
    cell: tuple[str, str],
    seed: int,
    linguistics: str,
    *,
    as_json: bool,
    html: Path | None,
) -> None:
    import numpy as np

    from transferlens.explain import tell_story
    from transferlens.explain.linguistics import user_cache

    story = tell_story(
        study,
        *cell,
        rng=np.random.default_rng(seed),
        linguistics=linguistics != "none",
        parser=_parser(linguistics),
        cache=user_cache(),
    )
    if html is not None:
        from transferlens.report import write_cell_page

        plain(str(write_cell_page(study, story, html)))
        return
    if as_json:
        _print_json(story.document())
        return
    plain(story.sentence)
    plain("")
    for line in story.lines:
        plain(line)
    if story.confusion is not None:
        _print_confusion(story.confusion)
    plain("")
    for note in story.notes:
        plain(note)


def _parser(linguistics: str) -> str | None:
    """Return the spaCy model that is meant; None: word lists."""
    from transferlens.explain.linguistics import installed_model

    if linguistics == "auto":
        return installed_model()
    return None if linguistics in {"none", "lexicon"} else linguistics


def _print_confusion(pair: ConfusionPair) -> None:
    """Print base -> adapter, in percent of each gold."""
    if len(pair.golds) > _MOST_LABELS:
        return
    unread = any(row[-1] for matrix in (pair.base, pair.adapter) for row in matrix)
    shown = len(pair.answers) if unread else len(pair.golds)
    rows = [
        [f"{gold} ({sum(counts):g})", *(_moved(a, b) for a, b in zip(base, own, strict=True))]
        for gold, counts, base, own in zip(
            pair.golds, pair.adapter, pair.base_by_gold, pair.adapter_by_gold, strict=True
        )
    ]
    plain("")
    head = ["gold (examples): answers, base -> adapter", *pair.answers]
    print_table(head[: 1 + shown], [row[: 1 + shown] for row in rows])


def _moved(base: float, own: float) -> str:
    return "-" if math.isnan(base) or math.isnan(own) else f"{base:.0%} -> {own:.0%}"


def _overview(
    study: TransferStudy, alpha: float, top: int, seed: int, linguistics: str, *, as_json: bool
) -> None:
    import numpy as np

    from transferlens.explain import (
        confusion_habits,
        study_skew_test,
        surprises,
        task_similarity,
    )
    from transferlens.transfer import in_points

    matrix = compute(study, strict=False)
    found = in_points(surprises(study, matrix, level=alpha, similarity=task_similarity(study)))
    skew = habits = None
    if study.predictions is not None:
        skew = study_skew_test(study, rng=np.random.default_rng(seed))
        habits = confusion_habits(study, level=alpha)
    features = None if linguistics == "none" else _features(study, linguistics)
    if as_json:
        document = {
            "alpha": alpha,
            "cells": found.to_dicts(),
            "skew": None if skew is None else {**skew._asdict(), "sentence": skew.sentence(alpha)},
            "habits": [] if habits is None else habits.filter(habits["targets"] > 0).to_dicts(),
            "linguistics": None if features is None else _features_document(features, alpha),
            "notes": list(matrix.notes),
        }
        _print_json(document)
        return
    _print_surprises(found, top)
    if habits is not None:
        _print_habits(habits, top)
        plain("")
        plain(_NO_SKEW if skew is None else skew.sentence(alpha))
    if features is not None:
        _print_features(features, alpha, top)
    for note in matrix.notes:
        plain(note)


def _print_habits(habits: pl.DataFrame, top: int) -> None:
    """Print the confusions that a source creates on two tasks or more."""
    from transferlens.results import format_value

    found = habits.filter(habits["targets"] > 1)
    plain("")
    plain(f"Confusions that a source creates on several tasks: {found.height}")
    if not found.height:
        return
    shown = found.head(top) if top else found
    rows = [
        [
            row["source"],
            row["gold"],
            row["answer"],
            f"{row['targets']} of {row['n_targets']}",
            format_value(100 * row["difference"], signed=True),
        ]
        for row in shown.iter_rows(named=True)
    ]
    head = ["trained on", "gold", "answer", "tasks with more of it", "points on average"]
    print_table(head, rows, left=3)


def _features(study: TransferStudy, linguistics: str) -> LinguisticEvidence:
    from transferlens.explain.linguistics import LinguisticSensitivity, user_cache

    return LinguisticSensitivity(model=_parser(linguistics), cache=user_cache())(study)


def _features_document(found: LinguisticEvidence, alpha: float) -> dict[str, Any]:
    return {
        "backend": found.backend,
        "notes": list(found.notes),
        "significant": found.significant(alpha).to_dicts(),
    }


def _print_features(found: LinguisticEvidence, alpha: float, top: int) -> None:
    """Print the features that decide where an adapter helps, over all cells."""
    from transferlens.explain.linguistics.result import odds

    rows = found.significant(alpha)
    shown = rows.head(top) if top else rows
    plain("")
    plain(
        f"Linguistic features that decide where an adapter helps ({found.backend}): {rows.height}"
    )
    if rows.height:
        head = ["trained on", "task", "feature", "coding", "grade", "odds ratio", "interval"]
        table = [
            [
                *(row[name] for name in ("source", "target", "feature", "coding", "grade")),
                odds(row["odds_ratio"]),
                f"{odds(row['odds_low'])} to {odds(row['odds_high'])}",
                p_value(row["p_adjusted"]),
            ]
            for row in shown.iter_rows(named=True)
        ]
        print_table([*head, "adj. p"], table, left=5)
    for note in found.notes:
        plain(note)
    plain("")


def _print_surprises(found: pl.DataFrame, top: int) -> None:
    from transferlens.results import format_value

    shown = found.head(top) if top else found
    rows = [
        [
            row["source"],
            row["target"],
            row["surprise"],
            "-" if math.isnan(row["similarity"]) else f"{row['similarity']:.2f}",
            format_value(row["base_score"], signed=False),
            format_value(row["gain"], signed=True),
            interval(row["gain_low"], row["gain_high"]),
            p_value(row["p_adjusted"]),
        ]
        for row in shown.iter_rows(named=True)
    ]
    plain(f"Surprising: {found.height} cells")
    if rows:
        head = [
            "trained on",
            "task",
            "surprise",
            "similarity",
            "base",
            "gain",
            "interval",
            "adj. p",
        ]
        print_table(head, rows, left=3)
        plain("")
        plain("transferlens explain DIR SOURCE TARGET tells why")
    if len(rows) < found.height:
        plain(f"and {found.height - len(rows)} more: --top 0 prints all")


def _print_json(document: dict[str, Any]) -> None:
    text = json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(text)


def _plain(value: Any) -> Any:
    """Return a document without NaN and infinity, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
