"""Which sources to train on for given targets, under a budget and without harm elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, sparse

from transferlens.errors import AnalysisError, did_you_mean
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Expected", "Options", "Recommend", "Recommendation"]

# Pairs up to which the best set is found exactly.
_EXACT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """What is expected of training on each source. Arrays are (source, target)."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    gain: FloatArray
    """Measured or predicted; NaN where neither."""
    low: FloatArray
    """Lower end of its interval; NaN or minus infinity where not known."""
    high: FloatArray
    measured: BoolArray
    """Whether a gain is measured; otherwise it is predicted."""
    supported: BoolArray
    """Whether the evidence says that the gain is above 0, all comparisons considered."""
    cost: FloatArray
    """What training on a source costs, in the unit of the budget, (source,)."""
    unit: str = "points"

    def place(self, target: str) -> int:
        """Return the place of a target.

        Raises
        ------
        AnalysisError
            There is none of this name.
        """
        if target not in self.targets:
            msg = f"there is no target {target!r}.{did_you_mean(target, self.targets)}"
            raise AnalysisError(msg)
        return self.targets.index(target)

    def without(self, sources: Sequence[str]) -> Options:
        """Return what is left when some sources are no option."""
        kept = ~np.isin(np.array(self.sources), list(sources))
        rows = {
            name: getattr(self, name)[kept]
            for name in ("gain", "low", "high", "measured", "supported", "cost")
        }
        names = tuple(name for name, keep in zip(self.sources, kept, strict=True) if keep)
        return replace(self, sources=names, **rows)


