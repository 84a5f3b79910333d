"""What a study will do, checked and counted before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from transferlens.engine.base import load_codec, resolve_device, resolve_dtype
from transferlens.engine.batches import optimizer_steps
from transferlens.engine.estimate import (
    Estimate,
    Work,
    available_memory,
    estimate,
    measure_rate,
    model_size,
    needs_checkpoints,
)
from transferlens.engine.outline import Outline, outline_study
from transferlens.engine.prepare import (
    PreparedSource,
    PreparedTarget,
    prepare_source,
    prepare_target,
)
from transferlens.engine.trainable import context_of, refuse_method
from transferlens.errors import SpecError
from transferlens.results import Plan
from transferlens.study import StudySpec
from transferlens.tasks import count_leaked

__all__ = [
    "SourcePlan",
    "StudyPlan",
    "TargetPlan",
    "estimate_plan",
    "memory_of",
    "plan_study",
    "prepare_study",
    "wants_checkpoints",
    "work_of",
]

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """Training on one source with one seed."""

    name: str
    n_rows: int
    n_steps: int
    """Optimizer steps of one adapter."""
    tokens: int
    """Tokens that one adapter is trained on, over all epochs."""
    learnt_tokens: int
    """Those of them on which a loss is taken, in one epoch."""
    n_truncated: int
    """Rows that are cut on the right."""
    n_skipped: int
    """Rows that the cut leaves with nothing to learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """Evaluation of one adapter on one target."""

    name: str
    kind: str
    metric: str
    n_examples: int
    read_tokens: int
    written_tokens: int
    """Most tokens that may be written; 0 for choices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """A study that was checked from end to end, with all its work counted."""

    plan: Plan
    """Ids of all adapters and cells."""
    sources: tuple[SourcePlan, ...]
    targets: tuple[TargetPlan, ...]
    notes: tuple[str, ...]
    """What is allowed but should be known, one line each."""
    outline: Outline = field(repr=False)
    training: Mapping[str, PreparedSource] = field(repr=False)
    """Source -> its rows as tokens."""
    questions: Mapping[str, PreparedTarget] = field(repr=False)
    """Target -> its examples as tokens."""
    estimate: Estimate | None = None
    """What all of it costs on this machine, whether or not some is done."""


def plan_study(spec: StudySpec, known_base: Mapping[str, Any] | None = None) -> StudyPlan:
    """Check a study, count its work and estimate its cost; trains and stores nothing.

    Parameters
    ----------
    spec
        The study.
    known_base
        ``Plan.base`` of an earlier run, see `outline_study`.

    Raises
    ------
    SpecError
        The study names something that does not exist.
    DataError
        Rows do not fit their task, or prompts do not fit the model's context.
    EngineError
        The base model or the device is not there.
    """
    return estimate_plan(prepare_study(outline_study(spec, known_base)))


def prepare_study(outline: Outline) -> StudyPlan:
    """Turn an outline's texts into tokens, check them and count; as `plan_study`, no estimate."""
    spec = outline.spec
    refuse_method(spec, outline.base)
    codec = load_codec(outline.base)
    train_length = _within(outline, spec.method.max_length, "method", "max_length")
    read_length = _within(outline, spec.evaluation.max_length, "evaluation", "max_length")
    training = {p.name: prepare_source(codec, p, max_length=train_length) for p in outline.sources}
    questions = {p.name: prepare_target(codec, p, max_length=read_length) for p in outline.targets}
    sources = tuple(_source_plan(spec, source) for source in training.values())
    tokens = {source.name: source.tokens for source in sources}
    adapters = tuple(replace(a, n_tokens=tokens.get(a.source)) for a in outline.plan.adapters)
    return StudyPlan(
        plan=replace(outline.plan, adapters=adapters),
        sources=sources,
        targets=tuple(_target_plan(target) for target in questions.values()),
        notes=(
            *_truncation_notes(sources),
            *_leak_notes(outline),
            *_twin_notes(outline),
            *_seed_notes(spec),
        ),
        outline=outline,
        training=training,
        questions=questions,
    )


def estimate_plan(plan: StudyPlan) -> StudyPlan:
    """Return the plan with an estimate of its cost; measures this machine for a moment."""
    compute = plan.outline.spec.compute
    hidden = model_size(plan.outline.base, plan.outline.spec.method).hidden
    return replace(plan, estimate=_estimate(plan, measure_rate(compute, hidden=hidden)))


def memory_of(plan: StudyPlan) -> int:
    """Return the bytes that a process is expected to need at its peak; see `Estimate`."""
    return _estimate(plan, rate=1.0).memory_bytes


def _estimate(plan: StudyPlan, rate: float) -> Estimate:
    spec = plan.outline.spec
    device = resolve_device(spec.compute.device)
    return estimate(
        model_size(plan.outline.base, spec.method),
        work_of(plan),
        rate=rate,
        device=device.type,
        dtype_bytes=_DTYPE_BYTES[resolve_dtype(spec.compute.dtype, device)],
        checkpointing=wants_checkpoints(plan),
    )


