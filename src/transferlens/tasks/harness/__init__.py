"""Tasks of lm-evaluation-harness as targets: found, refused where unsafe, built and scored."""

from __future__ import annotations

from transferlens.tasks.harness.build import HarnessTask, load_harness
from transferlens.tasks.harness.metric import HarnessMetric
from transferlens.tasks.harness.targets import HarnessTarget, harness_targets, is_harness

__all__ = [
    "HarnessMetric",
    "HarnessTarget",
    "HarnessTask",
    "harness_targets",
    "is_harness",
    "load_harness",
]
