"""What a study consists of, with the ids of all its parts; computed without torch.

An id is a hash of everything that can change a result and of nothing else, so
a changed study runs only what is new, and a finished one is recognised at once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from transferlens.engine.locate import BaseFolder, locate_base
from transferlens.engine.trainable import context_of
from transferlens.errors import SpecError
from transferlens.metrics import Metric, Scorer, scorer_for
from transferlens.results import Cell, Plan, PlannedAdapter, SourceInfo, TargetInfo
from transferlens.study import BASE, ControlSpec, StudySpec, TaskRef
from transferlens.tasks import (
    Example,
    HarnessMetric,
    HarnessTask,
    Original,
    Role,
    Task,
    content_hash,
    harness_targets,
    is_harness,
    load_task,
    make_twin,
)

__all__ = ["ENGINE_VERSION", "Outline", "Part", "outline_study"]

ENGINE_VERSION = 2
"""Raised whenever the engine computes other adapters or other answers from the same study."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A task in the role of source or target, with its examples."""

    name: str
    task: Task
    role: Role
    examples: tuple[Example, ...]
    control: ControlSpec | None = None
    """For a twin: whose, and in which property it differs."""
    notes: tuple[str, ...] = ()
    """What should be known of the rows of a twin."""
    after: str | None = None
    """Source with whose adapter training begins."""
    harness: HarnessTask | None = None
    """For a task of lm-evaluation-harness: what scores its answers."""

    @cached_property
    def content(self) -> str:
        """SHA-256 of all that training and scoring see of the examples."""
        return content_hash(self.examples)

    @cached_property
    def examples_id(self) -> str:
        """Name under which the texts of the examples are stored."""
        return f"{self.name}-{self.content[:16]}"

    @cached_property
    def scorer(self) -> Scorer:
        """What reads and scores the answers of a task that is not lm-eval's."""
        return scorer_for(self.task)

    @property
    def metric(self) -> Metric | HarnessMetric:
        """How its scores are to be read."""
        return self.harness.metric if self.harness else self.scorer.metric


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A study with its examples read and its work named."""

    spec: StudySpec
    base: BaseFolder
    sources: tuple[Part, ...]
    """The study's sources, then their twins."""
    targets: tuple[Part, ...]
    plan: Plan


def outline_study(spec: StudySpec, known_base: Mapping[str, Any] | None = None) -> Outline:
    """Find the base, read the examples of every task, and name every adapter and cell.

    Parameters
    ----------
    spec
        The study.
    known_base
        ``Plan.base`` of an earlier run. Its fingerprint is taken over where
        nobody has written to the base's files since.

    Raises
    ------
    SpecError
        A task, metric, extractor or folder that the study names does not exist.
    DataError
        Rows cannot be read or do not fit their task, or a twin cannot be made of its source.
    EngineError
        The base model is not there.
    """
    base = locate_base(spec)
    originals = _parts(spec, "sources")
    sources = (*originals, *_twins(spec, base, originals))
    targets = _parts(spec, "targets")
    record = _base_record(base, known_base or {})
    trained = _trained(spec, sources, record["fingerprint"])
    adapters = (*trained, *_merged(spec, trained))
    _refuse_same_adapters(spec, adapters)
    runs = [(record["fingerprint"][:32], BASE, 0)]
    runs += [(adapter.id, adapter.source, adapter.seed) for adapter in adapters]
    plan = Plan(
        spec=spec.to_dict(),
        study_hash=spec.content_hash,
        base=record,
        adapters=adapters,
        cells=tuple(_cell(spec, *run, target) for run in runs for target in targets),
        targets=tuple(_target_info(target) for target in targets),
        sources=(
            *(_source_info(source, spec) for source in sources),
            *(SourceInfo(name=m.name, merged_of=m.of, merge=m.words) for m in spec.merges),
        ),
    )
    return Outline(spec=spec, base=base, sources=sources, targets=targets, plan=plan)


