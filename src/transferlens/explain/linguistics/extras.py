"""Packages that only the linguistic features need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from transferlens.errors import AnalysisError

__all__ = ["needed"]


@contextmanager
def needed(package: str, extra: Literal["linguistics", "parser"]) -> Iterator[None]:
    """Turn a missing package into one line that says how to install it."""
    try:
        yield
    except ImportError as error:
        msg = (
            f"linguistic features need {package}, which is not installed; "
            f'run: pip install "transferlens[{extra}]"'
        )
        raise AnalysisError(msg) from error
