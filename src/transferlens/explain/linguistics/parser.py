"""The parser backend: a spaCy model that the user has and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transferlens.errors import AnalysisError, did_you_mean, needs
from transferlens.explain.linguistics.annotation import UPOS, Annotation, Forms, Parse
from transferlens.explain.linguistics.catalog import PURPOSE
from transferlens.explain.linguistics.words import MODALS
from transferlens.stats.arrays import BoolArray, IntArray

__all__ = ["ParserBackend", "annotation_of_docs", "installed_model"]

# As `_RULES` of the lexicon backend.
_RULES = "1"
_COLUMNS = ("ORTH", "POS", "SENT_START", "DEP", "HEAD", "MORPH")
_ENGLISH = tuple(f"en_core_web_{size}" for size in ("trf", "lg", "md", "sm"))
_PASSIVE = frozenset({"auxpass", "aux:pass"})
_RELATIVE = frozenset({"relcl", "acl:relcl"})
_CLAUSES = frozenset(
    (
        *("ROOT", "root", "acl", "acl:relcl", "advcl", "ccomp", "csubj", "csubj:pass"),
        *("csubjpass", "parataxis", "pcomp", "relcl", "xcomp"),
    )
)


def installed_model() -> str | None:
    """Return the best of spaCy's English models that is installed; None: the lexicon backend."""
    return next((name for name in _ENGLISH if find_spec(name) is not None), None)


class ParserBackend:
    """A spaCy pipeline with a parser.

    Parameters
    ----------
    model
        Name or folder of an installed model, such as ``"en_core_web_sm"``, or a loaded
        pipeline.

    Raises
    ------
    AnalysisError
        spaCy or the model is not installed, or the model has no parser.
    """

    kind: ClassVar[Literal["lexicon", "parser"]] = "parser"

    def __init__(self, model: str | Any) -> None:
        self.nlp = _load(model) if isinstance(model, str) else model
        if "parser" not in self.nlp.pipe_names:
            msg = (
                f"the spaCy model {self.nlp.meta['name']!r} has no parser; "
                "name one that has, such as 'en_core_web_sm', or none for the lexicon backend"
            )
            raise AnalysisError(msg)

    @cached_property
    def name(self) -> str:
        """Model and version."""
        meta = self.nlp.meta
        return f"spacy:{meta['lang']}_{meta['name']} {meta['version']}"

    @cached_property
    def relations(self) -> frozenset[str]:
        """Labels that the parser can give."""
        return frozenset(self.nlp.get_pipe("parser").labels)

    @property
    def identity(self) -> str:
        """What the annotation depends on, for the cache."""
        return f"parser rules {_RULES}, {self.name}, {' '.join(sorted(self.relations))}"

    def annotate(self, texts: Sequence[str]) -> Annotation:
        """Annotate texts; see `Annotation`.

        Raises
        ------
        AnalysisError
            A text is longer than the model takes.
        """
        longest = max(map(len, texts), default=0)
        if longest > self.nlp.max_length:
            msg = (
                f"a text has {longest:,} characters, but {self.name} takes "
                f"{self.nlp.max_length:,}; use the lexicon backend"
            )
            raise AnalysisError(msg)
        return annotation_of_docs(self.nlp.pipe(texts), known=self.relations)


def _load(model: str) -> Any:
    with needs("spaCy", extra="parser", purpose=PURPOSE):
        import spacy
    try:
        return spacy.load(model, exclude=["ner", "textcat"])
    except OSError:
        installed = spacy.util.get_installed_models()
        hint = did_you_mean(model, installed) or " None is."
        msg = f"the spaCy model {model!r} is not installed.{hint}"
        raise AnalysisError(msg) from None


class _Columns(NamedTuple):
    """What spaCy says of the tokens of all documents."""

    text: IntArray
    orth: NDArray[np.uint64]
    pos: NDArray[np.uint64]
    starts: BoolArray
    dep: NDArray[np.uint64]
    head: IntArray
    morph: NDArray[np.uint64]


