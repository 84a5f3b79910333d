"""A task: its definition, and the examples of its splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from transferlens.errors import DataError, SpecError
from transferlens.study import TaskSpec
from transferlens.tasks.example import Example
from transferlens.tasks.hub import read_dataset
from transferlens.tasks.readers import Rows, find_split, read_file
from transferlens.tasks.render import Kind, Renderer, draw, draw_all

__all__ = ["Split", "Task", "read_rows"]

Split = Literal["train", "test"]

_SUITE_ROWS: dict[Split, int] = {"train": 2000, "test": 500}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that is ready to be read; reading happens in `train` and `test`."""

    name: str
    spec: TaskSpec
    kind: Kind
    """``choice``: likelihoods are compared; ``generate``: an answer is written."""
    metric: str
    family: str
    """Group of the task in tables, ``"other"`` unless it says."""
    where: str
    """``file:line: field`` at which the study names the task, for messages."""
    root: Path
    """Folder at which the relative paths of the definition start."""
    place: Callable[[str], str] = field(repr=False, compare=False)
    """Field of the definition -> ``file:line: field``, for messages."""

    def train(self, limit: int | None, *, seed: int) -> tuple[Example, ...]:
        """Return at most ``limit`` training examples, the same ones for the same ``seed``.

        Raises
        ------
        DataError
            The rows cannot be read or do not fit the task; one line says
            which row, where the task is defined, and what to do.
        SpecError
            A template of the task is not valid.
        """
        return self._draw("train", limit, seed)

    def test(self, limit: int | None, *, seed: int) -> tuple[Example, ...]:
        """Return at most ``limit`` test examples; as `train`."""
        return self._draw("test", limit, seed)

    def pool(self, *, seed: int) -> tuple[Example, ...]:
        """Return all training examples, those that `train` takes first; raises as it does."""
        rows, renderer, where = self._read("train")
        return draw_all(rows, renderer, seed=seed, where=where)

    def _draw(self, split: Split, limit: int | None, seed: int) -> tuple[Example, ...]:
        rows, renderer, where = self._read(split)
        return draw(rows, renderer, limit=limit, seed=seed, where=where)

    def _read(self, split: Split) -> tuple[Rows, Renderer, str]:
        where = f"{self.where}: task {self.name!r}"
        try:
            rows = read_rows(self.spec, split, self.root)
        except DataError as error:
            msg = f"{self.place('data')}: task {self.name!r}: {error}"
            raise DataError(msg) from None
        try:
            return rows, Renderer(self.spec, self.kind), where
        except SpecError as error:
            msg = f"{where}: {error}"
            raise SpecError(msg) from None


def read_rows(spec: TaskSpec, split: Split, root: Path) -> Rows:
    """Read the rows of a split from wherever the definition says.

    Raises
    ------
    DataError
        They cannot be read.
    """
    data = spec.data
    named = data.train if split == "train" else data.test
    if data.dataset is not None:
        return read_dataset(
            data.dataset, root=root, split=named or split,
            subset=data.subset, revision=data.revision,
        )  # fmt: skip
    if data.suite is not None:
        return _read_suite(data.suite, split, data.options)
    folder = root / Path(data.path).expanduser() if data.path is not None else root
    if named is not None:
        return read_file(folder / Path(named).expanduser())
    if data.path is None:
        msg = f"the task has no {split} rows; name their file in data.{split}"
        raise DataError(msg)
    return read_file(find_split(folder, split))


def _read_suite(name: str, split: Split, options: dict[str, Any]) -> Rows:
    from transferlens.tasks.suite import generate

    settings = dict(options)
    n = settings.pop(f"n_{split}", _SUITE_ROWS[split])
    settings.pop("n_test" if split == "train" else "n_train", None)
    records = generate(name, split=split, n=n, seed=settings.pop("seed", 0), **settings)
    return Rows(origin=f"built-in task {name} ({split})", records=records)
