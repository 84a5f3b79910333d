"""How to cite a study, the tool and the method: BibTeX, RIS and EndNote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from transferlens import __version__
from transferlens.results import TransferStudy

__all__ = ["Citations", "Reference", "citations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One thing to cite, in three formats."""

    what: str
    bibtex: str
    ris: str
    endnote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Citations:
    """What to cite."""

    study: Reference
    tool: Reference
    method: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    what: str
    key: str
    kind: str
    """Of BibTeX: ``misc``, ``software`` or ``inproceedings``."""
    title: str
    authors: tuple[str, ...]
    year: str
    more: tuple[tuple[str, str], ...] = ()
    """Further fields of BibTeX."""
    url: str = ""
    container: str = ""


_PAPER = _Entry(
    what="the method",
    key="krishna2025latent",
    kind="inproceedings",
    title="Latent Traits and Cross-Task Transfer: Deconstructing Dataset Interactions in "
    "LLM Fine-tuning",
    authors=(
        "Krishna, Shambhavi",
        "Naik, Atharva",
        "Agarwal, Chaitali",
        "Govindan, Sudharshan",
        "Lee, Taesung",
        "Chang, Haw-Shiuan",
    ),
    year="2025",
    container="Proceedings of the 14th Joint Conference on Lexical and Computational Semantics "
    "(*SEM 2025)",
    more=(("eprint", "2509.13624"), ("archiveprefix", "arXiv")),
    url="https://arxiv.org/abs/2509.13624",
)

_RIS_KINDS = {"misc": "DATA", "software": "COMP", "inproceedings": "CPAPER"}
_ENDNOTE_KINDS = {
    "misc": "Dataset",
    "software": "Computer Program",
    "inproceedings": "Conference Proceedings",
}


def citations(name: str, study: TransferStudy, *, made: str | None) -> Citations:
    """Return references for a study, this program and the paper.

    ``made`` is the day of the report as ``YYYY-MM-DD``; without it the study has no year.
    """
    identity = study.plan.study_hash[:16] if study.plan is not None else ""
    of_study = _Entry(
        what="this study",
        key=f"study_{_plain(name)}",
        kind="misc",
        title=f"Transfer study {name}",
        authors=(),
        year=(made or "")[:4],
        more=(("note", f"Study {identity}, made with TransferLens {__version__}"),)
        if identity
        else (("note", f"Made with TransferLens {__version__}"),),
    )
    tool = _Entry(
        what="the tool",
        key="transferlens",
        kind="software",
        title="TransferLens: what fine-tuning on a dataset does to everything else",
        authors=(),
        year=(made or "")[:4],
        more=(("version", __version__),),
    )
    return Citations(study=_reference(of_study), tool=_reference(tool), method=_reference(_PAPER))


def _reference(entry: _Entry) -> Reference:
    return Reference(
        what=entry.what,
        bibtex="\n".join(_bibtex(entry)),
        ris="\n".join(_ris(entry)),
        endnote="\n".join(_endnote(entry)),
    )


def _bibtex(entry: _Entry) -> Iterator[str]:
    fields = [
        ("title", f"{{{_braced(entry.title)}}}"),
        ("author", _braced(" and ".join(entry.authors))),
        ("booktitle", _braced(entry.container)),
        ("year", entry.year),
        *((key, _braced(value)) for key, value in entry.more),
        ("url", entry.url),
    ]
    yield f"@{entry.kind}{{{entry.key},"
    yield from (f"  {key} = {{{value}}}," for key, value in fields if value)
    yield "}"


def _ris(entry: _Entry) -> Iterator[str]:
    yield f"TY  - {_RIS_KINDS[entry.kind]}"
    yield f"TI  - {_line(entry.title)}"
    yield from (f"AU  - {author}" for author in entry.authors)
    if entry.container:
        yield f"T2  - {entry.container}"
    if entry.year:
        yield f"PY  - {entry.year}"
    yield from (f"N1  - {key}: {_line(value)}" for key, value in entry.more)
    if entry.url:
        yield f"UR  - {entry.url}"
    yield "ER  - "


def _endnote(entry: _Entry) -> Iterator[str]:
    yield f"%0 {_ENDNOTE_KINDS[entry.kind]}"
    yield f"%T {_line(entry.title)}"
    yield from (f"%A {author}" for author in entry.authors)
    if entry.container:
        yield f"%B {entry.container}"
    if entry.year:
        yield f"%D {entry.year}"
    yield from (f"%Z {key}: {_line(value)}" for key, value in entry.more)
    if entry.url:
        yield f"%U {entry.url}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "study"


def _line(text: str) -> str:
    """Return text in one line: a line break would begin a new field."""
    return " ".join(text.split())


def _braced(text: str) -> str:
    """Return text that cannot end a field of BibTeX or be read as a command."""
    return re.sub(r"([\\{}%$&#_~^])", lambda found: _LATEX[found[1]], _line(text))


_LATEX = {
    "\\": r"\textbackslash ",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde ",
    "^": r"\textasciicircum ",
}
