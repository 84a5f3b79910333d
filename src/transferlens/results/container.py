"""`TransferStudy`: the one object that every analysis begins with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xarray as xr
from numpy.typing import NDArray

from transferlens.errors import ResultsError, SpecError, did_you_mean
from transferlens.results.aggregate import (
    ExampleScores,
    cell_arrays,
    example_scores,
    summarise,
)
from transferlens.results.infos import (
    parted,
    sources_of,
    targets_of,
    with_sources,
    with_targets,
)
from transferlens.results.plan import Plan
from transferlens.results.schema import (
    PREDICTION_SCHEMA,
    SCORE_SCHEMA,
    SourceInfo,
    TargetInfo,
    conform,
)
from transferlens.results.store import StudyStore
from transferlens.results.stored import CellFiles, InMemory, Predictions
from transferlens.study import BASE, StudySpec

__all__ = ["TransferStudy", "open_study"]

_DIMS = ("source", "target", "seed")
# Bounds the memory of reading several targets at once, to about 300 MB. A merged file is read
# in groups of 25,000 rows: fewer rows at once would decode many of those groups twice.
_ROWS_AT_ONCE = 3_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferStudy:
    """Sources × targets × seeds: predictions where they are known, scores always.

    Make one with `open_study`, `TransferStudy.from_predictions`,
    `TransferStudy.from_scores` or an importer. Nothing changes it.
    """

    sources: tuple[SourceInfo, ...]
    """The adapters' sources in the study's order; the base and twins are none of them."""
    targets: tuple[TargetInfo, ...]
    twins: tuple[SourceInfo, ...] = ()
    """Control adapters, each of which differs from a source in one property. No number of
    the study is about them; see `with_twins`."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """The study's spec as plain values, or what an importer knows."""
    plan: Plan | None = None
    """Cells and adapters, for a study that lies in a folder."""
    path: Path | None = None
    """The study's folder, if it has one."""
    _rows: Predictions | None = None
    _scores: pl.DataFrame | None = None

    @classmethod
    def from_predictions(
        cls,
        predictions: pl.DataFrame,
        *,
        targets: Sequence[TargetInfo] = (),
        sources: Sequence[SourceInfo] = (),
        origin: Mapping[str, Any] | None = None,
    ) -> TransferStudy:
        """Make a study from prediction rows (columns `PREDICTION_SCHEMA`).

        ``sources`` and ``targets`` give order and metadata; those that are
        not given follow in order of appearance.

        Raises
        ------
        ResultsError
            A column is missing or of another type, or a (source, target,
            seed, example) occurs twice.
        """
        frame = conform(predictions, PREDICTION_SCHEMA, where="predictions")
        twice = frame.filter(frame.select("source", "target", "seed", "example").is_duplicated())
        if twice.height:
            row = twice.row(0, named=True)
            msg = (
                f"predictions: example {row['example']} of {row['source']} -> {row['target']}, "
                f"seed {row['seed']}, occurs twice"
            )
            raise ResultsError(msg)
        return cls(
            **parted(with_sources(sources, frame)),
            targets=with_targets(targets, frame),
            origin=dict(origin or {}),
            _rows=InMemory(frame.lazy()),
        )

    @classmethod
    def from_scores(
        cls,
        scores: pl.DataFrame,
        *,
        targets: Sequence[TargetInfo] = (),
        sources: Sequence[SourceInfo] = (),
        origin: Mapping[str, Any] | None = None,
    ) -> TransferStudy:
        """Make a study from a bare score matrix in long form.

        Parameters
        ----------
        scores
            Columns source, target, score; and seed (default 0), n_scored,
            n_unscored (default NaN: not known). The base is the source
            ``"base"``. A cell without a row, or NaN, is missing.
        targets, sources
            Order and metadata; those not given follow in order of appearance.

        Raises
        ------
        ResultsError
            A column is missing or of another type, or a cell occurs twice.
        """
        defaults = {"seed": 0, "n_scored": math.nan, "n_unscored": math.nan}
        given = scores.with_columns(
            pl.lit(value).alias(name) for name, value in defaults.items() if name not in scores
        )
        frame = conform(given, SCORE_SCHEMA, where="scores")
        twice = frame.filter(frame.select(_DIMS).is_duplicated())
        if twice.height:
            source, target, seed = twice.select(_DIMS).row(0)
            msg = f"scores: the cell {source} -> {target}, seed {seed}, occurs twice"
            raise ResultsError(msg)
        return cls(
            **parted(with_sources(sources, frame)),
            targets=with_targets(targets, frame),
            origin=dict(origin or {}),
            _scores=frame,
        )

    @property
    def spec(self) -> StudySpec | None:
        """The spec that made the study; None for an imported one."""
        if "sources" not in self.origin:
            return None
        try:
            return StudySpec.from_dict(dict(self.origin), root=self.path or ".")
        except SpecError as error:
            msg = f"the spec of {self.path or 'the study'} does not fit this version: {error}"
            raise ResultsError(msg) from None

    @property
    def predictions(self) -> pl.LazyFrame | None:
        """The long table (`PREDICTION_SCHEMA`), read when collected; None for bare scores.

        Raises
        ------
        ResultsError
            A file of it is damaged.
        """
        return None if self._own_rows is None else self._own_rows.scan()

    @cached_property
    def score_rows(self) -> pl.DataFrame:
        """Scores in long form (`SCORE_SCHEMA`), the base among the sources."""
        if self._own_rows is not None:
            return summarise(self._own_rows.scan())
        if self._scores is None:
            return pl.DataFrame(schema=SCORE_SCHEMA)
        return self._scores.filter(~pl.col("source").is_in([twin.name for twin in self.twins]))

    @cached_property
    def _own_rows(self) -> Predictions | None:
        if self._rows is None or not self.twins:
            return self._rows
        return self._rows.without([twin.name for twin in self.twins])

    def with_twins(self) -> TransferStudy:
        """Return the study with its twins among the sources, behind the others."""
        return replace(self, sources=(*self.sources, *self.twins), twins=())

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the adapters; of the base, where there is no adapter."""
        rows = self.score_rows
        adapters = rows.filter(pl.col("source") != BASE)
        return tuple(sorted((adapters if adapters.height else rows)["seed"].unique()))

    @property
    def scores(self) -> xr.Dataset:
        """Mean scores and numbers of examples.

        Variables ``score``, ``n_scored``, ``n_unscored`` over (source,
        target, seed) and ``base_score``, ``base_n_scored``,
        ``base_n_unscored`` over (target, seed), in the target's own unit. A
        score is NaN where nothing was scored; a count is NaN where it is not
        known. A base with one seed is repeated over the adapters' seeds.
        Coordinates per target: metric, unit, higher_is_better, family,
        ceiling (NaN: none), majority_share (NaN: not known); per source:
        source_family. Computed once; the arrays are read-only.
        """
        return self._dataset.copy()

    @cached_property
    def _dataset(self) -> xr.Dataset:
        names = [info.name for info in self.sources]
        targets = [info.name for info in self.targets]
        rows = self.score_rows
        cells = cell_arrays(rows.filter(pl.col("source") != BASE), names, targets, self.seeds)
        base_rows = _over_seeds(rows.filter(pl.col("source") == BASE), self.seeds)
        base = cell_arrays(base_rows, [BASE], targets, self.seeds)
        variables = {name: (_DIMS, _frozen(a)) for name, a in cells._asdict().items()}
        of_base = {f"base_{name}": (_DIMS[1:], _frozen(a[0])) for name, a in base._asdict().items()}
        return xr.Dataset({**variables, **of_base}, coords=self._coordinates())

    def _coordinates(self) -> dict[str, Any]:
        coords: dict[str, Any] = {
            "source": ("source", _text([info.name for info in self.sources])),
            "target": ("target", _text([info.name for info in self.targets])),
            "seed": ("seed", np.array(self.seeds, dtype=np.int64)),
            "source_family": ("source", _text([info.family for info in self.sources])),
        }
        for name in ("metric", "unit", "family"):
            coords[name] = ("target", _text([getattr(info, name) for info in self.targets]))
        better = [info.higher_is_better for info in self.targets]
        coords["higher_is_better"] = ("target", np.array(better, dtype=bool))
        coords["ceiling"] = ("target", np.array([info.ceiling for info in self.targets], float))
        shares = [info.majority_share for info in self.targets]
        coords["majority_share"] = ("target", np.array(shares, dtype=float))
        return coords

    def examples(self, target: str) -> xr.Dataset:
        """Return the scores of every example of a target.

        ``score`` (source, seed, example) and ``base_score`` (seed, example),
        in the target's unit, NaN where an example was not scored; coordinate
        ``example_hash`` (example). A base with one seed is repeated.

        Raises
        ------
        ResultsError
            The target is unknown, the study has scores only, or examples of
            two sources differ in their hashes.
        """
        return next(self.iter_examples([target]))

    def iter_examples(self, targets: Iterable[str] | None = None) -> Iterator[xr.Dataset]:
        """Yield what `examples` returns for each target, all or the given ones, in order.

        Neighbouring targets are read together, about a million rows at a time, which for
        a large study is several times faster than target by target.

        Raises
        ------
        ResultsError
            As `examples`.
        """
        every = [info.name for info in self.targets]
        wanted = every if targets is None else list(targets)
        for name in wanted:
            self._require(name)
        if self._rows is None and wanted:
            msg = f"no predictions for {wanted[0]!r}: this study has scores only"
            raise ResultsError(msg)
        for group in self.target_groups(wanted, n_rows=_ROWS_AT_ONCE):
            yield from self._read_examples(group)

    def target_groups(self, targets: Sequence[str], *, n_rows: int) -> Iterator[list[str]]:
        """Yield neighbouring targets that have about ``n_rows`` predictions together."""
        if len(targets) < 2:
            # The counts are not worth reading for one.
            yield from [list(targets)] if targets else []
            return
        sizes = pl.col("n_scored") + pl.col("n_unscored")
        counts = dict(self.score_rows.group_by("target").agg(sizes.sum()).iter_rows())
        group: list[str] = []
        total = 0.0
        for name in targets:
            total += counts.get(name, 0.0)
            if group and total > n_rows:
                yield group
                group, total = [], counts.get(name, 0.0)
            group.append(name)
        yield group

    def _read_examples(self, targets: list[str]) -> Iterator[xr.Dataset]:
        if self._own_rows is None:
            return
        names = [info.name for info in self.sources]
        for found in example_scores(self._own_rows.scan(targets), targets, names, self.seeds):
            yield self._labelled(found)

    def _labelled(self, found: ExampleScores) -> xr.Dataset:
        return xr.Dataset(
            {
                "score": (("source", "seed", "example"), found.score),
                "base_score": (("seed", "example"), found.base_score),
            },
            coords={
                "source": ("source", _text([info.name for info in self.sources])),
                "seed": ("seed", np.array(self.seeds, dtype=np.int64)),
                "example": ("example", found.example),
                "example_hash": ("example", found.example_hash),
            },
            attrs={"target": found.target},
        )

    def example_texts(self, target: str) -> pl.DataFrame:
        """Return prompt, gold answer, choices and hashes of a target's examples.

        Raises
        ------
        ResultsError
            The target is unknown, or its texts were not stored.
        """
        info = self._require(target)
        if self.path is None or info.examples_id is None:
            msg = f"the texts of {target!r} are not stored with this study"
            raise ResultsError(msg)
        return StudyStore.open(self.path).read_examples(info.examples_id)

    def _require(self, target: str) -> TargetInfo:
        for info in self.targets:
            if info.name == target:
                return info
        hint = did_you_mean(target, (info.name for info in self.targets))
        msg = f"the study has no target {target!r}.{hint}"
        raise ResultsError(msg)


def open_study(path: str | Path) -> TransferStudy:
    """Open a study folder; predictions are read when they are asked for.

    Only cells of the folder's plan are read; a cell that is not finished is
    missing (NaN).

    Raises
    ------
    ResultsError
        The folder is no study, damaged, or of a newer version.
    """
    store = StudyStore.open(path)
    plan = store.plan
    scores = store.read_scores()
    return TransferStudy(
        **parted(plan.sources or sources_of(plan)),
        targets=plan.targets or targets_of(plan),
        origin=plan.spec,
        plan=plan,
        path=store.path,
        _rows=CellFiles(store, plan.cells) if scores is None else None,
        _scores=scores,
    )


def _over_seeds(base: pl.DataFrame, seeds: Sequence[int]) -> pl.DataFrame:
    """Repeat a base that ran once over the seeds of the adapters."""
    if base["seed"].n_unique() != 1:
        return base
    every = pl.DataFrame({"seed": list(seeds)}, schema={"seed": pl.Int64})
    return base.drop("seed").join(every, how="cross").select(base.columns)


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array.flags.writeable = False
    return array


def _text(values: list[str]) -> NDArray[np.str_]:
    return np.array(values, dtype=np.str_)
