"""Which linguistic features of an example decide whether an adapter helps or harms on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
import xarray as xr

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.explain.linguistics.catalog import FEATURES, NAMES, Feature
from transferlens.explain.linguistics.cells import (
    CellRules,
    Design,
    TargetEvidence,
    target_evidence,
)
from transferlens.explain.linguistics.outcomes import outcomes
from transferlens.explain.linguistics.prompts import checked_targets, example_features
from transferlens.explain.linguistics.result import LinguisticEvidence
from transferlens.explain.linguistics.table import FeatureTable, backend_for
from transferlens.results import TransferStudy
from transferlens.stats import AdjustMethod, adjust_p_values
from transferlens.stats.arrays import FloatArray, checked_level

__all__ = ["LinguisticSensitivity", "OddsMethod"]

OddsMethod = Literal["auto", "firth", "exact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinguisticSensitivity:
    """Which features of a text change the odds that the adapter wins rather than loses.

    For each source and target, over the examples on which adapter and base disagree: the
    logarithm of the odds that the adapter is the one that is right, as a linear function of
    text length and one feature. That is conditional logistic regression of right/wrong within
    pairs (McNemar's test with covariates); what makes an example hard for both cancels.

    A feature that fewer than half of a target's texts have is coded as present or absent,
    any other as a number in units of its standard deviation.
    """

    model: str | None = None
    """Installed spaCy model with a parser, such as ``"en_core_web_sm"``; None: the lexicon
    backend, which knows no dependency relations."""
    features: tuple[str, ...] | None = None
    """Names of the features to test, all that the backend knows by default. The fewer, the
    less the correction for their number costs."""
    targets: tuple[str, ...] | None = None
    """All by default."""
    sources: tuple[str, ...] | None = None
    """All by default."""
    method: OddsMethod = "auto"
    """``firth``: penalised likelihood with profile intervals. ``exact``: conditional on all
    margins within quarters of the text length, for features that are present or absent.
    ``auto``: exact where the feature, or its absence, occurs in fewer than ``few`` of the
    discordant examples; Firth elsewhere."""
    few: int = 10
    """See ``method``; also the number of right answers of adapter and of base below which a
    success ratio is flagged."""
    min_discordant: int = 20
    """Cells in which adapter and base disagree on fewer examples are not tested."""
    confidence: float = 0.95
    """Nominal coverage of the intervals."""
    adjust: AdjustMethod = "bh"
    """Over all features and cells; ``bh`` controls the false-discovery rate."""
    cache: str | Path | None = None
    """Folder for computed features; see `linguistic_features`."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        texts: Mapping[str, pl.DataFrame] | None = None,
        tables: Mapping[str, FeatureTable] | None = None,
    ) -> LinguisticEvidence:
        """Test every feature in every cell.

        Parameters
        ----------
        study
            With predictions.
        texts
            Target -> frame with ``example`` and ``prompt``, where the study does not hold
            the texts.
        tables
            Target -> what `example_features` returned, where features are known already.

        Returns
        -------
        LinguisticEvidence
            Correlational: a feature can stand for something that occurs with it.

        Raises
        ------
        AnalysisError
            A name is unknown, the tables are of different backends, or a package or model
            is not installed.
        ResultsError
            The study has scores only, or texts are neither stored nor given.
        """
        chosen = self._features()
        wanted = checked_targets(study, self.targets)
        known = self._tables(study, wanted, texts, tables)
        backend = _only_backend(known)
        found = list(self._evidence(study, wanted, known, chosen))
        data = _dataset(found, chosen, self._sources(study), wanted)
        p = data["p_value"]
        data["p_adjusted"] = (p.dims, adjust_p_values(p.values, method=self.adjust))
        data.attrs = {"adjust": self.adjust, "confidence": self.confidence, "backend": backend}
        info = known[wanted[0]].info.filter(pl.col("feature").is_in([f.name for f in chosen]))
        return LinguisticEvidence(
            data=data,
            features=info,
            backend=backend,
            notes=tuple(_notes(data, found, known[wanted[0]].kind, self)),
        )

    def _features(self) -> list[Feature]:
        checked_level(self.confidence, name="confidence")
        if self.method not in get_args(OddsMethod):
            known = did_you_mean(self.method, get_args(OddsMethod))
            msg = f"unknown method {self.method!r}.{known}"
            raise AnalysisError(msg)
        unknown = [name for name in self.features or () if name not in NAMES]
        if unknown:
            msg = f"unknown linguistic feature {unknown[0]!r}.{did_you_mean(unknown[0], NAMES)}"
            raise AnalysisError(msg)
        return [f for f in FEATURES if self.features is None or f.name in self.features]

    def _sources(self, study: TransferStudy) -> list[str]:
        every = [info.name for info in study.sources]
        if self.sources is None:
            return every
        unknown = [name for name in self.sources if name not in every]
        if unknown:
            msg = f"the study has no source {unknown[0]!r}.{did_you_mean(unknown[0], every)}"
            raise AnalysisError(msg)
        return [name for name in every if name in self.sources]

    def _tables(
        self,
        study: TransferStudy,
        wanted: list[str],
        texts: Mapping[str, pl.DataFrame] | None,
        tables: Mapping[str, FeatureTable] | None,
    ) -> dict[str, FeatureTable]:
        if not wanted:
            msg = "no target is left to explain; name at least one"
            raise AnalysisError(msg)
        known = {name: table for name, table in (tables or {}).items() if name in wanted}
        missing = [name for name in wanted if name not in known]
        if missing:
            known |= example_features(
                study,
                targets=missing,
                backend=backend_for(self.model),
                texts=texts,
                cache=self.cache,
            )
        return known

    def _evidence(
        self,
        study: TransferStudy,
        wanted: list[str],
        known: Mapping[str, FeatureTable],
        chosen: list[Feature],
    ) -> Iterator[TargetEvidence]:
        sources = self._sources(study)
        better = {info.name: info.higher_is_better for info in study.targets}
        rules = CellRules(self.method, self.few, self.min_discordant, self.confidence)
        for examples in study.iter_examples(wanted):
            target = str(examples.attrs["target"])
            table = known[target]
            found = outcomes(examples.sel(source=sources), sign=1.0 if better[target] else -1.0)
            design = Design.of(table, found.example, chosen, target=target)
            yield target_evidence(found, design, rules, higher_is_better=better[target])


