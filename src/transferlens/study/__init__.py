"""The definition of a study."""

from __future__ import annotations

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
    "BaseSpec",
    "ComputeSpec",
    "DataSpec",
    "EvaluationSpec",
    "LimitSpec",
    "MethodSpec",
    "StudySpec",
    "TaskRef",
    "TaskSpec",
]
