"""Predictions and scores of a study: one container, one folder format."""

from transferlens.results.adapters import ADAPTER_MANIFEST
from transferlens.results.check import CheckedStudy, Finding, check_study, repair_study
from transferlens.results.container import TransferStudy, open_study
from transferlens.results.display import Values, format_value, matrix_values
from transferlens.results.exchange import write_study
from transferlens.results.garbage import Collected, Rubbish, collect
from transferlens.results.grid import GridFolder, is_grid, open_grid, write_grid
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
    "CheckedStudy",
    "Collected",
    "Failure",
    "FailureReport",
    "Finding",
    "GridFolder",
    "Plan",
    "PlannedAdapter",
    "Progress",
    "Rubbish",
    "SourceInfo",
    "StudyStatus",
    "StudyStore",
    "TargetInfo",
    "TransferStudy",
    "Values",
    "check_study",
    "collect",
    "compact",
    "format_value",
    "is_grid",
    "matrix_values",
    "open_grid",
    "open_study",
    "repair_study",
    "study_status",
    "write_grid",
    "write_study",
]
