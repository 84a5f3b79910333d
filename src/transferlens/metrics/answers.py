"""Metrics of short answers: a choice, a text, a number."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from fractions import Fraction

from transferlens.metrics.base import METRICS, Metric

__all__ = [
    "accuracy",
    "exact_match",
    "normalize_answer",
    "numeric_match",
    "read_number",
    "token_f1",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_OTHER = re.escape("".join(c for c in string.punctuation if c not in "./-"))
# A point, stroke or minus that belongs to a number is no punctuation: 1.5 is not 15.
_PUNCTUATION = re.compile(rf"[./](?!\d)|(?<=[^\W\d])\.|(?<!\d)/|-(?!\.?\d)|(?<=\w)-|[{_OTHER}]")
# In "7-3", "x-3" and "7 - 3" the stroke is no sign of the number behind it, nor in a list's "- 3".
# White space may only follow a currency: a model that writes nothing else would take for ever.
NUMBER = (
    r"(?P<sign>(?<!\w)[-−+])?(?:[$€£]\s*)?"
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?P<power>[eE][-+]?\d{1,3}(?!\w))?"
    r"(?:\s*/\s*(?P<divisor>\d+)(?![\d.]))?"
)
"""Pattern of a number: sign, currency, thousands, decimals, power of ten, divisor."""
_NUMBER = re.compile(NUMBER)
_MAX_DIGITS = 400


def normalize_answer(text: str) -> str:
    """Return the text in lower case without punctuation, articles and needless white space.

    This is the normalisation of SQuAD [1]_ but for numbers: there ``1.5``
    equals ``15`` and ``-3`` equals ``3``; here a decimal point, a fraction
    stroke and a minus sign stay, and a comma between thousands goes.

    References
    ----------
    .. [1] Rajpurkar et al. *SQuAD: 100,000+ Questions for Machine Comprehension of Text*.
       2016. arXiv:1606.05250
    """
    plain = _PUNCTUATION.sub("", _THOUSANDS.sub("", text.lower()))
    return " ".join(_ARTICLES.sub(" ", plain).split())


def accuracy(prediction: str | None, gold: str) -> float:
    """Return 1 if the chosen text is the gold one, else 0."""
    return float(prediction == gold)


def exact_match(prediction: str | None, gold: str) -> float:
    """Return 1 if both texts are equal after `normalize_answer`, else 0.

    A text of which normalisation leaves nothing is compared as it is.
    """
    if prediction is None:
        return 0.0
    want = normalize_answer(gold)
    return float(normalize_answer(prediction) == want if want else prediction.strip() == gold)


def token_f1(prediction: str | None, gold: str) -> float:
    """Return the harmonic mean of precision and recall over words, as SQuAD does.

    The words are those of `normalize_answer`, counted with repetitions. NaN
    where the gold has no words.
    """
    want = normalize_answer(gold).split()
    if not want:
        return math.nan
    have = normalize_answer(prediction or "").split()
    common = (Counter(have) & Counter(want)).total()
    return 2 * common / (len(have) + len(want))


def read_number(text: str) -> Fraction | None:
    """Return the last number of a text, exactly; None where there is none.

    Signs of currency and per cent are skipped, commas between thousands too;
    ``3/4``, ``.5`` and ``1e-3`` are numbers.
    """
    numbers = [_as_fraction(match) for match in _NUMBER.finditer(text)]
    return next((number for number in reversed(numbers) if number is not None), None)


def last_number(text: str) -> str | None:
    """Return the last number of a text as it is written there; None where there is none."""
    matches = list(_NUMBER.finditer(text))
    return matches[-1][0].strip() if matches else None


def numeric_match(prediction: str | None, gold: str) -> float:
    """Return 1 if the last numbers of both texts are equal, else 0; NaN if the gold has none.

    The comparison is exact: 0.5, 1/2 and .50 are equal; 0.333 and 1/3 are not.
    """
    want = read_number(gold)
    if want is None:
        return math.nan
    have = read_number(prediction) if prediction is not None else None
    return float(have == want)


def _as_fraction(match: re.Match[str]) -> Fraction | None:
    digits = match["number"].replace(",", "")
    divisor = match["divisor"] or "1"
    # Python refuses to read thousands of digits, and nobody means them.
    if len(digits) + len(divisor) > _MAX_DIGITS:
        return None
    value = Fraction(digits + (match["power"] or ""))
    if int(divisor):
        value /= int(divisor)
    return -value if match["sign"] in {"-", "−"} else value


for _metric in (
    Metric(name="accuracy", score=accuracy, needs="choice"),
    Metric(name="exact_match", score=exact_match),
    Metric(name="f1", score=token_f1),
    Metric(name="numeric_match", score=numeric_match),
):
    METRICS.register(_metric.name)(_metric)
