"""The definition of a study."""

from __future__ import annotations

from transferlens.study.controls import PROPERTIES, ControlSpec, Property, SkewSpec
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
    "PROPERTIES",
    "BaseSpec",
    "ComputeSpec",
    "ControlSpec",
    "DataSpec",
    "EvaluationSpec",
    "LimitSpec",
    "MethodSpec",
    "Property",
    "SkewSpec",
    "StudySpec",
    "TaskRef",
    "TaskSpec",
]