def _trained(
    spec: StudySpec, sources: Sequence[Part], fingerprint: str
) -> tuple[PlannedAdapter, ...]:
    """Name the adapters of sources and twins; a source after another is behind it."""
    ids: dict[tuple[str, int], str] = {}
    found = []
    for source in sources:
        for seed in spec.seeds:
            after = None if source.after is None else ids[source.after, seed]
            made = PlannedAdapter(
                id=_adapter_id(spec, source, seed, fingerprint, after),
                source=source.name,
                seed=seed,
                training_seed=_training_seed(source, seed) if _is_reseeded(source) else None,
                n_rows=len(source.examples),
                after=after,
            )
            ids[source.name, seed] = made.id
            found.append(made)
    return tuple(found)


def _merged(spec: StudySpec, trained: Sequence[PlannedAdapter]) -> list[PlannedAdapter]:
    ids = {(adapter.source, adapter.seed): adapter.id for adapter in trained}
    found = []
    for merge in spec.merges:
        for seed in spec.seeds:
            parts = tuple(ids[name, seed] for name in merge.of)
            how = merge.model_dump(mode="json", exclude={"of", "name"})
            made = _id(merge=how, parts=parts, seed=seed if merge.method == "dare" else None)
            found.append(
                PlannedAdapter(id=made, source=merge.name, seed=seed, n_rows=0, merge_of=parts)
            )
    return found


def _parts(spec: StudySpec, role: Role) -> tuple[Part, ...]:
    refs: tuple[TaskRef, ...] = getattr(spec, role)
    parts = []
    for index, ref in enumerate(refs):
        if is_harness(ref, spec):
            found = harness_targets(ref, spec, role=role, index=index)
            parts += [
                Part(name=t.name, task=t.task, role=role, examples=t.examples, harness=t.harness)
                for t in found
            ]
            continue
        task = load_task(ref, spec, role=role, index=index)
        if role == "sources":
            examples = task.train(ref.limit or spec.limits.train, seed=spec.limits.seed)
        else:
            examples = task.test(ref.limit or spec.limits.test, seed=spec.limits.seed)
        part = Part(name=ref.name, task=task, role=role, examples=examples, after=ref.after)
        if role == "targets":
            # An unknown metric or extractor must show before hours of training.
            _ = part.scorer
        parts.append(part)
    _refuse_same_names(spec, role, parts)
    return tuple(parts)


def _refuse_same_names(spec: StudySpec, role: Role, parts: Sequence[Part]) -> None:
    """Refuse tasks of a group that another target is named like."""
    counts = Counter(part.name for part in parts)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        msg = f"{spec.where(role)}: {twice!r} stands twice; give the group or the target a name"
        raise SpecError(msg)


def _twins(spec: StudySpec, base: BaseFolder, sources: Sequence[Part]) -> list[Part]:
    originals = {
        part.name: Original(
            task=part.task,
            examples=part.examples,
            count_tokens=partial(_count_tokens, spec, base, part.task.spec.separator),
        )
        for part in sources
    }
    tasks = {part.name: part.task for part in sources}
    twins = []
    for index, control in enumerate(spec.controls):
        where = spec.where("controls", index, control.kind)
        examples, notes = make_twin(control, originals, seed=spec.limits.seed, where=where)
        task = replace(tasks[control.source], name=control.name, where=where)
        twins.append(
            Part(
                name=control.name,
                task=task,
                role="sources",
                examples=examples,
                control=control,
                notes=notes,
            )
        )
    return twins


def _count_tokens(
    spec: StudySpec, base: BaseFolder, separator: str, examples: Sequence[Example]
) -> list[int]:
    """Return the tokens that training would see of each row."""
    from transferlens.engine.base import load_codec

    rows = load_codec(base).training_rows(
        [example.prompt for example in examples],
        [separator + example.completion for example in examples],
        max_length=spec.method.max_length or context_of(base, spec.method),
    )
    return [len(row.tokens) if row.n_learnt else 0 for row in rows]


