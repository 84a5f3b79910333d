"""Firth's penalised logistic regression of one outcome on many features, each beside covariates.

All features are fitted at once: the arrays have the feature as their first axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import BoolArray, FloatArray, checked_level, float_array

__all__ = ["LogitFits", "penalized_logit"]

_TOLERANCE = 1e-8
# The likelihood is flat at its maximum: an error of 1e-5 there is one of 1e-10 in its value.
_ROUGH = 1e-5
_CLOSE = 1e-6
_ITERATIONS = 60
_LONGEST_STEP = 5.0
_ENDS = 40
_HALVINGS = 12
_FAR = 50.0
_CLIP = 30.0  # probabilities beyond it differ from 0 and 1 by less than rounding


class LogitFits(NamedTuple):
    """Coefficient of each feature, (feature,) each; NaN where it cannot be estimated."""

    estimate: FloatArray
    """Logarithm of the odds ratio for one unit of the feature."""
    low: FloatArray
    """Lower end of the profile-likelihood interval."""
    high: FloatArray
    p_value: FloatArray
    """Likelihood-ratio test of a coefficient of 0, not adjusted."""
    standard_error: FloatArray
    """From the information matrix; the interval does not use it."""


class _Problem(NamedTuple):
    """Design matrices and what they have in common."""

    x: FloatArray
    """(feature, example, column); the feature itself is the last column."""
    y: FloatArray
    """0 or 1, (example,)."""
    weight: FloatArray
    """1 where the example counts, else 0, (feature, example)."""
    penalty: float

    def at(self, which: BoolArray) -> _Problem:
        """Return the problem of some of the features."""
        return self._replace(x=self.x[which], weight=self.weight[which])


class _Point(NamedTuple):
    """Coefficients of each feature's model, and what follows from them."""

    beta: FloatArray
    """(feature, column)."""
    value: FloatArray
    """Penalised log-likelihood, (feature,)."""
    information: FloatArray
    """(feature, column, column)."""
    variance: FloatArray
    """Of each outcome, (feature, example)."""
    p: FloatArray
    """Probability of each outcome, (feature, example)."""

    def at(self, which: BoolArray) -> _Point:
        """Return copies of the rows of some features."""
        return _Point(*(array[which] for array in self))

    def put(self, which: BoolArray, other: _Point) -> None:
        """Replace the rows of some features."""
        for array, values in zip(self, other, strict=True):
            array[which] = values


def penalized_logit(
    outcome: ArrayLike,
    values: ArrayLike,
    covariates: ArrayLike,
    *,
    confidence: float = 0.95,
    firth: bool = True,
) -> LogitFits:
    """Test whether features change the odds of an outcome beyond covariates.

    Under the null hypothesis the odds depend on the covariates alone. With the
    discordant pairs of two models as examples this is conditional logistic
    regression of right/wrong within pairs: McNemar's test with covariates. It
    conditions on everything that makes an example hard for both models.

    Parameters
    ----------
    outcome
        0 or 1 of shape (example,), such as "only the adapter is right".
    values
        Shape (feature, example). NaN: this example does not count for this feature.
    covariates
        Shape (covariate, example), without a constant; may have no rows.
    confidence
        Nominal coverage of the profile-likelihood intervals.
    firth
        Whether to penalise by Jeffreys' prior. Estimates are then finite under
        separation and nearly unbiased when counts are small. Without it they are
        maximum-likelihood estimates, and NaN under separation.

    Returns
    -------
    LogitFits
        NaN for a feature that does not vary beyond the covariates, or if the
        outcome does not vary where it is known.

    Raises
    ------
    AnalysisError
        Shapes do not fit, the outcome is not 0 or 1, or a covariate is NaN.

    References
    ----------
    .. [1] Firth. *Bias reduction of maximum likelihood estimates*. 1993.
       doi:10.1093/biomet/80.1.27
    .. [2] Heinze, Schemper. *A solution to the problem of separation in logistic
       regression*. 2002. doi:10.1002/sim.1047
    .. [3] Breslow, Day. *Statistical methods in cancer research I*. 1980, ch. 7.
    """
    y, x, z = _checked(outcome, values, covariates)
    cut = stats.chi2.ppf(checked_level(confidence, name="confidence"), 1)
    problem, scale = _standardised(y, x, z, penalty=0.5 if firth else 0.0)
    results = np.full((5, len(x)), np.nan)
    usable = _usable(problem)
    if usable.any():
        results[:, usable] = _fit(problem.at(usable), float(cut)) / np.array(
            [scale[usable]] * 3 + [np.ones(int(usable.sum())), scale[usable]]
        )
    return LogitFits(*results)


