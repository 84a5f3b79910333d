"""What replicates between two studies of the same sources and targets."""

from __future__ import annotations

from transferlens.explain.replication.common import of_seed
from transferlens.explain.replication.compare import compare_studies
from transferlens.explain.replication.gains import GainAgreement
from transferlens.explain.replication.grid import GridReplication, compare_all
from transferlens.explain.replication.result import Replication
from transferlens.explain.replication.traits import TraitMatch

__all__ = [
    "GainAgreement",
    "GridReplication",
    "Replication",
    "TraitMatch",
    "compare_all",
    "compare_studies",
    "of_seed",
]
