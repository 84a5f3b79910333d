"""Predictions and scores of a study: one container, one folder format."""

from transferlens.results.adapters import ADAPTER_MANIFEST
from transferlens.results.container import TransferStudy, open_study
from transferlens.results.display import Values, format_value, matrix_values
from transferlens.results.exchange import write_study
from transferlens.results.merge import compact
from transferlens.results.plan import Cell, Plan, PlannedAdapter
from transferlens.results.schema import (
    FORMAT,
    PREDICTION_SCHEMA,
    SCORE_SCHEMA,
    VERSION,
    SourceInfo,
    TargetInfo,
)
from transferlens.results.status import FailureReport, Progress, StudyStatus, study_status
from transferlens.results.store import CellState, Failure, StudyStore
from transferlens.study import BASE

__all__ = [
    "ADAPTER_MANIFEST",
    "BASE",
    "FORMAT",
    "PREDICTION_SCHEMA",
    "SCORE_SCHEMA",
    "VERSION",
    "Cell",
    "CellState",
    "Failure",
    "FailureReport",
    "Plan",
    "PlannedAdapter",
    "Progress",
    "SourceInfo",
    "StudyStatus",
    "StudyStore",
    "TargetInfo",
    "TransferStudy",
    "Values",
    "compact",
    "format_value",
    "matrix_values",
    "open_study",
    "study_status",
    "write_study",
]
