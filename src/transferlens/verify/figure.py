"""A published number beside ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Figure", "Verification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published number or word, and what we get for it."""

    origin: str
    """Where it was published."""
    quantity: str
    published: str
    """As it is printed, so that its digits say how exact it is."""
    ours: float | str
    """A number, or a word that must be the same."""
    tolerance: float | None = None
    """Largest difference that counts as agreement; half a unit of the last printed digit
    unless given, which it must be where the inputs are printed numbers too."""

    @property
    def digits(self) -> int:
        """Printed digits behind the point; 0 for a word."""
        if isinstance(self.ours, str):
            return 0
        exponent = Decimal(self.published).as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0

    @property
    def difference(self) -> float:
        """Ours minus published; NaN for words."""
        if isinstance(self.ours, str):
            return math.nan
        return self.ours - float(self.published)

    @property
    def allowed(self) -> float:
        """Largest difference that counts as agreement; 0 for words."""
        if self.tolerance is not None:
            return self.tolerance
        return 0.0 if isinstance(self.ours, str) else 0.5 * 10.0**-self.digits

    @property
    def agrees(self) -> bool:
        """Whether ours is the published one, as far as its digits say."""
        if isinstance(self.ours, str):
            return self.ours == self.published
        # A number that ends in 5 lies on the border, where its binary form must not decide.
        return abs(self.difference) <= self.allowed + 1e-9 * max(1.0, abs(self.ours))

    @property
    def verdict(self) -> str:
        """``agrees`` or ``differs``."""
        return "agrees" if self.agrees else "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All figures that were computed again."""

    figures: tuple[Figure, ...]
    left_out: tuple[str, ...]
    """What was not checked, because its data were not given."""

    @property
    def failed(self) -> tuple[Figure, ...]:
        """The figures that differ."""
        return tuple(figure for figure in self.figures if not figure.agrees)
