"""The feature table: a row per text, a column per feature, each with backend and grade."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import polars as pl

from transferlens.errors import needs
from transferlens.explain.linguistics.annotation import Annotation
from transferlens.explain.linguistics.cache import load, store
from transferlens.explain.linguistics.catalog import FEATURES, NAMES, PURPOSE, Feature, relation_of
from transferlens.explain.linguistics.lexicon import LexiconBackend
from transferlens.explain.linguistics.measures import WINDOW, measure
from transferlens.explain.linguistics.parser import ParserBackend
from transferlens.stats.arrays import FloatArray

__all__ = ["Backend", "FeatureTable", "backend_for", "linguistic_features"]

# As `_RULES` of the backends, for what is computed from their annotation.
_MEASURES = "1"
_CHUNK = 20_000


class Backend(Protocol):
    """What annotates texts."""

    kind: ClassVar[Literal["lexicon", "parser"]]

    @property
    def name(self) -> str:
        """Short name, with the model's version where there is one."""

    @property
    def identity(self) -> str:
        """Everything that its annotation depends on."""

    @property
    def relations(self) -> frozenset[str]:
        """Dependency relations that it can find."""

    def annotate(self, texts: Sequence[str]) -> Annotation:
        """Annotate texts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTable:
    """Linguistic features of texts, all by one backend."""

    frame: pl.DataFrame
    """A row per text in the order given, a float column per feature; NaN: see `info`."""
    backend: str
    """Name of the backend; two tables of different backends cannot be compared."""
    kind: Literal["lexicon", "parser"]
    relations: frozenset[str]
    """Dependency relations that the backend can find."""

    @property
    def info(self) -> pl.DataFrame:
        """What is known of each feature, a row each.

        ``feature``, ``group``, ``unit``, ``meaning``, ``coding``, ``backend``, ``grade``, and
        the ``reason`` why it is NaN in every text, empty where it need not be.
        """
        rows = [
            {
                "feature": feature.name,
                "group": feature.group,
                "unit": feature.unit,
                "meaning": feature.meaning,
                "coding": feature.coding,
                "backend": self.backend,
                "grade": "absent" if self._untold(feature) else feature.grade(self.kind),
                "reason": self.reason(feature),
            }
            for feature in FEATURES
        ]
        return pl.DataFrame(rows)

    def reason(self, feature: Feature) -> str:
        """Say why a feature is NaN in every text; empty where it need not be."""
        if feature.name == "moving_type_token_ratio" and self._all_nan(feature.name):
            return f"no text has {WINDOW} words"
        return self._untold(feature)

    def _untold(self, feature: Feature) -> str:
        """Say why the backend cannot tell a feature of any text; empty where it can."""
        if feature.grade(self.kind) == "absent":
            return "needs a parser: name a spaCy model"
        relation = relation_of(feature.name)
        if relation is not None and relation not in self.relations:
            return f"the parser of {self.backend} has no label {relation!r}"
        return ""

    def _all_nan(self, name: str) -> bool:
        return bool(self.frame[name].is_nan().all())

    def values(self, name: str) -> FloatArray:
        """Return one feature of every text, shape (text,)."""
        return np.asarray(self.frame[name].to_numpy(), dtype=np.float64)


def backend_for(model: str | None) -> Backend:
    """Return the parser backend of a spaCy model, or the lexicon backend for None.

    Raises
    ------
    AnalysisError
        A package or the model is not installed, or the model has no parser.
    """
    return LexiconBackend() if model is None else ParserBackend(model)


def linguistic_features(
    texts: Sequence[str], *, backend: Backend | None = None, cache: str | Path | None = None
) -> FeatureTable:
    """Compute the linguistic features of English texts.

    Each distinct text is annotated once, whatever their order and number.

    Parameters
    ----------
    texts
        One or more sentences each. An empty one has lengths of 0 and NaN otherwise.
    backend
        The lexicon backend by default; see `backend_for`.
    cache
        Folder in which the features of this set of texts are kept, a file
        each, named by the content of the texts and the versions of what
        measured them. It is made where it does not exist. A damaged file is
        made anew.

    Returns
    -------
    FeatureTable
        What a backend cannot tell is NaN with a reason, never 0.

    Raises
    ------
    AnalysisError
        A package is not installed.
    ResultsError
        The cache cannot be written.
    """
    chosen: Backend = LexiconBackend() if backend is None else backend
    distinct = sorted(set(texts))
    identity = _identity(chosen)
    file = (
        None if cache is None else Path(cache) / f"linguistics-{_key(distinct, identity)}.parquet"
    )
    frame = None if file is None else load(file, columns=NAMES, height=len(distinct))
    if frame is None:
        frame = _measured(distinct, chosen)
        if file is not None:
            store(file, frame, identity=identity)
    place = {text: at for at, text in enumerate(distinct)}
    return FeatureTable(
        frame=frame[[place[text] for text in texts]] if len(texts) else frame,
        backend=chosen.name,
        kind=chosen.kind,
        relations=chosen.relations,
    )


def _identity(backend: Backend) -> str:
    with needs("wordfreq and vaderSentiment", extra="linguistics", purpose=PURPOSE):
        from importlib.metadata import version

        packages = ", ".join(f"{name} {version(name)}" for name in ("wordfreq", "vaderSentiment"))
    return f"measures {_MEASURES}, {packages}, {backend.identity}"


def _key(distinct: Sequence[str], identity: str) -> str:
    digest = hashlib.sha256(json.dumps(identity).encode())
    for text in distinct:
        # A digest of equal length each: "ab" + "c" must not hash like "a" + "bc".
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    return digest.hexdigest()[:32]


def _measured(texts: Sequence[str], backend: Backend) -> pl.DataFrame:
    frames = [_frame(chunk, backend) for chunk in _chunks(texts)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(NAMES, pl.Float64))


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _CHUNK):
        yield texts[start : start + _CHUNK]


def _frame(texts: Sequence[str], backend: Backend) -> pl.DataFrame:
    found = measure(backend.annotate(texts), texts)
    return pl.DataFrame({name: found[name] for name in NAMES}, schema_overrides=_FLOATS)


_FLOATS = dict.fromkeys(NAMES, pl.Float64())
