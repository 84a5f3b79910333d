"""Where the numbers come from: hashes, versions and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transferlens import __version__
from transferlens.errors import ResultsError
from transferlens.results import StudyStore, TransferStudy

__all__ = ["Provenance", "base_name", "environments", "provenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What one needs to know to make the numbers again."""

    facts: tuple[tuple[str, str], ...]
    """Name and value."""
    settings: tuple[tuple[str, str], ...]
    """How adapters were trained; empty where it is not known."""
    contents: tuple[tuple[str, str], ...]
    """Source and the hash of its training rows."""
    remarks: tuple[str, ...]
    """What an importer had to say."""


def provenance(study: TransferStudy) -> Provenance:
    """Collect what the study's folder says about itself."""
    method = study.origin.get("method")
    return Provenance(
        facts=tuple(_facts(study)),
        settings=tuple(_flat(method) if isinstance(method, Mapping) else ()),
        contents=tuple((s.name, s.content_hash) for s in study.sources if s.content_hash),
        remarks=tuple(map(str, study.origin.get("remarks", ()))),
    )


def base_name(study: TransferStudy) -> str:
    """Return the base model as the user named it; empty where it is not known."""
    given = study.origin.get("base")
    if isinstance(given, Mapping):
        given = given.get("model")
    if given is None and study.plan is not None:
        given = study.plan.base.get("model")
    return str(given or "")


def environments(study: TransferStudy) -> list[dict[str, Any]]:
    """Return what the engine recorded of each adapter that is finished."""
    if study.path is None or study.plan is None:
        return []
    store = StudyStore.open(study.path)
    found = []
    for adapter in study.plan.adapters:
        if store.adapter_done(adapter):
            try:
                found.append(store.read_adapter_manifest(adapter))
            except ResultsError:
                # Another program's adapter need not have a record of ours.
                continue
    return found


def _facts(study: TransferStudy) -> Iterator[tuple[str, str]]:
    if base := base_name(study):
        yield "Base model", base
    if study.plan is not None:
        stamp = study.plan.base.get("fingerprint") or study.plan.base.get("stamp")
        if stamp:
            yield "Fingerprint of the base", str(stamp)
        yield "Hash of the study", study.plan.study_hash
    yield "Seeds", ", ".join(map(str, study.seeds)) or "none"
    if study.path is not None:
        yield "Study made", str(StudyStore.open(study.path).manifest.get("created", "not known"))
    if "imported" in study.origin:
        yield "Imported from", f"{study.origin['imported']}: {_file_names(study.origin)}"
    yield "Report made with", f"TransferLens {__version__}"
    yield from _machines(environments(study))


def _file_names(origin: Mapping[str, Any]) -> str:
    # The last part only: a page that is passed on should not tell the folders of its maker.
    return ", ".join(str(path).rstrip("/").rsplit("/", 1)[-1] for path in origin.get("from", ()))


def _machines(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    known = [m["environment"] for m in manifests if isinstance(m.get("environment"), dict)]
    for name, key in (("Processor", "processor"), ("Device", "device"), ("Number type", "dtype")):
        values = sorted({str(one[key]) for one in known if one.get(key)})
        if values:
            yield name, ", ".join(values)
    versions: dict[str, set[str]] = {}
    for one in known:
        for package, version in (one.get("versions") or {}).items():
            versions.setdefault(str(package), set()).add(str(version))
    if versions:
        yield (
            "Trained with",
            ", ".join(f"{name} {' / '.join(sorted(found))}" for name, found in versions.items()),
        )


def _flat(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        if part is not None:
            yield str(key).replace("_", " "), str(part)
