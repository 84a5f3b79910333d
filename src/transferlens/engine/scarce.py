"""Where memory or disk is short: smaller batches, and words for what the libraries say."""

from __future__ import annotations

import gc
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from transferlens.results import PlannedAdapter, StudyStore
from transferlens.results.files import os_errors

__all__ = ["folder_to_train_into", "is_out_of_memory", "with_smaller_batches"]

T = TypeVar("T")

_SMALLEST = 64
"""Tokens per batch below which halving would not help."""

_NO_MEMORY = re.compile(r"can(no|')t allocate memory|out of memory", re.IGNORECASE)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error, torch's own kinds too, says that memory was not enough."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def with_smaller_batches(
    compute: Callable[[int], T], batch_tokens: int, *, smaller: Callable[[int], None]
) -> T:
    """Compute with batches of so many tokens, and with half of it wherever memory is short.

    Parameters
    ----------
    smaller
        Hears the new size before it is tried.
    """
    while True:
        try:
            return compute(batch_tokens)
        except Exception as error:
            if not is_out_of_memory(error) or batch_tokens // 2 < _SMALLEST:
                raise
        # Outside of the handler, whose traceback holds on to the tensors.
        batch_tokens //= 2
        _free()
        smaller(batch_tokens)


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


@contextmanager
def folder_to_train_into(store: StudyStore, adapter: PlannedAdapter) -> Iterator[Path]:
    """Make a folder for an adapter, which does not stay behind if its training fails.

    Raises
    ------
    ResultsError
        The system refuses to write.
    """
    temporary = store.temporary_adapter_dir(adapter)
    try:
        with os_errors("write", temporary), _system_errors():
            yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise what the system said where safetensors wraps it in words of its own."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
