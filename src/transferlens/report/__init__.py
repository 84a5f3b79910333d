"""The report: a summary computed from a study, and one self-contained page that shows it."""

from __future__ import annotations

from transferlens.report.analysis import Depth
from transferlens.report.claim import Claim, Lacking
from transferlens.report.summary import Summary, summarise
from transferlens.report.write import Written, write_cell_page, write_report

__all__ = [
    "Claim",
    "Depth",
    "Lacking",
    "Summary",
    "Written",
    "summarise",
    "write_cell_page",
    "write_report",
]
