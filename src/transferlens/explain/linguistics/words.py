"""Closed classes of English words, lower case, as the tokenizers of both backends split them."""

from __future__ import annotations

__all__ = [
    "BE",
    "FIRST_PERSON",
    "HAVE",
    "MODALS",
    "NEGATIONS",
    "RELATIVIZERS",
    "SECOND_PERSON",
    "SUBORDINATORS",
    "THIRD_PERSON",
    "WH_WORDS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODALS = _words("can ca could may might must shall sha should will wo would 'll ’ll 'd ’d")
NEGATIONS = _words("not n't n’t no never none nobody nothing nowhere neither nor nt")
WH_WORDS = _words("what which who whom whose when where why how whoever whatever")
FIRST_PERSON = _words("i me my mine myself we us our ours ourselves")
SECOND_PERSON = _words("you your yours yourself yourselves")
THIRD_PERSON = _words(
    "he him his himself she her hers herself it its itself they them their theirs themselves",
)
BE = _words("be am is are was were been being 'm ’m 're ’re get gets got getting gotten")
"""Forms that make a passive with a past participle; ``'s`` may be "has" or a genitive."""
HAVE = _words("have has had having 've ’ve")
SUBORDINATORS = _words(
    "although because if lest once since though unless until whereas whether while "
    "whenever wherever",
)
"""Words that hardly do anything but begin a subordinate clause ("that" mostly does not)."""
RELATIVIZERS = _words("who whom whose which that")
