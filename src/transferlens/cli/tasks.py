"""``transferlens tasks``."""

from __future__ import annotations

from transferlens.cli.console import print_table

__all__ = ["tasks"]


def tasks() -> None:
    """List the tasks that need no definition in a study file."""
    from transferlens.tasks import known_tasks

    print_table(("task", "what it is"), list(known_tasks().items()), left=2)
