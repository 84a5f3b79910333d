"""How alike two pieces of code are, without running either.

Running generated code is dangerous, needs tests that most datasets lack
(Magicoder's have none), and says nothing about the many languages that cannot
be run here. Plain text overlap on the other hand punishes another name or
layout. CodeBLEU [1]_ lies between: overlap of tokens plus overlap of syntax
trees. This is CodeBLEU without its data-flow part and its keyword weights,
which need a grammar for each language.

References
----------
.. [1] Ren et al. *CodeBLEU: a Method for Automatic Evaluation of Code Synthesis*. 2020.
   arXiv:2009.10297
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence

from transferlens.metrics.base import METRICS, Metric

__all__ = ["code_block", "code_similarity", "syntax_match", "token_bleu"]

_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_TOKEN = re.compile(
    # A string is one token, but for a long one: every lone quote would be read to the end for it.
    r"\"(?:\\.|[^\"\\\n]){0,400}+\"|'(?:\\.|[^'\\\n]){0,400}+'"
    r"|[A-Za-z_]\w*|\d[\w.]*"
    r"|[-+*/%&|^<>=!]=|\*\*|//|->|=>|&&|\|\||\+\+|--|<<|>>|::|[^\s\w]"
)
_MAX_N = 4


def code_block(text: str) -> str:
    """Return the first block of code between fences (```), or all of the text."""
    found = _FENCE.search(text)
    return found[1] if found else text


def code_similarity(prediction: str | None, gold: str) -> float:
    """Return how alike answer and reference are as code, from 0 to 1.

    The mean of `token_bleu` and `syntax_match` where the reference is Python,
    and `token_bleu` alone where it is not; which of them is thus the same for
    every model. Only the first block of code of each text counts. NaN where
    the reference holds no code.
    """
    want, have = code_block(gold), code_block(prediction or "")
    tokens = _TOKEN.findall(want)
    if not tokens:
        return math.nan
    overlap = token_bleu(_TOKEN.findall(have), tokens)
    shapes = _shapes(want)
    return overlap if shapes is None else (overlap + _recall(_shapes(have), shapes)) / 2


def token_bleu(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """Return BLEU-4 of one sequence of tokens against one reference, from 0 to 1.

    Counts of two and more tokens are smoothed by one [1]_; a reference of
    fewer than four tokens is compared up to its own length.

    References
    ----------
    .. [1] Lin, Och. *ORANGE: a Method for Evaluating Automatic Evaluation Metrics for Machine
       Translation*. 2004. https://aclanthology.org/C04-1072
    """
    if not prediction or not gold:
        return 0.0
    logs = 0.0
    orders = range(1, min(_MAX_N, len(gold)) + 1)
    for n in orders:
        have, want = _ngrams(prediction, n), _ngrams(gold, n)
        smooth = 0 if n == 1 else 1
        hits = (have & want).total() + smooth
        if not hits:
            return 0.0
        logs += math.log(hits / (have.total() + smooth))
    brevity = min(0.0, 1 - len(gold) / len(prediction))
    return math.exp(brevity + logs / len(orders))


def syntax_match(prediction: str, gold: str) -> float:
    """Return the share of the reference's syntax subtrees that the answer has too.

    Names and constants do not count, only the shape. 0 where the answer is
    not valid Python, NaN where the reference is not.
    """
    shapes = _shapes(gold)
    return math.nan if shapes is None else _recall(_shapes(prediction), shapes)


def _recall(have: Counter[str] | None, want: Counter[str]) -> float:
    return 0.0 if have is None else (have & want).total() / want.total()


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _shapes(code: str) -> Counter[str] | None:
    """Count the shapes of all subtrees with at least one child; None where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model's odd escapes are not our user's concern
            tree = ast.parse(code)
        found: Counter[str] = Counter()
        _shape(tree, found)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found or None


def _shape(node: ast.AST, found: Counter[str]) -> str:
    name = type(node).__name__
    children = [
        _shape(child, found)
        for child in ast.iter_child_nodes(node)
        if not isinstance(child, ast.expr_context)
    ]
    if not children:
        return name
    text = f"{name}({','.join(children)})"
    found[text] += 1
    return text


METRICS.register("code_similarity")(
    Metric(name="code_similarity", score=code_similarity, needs="generate")
)
