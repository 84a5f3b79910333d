"""Which cells to measure next, so that the rest is predicted best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.predict.bayes import Bayes, Posterior, Side
from transferlens.predict.problem import Problem
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["NextCells", "PlannedCell", "next_cells"]

# A step of a large plan chooses several cells that share neither source nor target, since the
# choice of one hardly changes the value of another.
_STEPS = 2_000
# Cells that save this share less than the best are as good as it, as far as a model that knows
# little can tell; always taking the first of them would leave the same cells to the end.
_EQUAL = 0.1


class PlannedCell(NamedTuple):
    """One cell to measure."""

    source: str
    target: str
    expected: float
    """Predicted gain."""
    deviation: float
    """Standard deviation of the measurement around it, when its turn comes."""
    new_source: bool
    """No cell of the source is measured: its adapter may have to be trained."""
    at_random: bool = False
    """Drawn at random from what the plan leaves, so that intervals can be calibrated on it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NextCells:
    """A plan in the order in which cells should be measured."""

    cells: tuple[PlannedCell, ...]
    order: IntArray
    """Places of the cells, (cell, 2): source, target."""
    error_before: float
    """Root mean square error that the model expects for unmeasured cells now."""
    error_after: float
    """The same for the cells that are left when the plan is done; NaN where none is."""
    words: str

    @property
    def new_sources(self) -> tuple[str, ...]:
        """Sources without a measured cell in the order in which the plan needs them."""
        return tuple(dict.fromkeys(cell.source for cell in self.cells if cell.new_source))


def next_cells(
    problem: Problem,
    n: int,
    *,
    candidates: BoolArray | None = None,
    max_new_sources: int | None = None,
    source_order: IntArray | None = None,
    bayes: Bayes | None = None,
    random_share: float = 0.0,
    rng: np.random.Generator | None = None,
) -> NextCells:
    """Choose the next cells to measure, greedily by how much each lowers the total variance.

    The variance is the posterior one of a Bayesian model with source effects, target effects
    and a few directions. It does not depend on what will be measured, so that a whole round
    can be planned at once; a further round is a further call with the new measurements.

    Planned cells are unlike the others, which is why they are chosen; so intervals that are
    calibrated on them alone need not hold for the others. A random part of the round, drawn
    from the cells that the plan leaves, is like those that are never measured.

    Parameters
    ----------
    problem
        What is measured; nothing need be.
    n
        How many cells to choose; fewer are, where no more are left.
    candidates
        Cells that can be measured, (source, target); all but own tasks by default.
    max_new_sources
        How many sources without any measured cell the plan may use; no limit by default.
    source_order
        Which of equally good sources comes first: all sources' places, best first. The model
        cannot tell sources without a cell apart. The order of the problem by default.
    bayes
        Parameters of the model.
    random_share
        Share of the cells that is drawn at random, after the planned ones, among sources that
        have a cell by then; above 0, at least one of two cells and more.
    rng
        Draws them, and draws between cells that are about equally good. Without it nothing is
        random, and a share cannot be given: the same problem gives the same plan.

    Returns
    -------
    NextCells
        Best first, then those drawn at random.

    Raises
    ------
    AnalysisError
        ``n`` is negative, or a share is given without a generator.

    References
    ----------
    .. [1] Chaloner, Verdinelli. *Bayesian experimental design: a review*. 1995.
       doi:10.1214/ss/1177009939
    """
    if n < 0:
        msg = f"{n} cells cannot be chosen; give 0 or more"
        raise AnalysisError(msg)
    if random_share > 0 and rng is None:
        msg = "cells that are drawn at random need rng, a NumPy generator"
        raise AnalysisError(msg)
    known = problem.known
    open_cells = ~known & (~problem.own if candidates is None else candidates)
    posterior = _posterior(problem, bayes or Bayes())
    state = _State(posterior, open_cells, _priority(known.shape, source_order), rng)
    before = state.error()
    n = min(n, int(open_cells.sum()))
    # At least one of two cells and more, or small rounds would have none.
    drawn = max(round(random_share * n), int(random_share > 0 and n > 1))
    order, deviations = _chosen(state, n - drawn, known, max_new_sources)
    if rng is not None and drawn:
        extra, of_extra = _drawn(state, drawn, known, order, rng)
        order, deviations = np.concatenate([order, extra]), deviations + of_extra
    new = np.asarray(~known.any(axis=1))
    mean = posterior.mean
    cells = tuple(
        PlannedCell(
            problem.sources[s],
            problem.targets[t],
            float(mean[s, t]),
            float(d),
            bool(new[s]),
            place >= n - drawn,
        )
        for place, ((s, t), d) in enumerate(zip(order.tolist(), deviations, strict=True))
    )
    rank = posterior.sources.mean.shape[1] - 1
    words = f"{rank} directions beside source and target effects"
    return NextCells(
        cells=cells,
        order=order,
        error_before=before,
        error_after=state.error(),
        words=words if known.any() else "nothing is measured yet: the plan only balances",
    )


def _posterior(problem: Problem, bayes: Bayes) -> Posterior:
    known = problem.known
    if known.any():
        return bayes.posterior(problem.gains, known)
    n, p = known.shape

    def blank(count: int) -> Side:
        return Side(np.zeros((count, 1)), np.ones((count, 1, 1)), np.ones(1))

    return Posterior(grand=0.0, sources=blank(n), targets=blank(p), noise_variance=1.0)


