"""Names from other tools, made fit for folders and columns of a study."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from transferlens.study import BASE
from transferlens.tasks.catalog import card_names, load_card

__all__ = ["family_of", "normalise", "safe_names", "say_renamed"]

_LONGEST = 80
_SHOWN = 3


def normalise(text: str) -> str:
    """Return the words of a text in lower case, to compare what people write in many ways."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def safe_names(names: Iterable[str], *, reserved: Iterable[str] = (BASE,)) -> dict[str, str]:
    """Return name -> a name of at most 80 letters, digits, ``.``, ``_`` and ``-``.

    A name that is plain already stays. No two become the same, and none
    becomes a reserved one, whether or not the file system knows capitals.
    """
    taken = {name.lower() for name in reserved}
    result: dict[str, str] = {}
    # Plain names first: nobody else may take their place.
    for name in sorted(dict.fromkeys(names), key=lambda name: _plain(name) != name):
        result[name] = _free(_plain(name), taken)
        taken.add(result[name].lower())
    return result


def say_renamed(renamed: dict[str, str], remarks: list[str]) -> dict[str, str]:
    """Add a remark on the names that changed; return them as new -> old."""
    changed = {new: old for old, new in renamed.items() if new != old}
    if changed:
        shown = ", ".join(f"{old!r} is {new}" for new, old in list(changed.items())[:_SHOWN])
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        remarks.append(f"names made fit for files: {shown}{more}")
    return changed


def family_of(task: str) -> str:
    """Return the family of the task card with this name, as ``GLUE-MNLI`` is mnli, or ``""``."""
    words = normalise(task).split()
    for name in ("".join(words), words[-1] if words else ""):
        if name in _families():
            return _families()[name]
    return ""


@cache
def _families() -> dict[str, str]:
    return {normalise(name).replace(" ", ""): load_card(name).family or "" for name in card_names()}


def _plain(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_only).strip("_")
    plain = re.sub(r"^[._-]+", "", plain)
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    if not plain:
        return f"name-{digest}"
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 9]}-{digest}"


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate.lower() in taken:
        tail = f"-{number}"
        candidate = f"{name[: _LONGEST - len(tail)]}{tail}"
        number += 1
    return candidate