class Expected(NamedTuple):
    """What one source does to one target."""

    source: str
    target: str
    gain: float
    low: float
    high: float
    measured: bool
    supported: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recommendation:
    """What to train on, what it brings and what it breaks."""

    chosen: tuple[str, ...]
    """Sources, the most useful first; empty where nothing is expected to help."""
    helps: tuple[Expected, ...]
    """For each wanted target that is served the best of the chosen sources."""
    harms: tuple[Expected, ...]
    """Targets that a chosen source is expected to lower, the worst first."""
    total: float
    """Sum of the gains of `helps`."""
    unserved: tuple[str, ...]
    """Wanted targets for which the base is expected to be as good as any chosen source."""
    ruled_out: tuple[Expected, ...] = ()
    """Sources that would break a limit of harm, each with its worst breach."""
    not_known: tuple[str, ...] = ()
    """Sources of which it is not known whether they keep the limits; never chosen."""
    exact: bool = False
    """Whether no other choice has a larger total."""

    @property
    def supported(self) -> bool:
        """Whether the evidence supports any of it."""
        return any(one.supported for one in self.helps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommend:
    """Choose sources whose adapters serve the wanted targets best.

    Each target is served by one of the chosen adapters, or by the base where none helps. The
    choice is an integer programme, solved exactly up to 20,000 pairs of sources and targets
    and greedily beyond (at least 63 % of the best total if all sources cost the same).

    References
    ----------
    .. [1] Nemhauser, Wolsey, Fisher. *An analysis of approximations for maximizing submodular
       set functions*. 1978. doi:10.1007/BF01588971
    .. [2] Huangfu, Hall. *Parallelizing the dual revised simplex method*. 2018.
       doi:10.1007/s12532-017-0130-5
    """

    k: int = 1
    """Adapters at most."""
    budget: float = float("inf")
    """Sum of costs at most."""
    no_harm: Mapping[str, float] = field(default_factory=dict)
    """Target -> lowest gain that a chosen adapter may have on it, such as -1 point."""
    sure: bool = False
    """Whether the limits of harm hold for the lower end of an interval, not the gain."""
    exact_up_to: int = _EXACT
    """Pairs beyond which the choice is greedy."""

    def __call__(self, options: Options, wanted: Sequence[str]) -> Recommendation:
        """Choose.

        Raises
        ------
        AnalysisError
            A target is unknown, nothing is wanted, or ``k`` is below 1.
        """
        if not wanted or self.k < 1:
            msg = "name at least one target, and let k be 1 or more"
            raise AnalysisError(msg)
        columns = np.array([options.place(name) for name in dict.fromkeys(wanted)])
        allowed, breaches, unknown = self._allowed(options)
        value = np.where(allowed[:, None], np.nan_to_num(options.gain[:, columns]), 0.0)
        value = np.maximum(value, 0.0)
        exact = value.size <= self.exact_up_to
        solve = _exactly if exact else _greedily
        picked = solve(value, options.cost, self.k, self.budget)
        found = _told(options, columns, value, picked)
        return replace(found, exact=exact, ruled_out=tuple(breaches), not_known=tuple(unknown))

    def _allowed(self, options: Options) -> tuple[BoolArray, list[Expected], list[str]]:
        """Return which sources keep the limits, those that do not, and those not known."""
        allowed = np.ones(len(options.sources), dtype=np.bool_)
        worst: dict[int, tuple[float, int]] = {}
        unknown: set[int] = set()
        for name, limit in self.no_harm.items():
            column = options.place(name)
            bound = (options.low if self.sure else options.gain)[:, column]
            for source in np.flatnonzero(~(bound >= limit)).tolist():
                allowed[source] = False
                if np.isnan(bound[source]) or np.isinf(bound[source]):
                    unknown.add(source)
                    continue
                excess = limit - bound[source]
                if source not in worst or excess > worst[source][0]:
                    worst[source] = excess, column
        order = sorted(worst, key=lambda source: -worst[source][0])
        breaches = [_expected(options, source, worst[source][1]) for source in order]
        return allowed, breaches, [options.sources[s] for s in sorted(unknown - set(worst))]


def _exactly(value: FloatArray, cost: FloatArray, k: int, budget: float) -> IntArray:
    """Solve ``max sum value[s, t] y[s, t]``: y only of chosen sources, one per target."""
    n, p = value.shape
    # Columns: whether a source is chosen, then whether it serves a target, source by source.
    serves = sparse.eye_array(n * p, format="csr")
    owner = sparse.csr_array(np.repeat(np.eye(n), p, axis=0))
    per_target = sparse.csr_array(np.tile(np.eye(p), n))
    rows = [
        sparse.hstack([-owner, serves]),
        sparse.hstack([sparse.csr_array((p, n)), per_target]),
        sparse.csr_array(np.concatenate([np.ones(n), np.zeros(n * p)])[None]),
    ]
    upper = [np.zeros(n * p), np.ones(p), np.array([float(k)])]
    if np.isfinite(budget):
        rows.append(sparse.csr_array(np.concatenate([cost, np.zeros(n * p)])[None]))
        upper.append(np.array([budget]))
    solved = optimize.milp(
        # A hair against sources that serve nothing.
        np.concatenate([np.full(n, 1e-9), -value.ravel()]),
        integrality=np.concatenate([np.ones(n), np.zeros(n * p)]),
        bounds=optimize.Bounds(0.0, 1.0),
        constraints=optimize.LinearConstraint(sparse.vstack(rows), -np.inf, np.concatenate(upper)),
    )
    if solved.x is None:
        msg = f"the choice of sources could not be solved: {solved.message}"
        raise AnalysisError(msg)
    return np.flatnonzero(solved.x[:n] > 0.5)


def _greedily(value: FloatArray, cost: FloatArray, k: int, budget: float) -> IntArray:
    """Add the source that brings most, until none does or none is affordable."""
    reached = np.zeros(value.shape[1])
    left = budget
    picked: list[int] = []
    for _ in range(k):
        more = np.maximum(value - reached, 0.0).sum(axis=1)
        more[picked] = 0.0
        more[cost > left] = 0.0
        best = int(more.argmax())
        if more[best] <= 0.0:
            break
        picked.append(best)
        left -= float(cost[best])
        reached = np.maximum(reached, value[best])
    return np.array(picked, dtype=np.int64)


def _told(
    options: Options, columns: IntArray, value: FloatArray, picked: IntArray
) -> Recommendation:
    helps, unserved = [], []
    brought = dict.fromkeys(picked.tolist(), 0.0)
    for at, column in enumerate(columns.tolist()):
        best = picked[value[picked, at].argmax()] if len(picked) else 0
        if not len(picked) or value[best, at] <= 0.0:
            unserved.append(options.targets[column])
            continue
        helps.append(_expected(options, int(best), column))
        brought[int(best)] += value[best, at]
    useful = sorted((s for s, total in brought.items() if total > 0), key=lambda s: -brought[s])
    harms = [
        _expected(options, source, column)
        for source in useful
        for column in np.flatnonzero(options.gain[source] < 0).tolist()
    ]
    return Recommendation(
        chosen=tuple(options.sources[s] for s in useful),
        helps=tuple(helps),
        harms=tuple(sorted(harms, key=lambda one: one.gain)),
        unserved=tuple(unserved),
        total=float(sum(brought.values())),
    )


def _expected(options: Options, source: int, target: int) -> Expected:
    return Expected(
        source=options.sources[source],
        target=options.targets[target],
        gain=float(options.gain[source, target]),
        low=float(options.low[source, target]),
        high=float(options.high[source, target]),
        measured=bool(options.measured[source, target]),
        supported=bool(options.supported[source, target]),
    )