def _is_reseeded(source: Part) -> bool:
    return source.control is not None and source.control.reseeded is not None


def _training_seed(source: Part, seed: int) -> int:
    step = source.control.reseeded if source.control else None
    return seed + (step or 0)


def _refuse_same_adapters(spec: StudySpec, adapters: Sequence[PlannedAdapter]) -> None:
    """Refuse a twin that is another adapter of the study in everything but its name."""
    first: dict[str, str] = {}
    places = {control.name: index for index, control in enumerate(spec.controls)}
    for adapter in adapters:
        other = first.setdefault(adapter.id, adapter.source)
        if other != adapter.source and adapter.source in places:
            where = spec.where("controls", places[adapter.source])
            msg = f"{where}: this is the same adapter as {other!r}; remove one of them"
            raise SpecError(msg)


def _base_record(base: BaseFolder, known: Mapping[str, Any]) -> dict[str, Any]:
    trusted = known.get("stamp") == base.stamp and isinstance(known.get("fingerprint"), str)
    return {
        "model": base.name,
        "revision": base.revision,
        "stamp": base.stamp,
        "fingerprint": known["fingerprint"] if trusted else base.fingerprint,
    }


def _adapter_id(
    spec: StudySpec, source: Part, seed: int, fingerprint: str, after: str | None
) -> str:
    return _id(
        **({} if after is None else {"after": after}),
        base=fingerprint,
        rows=source.content,
        separator=source.task.spec.separator,
        method=spec.method.model_dump(mode="json"),
        seed=_training_seed(source, seed),
        dtype=spec.compute.dtype,
    )


def _cell(spec: StudySpec, adapter_id: str, source: str, seed: int, target: Part) -> Cell:
    task = target.task
    settings: dict[str, Any] = {"separator": task.spec.separator, "metric": task.metric}
    if target.harness:
        settings["harness"] = dict(target.harness.record)
    if task.kind == "choice":
        settings["length_normalized"] = task.spec.length_normalized
    else:
        settings["extractor"] = task.spec.extractor
        settings["stop"] = task.spec.stop
        settings["max_new_tokens"] = task.spec.max_new_tokens
        settings["max_length"] = spec.evaluation.max_length
        if spec.method.n_virtual:
            # They leave less room for an answer, and the base is asked what its adapters are.
            settings["virtual_tokens"] = spec.method.n_virtual
    return Cell(
        id=_id(
            adapter=adapter_id,
            source=source,
            target=target.name,
            examples=target.content,
            kind=task.kind,
            dtype=spec.compute.dtype,
            **settings,
        ),
        adapter_id=adapter_id,
        source=source,
        target=target.name,
        seed=seed,
        n_examples=len(target.examples),
    )


def _id(**parts: Any) -> str:
    text = json.dumps({**parts, "engine": ENGINE_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _target_info(target: Part) -> TargetInfo:
    metric = target.metric
    counts = Counter(example.gold for example in target.examples)
    return TargetInfo(
        name=target.name,
        metric=metric.name,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        family=target.task.family,
        ceiling=metric.ceiling,
        n_examples=len(target.examples),
        examples_id=target.examples_id,
        majority_share=max(counts.values()) / len(target.examples),
        origin=dict(target.harness.record) if target.harness else None,
    )


def _tasks(source: Part, spec: StudySpec) -> tuple[str, ...]:
    task = next(ref.task for ref in spec.sources if ref.name == source.name)
    return tuple(ref.name for ref in spec.targets if ref.task == task)


def _source_info(source: Part, spec: StudySpec) -> SourceInfo:
    return SourceInfo(
        name=source.name,
        family=source.task.family,
        n_rows=len(source.examples),
        content_hash=source.content,
        after=source.after,
        tasks=_tasks(source, spec) if source.after else (),
        examples_id=source.examples_id,
        twin_of=source.control.source if source.control else None,
        control=source.control.kind if source.control else None,
        control_value=source.control.value if source.control else None,
    )
