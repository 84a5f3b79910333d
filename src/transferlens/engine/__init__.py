"""Adapters and predictions: one frozen base in memory, one adapter per source and seed."""

from transferlens.engine.grid import run_grid
from transferlens.engine.plan import SourcePlan, StudyPlan, TargetPlan, plan_study
from transferlens.engine.run import run

__all__ = ["SourcePlan", "StudyPlan", "TargetPlan", "plan_study", "run", "run_grid"]
