"""``transferlens factors``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, p_value, plain_numbers
from transferlens.cli.options import Alpha, Folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from transferlens.explain.cards import DatasetCard, StudyCards
    from transferlens.explain.factors import BlockComparison, FactorEvidence, FactorTest

__all__ = ["factors"]

# Head of the column, name of the measure, digits.
_SUMMARY = (
    ("rows", "n_rows", 0),
    ("labels", "n_classes", 0),
    ("label skew", "label_skew", 2),
    ("input", "input_length", 0),
    ("output", "output_length", 0),
    ("types in 500", "type_token_500", 2),
    ("near-dup.", "near_duplicates", 2),
    ("base nll", "base_nll", 2),
)


def factors(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    factor: Annotated[
        list[str] | None, typer.Option(help="Test this factor only; can be repeated.")
    ] = None,
    together: Annotated[
        bool,
        typer.Option("--together", help="Put the named factors in one model."),
    ] = False,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=FILE",
            help="Training rows that the study does not hold (JSONL, CSV or Parquet).",
        ),
    ] = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=FILE", help="Examples that the study does not hold."),
    ] = None,
    embed: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Embedding model for semantic similarity, not TF-IDF."),
    ] = None,
    cards: Annotated[
        bool, typer.Option("--cards", help="Print every number of every dataset, and test nothing.")
    ] = False,
    permutations: Annotated[int, typer.Option(min=99, help="Permutations of each factor.")] = 1_999,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps linguistic features between calls.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers instead of tables.")
    ] = False,
    alpha: Alpha = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the permutations.")] = 0,
) -> None:
    """Say which properties of the data go with gains on other tasks.

    Similarity, quality, class distribution, length and linguistics of the training data are
    tested by permuting whole tasks, and similarity and quality are compared with the rest on
    sources that were held out.
    """
    import numpy as np

    from transferlens.explain.cards import study_cards
    from transferlens.explain.factors import Factors
    from transferlens.explain.similarity import embedder
    from transferlens.results import open_study

    study = open_study(folder)
    known = study_cards(
        study,
        cache=cache,
        rows=_files("source", rows or [], [source.name for source in study.sources]),
        examples=_files("target", examples or [], [target.name for target in study.targets]),
    )
    if cards:
        _print_cards(known, as_json=as_json)
        return
    # Only a comparison of all factors is the comparison that the sentence speaks of.
    analysis = Factors(
        factors=tuple(factor or ()),
        together=together,
        n_permutations=permutations,
        n_block_permutations=0 if factor else min(permutations, 499),
        confidence=1.0 - alpha,
    )
    model = None if embed is None else embedder(embed)
    found = analysis(study, rng=np.random.default_rng(seed), cards=known, embed=model)
    if as_json:
        _print_json(_document(found, alpha))
    else:
        _print_all(found, alpha)


def _files(kind: str, given: list[str], names: list[str]) -> dict[str, pl.DataFrame]:
    from transferlens.errors import AnalysisError, did_you_mean
    from transferlens.explain.cards import rows_of_file

    found = {}
    for part in given:
        name, equals, file = part.partition("=")
        if not equals:
            msg = f"{part}: write {kind.upper()}=FILE"
            raise AnalysisError(msg)
        if name not in names:
            msg = f"the study has no {kind} {name!r}.{did_you_mean(name, names)}"
            raise AnalysisError(msg)
        found[name] = rows_of_file(file)
    return found


def _print_all(found: FactorEvidence, alpha: float) -> None:
    size = f"{found.n_sources} sources × {found.n_targets} targets"
    plain(f"{size}: {found.n_cells} gains on other tasks")
    plain("")
    if found.cards.sources:
        _print_table_of(found.cards.sources)
        plain("lengths in words and marks; --cards prints every number")
        plain("")
    _print_tests(found, alpha)
    plain("")
    if found.comparison is not None:
        plain(found.comparison.sentence)
    for sentence in (found.variance_sentence, found.power_sentence):
        if sentence:
            plain(sentence)
    for note in found.notes:
        plain(note)


def _print_table_of(cards: Mapping[str, DatasetCard]) -> None:
    rows = [
        [name, *(_number(card.values[measure], digits) for _, measure, digits in _SUMMARY)]
        for name, card in cards.items()
    ]
    print_table(["trained on", *(head for head, _, _ in _SUMMARY)], rows)


def _print_tests(found: FactorEvidence, alpha: float) -> None:
    scale, unit = _scale(found)
    made = sorted((t for t in found.tests if not t.reason), key=lambda test: test.rank)
    rows = [
        [
            test.factor,
            test.block,
            test.level,
            f"{_signed(test.coefficient * scale)}{'*' if test.p_adjusted <= alpha else ' '}",
            interval(test.low * scale, test.high * scale),
            p_value(test.p_value),
            p_value(test.p_adjusted),
            _number(test.detectable * scale, 1),
            str(test.n_effective),
            str(test.n_cells),
        ]
        for test in made
    ]
    if rows:
        head = ["factor", "block", "of", "effect ", f"{1 - alpha:.0%} interval", "p", "adj. p"]
        print_table([*head, "detectable", "sources", "cells"], rows, left=3)
        plain("")
        others = "the other named factors held fixed, " if found.together else ""
        plain(f"effect: {unit} of gain per standard deviation of the factor, {others}levels of")
        plain("targets removed, and of sources for a factor of pairs; p by permuting whole tasks")
        plain(f"* adjusted p <= {alpha:g} (false-discovery rate over {len(rows)} factors)")
    for reason, names in _untested(found.tests).items():
        every = len(names) == len(found.tests) > 1
        plain(f"not tested, {reason}: {f'all {len(names)} factors' if every else ', '.join(names)}")


def _untested(tests: tuple[FactorTest, ...]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for test in tests:
        if test.reason:
            groups.setdefault(test.reason, []).append(test.factor)
    return groups


def _print_cards(cards: StudyCards, *, as_json: bool) -> None:
    from transferlens.explain.cards import MEASURES

    if as_json:
        parts = (("sources", cards.sources), ("targets", cards.targets))
        document = {
            name: {key: _card(card) for key, card in group.items()} for name, group in parts
        }
        _print_json({**document, "notes": list(cards.notes)})
        return
    for title, group in (("trained on", cards.sources), ("task", cards.targets)):
        if group:
            rows = [
                [
                    f"{measure.name} ({measure.unit})",
                    *(_exact(card.values[measure.name]) for card in group.values()),
                ]
                for measure in MEASURES
            ]
            print_table([title, *group], rows)
            plain("")
    for note in cards.notes:
        plain(note)


def _card(card: DatasetCard) -> dict[str, Any]:
    return {
        "values": plain_numbers(dict(card.values)),
        "reasons": dict(card.reasons),
        "labels": dict(card.label_counts),
        "profile": plain_numbers(dict(card.profile)),
    }


def _document(found: FactorEvidence, alpha: float) -> dict[str, Any]:
    return {
        "alpha": alpha,
        "unit": found.unit,
        "n_sources": found.n_sources,
        "n_targets": found.n_targets,
        "n_cells": found.n_cells,
        "factors": [plain_numbers(row) for row in found.to_frame().to_dicts()],
        "comparison": None if found.comparison is None else _compared(found.comparison),
        "variance": None if found.components is None else found.components._asdict(),
        "power": found.power_sentence,
        "cards": {name: _card(card) for name, card in found.cards.sources.items()},
        "notes": list(found.notes),
    }


def _compared(found: BlockComparison) -> dict[str, Any]:
    blocks = {
        name: plain_numbers({"r2": fit.r2, "null_r2": fit.null_r2, "p_value": fit.p_value})
        for name, fit in (("surface", found.surface), ("hidden", found.hidden))
    }
    numbers = {
        "difference": found.difference.estimate,
        "low": found.difference.low,
        "high": found.difference.high,
        "p_value": found.difference.p_value,
        "both_r2": found.both_r2,
    }
    return {
        "verdict": found.verdict,
        "sentence": found.sentence,
        **blocks,
        **plain_numbers(numbers),
        "surface_factors": list(found.surface_factors),
        "hidden_factors": list(found.hidden_factors),
        "n_sources": found.n_sources,
        "sources_needed": found.sources_needed,
    }


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def _scale(found: FactorEvidence) -> tuple[float, str]:
    return (100.0, "points") if found.unit == "fraction" else (1.0, found.unit)


def _signed(value: float) -> str:
    from transferlens.results import format_value

    return format_value(value, signed=True)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _exact(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
