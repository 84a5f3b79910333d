"""The errors that TransferLens raises; each is one line: what, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "AnalysisError",
    "DataError",
    "EngineError",
    "MissingExtraError",
    "ResultsError",
    "SpecError",
    "TransferLensError",
    "did_you_mean",
    "needs",
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


class MissingExtraError(TransferLensError):
    """What was asked for needs a package that is not installed."""


@contextmanager
def needs(package: str, *, extra: str, purpose: str, otherwise: str = "") -> Iterator[None]:
    """Turn a missing package, imported inside, into one line that says how to install it.

    Parameters
    ----------
    package
        What is imported, as the user knows it.
    extra
        The extra of this package that brings it.
    purpose
        What needs it: the subject of the message, in the singular.
    otherwise
        What the user can do without it.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        yield
    except ImportError as error:
        hint = f'pip install "transferlens[{extra}]"'
        msg = f"{purpose} needs {package}, which is not installed; run: {hint}{otherwise}"
        raise MissingExtraError(msg) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or the list of names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""
