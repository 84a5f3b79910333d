"""Evaluated models: short names for their paths, and which of them is the base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from transferlens.errors import DataError, did_you_mean
from transferlens.importers.layout import is_base, split_seed
from transferlens.results import BASE

__all__ = ["Model", "find_base", "last_part", "name_models"]


class Model(NamedTuple):
    """A source and a seed."""

    source: str
    """`BASE` for the untuned model."""
    seed: int


def last_part(path: str) -> str:
    """Return the last part of a path or of a hub's id."""
    return PurePosixPath(path.rstrip("/")).name or path


def find_base(paths: Iterable[str], asked: str | None) -> str | None:
    """Return the path of the untuned model: the one asked for, or one with a usual name.

    Raises
    ------
    DataError
        None or several have the name.
    """
    known = list(paths)
    if asked is None:
        found = [path for path in known if is_base(last_part(path))]
        return found[0] if len(found) == 1 else None
    found = [path for path in known if asked.rstrip("/") in {path.rstrip("/"), last_part(path)}]
    if len(found) != 1:
        hint = did_you_mean(asked, {*known, *map(last_part, known)})
        msg = f"{len(found) or 'no'} models are called {asked!r}, but one is the base.{hint}"
        raise DataError(msg)
    return found[0]


def name_models(
    paths: Iterable[str], base: str | None, names: Mapping[str, str]
) -> dict[str, Model]:
    """Return path -> source and seed.

    A source is called by the last part of its path, or the last two where
    one is not enough; ``mnli_seed1`` is source mnli, seed 1.

    Raises
    ------
    DataError
        A given name is of no model, or two models would be the same source and seed.
    """
    others = [path for path in paths if path != base]
    known = {alias for path in others for alias in (path, last_part(path))}
    for name in names:
        if name not in known:
            msg = f"names: no adapter or model is called {name!r}.{did_you_mean(name, known)}"
            raise DataError(msg)
    count = Counter(map(last_part, others))
    models: dict[str, Model] = {}
    for path in others:
        short = last_part(path)
        if count[short] > 1:
            short = "/".join(PurePosixPath(path.rstrip("/")).parts[-2:])
        label = split_seed(names.get(path) or names.get(last_part(path)) or short)
        models[path] = Model(label.name or short, label.seed or 0)
    if twice := [model for model, n in Counter(models.values()).items() if n > 1]:
        msg = (
            f"two models would both be called {twice[0].source!r}, seed {twice[0].seed}; "
            "tell them apart with names"
        )
        raise DataError(msg)
    if base is not None:
        models[base] = Model(BASE, 0)
    return models