def wants_checkpoints(plan: StudyPlan) -> bool:
    """Whether training is to compute hidden states again: as the study says, or for memory."""
    spec = plan.outline.spec
    if spec.compute.checkpointing is not None:
        return spec.compute.checkpointing
    if spec.method.name == "prefix":
        # Keys and values of the prefix would be lost.
        return False
    device = resolve_device(spec.compute.device)
    return needs_checkpoints(
        model_size(plan.outline.base, spec.method),
        work_of(plan),
        dtype_bytes=_DTYPE_BYTES[resolve_dtype(spec.compute.dtype, device)],
        available=available_memory(device.type),
        device=device.type,
    )


def _within(outline: Outline, wanted: int | None, *place: str) -> int:
    method = outline.spec.method
    context = context_of(outline.base, method)
    if wanted is not None and wanted > context:
        taken = f" less {method.n_virtual} virtual tokens" if method.n_virtual else ""
        msg = (
            f"{outline.spec.where(*place)}: {wanted} tokens exceed the model's context of "
            f"{outline.base.context}{taken}; lower it, or leave it out to use all of the context"
        )
        raise SpecError(msg)
    return wanted or context


def _source_plan(spec: StudySpec, source: PreparedSource) -> SourcePlan:
    lengths = [len(row.tokens) for row in source.rows if row.n_learnt]
    steps = optimizer_steps(
        lengths,
        batch_tokens=spec.method.batch_tokens,
        epochs=spec.method.epochs,
        steps=spec.method.steps,
        rng=np.random.default_rng(spec.seeds[0]),
    )
    return SourcePlan(
        name=source.part.name,
        n_rows=len(source.rows),
        n_steps=len(steps),
        tokens=sum(lengths[row] for step in steps for row in step),
        learnt_tokens=sum(row.n_learnt for row in source.rows),
        n_truncated=sum(row.truncated for row in source.rows),
        n_skipped=len(source.rows) - len(lengths),
    )


def _target_plan(target: PreparedTarget) -> TargetPlan:
    return TargetPlan(
        name=target.part.name,
        kind=target.part.task.kind,
        metric=target.part.task.metric,
        n_examples=len(target.part.examples),
        read_tokens=target.read_tokens,
        written_tokens=target.written_tokens,
    )


def work_of(plan: StudyPlan) -> Work:
    """Return all tokens and passes of a study, counted."""
    spec, seeds = plan.outline.spec, len(plan.outline.spec.seeds)
    runs = len(plan.plan.adapters) + 1
    passes = {s.name: s.tokens / max(plan.training[s.name].tokens, 1) for s in plan.sources}
    return Work(
        n_adapters=len(plan.plan.adapters),
        train_tokens=seeds * sum(source.tokens for source in plan.sources),
        train_steps=seeds * sum(source.n_steps for source in plan.sources),
        learnt_tokens=seeds * round(sum(s.learnt_tokens * passes[s.name] for s in plan.sources)),
        read_tokens=runs * sum(target.read_tokens for target in plan.targets),
        written_tokens=runs * sum(target.written_tokens for target in plan.targets),
        generations=runs * sum(_generation_passes(plan, target) for target in plan.targets),
        n_predictions=runs * sum(target.n_examples for target in plan.targets),
        batch_tokens=spec.evaluation.batch_tokens,
    )


def _generation_passes(plan: StudyPlan, target: TargetPlan) -> int:
    if not target.written_tokens:
        return 0
    budget = plan.outline.spec.evaluation.batch_tokens
    batches = -(-(target.read_tokens + target.written_tokens) // budget)
    return batches * (target.written_tokens // target.n_examples)


def _truncation_notes(sources: tuple[SourcePlan, ...]) -> list[str]:
    return [
        f"{s.name}: {s.n_truncated} of {s.n_rows} training rows are cut on the right"
        + (f", {s.n_skipped} of them have nothing left to learn" if s.n_skipped else "")
        for s in sources
        if s.n_truncated
    ]


def _leak_notes(outline: Outline) -> list[str]:
    found = [
        (source.name, target.name, count_leaked(source.examples, target.examples))
        for source in outline.sources
        # What a twin shares with a target, its source shares with it too.
        if source.control is None
        for target in outline.targets
    ]
    return [
        f"{count} test examples of {target} are also training rows of {source}"
        for source, target, count in found
        if count
    ]


def _twin_notes(outline: Outline) -> list[str]:
    return [f"{source.name}: {note}" for source in outline.sources for note in source.notes]


def _seed_notes(spec: StudySpec) -> list[str]:
    if len(spec.seeds) > 1:
        return []
    return ["one seed: tests see the sampling of examples, not the variance of training"]
