"""Hidden factors: which properties of the data predict what an adapter gains elsewhere."""

from transferlens.explain.factors.analysis import Factors
from transferlens.explain.factors.blocks import BlockFit
from transferlens.explain.factors.catalog import FACTORS, Factor, factor_values
from transferlens.explain.factors.needed import (
    detectable_share,
    sources_for_difference,
    sources_for_share,
)
from transferlens.explain.factors.result import BlockComparison, FactorEvidence, FactorTest

__all__ = [
    "FACTORS",
    "BlockComparison",
    "BlockFit",
    "Factor",
    "FactorEvidence",
    "FactorTest",
    "Factors",
    "detectable_share",
    "factor_values",
    "sources_for_difference",
    "sources_for_share",
]