def annotation_of_docs(docs: Iterable[Any], *, known: Iterable[str]) -> Annotation:
    """Read what parsed spaCy documents say.

    Parameters
    ----------
    docs
        With heads, relations, parts of speech and morphology.
    known
        Labels that their parser can give; a relation beyond them is unknown, not absent.

    Returns
    -------
    Annotation
        Clauses, passives and relative clauses are those of the tree.
    """
    columns, strings, n_texts = _read(docs)
    relation, word = _Named.of(columns.dep, strings), _Named.of(columns.orth, strings)
    pos = _pos(_Named.of(columns.pos, strings))
    return Annotation(
        n_texts=n_texts,
        text=columns.text,
        first=columns.starts,
        word=word.place,
        words=word.names,
        pos=pos,
        forms=_forms(_Named.of(columns.morph, strings), pos, relation, word),
        parse=Parse(
            head=columns.head,
            relation=relation.place,
            relations=relation.names,
            known=frozenset(known) | {*relation.names},
        ),
    )


def _read(docs: Iterable[Any]) -> tuple[_Columns, Any, int]:
    parts, lengths, strings = [], [], None
    for doc in docs:
        # As soon as it is read a document can go: a million tokens of them fill the memory.
        parts.append(doc.to_array(list(_COLUMNS)).reshape(len(doc), len(_COLUMNS)))
        lengths.append(len(doc))
        strings = doc.vocab.strings
    table = np.concatenate(parts) if parts else np.zeros((0, len(_COLUMNS)), dtype=np.uint64)
    orth, pos, start, dep, offset, morph = table.T
    # Offsets are negative numbers in an unsigned array.
    head = np.arange(len(table)) + np.ascontiguousarray(offset).view(np.int64)
    text = np.repeat(np.arange(len(lengths)), lengths)
    starts = start == 1
    starts[np.flatnonzero(np.diff(text, prepend=-1))] = True
    return _Columns(text, orth, pos, starts, dep, head, morph), strings, len(lengths)


class _Named(NamedTuple):
    """A string per token."""

    names: tuple[str, ...]
    """The distinct strings."""
    place: IntArray
    """Place of each token's string among them, (token,)."""

    @classmethod
    def of(cls, codes: NDArray[np.uint64], strings: Any) -> _Named:
        distinct, place = np.unique(codes, return_inverse=True)
        return cls(tuple(strings[int(code)] for code in distinct), place.astype(np.int64))

    def where(self, test: Callable[[str], bool]) -> BoolArray:
        return np.array([test(name) for name in self.names], dtype=np.bool_)[self.place]

    def among(self, wanted: frozenset[str]) -> BoolArray:
        return self.where(lambda name: name in wanted)


def _pos(pos: _Named) -> IntArray:
    unknown = UPOS.index("X")
    codes = [UPOS.index(name) if name in UPOS else unknown for name in pos.names]
    return np.array(codes, dtype=np.int64)[pos.place]


def _forms(morph: _Named, pos: IntArray, relation: _Named, word: _Named) -> Forms:
    def has(*wanted: str) -> BoolArray:
        return morph.where(lambda name: set(wanted) <= set(name.split("|")))

    verbal = np.isin(pos, [UPOS.index("VERB"), UPOS.index("AUX")])
    part = has("VerbForm=Part")
    coordinated = relation.among(frozenset({"conj"})) & verbal
    return Forms(
        past=has("VerbForm=Fin", "Tense=Past"),
        present=has("VerbForm=Fin", "Tense=Pres"),
        gerund=has("VerbForm=Ger") | (part & has("Tense=Pres")),
        past_participle=part & has("Tense=Past"),
        passive=relation.among(_PASSIVE),
        modal=word.where(lambda name: name.lower() in MODALS) & verbal,
        comparative=has("Degree=Cmp"),
        superlative=has("Degree=Sup"),
        subordinator=pos == UPOS.index("SCONJ"),
        clause=relation.among(_CLAUSES) | coordinated,
        relative=relation.among(_RELATIVE),
    )
