"""What a model is trained on and asked: prompts, answers and where they come from."""

from __future__ import annotations

from transferlens.tasks.catalog import card_names, known_tasks, load_card
from transferlens.tasks.example import Example, content_hash, count_leaked
from transferlens.tasks.harness import HarnessMetric, HarnessTask, harness_targets, is_harness
from transferlens.tasks.load import Role, load_task
from transferlens.tasks.task import Task
from transferlens.tasks.twins import Original, Twin, make_twin

__all__ = [
    "Example",
    "HarnessMetric",
    "HarnessTask",
    "Original",
    "Role",
    "Task",
    "Twin",
    "card_names",
    "content_hash",
    "count_leaked",
    "harness_targets",
    "is_harness",
    "known_tasks",
    "load_card",
    "load_task",
    "make_twin",
]