def _checked(
    outcome: ArrayLike, values: ArrayLike, covariates: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y = float_array(outcome, name="outcome", ndim=1)
    x = float_array(values, name="values", ndim=2)
    z = float_array(covariates, name="covariates")
    z = z.reshape(0, len(y)) if z.size == 0 else z
    if z.ndim != 2 or x.shape[1] != len(y) or z.shape[1] != len(y):
        msg = (
            f"values {x.shape} and covariates {z.shape} must have a column for each of the "
            f"{len(y)} outcomes"
        )
        raise AnalysisError(msg)
    if not np.isin(y, (0.0, 1.0)).all():
        msg = "outcome must be 0 or 1; leave out pairs on which the two models agree"
        raise AnalysisError(msg)
    if np.isnan(z).any():
        msg = "a covariate is NaN; leave out the examples for which it is not known"
        raise AnalysisError(msg)
    return y, x, z


def _standardised(
    y: FloatArray, x: FloatArray, z: FloatArray, *, penalty: float
) -> tuple[_Problem, FloatArray]:
    """Centre and scale all columns; the estimates of Firth's method do not depend on it."""
    known = ~np.isnan(x)
    weight = known.astype(np.float64)
    columns = [np.broadcast_to(row, x.shape) for row in z] + [np.where(known, x, 0.0)]
    n = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    scaled = [np.ones(x.shape)]
    scale = np.ones(len(x))
    for column in columns:
        mean = (weight * column).sum(axis=1, keepdims=True) / n
        centred = weight * (column - mean)
        sd = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n)
        # Rounding leaves a constant with a tiny spread.
        flat = sd <= 1e-10 * (1.0 + np.abs(mean))
        scaled.append(np.where(flat, 0.0, centred / np.where(flat, 1.0, sd)))
        scale = sd[:, 0]
    return _Problem(np.stack(scaled, axis=2), y, weight, penalty), scale


def _usable(problem: _Problem) -> BoolArray:
    """Say for which features the columns differ from each other and the outcome varies."""
    n = problem.weight.sum(axis=1)
    ones = problem.weight @ problem.y
    gram = np.swapaxes(problem.x, 1, 2) @ (problem.x * problem.weight[:, :, None])
    smallest = np.linalg.eigvalsh(gram / np.maximum(n, 1.0)[:, None, None])[:, 0]
    usable: BoolArray = (n > problem.x.shape[2]) & (ones > 0) & (ones < n) & (smallest > 1e-8)
    return usable


def _fit(problem: _Problem, cut: float) -> FloatArray:
    """Return estimate, low, high, p-value and standard error, (5, feature)."""
    f, _, k = problem.x.shape
    null = _maximise(problem, np.zeros((f, k)), free=k - 1, tolerance=_TOLERANCE)
    best = _maximise(problem, null.beta, free=k, tolerance=_TOLERANCE)
    statistic = np.maximum(2.0 * (best.value - null.value), 0.0)
    error = np.sqrt(_inverse(best.information)[:, -1, -1])
    # Without the penalty a separated likelihood is flat far out: no finite estimate.
    lost = (error > _FAR) | (np.abs(best.beta[:, -1]) > _FAR)
    low, high = (_end(problem, best, error, cut, side) for side in (-1.0, 1.0))
    found = np.stack([best.beta[:, -1], low, high, stats.chi2.sf(statistic, 1), error])
    found[:, lost] = np.nan
    return np.asarray(found, dtype=np.float64)


def _evaluate(problem: _Problem, beta: FloatArray) -> _Point:
    eta = np.clip(np.matmul(problem.x, beta[:, :, None])[:, :, 0], -_CLIP, _CLIP)
    small = np.exp(-np.abs(eta))
    p = np.where(eta >= 0.0, 1.0, small) / (1.0 + small)
    variance = problem.weight * p * (1.0 - p)
    information = np.swapaxes(problem.x, 1, 2) @ (problem.x * variance[:, :, None])
    log_norm = np.maximum(eta, 0.0) + np.log1p(small)
    value = (problem.weight * (problem.y * eta - log_norm)).sum(axis=1)
    if problem.penalty:
        sign, logdet = np.linalg.slogdet(information)
        value = np.where(sign > 0, value + problem.penalty * logdet, -np.inf)
    return _Point(beta, value, information, variance, p)


def _inverse(matrices: FloatArray) -> FloatArray:
    """Invert; a ridge that rounding would make anyway keeps singular ones from failing."""
    k = matrices.shape[-1]
    size = np.trace(matrices, axis1=1, axis2=2)[:, None, None]
    ridge = np.maximum(1e-14 * size, 1e-300) * np.eye(k)
    return np.asarray(np.linalg.inv(matrices + ridge), dtype=np.float64)


