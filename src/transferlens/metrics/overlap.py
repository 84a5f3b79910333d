"""ROUGE-L: how much of a long reference answer an answer repeats in order."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from transferlens.metrics.base import METRICS, Metric

__all__ = ["lcs_length", "rouge_l"]

_WORD = re.compile(r"[a-z0-9]+")


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    One bit per item of ``first``, one operation on whole integers per item of
    ``second`` [1]_: long answers cost micro-, not milliseconds.

    References
    ----------
    .. [1] Hyyrö. *Bit-parallel LCS-length computation revisited*. 2004. AWOCA.
    """
    where: dict[str, int] = {}
    for index, item in enumerate(first):
        where[item] = where.get(item, 0) | 1 << index
    everything = (1 << len(first)) - 1
    open_bits = everything
    for item in second:
        hits = open_bits & where.get(item, 0)
        open_bits = ((open_bits + hits) | (open_bits - hits)) & everything
    return len(first) - open_bits.bit_count()


def rouge_l(prediction: str | None, gold: str) -> float:
    """Return ROUGE-L, the F measure of the longest common subsequence of words.

    Words are runs of ASCII letters and digits in lower case, without
    stemming, as in Google's ``rouge_score``. NaN where the gold has no words.

    References
    ----------
    .. [1] Lin. *ROUGE: A Package for Automatic Evaluation of Summaries*. 2004.
       https://aclanthology.org/W04-1013
    """
    want = _WORD.findall(gold.lower())
    if not want:
        return math.nan
    have = _WORD.findall((prediction or "").lower())
    return 2 * lcs_length(want, have) / (len(want) + len(have))


METRICS.register("rouge_l")(Metric(name="rouge_l", score=rouge_l))
