"""The offline suite: ten tasks that the package generates from a seed."""

from __future__ import annotations

from transferlens.tasks.suite.generate import MAX_ROWS, generate
from transferlens.tasks.suite.tasks import SUITE, SuiteTask

__all__ = ["MAX_ROWS", "SUITE", "SuiteTask", "generate"]
