"""``transferlens recommend``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.console import plain, print_table
from transferlens.cli.matrix_evidence import interval, plain_numbers
from transferlens.cli.options import Folder
from transferlens.cli.predict import Confidence, Rows, SeedOfFolds, problem_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transferlens.predict import Expected, Options, Recommendation

__all__ = ["recommend"]

_MOST_HARMS = 10


def recommend(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    target: Annotated[
        list[str] | None, typer.Option(help="Task that is to get better; can be repeated.")
    ] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="[NAME=]FILE",
            help="Task that the study does not have (JSONL, CSV or Parquet).",
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="Adapters at most.")] = 1,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="N|'N tokens'",
            help="Adapters, or training tokens (prompts and outputs, all epochs).",
        ),
    ] = None,
    no_harm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK:GAIN",
            help="Lowest gain allowed on a task, in scores: IMDB:-0.01 is a loss of one point.",
        ),
    ] = None,
    sure: Annotated[
        bool,
        typer.Option("--sure", help="Keep such limits with the whole interval, not the gain."),
    ] = False,
    others: Annotated[
        bool, typer.Option("--others", help="Leave the data of the wanted tasks themselves out.")
    ] = False,
    rows: Rows = None,
    confidence: Confidence = 0.9,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps linguistic features between calls.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    seed: SeedOfFolds = 0,
) -> None:
    """Say which data to train on for a task, what it brings, what it breaks, and why.

    Measured gains come before predicted ones. Several sources are one adapter each, of which
    every task is served by the best; what one adapter trained on all of them would do is not
    known from a study of single ones.
    """
    import numpy as np

    from transferlens.errors import AnalysisError
    from transferlens.predict import Complete, Recommend, options_of
    from transferlens.results import open_study
    from transferlens.transfer import Evidence, transfer_matrix

    if not target and not for_:
        msg = "name a task of the study with --target, or a file of a new one with --for"
        raise AnalysisError(msg)
    study = open_study(folder)
    problem = problem_for(study, None, for_, rows, cache=cache)
    kind, most = _budget(budget)
    options = options_of(
        study,
        transfer_matrix(study, Evidence(confidence=confidence)),
        Complete(confidence=confidence)(problem, rng=np.random.default_rng(seed)),
        cost=kind,
        level=1.0 - confidence,
    )
    wanted = [*(target or []), *problem.targets[len(study.targets) :]]
    if others:
        options = options.without(wanted)
    choose = Recommend(k=k, budget=most, no_harm=_limits(no_harm or []), sure=sure)
    found = choose(options, wanted)
    if as_json:
        _print_json(found, options)
    else:
        _print_choice(found, options, wanted, confidence)


def _budget(text: str | None) -> tuple[Literal["adapters", "tokens"], float]:
    from transferlens.errors import AnalysisError

    if text is None:
        return "adapters", math.inf
    number, _, unit = text.strip().partition(" ")
    kinds: dict[str, Literal["adapters", "tokens"]] = {
        "": "adapters",
        "adapters": "adapters",
        "tokens": "tokens",
    }
    if not number.isdecimal() or unit.strip() not in kinds:
        msg = f"--budget {text!r}: give a number of adapters, or 'N tokens'"
        raise AnalysisError(msg)
    return kinds[unit.strip()], float(number)


def _limits(texts: Sequence[str]) -> dict[str, float]:
    """Read ``TASK:GAIN`` with gains in scores, and return points."""
    from transferlens.errors import AnalysisError

    found = {}
    for text in texts:
        name, colon, number = text.rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not colon or not math.isfinite(limit):
            msg = f"--no-harm {text!r}: write TASK:GAIN, such as IMDB:-0.01"
            raise AnalysisError(msg)
        found[name] = 100.0 * limit
    return found


def _print_choice(
    found: Recommendation, options: Options, wanted: Sequence[str], confidence: float
) -> None:
    plain(_verdict(found, wanted))
    plain("")
    head = ["train on", "task", "gain", f"{confidence:.0%} interval", "", "evidence"]
    if found.helps:
        print_table(head, [[*_cells(one), _why(one)] for one in found.helps], left=2)
        plain("")
    if found.harms:
        plain(f"Harms: {len(found.harms)}")
        print_table(head[:5], [_cells(one) for one in found.harms[:_MOST_HARMS]], left=2)
        plain("")
    if found.unserved and found.helps:
        plain(f"better left to the base: {', '.join(found.unserved)}")
    for one in found.ruled_out:
        plain(f"ruled out: {one.source} changes {one.target} by {_cells(one)[2]}")
    if found.not_known:
        plain(f"ruled out, since their effect there is not known: {', '.join(found.not_known)}")
    how = "no other choice has a larger sum" if found.exact else "chosen greedily"
    plain(f"sum of gains {found.total:.1f} {options.unit}; {how}")
    plain("the best of many measured gains is, on average, measured too high")


def _verdict(found: Recommendation, wanted: Sequence[str]) -> str:
    names = ", ".join(found.chosen)
    tasks = ", ".join(wanted)
    if not found.chosen:
        return f"Train on nothing for {tasks}: no source that is allowed is expected to help."
    if not found.supported:
        return (
            f"The evidence does not support any choice for {tasks}. "
            f"The best guess is {names}; measure it before you rely on it."
        )
    weak = [one.target for one in found.helps if not one.supported]
    doubt = f" For {', '.join(weak)} it is only a guess." if weak else ""
    return f"For {tasks}, train on {names}.{doubt}"


def _cells(one: Expected) -> list[str]:
    from transferlens.results import format_value

    ends = interval(one.low, one.high) if math.isfinite(one.low) else "-"
    kind = "measured" if one.measured else "predicted"
    return [one.source, one.target, format_value(one.gain, signed=True), ends, kind]


def _why(one: Expected) -> str:
    if one.supported:
        return "above 0 after adjustment" if one.measured else "interval above 0"
    return "not enough"


def _print_json(found: Recommendation, options: Options) -> None:
    document = {
        "chosen": list(found.chosen),
        "supported": found.supported,
        "total": found.total,
        "exact": found.exact,
        "unit": options.unit,
        "unserved": list(found.unserved),
        "not_known": list(found.not_known),
    }
    for name in ("helps", "harms", "ruled_out"):
        document[name] = [plain_numbers(one._asdict()) for one in getattr(found, name)]
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
