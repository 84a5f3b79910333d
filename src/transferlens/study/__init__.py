"""The definition of a study."""

from __future__ import annotations

from transferlens.study.combined import MERGE_METHODS, MergeMethod, MergeSpec
from transferlens.study.controls import PROPERTIES, ControlSpec, Property, SkewSpec
from transferlens.study.grid import GridSpec, read_study
from transferlens.study.method import METHODS, MethodName
from transferlens.study.spec import (
    BASE,
    BaseSpec,
    ComputeSpec,
    DataSpec,
    EvaluationSpec,
    LimitSpec,
    MethodSpec,
    StudySpec,
    TaskRef,
    TaskSpec,
)

__all__ = [
    "BASE",
    "MERGE_METHODS",
    "METHODS",
    "PROPERTIES",
    "BaseSpec",
    "ComputeSpec",
    "ControlSpec",
    "DataSpec",
    "EvaluationSpec",
    "GridSpec",
    "LimitSpec",
    "MergeMethod",
    "MergeSpec",
    "MethodName",
    "MethodSpec",
    "Property",
    "SkewSpec",
    "StudySpec",
    "TaskRef",
    "TaskSpec",
    "read_study",
]
