"""Executors: what starts the workers of a study, on this machine, a Ray cluster or Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferlens.engine.executors.base import Executor
from transferlens.engine.executors.lead import lead

if TYPE_CHECKING:
    from transferlens.engine.plan import StudyPlan

__all__ = ["executor_for", "lead"]


def executor_for(study: StudyPlan, folder: Path, *, n_groups: int) -> Executor | None:
    """Return what starts the study's workers; None where this process does all the work.

    Parameters
    ----------
    n_groups
        Adapters that have something to do; more workers would be idle.

    Raises
    ------
    EngineError
        The executor is not to be had here, or cannot grant what the study asks for.
    """
    compute = study.outline.spec.compute
    if n_groups == 0:
        return None
    if compute.executor == "ray":
        from transferlens.engine.executors.ray import RayExecutor

        return RayExecutor(compute, n_groups)
    if compute.executor == "slurm":
        from transferlens.engine.executors.slurm import SlurmExecutor

        return SlurmExecutor(compute, folder, n_groups)
    from transferlens.engine.executors.local import LocalExecutor, local_devices

    devices = local_devices(compute)
    n_workers = min(compute.workers or len(devices), n_groups)
    return LocalExecutor(compute, devices, n_workers) if n_workers > 1 else None
