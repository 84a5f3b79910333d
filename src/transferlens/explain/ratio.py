"""Division where nothing over nothing is not defined, instead of a warning."""

from __future__ import annotations

import numpy as np

from transferlens.stats.arrays import FloatArray

__all__ = ["ratio"]


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Return ``above / below``, NaN where ``below`` is not above 0; shapes are broadcast."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    quotient = np.full(shape, np.nan)
    # Sums of shares may leave a rounding error where there is nothing.
    np.divide(above, below, out=quotient, where=below > 1e-12)
    return quotient