def _only_backend(tables: Mapping[str, FeatureTable]) -> str:
    names = sorted({table.backend for table in tables.values()})
    if len(names) > 1:
        msg = (
            f"features of the backends {' and '.join(names)} cannot be compared; "
            "compute all with one of them"
        )
        raise AnalysisError(msg)
    return names[0]


def _dataset(
    found: list[TargetEvidence], chosen: list[Feature], sources: list[str], targets: list[str]
) -> xr.Dataset:
    cells = ("source", "target", "feature")
    stacked: dict[str, tuple[tuple[str, ...], FloatArray]] = {
        name: (cells, np.stack([getattr(each.tests, name) for each in found], axis=1))
        for name in found[0].tests._fields
    }
    for name in ("gained", "lost"):
        values = np.stack([getattr(each, name) for each in found], axis=1)
        stacked[name] = (cells[:2], values)
    for name in ("coding", "scale", "n_present"):
        stacked[name] = (cells[1:], np.stack([getattr(each.design, name) for each in found]))
    return xr.Dataset(
        stacked,
        coords={
            "source": np.array(sources, dtype=np.str_),
            "target": np.array(targets, dtype=np.str_),
            "feature": np.array([feature.name for feature in chosen], dtype=np.str_),
        },
    )


def _notes(
    data: xr.Dataset, found: list[TargetEvidence], kind: str, how: LinguisticSensitivity
) -> Iterator[str]:
    tested = int(data["p_value"].notnull().sum())
    yield (
        f"{tested} tests of features in cells, adjusted together ({how.adjust}); text length is "
        "a covariate of each"
    )
    yield "features are not assigned at random: what occurs with one can be the cause"
    if kind == "lexicon":
        yield (
            "lexicon backend: no dependency relations; the grade of each feature says how far "
            "word lists can be trusted"
        )
    if max(each.n_seeds for each in found) > 1:
        yield (
            "several seeds are averaged per example: the tests speak about these runs, not about "
            "new ones"
        )
    else:
        yield "one run per source: the tests speak about this run, not about training again"
    few = int((data["gained"] + data["lost"] < how.min_discordant).sum())
    if few:
        yield (
            f"{few} cells are not tested: adapter and base disagree on fewer than "
            f"{how.min_discordant} examples"
        )