def _priority(shape: tuple[int, ...], source_order: IntArray | None) -> FloatArray:
    """Return factors next to 1 that decide between equals, (source, 1)."""
    place = np.arange(shape[0])
    if source_order is not None:
        place[source_order] = np.arange(shape[0])
    return np.asarray(1.0 - 1e-9 * place[:, None])


class _State:
    """Covariances that shrink while cells are chosen, and what each further cell is worth."""

    def __init__(
        self,
        posterior: Posterior,
        left: BoolArray,
        priority: FloatArray,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.left = left.copy()
        self._rng = rng
        self._noise = posterior.noise_variance
        self._priority = priority
        # What multiplies a source's numbers on a target: 1, then the target's places.
        self._designs = tuple(
            np.column_stack([np.ones(len(side.mean)), side.mean[:, 1:]])
            for side in (posterior.targets, posterior.sources)
        )
        self._covariances = (
            posterior.sources.covariance.copy(),
            posterior.targets.covariance.copy(),
        )
        shapes = (left.shape, left.shape[::-1])
        self._variance = tuple(np.zeros(shape) for shape in shapes)
        self._worth = tuple(np.zeros(shape) for shape in shapes)
        for side in (0, 1):
            self._update(side, slice(None))

    def _update(self, side: int, rows: IntArray | slice) -> None:
        """Compute again, for some sources or targets, their variance and what a cell saves."""
        design, covariance = self._designs[side], self._covariances[side][rows]
        left = (self.left if side == 0 else self.left.T)[rows].astype(np.float64)
        products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
        needed = (left @ products).reshape(covariance.shape)
        reach = covariance @ needed @ covariance
        flat = (len(covariance), -1)
        self._variance[side][rows] = covariance.reshape(flat) @ products.T
        self._worth[side][rows] = reach.reshape(flat) @ products.T

    def total(self) -> FloatArray:
        """Variance of a measurement of each cell, (source, target)."""
        return np.asarray(self._variance[0] + self._variance[1].T + self._noise)

    def error(self) -> float:
        """Root mean square error over the cells that are left."""
        return float(np.sqrt(self.total()[self.left].mean())) if self.left.any() else float("nan")

    def values(self) -> FloatArray:
        """Return by how much each cell lowers the total variance, (source, target)."""
        saved = (self._worth[0] + self._worth[1].T) / self.total()
        if self._rng is not None:
            saved = saved * (1.0 - _EQUAL * self._rng.random(saved.shape))
        return np.where(self.left, saved * self._priority, -np.inf)

    def measure(self, cells: IntArray) -> None:
        """Take cells, (cell, 2), that share no source and no target, as measured."""
        sources, targets = cells[:, 0], cells[:, 1]
        total = self.total()[sources, targets]
        self.left[sources, targets] = False
        for side, rows, others in ((0, sources, targets), (1, targets, sources)):
            design = self._designs[side][others]
            covariance = self._covariances[side][rows]
            reach = np.einsum("nij,nj->ni", covariance, design)
            self._covariances[side][rows] -= (
                reach[:, :, None] * reach[:, None, :] / total[:, None, None]
            )
        for side, rows in ((0, sources), (1, targets)):
            self._update(side, rows)


def _chosen(
    state: _State, n: int, known: BoolArray, max_new: int | None
) -> tuple[IntArray, list[float]]:
    at_once = max(1, n // _STEPS)
    new = np.asarray(~known.any(axis=1))
    opened: set[int] = set()
    chosen: list[IntArray] = []
    deviations: list[float] = []
    while len(deviations) < n:
        values = state.values()
        if max_new is not None and len(opened) >= max_new:
            values[new & ~np.isin(np.arange(len(new)), list(opened))] = -np.inf
        cells = _apart(values, min(at_once, n - len(deviations)))
        if not len(cells):
            break
        opened.update(int(s) for s in cells[:, 0] if new[s])
        deviations += np.sqrt(state.total()[cells[:, 0], cells[:, 1]]).tolist()
        state.measure(cells)
        chosen.append(cells)
    order = np.concatenate(chosen) if chosen else np.zeros((0, 2), dtype=np.int64)
    return order, deviations


def _drawn(
    state: _State, n: int, known: BoolArray, planned: IntArray, rng: np.random.Generator
) -> tuple[IntArray, list[float]]:
    """Draw cells among sources that have one by now, and take them as measured."""
    begun = np.asarray(known.any(axis=1))
    begun[planned[:, 0]] = True
    places = np.argwhere(state.left & begun[:, None])
    cells = places[rng.permutation(len(places))[:n]]
    deviations = []
    for cell in cells:
        deviations.append(float(np.sqrt(state.total()[tuple(cell)])))
        state.measure(cell[None])
    return cells, deviations


def _apart(values: FloatArray, n: int) -> IntArray:
    """Return the best cells that share no source and no target, (cell, 2), best first."""
    if n == 1:
        best = int(values.argmax())
        cell = divmod(best, values.shape[1])
        return np.array([cell] if np.isfinite(values[cell]) else [], dtype=np.int64).reshape(-1, 2)
    column = values.argmax(axis=1)
    height = values[np.arange(len(values)), column]
    taken: set[int] = set()
    found: list[tuple[int, int]] = []
    for row in np.argsort(-height, kind="stable").tolist():
        if len(found) == n or not np.isfinite(height[row]):
            break
        if int(column[row]) not in taken:
            taken.add(int(column[row]))
            found.append((row, int(column[row])))
    return np.array(found, dtype=np.int64).reshape(-1, 2)