def _maximise(problem: _Problem, start: FloatArray, *, free: int, tolerance: float) -> _Point:
    """Maximise over the first ``free`` columns; the last keeps its coefficient if fewer."""
    point = _evaluate(problem, start.copy())
    active = np.ones(len(start), dtype=np.bool_)
    for _ in range(_ITERATIONS):
        part = problem if active.all() else problem.at(active)
        here = point.at(active)
        there = _uphill(part, here, _newton(part, here, free))
        point.put(active, there)
        active[active] = np.abs(there.beta - here.beta).max(axis=1) > tolerance
        if not active.any():
            break
    return point


def _newton(problem: _Problem, here: _Point, free: int) -> FloatArray:
    """Return the step to where the penalised score vanishes, no longer than is safe."""
    residual = problem.weight * (problem.y - here.p)
    if problem.penalty:
        spread = problem.x @ _inverse(here.information)
        leverage = here.variance * (spread * problem.x).sum(axis=2)
        residual += 2.0 * problem.penalty * leverage * (0.5 - here.p)
    score = np.matmul(residual[:, None, :], problem.x[:, :, :free])[:, 0]
    step = np.zeros_like(here.beta)
    inverse = _inverse(here.information[:, :free, :free])
    step[:, :free] = np.matmul(inverse, score[:, :, None])[:, :, 0]
    longest = np.abs(step).max(axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300)))


def _uphill(problem: _Problem, here: _Point, step: FloatArray) -> _Point:
    """Take the step, halved where it does not go up; where no part of it does, stay."""
    there = _evaluate(problem, here.beta + step)
    worse = _falls(here, there)
    for _ in range(_HALVINGS):
        if not worse.any():
            return there
        step = step * 0.5
        there.put(worse, _evaluate(problem.at(worse), (here.beta + step)[worse]))
        worse = _falls(here, there)
    there.put(worse, here.at(worse))
    return there


def _falls(here: _Point, there: _Point) -> BoolArray:
    """Say where the likelihood is lower there than here, by more than rounding."""
    falls: BoolArray = there.value < here.value - 1e-10 * (1.0 + np.abs(here.value))
    return falls


def _end(problem: _Problem, best: _Point, error: FloatArray, cut: float, side: float) -> FloatArray:
    """Find where the profile likelihood has fallen by half the cut, on one side.

    The root of the likelihood ratio is nearly linear in the coefficient, so a secant within
    a bracket needs few steps.
    """
    wanted = float(np.sqrt(cut))
    profile = _Profile(problem, best.value, best.beta.copy())
    inner, at_inner = best.beta[:, -1].copy(), np.zeros(len(error))
    outer = inner + side * wanted * error
    at_outer = profile.fallen(outer)
    for _ in range(_ENDS):
        short = at_outer < wanted
        if not short.any():
            break
        inner[short], at_inner[short] = outer[short], at_outer[short]
        outer[short] += side * wanted * error[short]
        at_outer[short] = profile.fallen(outer[short], short)
    never = at_outer < wanted
    todo = ~never
    for _ in range(_ENDS):
        todo &= (np.abs(at_outer - wanted) > _CLOSE) & (np.abs(outer - inner) > _CLOSE * error)
        if not todo.any():
            break
        share = (wanted - at_inner[todo]) / (at_outer[todo] - at_inner[todo])
        # Beyond the secant's own guess: it creeps towards the root from inside.
        middle = inner[todo] + np.clip(1.001 * share, 0.02, 0.98) * (outer - inner)[todo]
        fallen = profile.fallen(middle, todo)
        beyond = todo.copy()
        beyond[todo] = fallen >= wanted
        within = todo & ~beyond
        outer[beyond], at_outer[beyond] = middle[beyond[todo]], fallen[beyond[todo]]
        inner[within], at_inner[within] = middle[within[todo]], fallen[within[todo]]
    return np.where(never, side * np.inf, outer)


class _Profile(NamedTuple):
    """The likelihood with one coefficient held fixed."""

    problem: _Problem
    highest: FloatArray
    beta: FloatArray
    """Where the last search ended: the next one starts there."""

    def fallen(self, coefficient: FloatArray, which: BoolArray | None = None) -> FloatArray:
        """Return the root of the likelihood ratio at a coefficient of (some) features."""
        some = np.ones(len(self.beta), dtype=np.bool_) if which is None else which
        start = self.beta[some]
        start[:, -1] = coefficient
        free = start.shape[1] - 1
        found = _maximise(self.problem.at(some), start, free=free, tolerance=_ROUGH)
        self.beta[some] = found.beta
        return np.sqrt(np.maximum(2.0 * (self.highest[some] - found.value), 0.0))
