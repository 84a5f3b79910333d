"""What every task's grammar takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transferlens.tasks.suite.draw import Draw

__all__ = ["Draft", "Drafter", "Length", "Order"]

Length = Literal["short", "normal", "long"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a row must be: its class (None for generation tasks) and the length of its output."""

    label: str
    length: Length = "normal"


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before its choices are attached."""

    prompt: str
    completion: str
    label: str | None


Drafter = Callable[[Draw, Order], Draft]
