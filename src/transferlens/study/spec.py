"""What a study is: base model, sources, targets, adaptation method and seeds.

Every field is a plain value, so that a study is a YAML file, a content hash
and nothing else. Names of tasks are resolved in `transferlens.tasks`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from transferlens.errors import SpecError
from transferlens.study.combined import MergeSpec, check_combined
from transferlens.study.compute import ComputeSpec, RaySpec, SlurmSpec
from transferlens.study.controls import ControlSpec, SkewSpec, check_controls
from transferlens.study.document import Document, read_document
from transferlens.study.method import MethodSpec
from transferlens.study.part import BASE, Part, plain_name, shorthand

__all__ = [
    "BASE",
    "GRID_FIELDS",
    "BaseSpec",
    "ComputeSpec",
    "ControlSpec",
    "DataSpec",
    "EvaluationSpec",
    "LimitSpec",
    "MergeSpec",
    "MethodSpec",
    "RaySpec",
    "SlurmSpec",
    "StudySpec",
    "TaskRef",
    "TaskSpec",
]


_HARNESS_DATA = {"lm_eval", "num_fewshot"}
_BESIDE_HARNESS = {
    "data", "metric", "unsafe_code", "family", "description", "homepage", "licence", "citation",
}  # fmt: skip
"""Fields that a task of lm-evaluation-harness leaves to a study."""


class DataSpec(Part):
    """Where the rows of a task come from: files, a Hugging Face dataset or the built-in suite."""

    path: str | None = None
    """Folder that holds ``train`` and ``test`` as .jsonl, .csv or .parquet."""
    dataset: str | None = None
    """Hugging Face dataset: a hub name, or a local folder in the hub's layout."""
    subset: str | None = None
    revision: str | None = None
    suite: str | None = None
    """Built-in generator; takes ``options``."""
    lm_eval: str | None = None
    """Task, group or tag of lm-evaluation-harness, or a YAML file or folder in its format;
    for targets. lm-eval makes the questions and scores the answers."""
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """Of ``lm_eval``: examples in the prompt, unless the task itself says 0."""
    options: dict[str, Any] = Field(default_factory=dict)
    train: str | None = None
    """File of the training rows, or name of the split for a dataset."""
    test: str | None = None
    """File of the test rows, or name of the split for a dataset."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        files = (self.train or self.test) and not self.dataset and not self.path
        given = [bool(self.path), bool(self.dataset), bool(self.suite), bool(self.lm_eval)]
        if sum([*given, bool(files)]) != 1:
            msg = "give exactly one of path, dataset, suite, lm_eval, or the files train and test"
            raise ValueError(msg)
        if self.lm_eval and (self.train or self.test):
            msg = "train and test are lm-eval's to say"
            raise ValueError(msg)
        if self.num_fewshot is not None and not self.lm_eval:
            msg = "num_fewshot belongs to lm_eval"
            raise ValueError(msg)
        if self.options and not self.suite:
            msg = "options belong to suite"
            raise ValueError(msg)
        if (self.subset or self.revision) and not self.dataset:
            msg = "subset and revision belong to dataset"
            raise ValueError(msg)
        return self

    @model_serializer(mode="wrap")
    def _used_fields(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = plain(self)
        # Studies without such tasks have the hash that they always had.
        return {k: v for k, v in fields.items() if k not in _HARNESS_DATA or v is not None}


class TaskSpec(Part):
    """How rows become prompts, answers and scores.

    ``prompt`` and ``completion`` are Jinja templates over the row's columns;
    ``label`` and ``choices`` are Jinja expressions (a column name is one).
    All run in a sandbox.
    """

    data: Annotated[DataSpec, shorthand("path")]
    columns: dict[str, str] = Field(default_factory=dict)
    """Name used in the templates -> column of the data."""
    prompt: str = "{{ prompt }}"
    completion: str | None = None
    """What an adapter learns to write. Default: the gold choice, the column
    ``completion`` where there is one, else the label."""
    label: str | None = None
    """Gold answer: a choice, its index, or the short answer of a generation.
    Default: the column ``label`` where there is one."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Raw label -> choice, where the data has other words for them."""
    choices: tuple[str, ...] | str | None = None
    """Fixed choices, or an expression that gives them per row. Default: the
    column ``choices`` of a file where there is one, else generation."""
    separator: str = " "
    """What stands between prompt and answer."""
    metric: str | None = None
    """Default: accuracy for choices, exact_match for generation."""
    extractor: str | None = None
    """How the answer is read from a completion; None takes all of it."""
    length_normalized: bool = False
    """Compare choices by log-likelihood per character instead of by its sum."""
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 32
    stop: tuple[str, ...] = ()
    duplicates: Literal["error", "drop"] = "error"
    """What to do with a row that makes the same example as an earlier one."""
    unsafe_code: bool = False
    """Allow a metric that runs generated code in an isolated process."""
    family: str | None = None
    description: str | None = None
    homepage: str | None = None
    licence: str | None = None
    citation: str | None = None

    @model_validator(mode="after")
    def _left_to_harness(self) -> Self:
        foreign = sorted(self.model_fields_set - _BESIDE_HARNESS)
        if self.data.lm_eval and foreign:
            msg = f"{foreign[0]} is for lm-eval's task to say; leave it out"
            raise ValueError(msg)
        return self

    @field_validator("labels", "columns", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


class TaskRef(Part):
    """A task in the role of source or target."""

    task: str
    name: str
    """Name in the matrix; the task's name unless given."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most this many rows; the study's limit unless given."""
    after: str | None = None
    """Of a source: training begins with the adapter of this other source, further up in the list,
    in place of a fresh one."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        ref = {"task": value} if isinstance(value, str) else value
        if isinstance(ref, dict) and isinstance(ref.get("task"), str) and "name" not in ref:
            first = f"{ref['after']}-then-" if ref.get("after") else ""
            return {**ref, "name": first + Path(ref["task"]).name.removesuffix(".yaml")}
        return ref

    @model_serializer(mode="wrap")
    def _used_fields(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = plain(self)
        return {k: v for k, v in fields.items() if k != "after" or v is not None}

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        return plain_name(name)


class BaseSpec(Part):
    """The base model: ``embedded``, a hub id, or a local folder in Hugging Face format."""

    model: str = "embedded"
    revision: str | None = None
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off unless you ask for it."""
    quantization: Literal["8bit", "4bit"] | None = None
    """Load the weights in 8 or 4 bits, by bitsandbytes. Part of an adapter's identity."""


class EvaluationSpec(Part):
    """How predictions are made."""

    batch_tokens: Annotated[int, Field(ge=1)] = 8192
    """Tokens per forward pass, padding included. Changes speed, not answers."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Longest prompt plus answer in tokens. Default: the model's context."""


class LimitSpec(Part):
    """At most so many rows of each task, drawn once, the same for every seed."""

    train: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    """Seed of the draw."""


class StudySpec(Part):
    """A whole study, as written in ``study.yaml``."""

    name: str = "study"
    base: Annotated[BaseSpec, shorthand("model")] = Field(default_factory=BaseSpec)
    tasks: dict[str, TaskSpec] = Field(default_factory=dict)
    """Your own tasks; built-in tasks and task cards need no definition."""
    sources: tuple[TaskRef, ...]
    targets: tuple[TaskRef, ...]
    controls: tuple[ControlSpec, ...] = ()
    """Twins of sources, each of which differs from its source in one property."""
    merges: tuple[MergeSpec, ...] = ()
    """Adapters merged from those of sources."""
    method: MethodSpec = Field(default_factory=MethodSpec)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    limits: LimitSpec = Field(default_factory=LimitSpec)
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    compute: ComputeSpec = Field(default_factory=ComputeSpec)

    _document: Document = PrivateAttr(default_factory=Document)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for role in ("sources", "targets"):
            names = [ref.name for ref in getattr(self, role)]
            if not names:
                msg = f"{role} is empty: name at least one task"
                raise ValueError(msg)
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                msg = f"{role} has {twice[0]!r} twice; give one of them another name"
                raise ValueError(msg)
        if late := next((ref.name for ref in self.targets if ref.after), None):
            msg = f"the target {late!r} has after, which belongs to sources"
            raise ValueError(msg)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            msg = "seeds must be at least one number, each only once"
            raise ValueError(msg)
        return self

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
        """Read a study file.

        Parameters
        ----------
        path
            The YAML file. Relative paths inside it start at its folder.
        overrides
            ``key=value`` items such as ``method.rank=8``; values are YAML.

        Raises
        ------
        SpecError
            The file cannot be read, or a field of it is unknown or invalid;
            the message names file, line and field.
        """
        return cls._validated(read_document(Path(path)).override(overrides))

    @classmethod
    def from_dict(cls, value: dict[str, Any], *, root: str | Path = ".") -> StudySpec:
        """Make a study from plain values; relative paths in it start at ``root``."""
        return cls._validated(Document(value=value, root=Path(root).absolute()))

    @classmethod
    def _validated(cls, document: Document) -> StudySpec:
        for field in GRID_FIELDS:
            if isinstance(document.value, dict) and field in document.value:
                msg = f"{document.where((field,))}: {field} make a grid of studies: read it with "
                msg += "GridSpec, or give one file to `transferlens run`"
                raise SpecError(msg)
        try:
            spec = cls.model_validate(document.value)
        except ValidationError as error:
            raise SpecError(document.explain(error, _field_names())) from None
        spec._document = document  # noqa: SLF001 - a private attribute of this very class
        names = [ref.name for ref in spec.sources]
        check_controls(spec.controls, sources=names, seeds=spec.seeds, where=spec.where)
        check_combined(
            spec.merges,
            [(ref.name, ref.after) for ref in spec.sources],
            method=spec.method.name,
            where=spec.where,
        )
        return spec

    @property
    def root(self) -> Path:
        """Folder at which the relative paths of the study start."""
        return self._document.root

    def where(self, *path: str | int) -> str:
        """Return ``file:line: a.b.c`` for a field, to begin an error message with."""
        return self._document.where(path)

    def to_dict(self) -> dict[str, Any]:
        """Return the study as plain JSON values, defaults included."""
        found = self.model_dump(mode="json")
        # Studies without merges have the hash that they always had.
        return {name: value for name, value in found.items() if name != "merges" or value}

    @property
    def content_hash(self) -> str:
        """SHA-256 of the study's content; the same text in another layout hashes the same."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


GRID_FIELDS = {"bases": "base", "methods": "method"}
"""Fields that make one study into several -> the field that each of those has instead."""


def _field_names() -> set[str]:
    """Return every field name that a study file may hold, for suggestions."""
    parts = (
        StudySpec, TaskRef, TaskSpec, DataSpec, BaseSpec,
        MethodSpec, EvaluationSpec, ComputeSpec, LimitSpec, ControlSpec, SkewSpec,
        RaySpec, SlurmSpec, MergeSpec,
    )  # fmt: skip
    return {name for part in parts for name in part.model_fields} | GRID_FIELDS.keys()
