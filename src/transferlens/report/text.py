"""Text from data as a page may show it: of bounded length, and unable to steer the page."""

from __future__ import annotations

import re

__all__ = ["FIELD", "shown"]

FIELD = 600
"""Letters of a prompt or an answer that a page shows."""

# Control characters, direction marks and overrides, invisible joiners: they would change how the
# text around them is read.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def shown(text: object, most: int = FIELD) -> str:
    """Return text with unseen characters written out, cut with a note where it is long.

    Parameters
    ----------
    text
        Anything; None is an empty string.
    most
        Letters that are kept.
    """
    whole = "" if text is None else str(text)
    kept = _UNSEEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", whole[:most])
    if len(whole) <= most:
        return kept
    return f"{kept}… [{most:,} of {len(whole):,} letters]"
