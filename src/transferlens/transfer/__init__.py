"""The transfer matrix with evidence per cell, and what it says about who helps and harms whom."""

from __future__ import annotations

from transferlens.transfer.effects import Effects, transfer_effects
from transferlens.transfer.matrix import Evidence, TransferMatrix, transfer_matrix

__all__ = ["Effects", "Evidence", "TransferMatrix", "transfer_effects", "transfer_matrix"]
