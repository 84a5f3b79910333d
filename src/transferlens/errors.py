"""The errors that TransferLens raises; each is one line: what, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AnalysisError",
    "DataError",
    "EngineError",
    "ResultsError",
    "SpecError",
    "TransferLensError",
    "did_you_mean",
]


class TransferLensError(Exception):
    """Base of every error that a user can mend; the command line exits with code 2."""


class SpecError(TransferLensError):
    """The study file asks for something that does not exist or does not fit together."""


class DataError(TransferLensError):
    """A dataset cannot be read, or a row of it does not fit its task."""


class ResultsError(TransferLensError):
    """A stored result is missing, damaged or of another format."""


class AnalysisError(TransferLensError):
    """An analysis cannot be carried out on the numbers that it was given."""


class EngineError(TransferLensError):
    """Training or evaluation cannot go on."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or the list of names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""
