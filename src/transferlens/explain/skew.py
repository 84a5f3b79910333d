"""How uneven a mix of labels is, how far two mixes differ, and whether skew is handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.explain.amounts import decimals
from transferlens.explain.answers import TargetAnswers, iter_answers
from transferlens.explain.confusion import answer_marks
from transferlens.explain.ratio import ratio
from transferlens.explain.training import training_labels
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = [
    "Priors",
    "SkewTest",
    "jensen_shannon",
    "known_mean",
    "label_skew",
    "proportions",
    "skew",
    "skew_test",
    "study_skew_test",
]

Priors = Mapping[str, Mapping[str, float]]
"""Source -> label -> how often it stands in the training data."""

_FEWEST = 4
"""Sources below which no permutation test can be significant."""


class SkewTest(NamedTuple):
    """A permutation test over sources."""

    correlation: float
    """Spearman's, between skew of the training labels and skew of the answers."""
    p_value: float
    """One-sided: more skewed sources make more skewed answers."""
    n_sources: int

    def sentence(self, level: float = 0.05) -> str:
        """Say what the test found."""
        what = "more skewed training labels make more skewed answers on other tasks"
        if np.isnan(self.p_value):
            return f"It cannot be tested whether {what}: all sources are equally skewed."
        numbers = (
            f"Spearman {decimals(self.correlation, 2)} over {self.n_sources} sources, "
            f"p = {self.p_value:.2g} by permuting them"
        )
        if self.p_value <= level:
            return f"{what[0].upper()}{what[1:]}: {numbers}."
        return f"It is not shown that {what}: {numbers}."


def jensen_shannon(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the Jensen-Shannon divergence of two label mixes in bits, 0 to 1.

    Along the last axis, whose sums need not be 1; NaN where a sum is 0. A label that is NaN
    in either is left out of both.

    References
    ----------
    .. [1] Lin. *Divergence measures based on the Shannon entropy*. 1991.
       doi:10.1109/18.61115
    """
    first, second = np.broadcast_arrays(first, second)
    out = np.isnan(first) | np.isnan(second)
    p, q = (proportions(np.where(out, 0.0, part)) for part in (first, second))
    middle = _entropy((p + q) / 2.0)
    bits: FloatArray = np.maximum(middle - (_entropy(p) + _entropy(q)) / 2.0, 0.0)
    return bits


def skew(mix: FloatArray) -> FloatArray:
    """Return 1 less the entropy of a label mix over the largest possible: 0 even, 1 constant."""
    possible = np.log2(mix.shape[-1]) if mix.shape[-1] > 1 else np.nan
    bits: FloatArray = 1.0 - _entropy(proportions(mix)) / possible
    return bits


def skew_test(
    of_sources: FloatArray, of_answers: FloatArray, *, rng: np.random.Generator, n: int = 9_999
) -> SkewTest:
    """Test whether more skewed sources make more skewed answers.

    Under the null hypothesis which training data belong to which adapter's answers is
    arbitrary. Whole sources are permuted, so that answers of one adapter on many targets
    count as one observation.

    Parameters
    ----------
    of_sources
        Skew of the training labels, (source,); NaN: not known, left out.
    of_answers
        Skew of the answers, (source, target); NaN is left out.
    rng
        Source of permutations.
    n
        Number of permutations.

    Raises
    ------
    AnalysisError
        Fewer than four sources are known.
    """
    # Targets differ in how skewed answers to them are; what is left is the source's.
    centred = of_answers - known_mean(of_answers, axis=0)
    level = known_mean(centred, axis=1)
    usable = ~np.isnan(level) & ~np.isnan(of_sources)
    if usable.sum() < _FEWEST:
        msg = f"{usable.sum()} sources have a known label mix; the test needs at least four"
        raise AnalysisError(msg)
    x, y = (stats.rankdata(v[usable]) for v in (of_sources, level))
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    if spread == 0.0:
        return SkewTest(float("nan"), float("nan"), int(usable.sum()))
    drawn = rng.permuted(np.tile(x, (n, 1)), axis=1) @ y
    p_value = (1 + int((drawn >= x @ y - 1e-9).sum())) / (n + 1)
    return SkewTest(float(x @ y) / spread, p_value, int(usable.sum()))


def study_skew_test(
    study: TransferStudy,
    *,
    rng: np.random.Generator,
    targets: tuple[str, ...] | None = None,
    priors: Priors | None = None,
    n_permutations: int = 9_999,
    answers: Sequence[TargetAnswers] | None = None,
) -> SkewTest | None:
    """Test whether the more skewed sources of a study make more skewed answers.

    On all targets that have labels, or those of the given ones; but for an adapter's own task:
    there skewed answers are what the task asks for.

    Returns
    -------
    SkewTest or None
        None where fewer than four sources have a known label mix, or no target has labels.

    Raises
    ------
    AnalysisError
        The study has scores only.
    """
    names = np.array([source.name for source in study.sources])
    given = dict(priors or {})
    of_sources = [label_skew(given.get(n) or training_labels(study, n)) for n in names.tolist()]
    if sum(not np.isnan(value) for value in of_sources) < _FEWEST:
        return None
    found = [
        np.where(names == one.info.name, np.nan, _answer_skew(one))
        for one in iter_answers(study, targets, known=answers)
        if one.labels
    ]
    if not found:
        return None
    return skew_test(np.array(of_sources), np.stack(found, axis=1), rng=rng, n=n_permutations)


def label_skew(counts: Mapping[str, float]) -> float:
    """Return the skew of a label mix; NaN where it is not known."""
    mix = np.array(list(counts.values()), dtype=np.float64)
    return float(skew(mix)) if len(mix) else float("nan")


def _answer_skew(answers: TargetAnswers) -> FloatArray:
    """Return the skew of each adapter's readable answers, (source,)."""
    return skew(answer_marks(answers)[1:, :, :-1].sum(axis=1))


def proportions(values: FloatArray) -> FloatArray:
    """Divide by the sum along the last axis; NaN where it is 0."""
    return ratio(values, values.sum(axis=-1, keepdims=True))


def _entropy(p: FloatArray) -> FloatArray:
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(axis=-1))


def known_mean(values: FloatArray, *, axis: int) -> FloatArray:
    """Return the mean of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return ratio(total, known.sum(axis=axis).astype(np.float64))
