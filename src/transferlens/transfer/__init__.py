"""The transfer matrix with evidence per cell, and what it says about who helps and harms whom."""

from __future__ import annotations

from transferlens.transfer.display import in_points
from transferlens.transfer.effects import Effects, transfer_effects
from transferlens.transfer.matrix import transfer_matrix
from transferlens.transfer.result import Evidence, TransferMatrix

__all__ = [
    "Effects",
    "Evidence",
    "TransferMatrix",
    "in_points",
    "transfer_effects",
    "transfer_matrix",
]
