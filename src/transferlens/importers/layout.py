"""What the columns of a table are: names, scores, seeds, or something else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.names import normalise
from transferlens.importers.table import Table

__all__ = [
    "Layout",
    "Role",
    "Rows",
    "find_layout",
    "is_average",
    "is_base",
    "orientation",
    "split_seed",
]

Role = Literal["source", "target", "score", "metric", "seed", "n", "family"]
Rows = Literal["auto", "source", "target"]

_ROLE_NAMES: dict[Role, frozenset[str]] = {
    "source": frozenset({
        "source", "sources", "source task", "source dataset", "source model", "adapter",
        "trained on", "train", "train task", "train dataset", "training task", "training dataset",
        "finetuned on", "fine tuned on", "model", "model name", "method",
    }),
    "target": frozenset({
        "target", "targets", "target task", "target dataset", "evaluated on", "eval", "eval task",
        "eval dataset", "test", "test task", "test dataset", "task", "dataset", "benchmark",
    }),
    "score": frozenset({"score", "scores", "value", "result", "mean"}),
    "metric": frozenset({"metric", "metrics", "metric name", "measure"}),
    "seed": frozenset({"seed", "seeds", "run", "random seed", "training seed"}),
    "n": frozenset({"n", "n scored", "n examples", "n samples", "num samples", "support"}),
    "family": frozenset({"family", "model family", "source family"}),
}  # fmt: skip
_DESCRIPTION = re.compile(
    r"\b(model size|size b|n params|params|parameters|flops|pretraining data|training data size|"
    r"training tokens|release date|revision|url|link|notes?|comments?)\b"
)
_BASES = {
    "base", "base model", "baseline", "pretrained", "pre trained", "pretrained model",
    "pre trained model", "zero shot", "zeroshot", "untuned", "vanilla", "no fine tuning",
    "no finetuning", "not fine tuned", "original model",
}  # fmt: skip
_AVERAGES = {
    "average", "averages", "avg", "mean", "macro average", "macro avg", "overall",
    "average score", "mean score", "avg score",
}  # fmt: skip
_SEED = re.compile(
    r"^(?P<name>.*?)[\s_.,:/-]*[(\[]?\s*seed[\s_=:#-]*(?P<seed>\d{1,9})\s*[)\]]?$", re.IGNORECASE
)


class Labelled(NamedTuple):
    """A name, and the seed that stood in it."""

    name: str
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which column is what."""

    long: bool
    """A row per cell, with a column for source and one for target."""
    roles: Mapping[Role, int]
    """Column of each role that was found; ``score`` only in long tables."""
    label: int
    """Column of the rows' names, in a wide table."""
    scores: tuple[int, ...]
    """Columns of scores."""


def is_base(name: str) -> bool:
    """Whether a name is one of the usual ones of the untuned model."""
    return normalise(name) in _BASES


def is_average(name: str) -> bool:
    """Whether a name is one of the usual ones of a mean over the other rows or columns."""
    return normalise(name) in _AVERAGES


def split_seed(label: str) -> Labelled:
    """Split ``mnli (seed 3)``, ``mnli_seed3`` or ``seed_3`` into name and seed."""
    found = _SEED.match(label)
    return Labelled(found["name"], int(found["seed"])) if found else Labelled(label, None)


def find_layout(
    table: Table,
    *,
    columns: Mapping[str, str],
    drop: Iterable[str],
    layout: Literal["auto", "long", "wide"],
    remarks: list[str],
) -> Layout:
    """Recognise the columns of a table, by what the caller says or by their names.

    Raises
    ------
    DataError
        A column that the caller names does not exist, or there is no column of scores.
    """
    dropped = {table.header.index(name) for name in drop if name in table.header}
    roles = _roles(table, columns, dropped)
    named = {"source", "target"} <= set(roles)
    if layout == "long" and not named:
        msg = (
            f"{table.origin}: a long table needs a column of sources and one of targets; "
            "say which with columns, as in source=adapter"
        )
        raise DataError(msg)
    long = layout == "long" or (layout == "auto" and named)
    label = _label(roles, dropped)
    used = {roles[role] for role in _roles_used(long=long) if role in roles}
    used |= set() if long else {label}
    rest = [i for i in range(len(table.header)) if i not in used | dropped]
    if "score" in roles and long:
        rest = [roles["score"]]
    scores = tuple(_scores_among(table, rest, remarks, given=set(columns.values())))
    if not scores:
        msg = f"{table.origin}: no column holds numbers only, so there are no scores to import"
        raise DataError(msg)
    return Layout(long=long, roles=roles, label=label, scores=scores)


def _roles_used(*, long: bool) -> tuple[Role, ...]:
    """Return the roles whose columns are not scores; in a wide table a task may be called `n`."""
    if long:
        return ("source", "target", "metric", "seed", "n", "family")
    return ("metric", "seed", "family")


def _label(roles: Mapping[Role, int], dropped: set[int]) -> int:
    for role in ("source", "target"):
        if role in roles:
            return roles[role]
    return min({0, 1, *(i + 1 for i in dropped)} - dropped)


def _roles(table: Table, columns: Mapping[str, str], dropped: set[int]) -> dict[Role, int]:
    for role in columns:
        if role not in get_args(Role):
            msg = f"unknown role {role!r} of a column.{did_you_mean(role, get_args(Role))}"
            raise DataError(msg)
    roles: dict[Role, int] = {}
    for role, names in _ROLE_NAMES.items():
        if role in columns:
            roles[role] = table.column(columns[role])
            continue
        found = [
            i
            for i, name in enumerate(table.header)
            if normalise(name) in names and i not in dropped
        ]
        # Where two columns have such a name, the first is the more specific by custom.
        if found:
            roles[role] = found[0]
    return roles


def _scores_among(
    table: Table, candidates: list[int], remarks: list[str], *, given: set[str]
) -> Iterable[int]:
    for index in candidates:
        name = table.header[index]
        numbers = [table.number(row, index) for row in range(len(table.rows))]
        text = sum(number is None for number in numbers)
        filled = sum(number is None or number.value == number.value for number in numbers)
        if text and text == filled:
            remarks.append(f"column {name!r} left out: it holds text")
        elif name not in given and _DESCRIPTION.search(normalise(name)):
            remarks.append(f"column {name!r} left out: it describes the rows")
        else:
            yield index


def orientation(
    table: Table, layout: Layout, rows: Rows, base: str | None, remarks: list[str]
) -> Literal["source", "target"]:
    """Say whether the rows of a wide table are sources or targets, and why."""
    if rows != "auto":
        return rows
    word = table.header[layout.label]
    for role in ("source", "target"):
        if normalise(word) in _ROLE_NAMES[role]:
            other = "target" if role == "source" else "source"
            remarks.append(f"rows are {role}s, columns {other}s: the first column is {word!r}")
            return role
    base_row = _names_base([str(row[layout.label]) for row in table.rows], base)
    base_column = _names_base([table.header[i] for i in layout.scores], base)
    if base_row:
        remarks.append(f"rows are sources, columns targets: {base_row!r} is a row")
        return "source"
    if base_column:
        remarks.append(f"rows are targets, columns sources: {base_column!r} is a column")
        return "target"
    remarks.append("rows taken for sources, columns for targets; say rows=target if it is not so")
    return "source"


def _names_base(names: Iterable[str], base: str | None) -> str | None:
    plain = (split_seed(name).name for name in names)
    return next((n for n in plain if (n == base if base else is_base(n))), None)
