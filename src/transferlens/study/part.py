"""What all parts of a study have in common: they are frozen, strict, and have plain names."""

from __future__ import annotations

import re

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["BASE", "Part", "plain_name", "shorthand"]

BASE = "base"
"""Reserved source name of the untuned base model."""

# Names become folder names and column values, so they are short and plain.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class Part(BaseModel):
    """A part of a study file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shorthand(field: str) -> BeforeValidator:
    """Let a bare string stand for the part's main field."""
    return BeforeValidator(lambda value: {field: value} if isinstance(value, str) else value)


def plain_name(name: str) -> str:
    """Return the name of a source or target if it can be one.

    Raises
    ------
    ValueError
        It cannot be part of a file's name, or is that of the base.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot be a name: use up to 80 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
        raise ValueError(msg)
    if name == BASE:
        msg = f"{BASE!r} is the name of the untuned base model; choose another"
        raise ValueError(msg)
    return name
