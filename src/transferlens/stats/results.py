"""What a paired comparison returns, for one cell and for many."""

from __future__ import annotations

from dataclasses import dataclass

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["PairedTest", "PairedTests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Comparison of two models on the same examples of one target."""

    method: str
    """How p-value and interval were made, e.g. ``"McNemar mid-p"``."""

    estimate: float
    """Mean of ``adapted - base`` over the scored examples, in the metric's unit."""

    standard_error: float
    """Standard error of the estimate over examples; training variance is not in it."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""

    confidence: float
    """Nominal coverage of the interval, between 0 and 1."""

    p_value: float
    """Two-sided p-value, not corrected for multiplicity."""

    n_scored: int
    """Examples that both models have a score for."""

    n_unscored: int
    """Examples that were left out because a score is NaN."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedTests:
    """One paired comparison per cell; each array has shape (cell,).

    A cell with fewer than two scored examples holds NaN in every float field;
    its counts say why. ``tests[i]`` is cell ``i`` as a `PairedTest`.
    """

    method: str
    """How p-value and interval were made."""

    estimate: FloatArray
    """Mean of ``adapted - base`` over the scored examples, in the metric's unit."""

    standard_error: FloatArray
    """Standard error over examples; training variance is not in it."""

    low: FloatArray
    """Lower end of the interval."""

    high: FloatArray
    """Upper end of the interval."""

    confidence: float
    """Nominal coverage of the intervals, between 0 and 1."""

    p_value: FloatArray
    """Two-sided p-value per cell, not corrected for multiplicity."""

    n_scored: IntArray
    """Examples that both models have a score for."""

    n_unscored: IntArray
    """Examples that were left out because a score is NaN."""

    def __len__(self) -> int:
        return len(self.estimate)

    def __getitem__(self, cell: int) -> PairedTest:
        return PairedTest(
            method=self.method,
            estimate=float(self.estimate[cell]),
            standard_error=float(self.standard_error[cell]),
            low=float(self.low[cell]),
            high=float(self.high[cell]),
            confidence=self.confidence,
            p_value=float(self.p_value[cell]),
            n_scored=int(self.n_scored[cell]),
            n_unscored=int(self.n_unscored[cell]),
        )

    def only(self) -> PairedTest:
        """Return the one cell of a comparison of two models.

        Returns
        -------
        PairedTest
            Cell 0.

        Raises
        ------
        AnalysisError
            Fewer than two examples are scored by both models.
        """
        test = self[0]
        if test.n_scored < 2:
            msg = (
                f"{test.n_scored} of {test.n_scored + test.n_unscored} examples are scored by "
                "both models; a paired test needs at least 2"
            )
            raise AnalysisError(msg)
        return test
